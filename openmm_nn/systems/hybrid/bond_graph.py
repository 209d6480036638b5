"""The covalent bonds of a System, from its topology, bond forces and constraints."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import openmm
from openmm import app, unit

from ... import errors
from .radii import covalent_radius

# A pair of the force field whose equilibrium length exceeds the sum of its covalent radii by more than this is no bond
# but a Urey-Bradley or other 1-3 term: the shortest such pairs (H-H in water, 0.151 nm) lie far above, stretched bonds
# far below.
_LONGEST_BOND = 1.25
# A shorter one is no bond either, but a restraint that pulls two atoms together.
_SHORTEST_BOND = 0.6

# Bond types that a topology may state, and what orders stand for; 4 is the aromatic bond of MDL files.
_TYPES = ("single", "double", "triple", "aromatic", "amide")
_ORDERS = {1: "single", 1.5: "aromatic", 2: "double", 3: "triple", 4: "aromatic"}

EXPANSIONS = ("residue", "molecule")


def pair(first: int, second: int) -> tuple[int, int]:
    """Two atom indices in ascending order: the name of a bond."""
    return (first, second) if first < second else (second, first)


@dataclass(frozen=True)
class BondGraph:
    """The covalent bonds of a System, from its topology, bond forces and constraints.

    Topologies read from PDB files lack bonds of non-standard residues; the force field knows them. A harmonic bond or a
    constraint that the topology does not list counts as a bond where its length is that of one (0.6 to 1.25 times
    the sum of the covalent radii), which leaves Urey-Bradley pairs and the H-H constraint of rigid water out.

    Parameters
    ----------
    neighbours : tuple of set of int
        The bonded atoms of each atom.
    lengths : dict
        Equilibrium length in nm of each pair that has a harmonic bond or a constraint.
    types : dict
        Bond type in lower case (``single``, ``double``, ``triple``, ``aromatic``, ``amide``) of each pair whose
        topology states it.
    numbers : tuple of int
        Atomic numbers, so that isotopes are their element; 0 for virtual sites.
    labels : tuple of str
        A name of each atom for messages: chain, residue, atom and index.
    residues : tuple of int
        Residue index of each atom.
    names : tuple of str
        Atom names.
    residue_names : tuple of str
        Residue name of each atom.
    """

    neighbours: tuple[set[int], ...]
    lengths: dict[tuple[int, int], float]
    types: dict[tuple[int, int], str]
    numbers: tuple[int, ...]
    labels: tuple[str, ...]
    residues: tuple[int, ...]
    names: tuple[str, ...]
    residue_names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        topology: app.Topology,
        system: openmm.System,
        *,
        leave_out: Collection[int] = (),
        unbonded: Collection[tuple[int, int]] = (),
    ) -> BondGraph:
        """Read the bonds of a topology and a System.

        Parameters
        ----------
        topology : openmm.app.Topology
        system : openmm.System
            With one particle for each atom of the topology.
        leave_out : collection of int
            Indices of forces that are biases, so that their terms are no bonds.
        unbonded : collection of (int, int)
            Atoms of constraints that are the user's own, ascending.

        Returns
        -------
        BondGraph
        """
        atoms = list(topology.atoms())
        numbers = [atom.element.atomic_number if atom.element is not None else 0 for atom in atoms]
        neighbours: tuple[set[int], ...] = tuple(set() for _ in atoms)
        types: dict[tuple[int, int], str] = {}

        for bond in topology.bonds():
            first, second = bond.atom1.index, bond.atom2.index
            if not (numbers[first] and numbers[second]):
                continue
            neighbours[first].add(second)
            neighbours[second].add(first)
            stated = str(bond.type).lower() if bond.type is not None else _ORDERS.get(bond.order)
            if stated in _TYPES:
                types[pair(first, second)] = stated

        lengths = _equilibrium_lengths(system, leave_out, unbonded)
        for (first, second), length in lengths.items():
            if numbers[first] and numbers[second] and second not in neighbours[first]:
                radii = covalent_radius(numbers[first]) + covalent_radius(numbers[second])
                if _SHORTEST_BOND * radii <= length <= _LONGEST_BOND * radii:
                    neighbours[first].add(second)
                    neighbours[second].add(first)
        return cls(
            neighbours,
            lengths,
            types,
            tuple(numbers),
            tuple(f"{atom.residue.name}{atom.residue.id}:{atom.name} (atom {atom.index})" for atom in atoms),
            tuple(atom.residue.index for atom in atoms),
            tuple(atom.name for atom in atoms),
            tuple(atom.residue.name for atom in atoms),
        )

    def molecule(self, atoms: Iterable[int]) -> set[int]:
        """All atoms that bonds connect to the given ones, those included."""
        found = set(atoms)
        queue = deque(found)
        while queue:
            for other in self.neighbours[queue.popleft()]:
                if other not in found:
                    found.add(other)
                    queue.append(other)
        return found

    def inner_bonds(self, atoms: Iterable[int]) -> list[tuple[int, int]]:
        """List the bonds with both atoms among the given ones, each once, ascending."""
        inside = set(atoms)
        return sorted((i, j) for i in inside for j in self.neighbours[i] if i < j and j in inside)

    def cut_bonds(self, atoms: Iterable[int]) -> list[tuple[int, int]]:
        """List the bonds with one atom among the given ones: that atom first, ascending."""
        inside = set(atoms)
        return sorted((i, j) for i in inside for j in self.neighbours[i] if j not in inside)

    def describe(self, first: int, second: int) -> str:
        """Describe a bond in words."""
        return f"{self.labels[first]} - {self.labels[second]}"


def _equilibrium_lengths(
    system: openmm.System, leave_out: Collection[int], unbonded: Collection[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    lengths: dict[tuple[int, int], float] = {}
    for index in range(system.getNumConstraints()):
        first, second, length = system.getConstraintParameters(index)
        if pair(first, second) not in unbonded:
            lengths[pair(first, second)] = length.value_in_unit(unit.nanometer)
    for number, force in enumerate(system.getForces()):
        if isinstance(force, openmm.HarmonicBondForce) and number not in leave_out:
            for index in range(force.getNumBonds()):
                first, second, length, strength = force.getBondParameters(index)
                if strength._value > 0:
                    lengths.setdefault(pair(first, second), length.value_in_unit(unit.nanometer))
    return lengths


def expand_atoms(graph: BondGraph, atoms: tuple[int, ...], expand: str | None) -> tuple[int, ...]:
    """Fill a region up to whole residues or molecules.

    Parameters
    ----------
    graph : BondGraph
    atoms : tuple of int
    expand : {None, "residue", "molecule"}

    Returns
    -------
    tuple of int
        The same atoms, or the filled region in ascending order.

    Raises
    ------
    ParameterError
        If `expand` has another value.
    """
    if expand is None:
        return atoms
    if expand == "molecule":
        return tuple(sorted(graph.molecule(atoms)))
    if expand == "residue":
        chosen = {graph.residues[atom] for atom in atoms}
        return tuple(index for index, residue in enumerate(graph.residues) if residue in chosen)
    raise errors.ParameterError(
        "expand",
        f"{expand!r}",
        f"None, {', '.join(map(repr, EXPANSIONS))}",
        "choose one of these",
    )
