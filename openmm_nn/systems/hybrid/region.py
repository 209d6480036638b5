"""The region: the atoms that a potential describes, the bonds that are cut around it, and the links that close them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from ... import errors
from ...engine.force import Link
from ...model.card_values import element_symbol
from ...selection import select_atoms
from ...tables import Block, Table, as_html, as_text
from .bond_graph import EXPANSIONS, BondGraph, expand_atoms
from .boundary import CutBond, make_cuts

__all__ = ["Region", "RegionLike", "as_region", "select_region"]

_MOST_NAMES = 8


@dataclass(frozen=True, repr=False)
class Region:
    """The atoms that a potential describes; made by `select_region`, printed as tables.

    Parameters
    ----------
    indices : tuple of int
        Indices of the atoms in the System, in the order in which the potential sees them.
    elements : tuple of str
        Element symbols, in that order.
    labels : tuple of str
        Names of the atoms, for tables and messages.
    bonds : tuple of (int, int)
        Bonds between two atoms of the region.
    cuts : tuple of CutBond
        Bonds that leave the region, with the link atom of each, and what forbids the cut if something does.
    classical_charge : float or None
        Sum of the atoms' classical charges in e; None if no force has charges.
    expansions : mapping of str to tuple of int
        The atoms that each value of `expand` would add.
    particles : int
        Number of particles of the System.

    Examples
    --------
    >>> from openmm import System
    >>> from openmm.app import Element, Topology
    >>> from openmm_nn import select_region
    >>> topology, system = Topology(), System()
    >>> residue = topology.addResidue("HOH", topology.addChain())
    >>> oxygen, first, second = (topology.addAtom(n, Element.getBySymbol(n[0]), residue) for n in ("O", "H1", "H2"))
    >>> topology.addBond(oxygen, first), topology.addBond(oxygen, second)
    (None, None)
    >>> for _ in topology.atoms():
    ...     _ = system.addParticle(1.0)
    >>> region = select_region(topology, system, "resname HOH")
    >>> region
    Region(3 atoms, H2O, no classical charges, 0 cut bonds)
    >>> region.atoms
    array([0, 1, 2])
    """

    indices: tuple[int, ...]
    elements: tuple[str, ...]
    labels: tuple[str, ...]
    bonds: tuple[tuple[int, int], ...]
    cuts: tuple[CutBond, ...]
    classical_charge: float | None
    expansions: Mapping[str, tuple[int, ...]] = field(hash=False)
    particles: int

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    @cached_property
    def atoms(self) -> NDArray[np.int64]:
        """Indices of the atoms as an array (n,), int64, that indexes other arrays: ``positions[region.atoms]``."""
        array = np.array(self.indices, dtype=np.int64)
        array.flags.writeable = False
        return array

    @property
    def atomic_numbers(self) -> tuple[int, ...]:
        """Atomic numbers, in the order of `atoms`."""
        return tuple(app.Element.getBySymbol(symbol).atomic_number for symbol in self.elements)

    @property
    def formula(self) -> str:
        """Hill formula of the region, without link atoms."""
        return hill_formula(self.elements)

    @property
    def guessed_charge(self) -> int:
        """Formal charge in e that the classical charges suggest: their sum, rounded. A guess."""
        return round(self.classical_charge or 0.0)

    @property
    def cut_bonds(self) -> tuple[tuple[int, int], ...]:
        """The bonds that leave the region: the atom inside first."""
        return tuple((cut.inside, cut.outside) for cut in self.cuts)

    @property
    def links(self) -> tuple[Link, ...]:
        """The link atom of each cut bond."""
        return tuple(cut.link for cut in self.cuts)

    def check_cuts(self) -> None:
        """Refuse a region with a bond that must not be cut.

        Raises
        ------
        BoundaryError
            The first thing that forbids a cut.
        """
        for cut in self.cuts:
            if cut.refusal is not None:
                raise cut.refusal.rename(cut.refusal.argument)

    def __repr__(self) -> str:
        return f"Region({len(self)} atoms, {self.formula}, {self._charge()}, {_counted(len(self.cuts), 'cut bond')})"

    def __str__(self) -> str:
        return as_text(self._blocks())

    def _repr_html_(self) -> str:
        return as_html(self._blocks())

    def _charge(self) -> str:
        return "no classical charges" if self.classical_charge is None else f"guessed charge {self.guessed_charge:+d} e"

    def _blocks(self) -> list[Block]:
        total = self.classical_charge
        known = "" if total is None else f" (classical charges add up to {total:+.4f} e)"
        head = f"region of {_counted(len(self), 'atom')}, {self.formula}, {self._charge()}{known}"
        names = ", ".join(self.labels[:_MOST_NAMES])
        more = f" and {len(self) - _MOST_NAMES} more" if len(self) > _MOST_NAMES else ""
        rows = [
            (*cut.names, f"{cut.kind.kind} ({cut.kind.evidence})", "yes" if cut.refusal is None else "no", _why(cut))
            for cut in self.cuts
        ]
        header = ("in the region (Q)", "outside (M)", "bond", "may be cut", "why not, and what to do")
        cuts: Block = Table("cut bonds", header, rows) if rows else "no bond is cut"
        grown = [(f"expand={name!r}", _added(atoms)) for name, atoms in self.expansions.items()]
        return [head, f"atoms: {names}{more}", cuts, Table("larger regions", ("option", "adds"), grown)]


def hill_formula(elements: Iterable[str]) -> str:
    """Write the formula of some atoms: carbon first, then hydrogen, then the others in alphabetical order.

    Examples
    --------
    >>> from openmm_nn.systems.hybrid.region import hill_formula
    >>> hill_formula(["O", "H", "C", "H", "H", "H"])
    'CH4O'
    """
    counts = Counter(elements)
    order = (["C", "H"] if "C" in counts else []) + sorted(set(counts) - ({"C", "H"} if "C" in counts else set()))
    return "".join(f"{symbol}{counts[symbol] if counts[symbol] > 1 else ''}" for symbol in order if counts[symbol])


RegionLike = Region | str | Iterable[int] | Iterable[bool]
"""What is taken for a region: a Region, an MDTraj selection, atom indices, or one truth value for each atom."""


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _added(atoms: tuple[int, ...]) -> str:
    if not atoms:
        return "nothing"
    shown = ", ".join(map(str, atoms[:_MOST_NAMES]))
    return f"{_counted(len(atoms), 'atom')}: {shown}{', ...' if len(atoms) > _MOST_NAMES else ''}"


def _why(cut: CutBond) -> str:
    return "" if cut.refusal is None else f"{cut.refusal.got}; {cut.refusal.remedy}"


def select_region(
    topology: app.Topology,
    system: openmm.System,
    selection: RegionLike,
    *,
    expand: str | None = None,
    link: str = "fixed",
    link_distances: Mapping[tuple[int, int], Any] | Iterable[tuple[int, int, Any]] | None = None,
    allow_cuts: Iterable[tuple[int, int]] = (),
) -> Region:
    """Choose the atoms that a potential will describe, and look at the bonds that are cut around them.

    No potential is needed. A cut that is not sound raises nothing here: the printed region says which cuts are refused,
    why, and what to do; `create_hybrid_system` raises it.

    Parameters
    ----------
    topology : openmm.app.Topology
    system : openmm.System
        The classical System of that topology, whose bond forces and constraints tell of bonds too.
    selection : str, iterable of int, boolean mask, or Region
        An MDTraj selection, atom indices in any order, one truth value for each atom, or a region to choose again with
        other options.
    expand : {None, "residue", "molecule"}
        Fill the region up to whole residues or molecules.
    link : {"fixed", "ratio"}
        Whether a link atom keeps its distance from the region's atom, or stays at a fixed fraction of the cut bond.
    link_distances : mapping of (int, int) to float or Quantity, or iterable of (int, int, distance), optional
        Distances of link atoms in nm, in place of the sums of covalent radii.
    allow_cuts : iterable of (int, int)
        Cut bonds that are wanted although the region would be refused for them.

    Returns
    -------
    Region

    Raises
    ------
    ParameterError
        If an option has a value that does not exist, or names a bond that is not cut.
    ParticleError
        If the region is empty, repeats atoms, or names atoms that do not exist or have no element, or if topology and
        System have different numbers of particles.
    UnsupportedError
        If a particle of the region is a virtual site, or places one.

    Examples
    --------
    Ethane, of which one carbon is taken with its hydrogens:

    >>> from openmm import System
    >>> from openmm.app import Element, Topology
    >>> from openmm_nn import select_region
    >>> topology, system = Topology(), System()
    >>> residue = topology.addResidue("ETH", topology.addChain())
    >>> atoms = [topology.addAtom(n, Element.getBySymbol(n[0]), residue) for n in ("C1", "C2", *(6 * ["H"]))]
    >>> for first, second in [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (1, 6), (1, 7)]:
    ...     topology.addBond(atoms[first], atoms[second])
    >>> for _ in atoms:
    ...     _ = system.addParticle(1.0)
    >>> methyl = select_region(topology, system, [0, 2, 3, 4])
    >>> methyl.formula, methyl.cut_bonds
    ('CH3', ((0, 1),))
    >>> methyl.check_cuts()
    >>> select_region(topology, system, methyl, expand="molecule").formula
    'C2H6'
    """
    graph = make_graph(topology, system)
    given = selection.indices if isinstance(selection, Region) else selection
    atoms = expand_atoms(graph, select_atoms(topology, given, argument="region"), expand)
    cuts = make_cuts(graph, atoms, link=link, link_distances=link_distances, allow_cuts=allow_cuts)
    return _describe(graph, system, atoms, cuts)


def check_kinds(topology: Any, system: Any) -> None:
    """Refuse a topology or a System that is none, as arguments in another order are.

    Raises
    ------
    ParameterError
        If that is so.
    """
    for name, value, kind in (("topology", topology, app.Topology), ("system", system, openmm.System)):
        if not isinstance(value, kind):
            raise errors.ParameterError(
                name,
                f"a {type(value).__name__}",
                f"a {kind.__name__} of OpenMM",
                "give the arguments in the order topology, system, potential, region",
            )


def make_graph(
    topology: app.Topology,
    system: openmm.System,
    leave_out: Collection[int] = (),
    unbonded: Collection[tuple[int, int]] = (),
) -> BondGraph:
    """Read the bonds, after the check that topology and System belong together; see `BondGraph.of`.

    Raises
    ------
    ParameterError
        If they are something else, such as arguments in another order.
    ParticleError
        If they have different numbers of particles.
    """
    check_kinds(topology, system)
    if topology.getNumAtoms() != system.getNumParticles():
        raise errors.ParticleError(
            "topology",
            f"{topology.getNumAtoms()} atoms, with {system.getNumParticles()} particles in the System",
            "one particle for each atom",
            "give the topology that the System was made from",
        )
    return BondGraph.of(topology, system, leave_out=leave_out, unbonded=unbonded)


def _describe(graph: BondGraph, system: openmm.System, atoms: tuple[int, ...], cuts: tuple[CutBond, ...]) -> Region:
    check_sites(system, graph, frozenset(atoms))
    charges = classical_charges(system)
    return Region(
        indices=atoms,
        elements=_elements(graph, atoms),
        labels=tuple(graph.labels[atom] for atom in atoms),
        bonds=tuple(graph.inner_bonds(atoms)),
        cuts=cuts,
        classical_charge=None if charges is None else float(np.sum(charges[list(atoms)])),
        expansions={name: _more(graph, atoms, name) for name in EXPANSIONS},
        particles=len(graph.numbers),
    )


def _more(graph: BondGraph, atoms: tuple[int, ...], expand: str) -> tuple[int, ...]:
    inside = set(atoms)
    return tuple(atom for atom in expand_atoms(graph, atoms, expand) if atom not in inside)


def _elements(graph: BondGraph, atoms: tuple[int, ...]) -> tuple[str, ...]:
    for atom in atoms:
        if not graph.numbers[atom]:
            raise errors.ParticleError(
                "region",
                f"{graph.labels[atom]}, which has no element in the topology",
                "atoms with an element",
                "set the element, or leave the atom out of the region if it is a virtual site",
            )
    return tuple(element_symbol(graph.numbers[atom]) for atom in atoms)


def as_region(graph: BondGraph, topology: app.Topology, system: openmm.System, region: RegionLike) -> Region:
    """Return a region as it was made, or make one with the default options.

    Parameters
    ----------
    graph : BondGraph
        Of this topology and System.
    topology : openmm.app.Topology
    system : openmm.System
    region : Region, str, iterable of int, or boolean mask

    Returns
    -------
    Region

    Raises
    ------
    ParticleError
        If the region was made for another System, or as in `select_region`.
    """
    if not isinstance(region, Region):
        atoms = select_atoms(topology, region, argument="region")
        return _describe(graph, system, atoms, make_cuts(graph, atoms))
    atoms = region.indices
    if region.particles != len(graph.numbers) or (
        (region.labels, region.bonds, region.cut_bonds)
        != (tuple(graph.labels[i] for i in atoms), tuple(graph.inner_bonds(atoms)), tuple(graph.cut_bonds(atoms)))
    ):
        raise errors.ParticleError(
            "region",
            f"{region!r}, which was made for another topology or System",
            "a region of this topology and System",
            "call select_region(topology, system, ...) with the ones that are given here",
        )
    # The charges are those of this System, whichever the region was made for.
    return _describe(graph, system, atoms, region.cuts)


def check_sites(system: openmm.System, graph: BondGraph, inside: Collection[int]) -> None:
    """Refuse virtual sites in the region, or built on its atoms.

    Parameters
    ----------
    system : openmm.System
    graph : BondGraph
    inside : collection of int

    Raises
    ------
    UnsupportedError
        If a particle of the region is a virtual site, or a virtual site has a parent in the region.
    """
    for index in range(system.getNumParticles()):
        if not system.isVirtualSite(index):
            continue
        site = system.getVirtualSite(index)
        parents = [site.getParticle(number) for number in range(site.getNumParticles())]
        on_region = [graph.labels[parent] for parent in parents if parent in inside]
        if index in inside or on_region:
            what = "is in the region" if index in inside else f"is placed by {on_region[0]}, an atom of the region"
            raise errors.UnsupportedError(
                "region",
                f"{graph.labels[index]}, which is a virtual site and {what}",
                "atoms that carry no virtual site, since a potential describes atoms only",
                "leave that molecule out, or use a model without virtual sites for it",
            )


def classical_charges(system: openmm.System) -> NDArray[np.float64] | None:
    """Charges of all particles, summed over the NonbondedForces of a System.

    Parameters
    ----------
    system : openmm.System

    Returns
    -------
    numpy.ndarray, shape (n_particles,), float64, e, or None
        None if there is no NonbondedForce.
    """
    forces = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    if not forces:
        return None
    charges = np.zeros(system.getNumParticles())
    for force in forces:
        charges += [
            force.getParticleParameters(i)[0].value_in_unit(unit.elementary_charge)
            for i in range(force.getNumParticles())
        ]
    return charges
