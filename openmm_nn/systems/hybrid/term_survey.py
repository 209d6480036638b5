"""The bonded terms of the molecules that reach into a region, and what makes one look like a bias."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import openmm

from .bond_graph import BondGraph
from .bonded import BONDED_TYPES, RegionAtoms, iterate_terms, term_shape

_RESTRAINTS = "lambda_restraints"
_ALCHEMICAL = ("lambda_bonds", "lambda_angles", "lambda_torsions", "lambda_sterics", "lambda_electrostatics")
_FEWEST_UREY_BRADLEY = 3
_SMALLEST_UREY_BRADLEY_SHARE = 0.05  # of all angles; CHARMM36's molecules with three terms or more have at least 0.06
TRIATOMIC = 3


def _parameters(force: Any) -> list[str]:
    if not hasattr(force, "getNumGlobalParameters"):
        return []
    return [force.getGlobalParameterName(index) for index in range(force.getNumGlobalParameters())]


def is_alchemical(force: openmm.Force) -> bool:
    """Whether a parameter is one of the names that alchemical Systems have, alone or with the name of a region."""
    return any(name == known or name.startswith(f"{known}_") for name in _parameters(force) for known in _ALCHEMICAL)


def certain_bias(force: openmm.Force) -> str:
    """Why a bonded force is certainly a bias; empty if it is not."""
    if isinstance(force, openmm.CustomCentroidBondForce):
        return "a CustomCentroidBondForce is never force field"
    return f"its parameter {_RESTRAINTS} is that of restraints" if _RESTRAINTS in _parameters(force) else ""


def whole_reason(force: openmm.Force) -> str:
    """Why every term of a force may be a bias."""
    if is_alchemical(force):
        return ""
    parameters = _parameters(force)
    if parameters:
        return f"depends on the parameter {parameters[0]!r}"
    return "is a compound bond" if isinstance(force, openmm.CustomCompoundBondForce) else ""


@dataclass(frozen=True)
class Term:
    """A bonded term: its atoms, its entry in the force, and how the atoms stand in the bond graph."""

    atoms: tuple[int, ...]
    entry: list[Any]
    shape: str  # "" where the bonds do not join the atoms as the term needs
    repeated: bool
    molecule: int  # -1 for atoms of two


@dataclass
class Survey:
    """The bonded terms of all molecules that reach into the region."""

    graph: BondGraph
    atoms: RegionAtoms
    molecules: dict[int, int]
    members: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    distant: dict[int, float] = field(default_factory=dict)  # number of 1-4 pairs
    terms: dict[int, list[Term]] = field(default_factory=dict)
    served: dict[tuple[int, str], Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    has_pair_table: bool = False
    urey_bradley: bool = False

    @classmethod
    def of(cls, system: openmm.System, graph: BondGraph, atoms: RegionAtoms, named: Collection[int]) -> Survey:
        """Read the terms; forces that are named as biases or force field do not compete for a shape."""
        molecules: dict[int, int] = {}
        for atom in sorted(atoms.inside):
            if atom not in molecules:
                molecules.update(dict.fromkeys(graph.molecule([atom]), atom))
        forces = system.getForces()
        survey = cls(graph, atoms, molecules)
        for atom, molecule in molecules.items():
            survey.members[molecule].append(atom)
        survey.has_pair_table = any(isinstance(force, openmm.CustomNonbondedForce) for force in forces)
        for index, force in enumerate(forces):
            if type(force) not in BONDED_TYPES:
                continue
            survey.terms[index] = survey._read(force)
            if index in named or certain_bias(force) or whole_reason(force) or is_alchemical(force):
                continue  # neither competes for being the force field's force of its shape
            for term in survey.terms[index]:
                if term.shape and not term.repeated:
                    survey.served[term.molecule, term.shape][index] += 1
        survey.urey_bradley = _has_urey_bradley(forces, graph)
        return survey

    def _read(self, force: openmm.Force) -> list[Term]:
        terms: list[Term] = []
        seen: set[Any] = set()
        last: tuple[int, ...] = ()
        for atoms, entry in iterate_terms(force):
            owners = {self.molecules.get(atom, -1) for atom in atoms}
            if owners == {-1}:
                continue
            key = min(atoms, atoms[::-1])
            periodicity = entry[4] if isinstance(force, openmm.PeriodicTorsionForce) else None
            # A force field writes the periodicities of a torsion one after the other.
            repeated = (key, periodicity) in seen or (key in seen and key != last)
            seen |= {key, (key, periodicity)}
            last = key
            molecule = owners.pop() if len(owners) == 1 else -1
            shape = _standing(term_shape(force), atoms, self.graph) if molecule >= 0 else ""
            terms.append(Term(atoms, entry, shape, repeated, molecule))
        return terms

    def reason(self, index: int, force: openmm.Force, term: Term) -> str:
        """Why a term may be a bias; empty for force field."""
        if term.molecule < 0:
            return "joins atoms of two molecules"
        if not term.shape:
            return f"joins atoms that the bonds do not join as {_needs(term_shape(force))}"
        if term.repeated:
            return "comes a second time for the same atoms"
        if term.shape == "1-3 pair" and not self._is_urey_bradley(force, term):
            return "joins a 1-3 pair, while there are no Urey-Bradley terms"
        if term.shape == "1-4 pair" and not self._is_pair_table(index, force, term):
            return "joins a 1-4 pair"
        served = self.served[term.molecule, term.shape]
        main = max(served, key=lambda other: (served[other], -other), default=index)
        if main != index:
            return f"is for a kind of term ({term.shape}) that force {main} has for this molecule"
        return ""

    def _is_urey_bradley(self, force: openmm.Force, term: Term) -> bool:
        if not isinstance(force, openmm.HarmonicBondForce):
            return False
        molecule = self.members[term.molecule]
        number = sum(self.served[term.molecule, "1-3 pair"].values())
        return self.urey_bradley or len(molecule) <= TRIATOMIC or _enough(number, self.graph, molecule)

    def _is_pair_table(self, index: int, force: openmm.Force, term: Term) -> bool:
        if not (isinstance(force, openmm.CustomBondForce) and self.has_pair_table):
            return False
        if term.molecule not in self.distant:
            shells = [_at_distance(self.graph, atom)[3] for atom in self.members[term.molecule]]
            self.distant[term.molecule] = sum(map(len, shells)) / 2
        return 2 * self.served[term.molecule, term.shape][index] >= self.distant[term.molecule]


def _needs(shape: str) -> str:
    return {
        "bond": "a bond or a pair at its ends",
        "angle": "an angle needs",
        "torsion": "a torsion needs",
        "cmap": "a CMAP needs",
    }.get(shape, "the term needs")


def _standing(shape: str, atoms: tuple[int, ...], graph: BondGraph) -> str:
    """The shape in which atoms stand in the bond graph, empty if in none that force fields have."""
    near = graph.neighbours

    def chain(places: tuple[int, ...]) -> bool:
        distinct = len(set(places)) == len(places)
        return distinct and all(two in near[one] for one, two in pairwise(places))

    if shape == "bond":
        if atoms[1] in near[atoms[0]]:
            return "bond"
        if near[atoms[0]] & near[atoms[1]]:
            return "1-3 pair"
        return "1-4 pair" if any(near[atom] & near[atoms[1]] for atom in near[atoms[0]]) else ""
    if shape == "angle":
        return shape if chain(atoms) else ""
    if shape == "torsion":
        if chain(atoms):
            return shape
        centres = [atom for atom in atoms if set(atoms) - {atom} <= near[atom]]
        # A planar atom has three bonds; what holds the handedness of one with four is a restraint.
        return "improper" if len(set(atoms)) == 4 and any(len(near[atom]) == 3 for atom in centres) else ""
    if shape == "cmap":
        return shape if chain(atoms[:4]) and chain(atoms[4:]) else ""
    return shape


def _at_distance(graph: BondGraph, atom: int) -> list[set[int]]:
    """The atoms that are none, one, two and three bonds away."""
    found, shells = {atom}, [{atom}]
    for _ in range(3):
        shells.append({other for one in shells[-1] for other in graph.neighbours[one]} - found)
        found |= shells[-1]
    return shells


def _enough(number: int, graph: BondGraph, atoms: Iterable[int]) -> bool:
    angles = sum(len(graph.neighbours[atom]) * (len(graph.neighbours[atom]) - 1) // 2 for atom in atoms)
    return number >= max(_FEWEST_UREY_BRADLEY, _SMALLEST_UREY_BRADLEY_SHARE * angles)


def _has_urey_bradley(forces: list[openmm.Force], graph: BondGraph) -> bool:
    """Whether the System as a whole has as many harmonic 1-3 pairs as a force field with Urey-Bradley terms."""
    near = graph.neighbours
    number = 0
    for force in forces:
        if isinstance(force, openmm.HarmonicBondForce):
            for (one, two), _ in iterate_terms(force):
                if two not in near[one]:
                    # Water and other triatomic molecules may have a term of their own in any force field.
                    number += any(
                        len(near[atom]) > 2 or len(near[one] | near[two]) > 1 for atom in near[one] & near[two]
                    )
    return number > 0 and _enough(number, graph, range(len(near)))
