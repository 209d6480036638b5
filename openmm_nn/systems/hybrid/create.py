"""Hybrid Systems: a region described by a potential inside a classical System."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openmm
from openmm import app

from ... import errors
from ...engine.force import Link
from ...geometry import check_system_box
from ...potentials.potential import Potential
from ...selection import select_atoms
from .boundary import CutBond, is_polar, make_cuts
from .boundary_report import BoundaryReport, charge_rows
from .charges import classical_charges, scheme_forces, scheme_sites, second_neighbours
from .embeddings import EmbeddingRequest, find_embedding
from .hybrid_arguments import (
    check_interpolation,
    check_options,
    check_potential,
    check_range,
    chooses_subtraction,
    formal_charge,
    takes_charge,
)
from .interpolation import check_constraints
from .ledger import Ledger, LedgerSource, make_ledger
from .mechanical import check_rigid_water, check_sites, inner_constraints
from .nonbonded import check_forces, resolve_ignored
from .region import BondGraph, Region, expand_atoms, make_region


@dataclass(frozen=True)
class HybridSystem:
    """A System in which a potential describes a region and a force field the rest.

    Parameters
    ----------
    system : openmm.System
        The hybrid, with the same particles as the classical System.
    topology : openmm.app.Topology
        The topology that was given.
    region : Region
        The atoms that the potential describes.
    links : tuple of Link
        The link atoms that close cut bonds; they live inside the potential's force, not in the System.
    """

    system: openmm.System
    topology: app.Topology
    region: Region
    links: tuple[Link, ...]
    _report: BoundaryReport = field(repr=False)
    _source: LedgerSource = field(repr=False)

    def boundary_report(self) -> BoundaryReport:
        """Every cut bond, the terms removed and kept under each bonded rule, and the charges; printed, a set of tables.

        Returns
        -------
        BoundaryReport
        """
        return self._report

    def ledger(
        self,
        positions: Any,
        box: Any = None,
        *,
        platform: str | None = None,
        properties: Mapping[str, str] | None = None,
        parameters: Mapping[str, float] | None = None,
    ) -> Ledger:
        """Split the energy into named, signed terms, see `openmm_nn.systems.hybrid.ledger`; printed, a table.

        Forces that were added to `system` later are counted too.

        Parameters
        ----------
        positions : array_like, Quantity, openmm.Context or mdtraj.Trajectory
            Positions (N, 3), in nm unless with a unit; or a Context, whose positions, box, parameters and platform are
            taken (mixed precision in place of single, see `openmm_nn.systems.hybrid.ledger`); or a trajectory, whose
            frames become arrays.
        box : array_like or Quantity, shape (3, 3), optional
            Box vectors, in nm unless with a unit; by default the System's.
        platform : str, optional
            Where the terms are computed; Reference by default, or the Context's platform.
        properties : mapping of str to str, optional
            Of the platform.
        parameters : mapping of str to float, optional
            Context parameters that differ from their defaults.

        Returns
        -------
        Ledger

        Raises
        ------
        UnsupportedError
            If bonds of the region were made constraints, so that their classical energy is not known.
        NativeExtensionError
            If the native extension is not there.
        ParameterError
            If positions have the wrong shape.
        """
        return make_ledger(
            self._source, positions, box, platform=platform, properties=properties, parameters=parameters
        )


def create_hybrid_system(
    topology: app.Topology,
    system: openmm.System,
    potential: Potential | Any,
    region: str | Iterable[int] | Iterable[bool],
    *,
    embedding: str = "mechanical",
    expand: str | None = None,
    bonded_rule: str = "capped",
    link: str = "fixed",
    link_distances: Mapping[tuple[int, int], Any] | Iterable[tuple[int, int, Any]] | None = None,
    allow_cuts: Iterable[tuple[int, int]] = (),
    charge_scheme: str = "none",
    interpolate: bool | str = False,
    remove_constraints: bool = True,
    long_range: bool | None = None,
    ignore_forces: Iterable[str | int] = (),
    charge: int | None = None,
    multiplicity: int = 1,
    periodic: bool = False,
    force_group: int = 0,
    properties: Mapping[str, str] | None = None,
    subtract_region: bool | None = None,
) -> HybridSystem:
    """Describe a region of a classical System by a potential.

    The energy is E_MM(E,E) + E_MM(R,E) + E_NN(R and its link atoms): the region R keeps its classical interactions with
    the environment E, and its own energy comes from the potential. The given System and topology are not changed.

    Parameters
    ----------
    topology : openmm.app.Topology
    system : openmm.System
        The classical System of that topology.
    potential : Potential or openmmml.MLPotential
        The latter without cut bonds.
    region : str, iterable of int, or boolean mask
        An MDTraj selection, atom indices, or one truth value for each atom.
    embedding : str
        How the environment acts on the region: ``"mechanical"``, through the classical force field, or an embedding
        that another package registers (`openmm_nn.systems.hybrid.embeddings`).
    expand : {None, "residue", "molecule"}
        Fill the region up to whole residues or molecules.
    bonded_rule : {"capped", "all-atoms", "gromacs"}
        Which bonded terms the potential replaces, see `openmm_nn.systems.hybrid.bonded`; with no cut bond all agree.
    link : {"fixed", "ratio"}
        Whether a link atom keeps its distance from the region's atom, or stays at a fixed fraction of the cut bond.
    link_distances : mapping of (int, int) to float or Quantity, or iterable of (int, int, distance), optional
        Distances of link atoms in nm, in place of the sums of covalent radii.
    allow_cuts : iterable of (int, int)
        Cut bonds that are wanted although they are double, aromatic, amide or X-H bonds, or share an environment atom.
    charge_scheme : {"none", "z1", "rc", "rcd", "cs"}
        How the region sees the charges of the environment at cut bonds, see `openmm_nn.systems.hybrid.charges`.
    interpolate : bool or str
        Interpolate by a Context parameter, ``lambda_interpolate`` or the name given, between the classical System at 0
        and the hybrid at 1, its default; the derivative of the energy by it is exact. Needs the native extension.
    remove_constraints : bool
        Remove constraints between two atoms of the region.
    long_range : bool, optional
        Whether the potential itself contains the interaction of the region with its periodic images. Needed where the
        card does not say and the System uses Ewald summation. If it does and is given the box, the classical one, with
        the neutralising plasma of a charged region, is taken out (by the native extension); else the images stay
        classical.
    ignore_forces : iterable of str or int
        Names, classes or indices of forces to leave as they are.
    charge : int, optional
        Formal charge of the region in e. By default the rounded sum of the classical charges, which is a guess.
    multiplicity : int
        Spin multiplicity of the region.
    periodic : bool
        Give the potential the periodic box, if its card allows both; by default the region is a cluster.
    force_group : int
        Of the potential's force.
    properties : mapping of str to str, optional
        ``device``, ``precision``, ``threads``, ``cuda_graphs`` of the potential's force.
    subtract_region : bool, optional
        Leave the region's own nonbonded pairs in the classical forces and subtract them by the native extension,
        instead of making each an exception, whose number grows with the square of the region's size. By default for
        regions of more than 300 atoms. Not for reactive regions: where atoms come close, two large energies cancel
        badly.

    Returns
    -------
    HybridSystem

    Raises
    ------
    ParameterError
        If an option has a value that does not exist, or contradicts another.
    ParticleError
        If the region is empty, repeats atoms, names atoms that do not exist, or has elements that the potential does
        not know.
    BoundaryError
        If a cut goes through a bond that should not be cut.
    UnsupportedError
        If the System has a force or particles that the embedding cannot treat rightly.

    Examples
    --------
    Two argon atoms among four, described by a spring:

    >>> import openmm
    >>> from openmm import app
    >>> from openmm_nn import create_hybrid_system, load_potential
    >>> topology, system, force = app.Topology(), openmm.System(), openmm.NonbondedForce()
    >>> chain = topology.addChain()
    >>> for index in range(4):
    ...     atom = topology.addAtom("AR", app.element.argon, topology.addResidue("AR", chain))
    ...     particle = force.addParticle(0.0, 0.34, 1.0), system.addParticle(39.9)
    >>> number = system.addForce(force)
    >>> spring = load_potential(lambda positions: ((positions[0] - positions[1]) ** 2).sum())
    >>> hybrid = create_hybrid_system(topology, system, spring, [0, 1])
    >>> hybrid.system.getNumForces(), hybrid.region.formula, hybrid.links
    (2, 'Ar2', ())
    """
    find_embedding(embedding)
    check_options(bonded_rule, interpolate, charge_scheme)
    check_potential(potential)
    if topology.getNumAtoms() != system.getNumParticles():
        raise errors.ParticleError(
            "topology",
            f"{topology.getNumAtoms()} atoms, with {system.getNumParticles()} particles in the System",
            "one particle for each atom",
            "give the topology that the System was made from",
        )

    check_system_box(system, topology)
    graph = BondGraph.of(topology, system)
    atoms = expand_atoms(graph, select_atoms(topology, region, argument="region"), expand)
    inside = frozenset(atoms)
    check_sites(system, graph, inside)
    charges = classical_charges(system)
    chosen = make_region(graph, atoms, charges)

    ignored = resolve_ignored(system, ignore_forces)
    check_forces(system, inside, ignored)
    if not remove_constraints:
        check_rigid_water(graph, inner_constraints(system, inside))
    uses_box, images = check_range(system, potential, long_range, periodic)
    cuts = make_cuts(graph, chosen, link=link, link_distances=link_distances, allow_cuts=allow_cuts)
    links = tuple(cut.link for cut in cuts)
    scheme = scheme_forces(charge_scheme, system, graph, chosen, cuts)
    subtract = chooses_subtraction(subtract_region, len(chosen))
    parameter = check_interpolation(potential, system, interpolate)
    if parameter:
        check_constraints(system, graph, chosen, "interpolate")
    formal = formal_charge(chosen, charge, takes_charge(potential))
    for cut in cuts:
        if is_polar(graph, cut):
            errors.warn(
                f"the cut bond {graph.describe(cut.inside, cut.outside)} is not between carbons: a link "
                "hydrogen imitates it badly."
            )

    remainder = find_embedding(embedding).embed(
        EmbeddingRequest(
            topology=topology,
            system=system,
            potential=potential,
            graph=graph,
            region=chosen,
            links=links,
            bonded_rule=bonded_rule,
            ignored=frozenset(ignored),
            scheme=tuple(scheme),
            interpolate=parameter,
            remove_constraints=remove_constraints,
            subtract_region=subtract,
            replaces_images=images,
            uses_box=uses_box,
            charge=formal,
            multiplicity=multiplicity,
            force_group=force_group,
            properties=properties,
        )
    )
    seconds = {cut.outside: second_neighbours(graph, chosen, cut) for cut in cuts}
    report = BoundaryReport(
        region=chosen,
        cuts=cuts,
        bonded_rule=bonded_rule,
        terms=remainder.terms,
        charge_region=chosen.classical_charge,
        charge_environment=None if charges is None else float(np.sum(charges)) - float(chosen.classical_charge or 0.0),
        charge_scheme=charge_scheme,
        charges=() if charges is None else _boundary_charges(cuts, seconds, charges, graph, charge_scheme),
        constraints_removed=remainder.constraints_removed,
        charge=formal,
        multiplicity=multiplicity,
    )
    source = LedgerSource(
        copy.deepcopy(system), remainder.system, graph, chosen, bonded_rule, frozenset(ignored), parameter, images
    )
    return HybridSystem(remainder.system, topology, chosen, links, report, source)


def _boundary_charges(
    cuts: tuple[CutBond, ...], seconds: dict[int, list[int]], charges: np.ndarray, graph: BondGraph, scheme: str
) -> tuple[Any, ...]:
    sites = (
        {}
        if scheme == "none"
        else {m: scheme_sites(scheme, float(charges[m]), m, others) for m, others in seconds.items()}
    )
    return charge_rows(cuts, seconds, sites, charges, graph.labels, scheme)
