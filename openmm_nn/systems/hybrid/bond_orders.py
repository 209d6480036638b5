"""What kind of bond a cut goes through, told without bond orders.

Topologies seldom state bond orders, so they are inferred from evidence, in this sequence; the first that speaks
decides.

1. A contact with a metal is ``metal``, whatever a file calls it. A bond to hydrogen is ``X-H``.
2. The topology's own bond type, where it is not single. One that is stated to be single goes through all that follows,
   since Kekulé structures call amides and half of an aromatic ring single, and counts only where nothing else speaks.
3. The template of a standard amino acid or nucleotide residue, by atom names.
4. Neighbour counts (in all-atom residues, those with hydrogens). Carbon with four neighbours has single bonds only.
   C(=O)-N and C(=S)-N are ``amide``. A bond between unsaturated atoms of one ring of five to seven, all unsaturated, is
   ``aromatic``. A bond to an oxygen or sulphur without other neighbours is ``double``. Carbon with two neighbours bound
   to a likewise unsaturated atom is ``triple``. Other bonds between unsaturated atoms are judged by the next line;
   without a length they are ``double``.
5. The force field's equilibrium length: shorter than 0.96 of the sum of the single-bond covalent radii (0.144 nm for
   C-C, 0.140 nm for C-N) is ``double``, or ``conjugated`` from carbon to nitrogen with three neighbours; longer is
   ``single``.
6. ``unknown``: no hydrogens to count by, and no length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .bond_graph import BondGraph, pair
from .radii import covalent_radius

_SINGLE_BOND_FRACTION = 0.96

# Atomic numbers of all that is no metal, metalloids included: their bonds are single bonds of the main group.
_NO_METALS = {1, 2, *range(5, 11), *range(14, 19), *range(32, 37), *range(51, 55), 85, 86}
# Single bonds of carbon, nitrogen, oxygen, sulphur, silicon and boron.
_VALENCES = {6: 4, 7: 3, 8: 2, 16: 2, 14: 4, 5: 3}

_AMINO_ACIDS = {
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE", "LEU", "LYS", "MET", "PHE", "PRO", "SER"),
    *("THR", "TRP", "TYR", "VAL", "ASH", "CYM", "CYX", "GLH", "HID", "HIE", "HIP", "HSD", "HSE", "HSP", "HYP", "LYN"),
    *("ACE", "NME", "NMA"),
}
_NUCLEOTIDES = {"A", "C", "G", "U", "DA", "DC", "DG", "DT", "ADE", "CYT", "GUA", "THY", "URA"}
_NUCLEOTIDES |= {name + end for name in ("A", "C", "G", "U", "DA", "DC", "DG", "DT") for end in "35"}

_RINGS = {
    **dict.fromkeys(("PHE", "TYR"), ("CG CD1 CE1 CZ CE2 CD2",)),
    **dict.fromkeys(("HIS", "HID", "HIE", "HIP", "HSD", "HSE", "HSP"), ("CG ND1 CE1 NE2 CD2",)),
    "TRP": ("CG CD1 NE1 CE2 CD2", "CD2 CE2 CZ2 CH2 CZ3 CE3"),
}
_RING_ATOMS = {name: [set(ring.split()) for ring in rings] for name, rings in _RINGS.items()}

_OTHER_KINDS = {
    ("ARG", frozenset(("CZ", "NE"))): "conjugated",
    ("ARG", frozenset(("CZ", "NH1"))): "conjugated",
    ("ARG", frozenset(("CZ", "NH2"))): "conjugated",
    ("ASN", frozenset(("CG", "ND2"))): "amide",
    ("GLN", frozenset(("CD", "NE2"))): "amide",
}


@dataclass(frozen=True)
class BondKind:
    """The kind of a bond and what says so.

    Parameters
    ----------
    kind : str
        ``single``, ``double``, ``triple``, ``aromatic``, ``amide``, ``conjugated``, ``X-H``, ``metal`` or ``unknown``.
    evidence : str
        What the kind was inferred from.
    """

    kind: str
    evidence: str


def bond_kind(graph: BondGraph, first: int, second: int) -> BondKind:
    """Infer what kind of bond joins two atoms, by the rules at the head of this module.

    Parameters
    ----------
    graph : BondGraph
    first, second : int
        Bonded atoms, both with elements.

    Returns
    -------
    BondKind
    """
    if is_metal(graph, first) or is_metal(graph, second):
        return BondKind("metal", "element")
    if 1 in (graph.numbers[first], graph.numbers[second]):
        return BondKind("X-H", "element")

    stated = graph.types.get(pair(first, second))
    if stated is not None and stated != "single":
        return BondKind(stated, "bond type in the topology")
    found = _by_structure(graph, first, second)
    if stated is None:
        return found
    if found.kind in ("single", "unknown"):
        return BondKind("single", "bond type in the topology")
    return BondKind(found.kind, f"{found.evidence} of a bond stated to be single")


def is_metal(graph: BondGraph, atom: int) -> bool:
    """Whether an atom is of a metal, whose bonds no hydrogen closes."""
    return graph.numbers[atom] not in _NO_METALS


def _by_structure(graph: BondGraph, first: int, second: int) -> BondKind:
    template = _by_template(graph, first, second)
    if template is not None:
        return BondKind(template, f"residue template {graph.residue_names[first]}")
    if _amide(graph, first, second):
        return BondKind("amide", "neighbour counts")
    if _all_atom(graph, first, second):
        return _by_neighbours(graph, first, second)
    short = _is_short(graph, first, second)
    if short is None:
        return BondKind("unknown", "no hydrogens to count neighbours by, no equilibrium length")
    return BondKind("double" if short else "single", _length_text(graph, first, second))


def _is_short(graph: BondGraph, first: int, second: int) -> bool | None:
    length = graph.lengths.get(pair(first, second))
    if length is None:
        return None
    return length < _SINGLE_BOND_FRACTION * sum(covalent_radius(graph.numbers[atom]) for atom in (first, second))


def _length_text(graph: BondGraph, first: int, second: int) -> str:
    return f"equilibrium length {graph.lengths[pair(first, second)]:.4f} nm"


def _all_atom(graph: BondGraph, first: int, second: int) -> bool:
    """Whether the neighbourhood has explicit hydrogens, so that counting neighbours means something."""
    near = {first, second}
    for _ in range(3):
        near |= {other for atom in near for other in graph.neighbours[atom]}
    return any(graph.numbers[atom] == 1 for atom in near)


def _by_template(graph: BondGraph, first: int, second: int) -> str | None:
    residues = graph.residue_names[first], graph.residue_names[second]
    names = graph.names[first], graph.names[second]
    heavy = {graph.numbers[first], graph.numbers[second]}
    same = graph.residues[first] == graph.residues[second]
    if all(name in _AMINO_ACIDS for name in residues):
        if not same:
            return {frozenset((6, 7)): "amide", frozenset((16,)): "single"}.get(frozenset(heavy))
        residue = residues[0]
        other = _OTHER_KINDS.get((residue, frozenset(names)))
        if other is not None:
            return other
        if any(ring.issuperset(names) for ring in _RING_ATOMS.get(residue, ())):
            return "aromatic"
        oxygen = first if graph.numbers[first] == 8 else second
        if 8 in heavy and len(graph.neighbours[oxygen]) == 1:
            return "double"
        return "single" if {"N", "C"} >= set(names) or {"CA", "CB"} & set(names) else None
    if all(name in _NUCLEOTIDES for name in residues) and any(name.endswith("'") for name in names):
        return "single"
    return None


def _unsaturated(graph: BondGraph, atom: int) -> bool:
    """Whether an atom has fewer neighbours than single bonds alone would need."""
    return len(graph.neighbours[atom]) < _VALENCES.get(graph.numbers[atom], 0)


def _terminal(graph: BondGraph, atom: int) -> bool:
    return graph.numbers[atom] in (8, 16) and len(graph.neighbours[atom]) == 1


def _amide(graph: BondGraph, first: int, second: int) -> bool:
    for carbon, nitrogen in ((first, second), (second, first)):
        if graph.numbers[carbon] == 6 and graph.numbers[nitrogen] == 7 and len(graph.neighbours[carbon]) == 3:
            return any(_terminal(graph, other) for other in graph.neighbours[carbon])
    return False


def _rings(graph: BondGraph, first: int, second: int, longest: int = 7) -> Iterator[tuple[int, ...]]:
    """Rings of five to `longest` atoms that contain a bond."""

    def walk(path: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        for other in graph.neighbours[path[-1]]:
            if other == first and len(path) >= 5:
                yield path
            elif other not in path and len(path) < longest:
                yield from walk((*path, other))

    yield from walk((first, second))


def _aromatic(graph: BondGraph, first: int, second: int) -> bool:
    def in_plane(atom: int) -> bool:
        count, number = len(graph.neighbours[atom]), graph.numbers[atom]
        return (
            (number == 6 and count == 3) or (number in (7, 5) and count <= 3) or (number in (8, 16, 34) and count == 2)
        )

    if not (in_plane(first) and in_plane(second)):
        return False
    for ring in _rings(graph, first, second):
        if all(in_plane(atom) for atom in ring) and sum(_unsaturated(graph, atom) for atom in ring) >= len(ring) - 1:
            return True
    return False


def _by_neighbours(graph: BondGraph, first: int, second: int) -> BondKind:
    counts = "neighbour counts"
    if _aromatic(graph, first, second):
        return BondKind("aromatic", counts)
    if _terminal(graph, first) or _terminal(graph, second):
        return BondKind("double", counts)
    unsaturated = _unsaturated(graph, first) and _unsaturated(graph, second)
    if unsaturated and any(graph.numbers[atom] == 6 and len(graph.neighbours[atom]) == 2 for atom in (first, second)):
        return BondKind("triple", counts)

    short = _is_short(graph, first, second)
    for carbon, nitrogen in ((first, second), (second, first)):
        plane = graph.numbers[carbon] == 6 and graph.numbers[nitrogen] == 7 and len(graph.neighbours[carbon]) == 3
        if plane and len(graph.neighbours[nitrogen]) >= 3 and short is not False:
            return BondKind("conjugated", counts if short is None else _length_text(graph, first, second))
    if not unsaturated:
        return BondKind("single", counts)
    if short is None:
        return BondKind("double", f"{counts}, no equilibrium length to tell it from a single bond")
    return BondKind("double" if short else "single", f"{counts}, {_length_text(graph, first, second)}")
