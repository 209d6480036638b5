"""Which forces and constraints on the region are biases or restraints of the user, and therefore stay.

The potential replaces the force field of the region, nothing else. A System does not say which of its forces are force
field, so they are told apart by what force fields do, and where that is not certain the user is asked.

=======================================================  ==============================================================
force                                                    what happens
=======================================================  ==============================================================
CustomExternalForce, RMSDForce, RGForce,                 stays
OrientationRestraintForce, CustomCVForce,
CustomCentroidBondForce, and forces with openmmtools'
parameter ``lambda_restraints``
bonded forces with a parameter ``lambda_bonds``,         force field: a hybrid topology or an alchemical System
``lambda_angles``, ``lambda_torsions``,
``lambda_sterics`` or ``lambda_electrostatics``
bonded forces with any other global parameter            asked about
CustomCompoundBondForce                                  asked about
CustomNonbondedForce with interaction groups             asked about where both groups lie within the region
other bonded forces                                      force field, but for terms that are asked about: on atoms of
                                                         two molecules; on atoms that the bonds do not join as the
                                                         shape of the term needs; a second term on the same atoms; and
                                                         a second force for one shape of term in one molecule
=======================================================  ==============================================================

The shapes are bonds, angles, proper torsions (several periodicities are one), impropers about an atom with three
bonds, CMAP, 1-3 pairs of a HarmonicBondForce where there are as many as Urey-Bradley terms would be, and 1-4 pairs of a
CustomBondForce where it holds most of those of a molecule (Lennard-Jones terms beside a CustomNonbondedForce). Only
terms that the bonded rule would remove are asked about; a force whose terms all reach out of the region stays anyway.

Constraints within the region are the force field's where at least half of their kind in the molecule (bonds to
hydrogen, other bonds, angles of hydrogens) are constrained, and in a molecule of three atoms; others are asked about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import combinations

import openmm

from ... import errors
from .bond_graph import BondGraph, pair
from .bonded import BONDED_TYPES, RegionAtoms, belongs_to_region
from .mechanical import inner_constraints
from .named_forces import Named, Pair, handle
from .nonbonded import BIASES, PAIR_TYPES, force_label, touches
from .term_survey import TRIATOMIC, Survey, Term, certain_bias, is_alchemical, whole_reason


@dataclass(frozen=True)
class KeptRow:
    """A line of the boundary report: a force or constraint on the region that stays, and why.

    Parameters
    ----------
    what, why : str
    """

    what: str
    why: str


@dataclass(frozen=True)
class Biases:
    """What stays on the region beside the potential.

    Parameters
    ----------
    forces : frozenset of int
        Indices of forces that stay as they are.
    constraints : frozenset of (int, int)
        Constraints within the region that stay.
    rows : tuple of KeptRow
    unruled : frozenset of int
        Indices of forces that the user calls force field although no rule says what of them the potential replaces.
    """

    forces: frozenset[int]
    constraints: frozenset[Pair]
    rows: tuple[KeptRow, ...]
    unruled: frozenset[int] = frozenset()

    @property
    def untouched(self) -> frozenset[int]:
        """Indices of all forces that are left as they are."""
        return self.forces | self.unruled


# --- the judgement
# ------------------------------------------------------------------------------------------------------------------


def find_biases(
    system: openmm.System,
    graph: BondGraph,
    region: Collection[int],
    *,
    bonded_rule: str,
    keep: Named,
    force_field: Named,
    remove_constraints: bool,
) -> Biases:
    """Tell the user's biases on the region from its force field.

    Parameters
    ----------
    system : openmm.System
        The classical System.
    graph : BondGraph
        Made without what `keep` names.
    region : collection of int
    bonded_rule : str
        One of `bonded.BONDED_RULES`.
    keep, force_field : Named
        What the user said.
    remove_constraints : bool
        Whether constraints within the region are going to be removed.

    Returns
    -------
    Biases

    Raises
    ------
    ParameterError
        If something may be a bias or force field, and the user has not said which; or if a force in `keep` holds most
        of the region's bonds, angles or torsions.
    """
    atoms = RegionAtoms.of(region, graph.neighbours)
    survey = Survey.of(system, graph, atoms, keep.forces | force_field.forces)
    stay: set[int] = set()
    rows: list[KeptRow] = []
    doubts: list[_Doubt] = []
    for index, force in enumerate(system.getForces()):
        if not touches(force, atoms.inside):
            continue
        why = "named in keep" if index in keep.forces else ""
        if why:
            _refuse_force_field(survey, index, force)
        elif index in force_field.forces:
            continue
        elif type(force) in BONDED_TYPES:
            why = certain_bias(force)
            if not why:
                doubt, why = _judge_terms(survey, index, force, handle(system, index), bonded_rule)
                doubts += [doubt] if doubt else []
        elif isinstance(force, (*BIASES, openmm.CustomCVForce)):
            rows.append(KeptRow(force_label(force), f"a {type(force).__name__} is never force field"))
        elif isinstance(force, openmm.CustomNonbondedForce) and _groups_within(force, atoms.inside):
            doubts.append(_Doubt(force_label(force), handle(system, index), "has interaction groups within the region"))
        if why:
            stay.add(index)
            rows.append(KeptRow(force_label(force), why))
    held: frozenset[Pair] = frozenset()
    if remove_constraints:
        held = frozenset(atoms_ for atoms_ in keep.constraints if atoms.inside.issuperset(atoms_))
        rows += [KeptRow(f"constraint {graph.describe(*atoms_)}", "named in keep") for atoms_ in sorted(held)]
        doubts += _judge_constraints(system, survey, keep.constraints | force_field.constraints)
    if doubts:
        _ask(doubts)
    # No rule says what of these the potential replaces.
    unruled = {i for i in force_field.forces if not isinstance(system.getForce(i), (*BONDED_TYPES, *PAIR_TYPES))}
    return Biases(frozenset(stay), held, tuple(rows), frozenset(unruled))


@dataclass(frozen=True)
class _Doubt:
    """Something that may be a bias: what it is, how an argument names it, and why it may be one."""

    what: str
    name: str
    reason: str
    holds: str = ""  # terms of the force field, so that it cannot be kept as a whole


def _ask(doubts: list[_Doubt]) -> None:
    names = ", ".join(doubt.name for doubt in doubts)
    remedy = []
    keepable = [doubt.name for doubt in doubts if not doubt.holds]
    if keepable:
        remedy.append(f"keep=({', '.join(keepable)},) keeps biases and restraints")
    remedy.append(f"ignore_forces=({names},) says that these belong to the force field; leave out what does not")
    for doubt in doubts:
        if doubt.holds:
            remedy.append(
                f"restraints among the terms of {doubt.what} have to stand in a force of their own before they can be "
                f"kept, since it holds {doubt.holds}"
            )
    raise errors.ParameterError(
        "system",
        "; ".join(f"{doubt.what}, which {doubt.reason}" for doubt in doubts),
        "a region on which it is known what is force field, which the potential replaces, and what is a bias or "
        "restraint of yours, which stays",
        "; ".join(remedy),
    )


def _groups_within(force: openmm.CustomNonbondedForce, inside: frozenset[int]) -> bool:
    groups = [force.getInteractionGroupParameters(index) for index in range(force.getNumInteractionGroups())]
    return not is_alchemical(force) and any(inside.issuperset((*one, *other)) for one, other in groups)


# --- bonded terms
# ------------------------------------------------------------------------------------------------------------------


def _judge_terms(survey: Survey, index: int, force: openmm.Force, name: str, rule: str) -> tuple[_Doubt | None, str]:
    """What to ask about a bonded force, or why it stays as a whole; neither for force field."""
    if is_alchemical(force):
        return None, ""
    whole = whole_reason(force)
    regular = 0
    doubtful: list[tuple[Term, str]] = []
    removed: list[tuple[Term, str]] = []
    for term in survey.terms[index]:
        if survey.atoms.inside.isdisjoint(term.atoms):
            continue
        reason = whole or survey.reason(index, force, term)
        if not reason:
            regular += 1
            continue
        doubtful.append((term, reason))
        if belongs_to_region(force, term.atoms, term.entry, survey.atoms, rule):
            removed.append((term, reason))
    if removed:
        term, reason = removed[0]
        labels = " - ".join(survey.graph.labels[atom] for atom in term.atoms)
        more = f" ({len(removed)} terms in all)" if len(removed) > 1 else ""
        what = f"force {index}, {force_label(force)}"
        main = _main_terms(survey, index)
        return _Doubt(what, name, f"has a term on {labels} that {reason}{more}", main), ""
    return None, "none of its terms lies within the region" if doubtful and not regular else ""


def _main_terms(survey: Survey, index: int) -> str:
    """What of the region's bonds, angles or torsions a force holds as the force field does; empty for a bias."""
    near, inside = survey.graph.neighbours, survey.atoms.inside
    degrees = {atom: len(near[atom] & inside) for atom in inside}
    bonds = survey.graph.inner_bonds(inside)
    possible = {
        "bond": len(bonds),
        "angle": sum(number * (number - 1) // 2 for number in degrees.values()),
        "torsion": sum((degrees[one] - 1) * (degrees[two] - 1) for one, two in bonds),
    }
    for shape, number in possible.items():
        terms = [term.atoms for term in survey.terms.get(index, []) if term.shape == shape]
        own = {atoms for atoms in terms if inside.issuperset(atoms)}
        counts = [count for (_, kind), count in survey.served.items() if kind == shape]
        others = sum(sum(count.values()) - count[index] for count in counts)
        if len(own) >= 3 and 2 * len(own) > number and others < len(own):
            return f"{len(own)} of the region's {number} {shape}s"
    return ""


def _refuse_force_field(survey: Survey, index: int, force: openmm.Force) -> None:
    terms = _main_terms(survey, index)
    if terms:
        raise errors.ParameterError(
            "keep",
            f"{force_label(force)}, the one force that holds {terms}",
            "biases and restraints: the force field of the region is what the potential replaces",
            "put the bias into a force of its own and keep that, or add it to the hybrid's system afterwards",
        )


# --- constraints
# ------------------------------------------------------------------------------------------------------------------


def _judge_constraints(system: openmm.System, survey: Survey, named: Collection[Pair]) -> list[_Doubt]:
    graph = survey.graph
    constrained = {pair(*system.getConstraintParameters(i)[:2]) for i in range(system.getNumConstraints())}
    shares: dict[tuple[int, str], float] = {}
    doubts = []
    for _, *ends in inner_constraints(system, survey.atoms.inside):
        one, two = pair(*ends)
        molecule = survey.members[survey.molecules[one]]
        if (one, two) in named or (len(molecule) == TRIATOMIC and two in molecule):
            continue
        kind = _constraint_kind(graph, one, two)
        key = (survey.molecules[one], kind)
        if kind and key not in shares:
            peers = [peer for peer in _near_pairs(graph, molecule) if _constraint_kind(graph, *peer) == kind]
            shares[key] = sum(peer in constrained for peer in peers) / len(peers)
        if not kind or shares[key] < 0.5:
            reason = f"is one of few on {kind} in its molecule" if kind else "is on atoms that no bond joins"
            doubts.append(_Doubt(f"the constraint {graph.describe(one, two)}", f"({one}, {two})", reason))
    return doubts


def _near_pairs(graph: BondGraph, molecule: Iterable[int]) -> set[Pair]:
    pairs = set()
    for atom in molecule:
        pairs |= {pair(atom, other) for other in graph.neighbours[atom]}
        pairs |= {pair(*ends) for ends in combinations(graph.neighbours[atom], 2)}
    return pairs


def _constraint_kind(graph: BondGraph, one: int, two: int) -> str:
    hydrogens = (graph.numbers[one] == 1) + (graph.numbers[two] == 1)
    if two in graph.neighbours[one]:
        return "bonds to hydrogen" if hydrogens else "bonds"
    centres = graph.neighbours[one] & graph.neighbours[two]
    oxygen = any(graph.numbers[atom] == 8 for atom in centres)
    return "angles of hydrogens" if centres and (hydrogens == 2 or (hydrogens and oxygen)) else ""
