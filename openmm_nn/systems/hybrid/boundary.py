"""Cut bonds: where the region ends, which cuts are sound, and the link atoms that close them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from openmm import unit

from ... import errors
from ...engine.force import Link
from .bond_graph import BondGraph, pair
from .bond_orders import BondKind, bond_kind
from .radii import covalent_radius

LINK_RULES = ("fixed", "ratio")
_FARTHEST_ALTERNATIVE = 8
_LARGEST_RING = 8

_REMEDIES = {
    "X-H": "take the hydrogen and the atom that carries it on the same side",
    "double": "take both atoms of the double bond on the same side",
    "triple": "take both atoms of the triple bond on the same side",
    "aromatic": "take the whole ring system on the same side",
    "amide": "take the whole amide group on the same side",
    "conjugated": "take the whole conjugated group on the same side",
    "unknown": "state bond types in the topology",
}


@dataclass(frozen=True)
class CutBond:
    """A bond between the region and its environment, and its link atom.

    Parameters
    ----------
    inside, outside : int
        Q, the atom in the region, and M, the atom in the environment.
    kind : BondKind
        What kind of bond it is, and what says so.
    link : Link
        The link atom.
    length : float or None
        Equilibrium length of the bond in the force field, in nm.
    distance : float
        Distance from Q to the link atom in nm (with ``ratio``, at the sum of the covalent radii of Q and M).
    names : tuple of (str, str)
        Q and M in words.
    refusal : BoundaryError or None
        What forbids the cut, as the error that `create_hybrid_system` raises; None if it is sound or was allowed.
    """

    inside: int
    outside: int
    kind: BondKind
    link: Link
    length: float | None
    distance: float
    names: tuple[str, str]
    refusal: errors.BoundaryError | None = field(default=None, compare=False, repr=False)


def make_cuts(
    graph: BondGraph,
    atoms: tuple[int, ...],
    *,
    link: str = "fixed",
    link_distances: object = None,
    allow_cuts: Iterable[tuple[int, int]] = (),
) -> tuple[CutBond, ...]:
    """Examine every bond that leaves the region, and place a link atom on it.

    Parameters
    ----------
    graph : BondGraph
    atoms : tuple of int
        The region.
    link : {"fixed", "ratio"}
        Whether a link atom keeps its distance from Q, or stays at a fixed fraction of the bond.
    link_distances : mapping of (int, int) to float or Quantity, or iterable of (int, int, distance), optional
        Distances from Q to the link atom, in nm unless with a unit, in place of the sum of the covalent radii of Q and
        hydrogen. With
        ``ratio`` the distance holds for a bond as long as the sum of the covalent radii of Q and M.
    allow_cuts : iterable of (int, int)
        Cut bonds that are wanted although the guard would refuse them. Of contacts with a metal only those of carbon
        can be: a hydrogen at any other ligand makes an acid of it.

    Returns
    -------
    tuple of CutBond
        In ascending order of the atoms. What forbids a cut is noted in it and raises nothing here: a bond that is not
        single, a bond to hydrogen, a contact with a metal, a ring of at most eight atoms that is opened, another cut
        that ends on the same M, or on one that is bonded to it.

    Raises
    ------
    ParameterError
        If an option has an unknown value or names a bond that is not cut.
    """
    if link not in LINK_RULES:
        raise errors.ParameterError(
            "link",
            f"{link!r}",
            "'fixed' and 'ratio'",
            "choose one of these",
        )
    bonds = tuple(graph.cut_bonds(atoms))
    allowed = _named_cuts("allow_cuts", allow_cuts, bonds)
    distances = _read_distances(link_distances, bonds)
    return tuple(
        _make_cut(graph, bond, link, distances.get(bond), _refusal(graph, atoms, bond, bonds, allowed))
        for bond in bonds
    )


def _make_cut(
    graph: BondGraph,
    bond: tuple[int, int],
    rule: str,
    distance: float | None,
    refusal: errors.BoundaryError | None,
) -> CutBond:
    radii = [covalent_radius(graph.numbers[atom]) for atom in bond]
    if distance is None:
        distance = radii[0] + covalent_radius(1)
    value = distance if rule == "fixed" else distance / sum(radii)
    return CutBond(
        *bond,
        bond_kind(graph, *bond),
        Link(inside=bond[0], outside=bond[1], rule=rule, value=value),
        graph.lengths.get(pair(*bond)),
        distance,
        (graph.labels[bond[0]], graph.labels[bond[1]]),
        refusal,
    )


def _refusal(
    graph: BondGraph,
    atoms: tuple[int, ...],
    bond: tuple[int, int],
    bonds: tuple[tuple[int, int], ...],
    allowed: set[tuple[int, int]],
) -> errors.BoundaryError | None:
    kind = bond_kind(graph, *bond)
    try:
        if kind.kind == "metal" and (bond not in allowed or not {graph.numbers[atom] for atom in bond} & {6}):
            _refuse_metal(graph, bond)
        if bond not in allowed:
            _guard(graph, atoms, bond, kind, [other for other in bonds if other not in allowed])
    except errors.BoundaryError as error:
        return error.with_traceback(None)
    return None


def _named_cuts(
    argument: str, pairs: Iterable[tuple[int, int]], bonds: tuple[tuple[int, int], ...]
) -> set[tuple[int, int]]:
    by_pair = {pair(*bond): bond for bond in bonds}
    named = set()
    for item in pairs:
        try:
            first, second = (int(atom) for atom in item)
        except (TypeError, ValueError) as error:
            raise errors.ParameterError(
                f"{argument}",
                f"{item!r}",
                "pairs of atom indices",
                f"write {argument}=[(i, j), ...]",
            ) from error
        if pair(first, second) not in by_pair:
            known = ", ".join(map(str, bonds)) or "none"
            raise errors.ParameterError(
                argument,
                f"{(first, second)}, which is not a cut bond",
                f"the cut bonds: {known}",
                "name one of these, or leave it out",
            )
        named.add(by_pair[pair(first, second)])
    return named


def _read_distances(given: object, bonds: tuple[tuple[int, int], ...]) -> dict[tuple[int, int], float]:
    if given is None:
        return {}
    triples: list[tuple[Any, ...]] = []
    if isinstance(given, Mapping):
        triples = [(*key, value) for key, value in given.items()]
    elif isinstance(given, Iterable):
        triples = [tuple(item) for item in given]
    distances = {}
    for triple in triples:
        bond = _named_cuts("link_distances", [triple[:2]], bonds).pop()
        value: Any = triple[2]
        nanometres = value.value_in_unit(unit.nanometer) if unit.is_quantity(value) else value
        if not isinstance(nanometres, (int, float)) or not 0 < nanometres < 1:
            raise errors.ParameterError(
                "link_distances",
                f"{value!r} for the bond {bond}",
                "lengths between 0 and 1 nm",
                "give nm, or a Quantity",
            )
        distances[bond] = float(nanometres)
    return distances


def _refuse_metal(graph: BondGraph, bond: tuple[int, int]) -> None:
    remedy = "take the metal and its ligands into the region"
    if pair(*bond) not in graph.lengths:
        remedy += (
            ", or leave the contact out of the topology, so that it stays classical: Modeller(topology, "
            "positions).delete([bond]) of openmm.app, with the bond of topology.bonds()"
        )
    if 6 in {graph.numbers[atom] for atom in bond}:
        remedy += "; or, if a hydrogen in place of the metal is wanted, give {allow_cuts}"
    raise errors.BoundaryError(
        "region",
        f"a cut through a contact with a metal, {graph.describe(*bond)}",
        "cuts through single bonds between main-group atoms, since no hydrogen closes a coordination",
        remedy,
        {"allow_cuts": [bond]},
    )


def _guard(
    graph: BondGraph, atoms: tuple[int, ...], bond: tuple[int, int], kind: BondKind, others: list[tuple[int, int]]
) -> None:
    wanted, options = "; or, if this is wanted, give {allow_cuts}", {"allow_cuts": [bond]}
    if kind.kind != "single":
        words = {"unknown": "a bond of unknown order", "X-H": "an X-H bond"}.get(kind.kind)
        if words is None:
            words = f"{'an' if kind.kind[0] in 'aeiou' else 'a'} {kind.kind} bond"
        raise errors.BoundaryError(
            "region",
            f"a cut through {words}, {graph.describe(*bond)} (told by {kind.evidence})",
            "cuts through single bonds between heavy atoms",
            f"{_REMEDIES[kind.kind]}{_alternatives(graph, atoms, bond)}{wanted}",
            options,
        )
    ring = small_ring(graph, *bond)
    if ring:
        names = ", ".join(graph.names[atom] for atom in ring)
        raise errors.BoundaryError(
            "region",
            f"a cut through {graph.describe(*bond)}, which opens a ring of {len(ring)} atoms ({names})",
            f"cuts outside of rings of at most {_LARGEST_RING} atoms, which are as they are by being closed",
            f"take the whole ring on the same side{_alternatives(graph, atoms, bond)}{wanted}",
            options,
        )
    sharing = [other for other in others if other[1] == bond[1]]
    if len(sharing) > 1:
        inside = " and ".join(graph.labels[other[0]] for other in sharing)
        raise errors.BoundaryError(
            "region",
            f"two cuts that end on {graph.labels[bond[1]]}, from {inside}",
            "one cut for each atom of the environment, since two link atoms beside it would collide",
            f"take {graph.labels[bond[1]]} into the region; or, if this is wanted, give {{allow_cuts}}",
            {"allow_cuts": sharing},
        )
    beside = [other for other in others if other[1] in graph.neighbours[bond[1]]]
    if beside:
        raise errors.BoundaryError(
            "region",
            f"cuts that end on {graph.labels[bond[1]]} and on {graph.labels[beside[0][1]]}, which are bonded",
            "cuts whose atoms of the environment are not bonded, since their link atoms would be too near",
            f"take both into the region{wanted}",
            {"allow_cuts": sorted([bond, beside[0]])},
        )


def small_ring(graph: BondGraph, first: int, second: int) -> tuple[int, ...]:
    """Return the atoms of the smallest ring that contains a bond, if it has at most eight; else none.

    Parameters
    ----------
    graph : BondGraph
    first, second : int
        Bonded atoms.

    Returns
    -------
    tuple of int
        From `first` around to `second`, or empty.
    """
    parents, layer = {first: first}, [first]
    for _ in range(_LARGEST_RING - 1):
        layer = [
            other
            for atom in layer
            for other in sorted(graph.neighbours[atom])
            if {atom, other} != {first, second} and parents.setdefault(other, atom) == atom and other != first
        ]
        if second in parents:
            ring = [second]
            while ring[-1] != first:
                ring.append(parents[ring[-1]])
            return tuple(reversed(ring))
    return ()


def _alternatives(graph: BondGraph, atoms: tuple[int, ...], bond: tuple[int, int]) -> str:
    """Name the nearest single bonds between carbons, outward and inward of a bad cut, in words."""
    inside = set(atoms)
    found = []
    for start, where in ((bond[1], inside), (bond[0], set(range(len(graph.numbers))) - inside)):
        better = _nearest_sound_bond(graph, start, where)
        if better is not None:
            found.append(graph.describe(*better))
    return f", for instance by cutting {' or '.join(found)}" if found else ""


def _nearest_sound_bond(graph: BondGraph, start: int, barred: set[int]) -> tuple[int, int] | None:
    seen, queue = {start}, deque([(start, 0)])
    while queue:
        atom, depth = queue.popleft()
        for other in sorted(graph.neighbours[atom]):
            if other in seen or other in barred:
                continue
            if graph.numbers[atom] == graph.numbers[other] == 6 and not (
                bond_kind(graph, atom, other).kind != "single" or small_ring(graph, atom, other)
            ):
                return atom, other
            seen.add(other)
            if depth < _FARTHEST_ALTERNATIVE:
                queue.append((other, depth + 1))
    return None


def is_polar(graph: BondGraph, cut: CutBond) -> bool:
    """Whether a cut goes through another bond than one between carbons, which a hydrogen imitates badly."""
    return not graph.numbers[cut.inside] == graph.numbers[cut.outside] == 6
