"""Hybrid Systems: a region described by a potential inside a classical System."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import openmm
from openmm import app

from ... import errors
from ...engine.force import Link
from ...geometry import check_system_box
from ...platforms import PlatformLike
from ...potentials.potential import Potential
from ...tables import Block, Table, as_html, as_text
from .biases import Biases, find_biases
from .bond_graph import BondGraph
from .boundary import CutBond, is_polar
from .boundary_report import BoundaryReport, charge_rows
from .charges import scheme_sites, second_neighbours
from .classical import changes, refresh
from .embeddings import Embedded, Embedding, EmbeddingRequest, find_embedding
from .hybrid_arguments import check_interpolation, check_potential, formal_charge
from .hybrid_record import HybridRecord
from .ledger import Ledger, make_ledger
from .named_forces import name_biases
from .nonbonded import check_overlaps, force_label
from .region import Region, RegionLike, as_region, check_kinds, classical_charges, make_graph


@dataclass(frozen=True, repr=False)
class HybridSystem:
    """A System in which a potential describes a region and a force field the rest; made by `create_hybrid_system`.

    Parameters
    ----------
    system : openmm.System
        The hybrid, with the same particles as the classical System.
    topology : openmm.app.Topology
        The topology that was given.
    region : Region
        The atoms that the potential describes.
    embedding : Embedding
        How the environment acts on them.
    record : HybridRecord
        How the hybrid was made, for what splits its energy: the classical System, the bonds, and what each force is.
    report : BoundaryReport
        What `boundary_report` returns.
    """

    system: openmm.System
    topology: app.Topology
    region: Region
    embedding: Embedding
    record: HybridRecord = field(repr=False)
    report: BoundaryReport = field(repr=False)

    @property
    def links(self) -> tuple[Link, ...]:
        """The link atoms that close cut bonds; they live inside the potential's force, not in the System."""
        return self.region.links

    def __repr__(self) -> str:
        particles = self.system.getNumParticles()
        return f"HybridSystem({particles} particles, {self.embedding.name} embedding, {self.region!r})"

    def with_system(self, system: openmm.System) -> HybridSystem:
        """Return the same hybrid with another copy of its System, such as one that was read from XML.

        Parameters
        ----------
        system : openmm.System
            With the same forces in the same order.

        Returns
        -------
        HybridSystem

        Raises
        ------
        ParameterError
            If it has other particles or forces.
        """
        record = self.record.with_system(system)
        return replace(self, system=system, record=record)

    def __str__(self) -> str:
        return as_text(self._blocks())

    def _repr_html_(self) -> str:
        return as_html(self._blocks())

    def _blocks(self) -> list[Block]:
        forces = zip(self.system.getForces(), self.record.roles_now(), strict=True)
        rows = [(str(index), force_label(force), role) for index, (force, role) in enumerate(forces)]
        return [
            f"hybrid of {self.system.getNumParticles()} particles, embedding {self.embedding!r}",
            repr(self.region),
            Table("forces", ("index", "force", "role"), rows, right=(0,)),
        ]

    def boundary_report(self) -> BoundaryReport:
        """Every cut bond, the terms removed and kept under each bonded rule, and the charges; printed, a set of tables.

        Returns
        -------
        BoundaryReport
        """
        return self.report

    def ledger(
        self,
        positions: Any,
        box: Any = None,
        *,
        platform: PlatformLike | None = None,
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
        platform : str or openmm.Platform, optional
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
        return make_ledger(self.record, positions, box, platform=platform, properties=properties, parameters=parameters)

    def changes(self) -> tuple[str, ...]:
        """Name changes of the region's classical parameters that `refresh` has not handed on yet.

        Ledgers and the checkpoints of a run warn of them, and reports list them. A hybrid whose energy holds nothing
        that was made from classical parameters, neither interpolated nor subtracted, needs no refreshing.

        Returns
        -------
        tuple of str
            Forces with their atoms, pairs or settings; empty if all is as the hybrid knows it.

        Examples
        --------
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
        >>> hybrid = create_hybrid_system(topology, system, spring, [0, 1], interpolate=True)
        >>> hybrid.system.getForce(0).setParticleParameters(0, 0.0, 0.34, 2.0)
        >>> len(hybrid.changes())
        1
        >>> hybrid.refresh()
        >>> hybrid.changes()
        ()
        """
        return changes(self.record)

    def refresh(self, context: openmm.Context | None = None) -> None:
        """Bring what was derived from the region's classical parameters up to date, after some were changed.

        Charges, wells, exceptions and parameters of custom pairs may be changed in the forces of `system` by their own
        ``setParticleParameters`` and ``setExceptionParameters``. OpenMM tells no other force, but the region's own
        energy that interpolation adds, or that is subtracted for a large region, was made from them, and so were rows
        of the ledger. An exception between two atoms of the region, which is zero in the hybrid, may be given the value
        that it should have in the classical System; it becomes zero again.

        Parameters
        ----------
        context : openmm.Context, optional
            Made with `system`; the forces are updated in it as well, the changed ones included.

        Raises
        ------
        ParameterError
            If the Context is of another System.
        UnsupportedError
            If something was changed that needs another hybrid: a method, a cutoff, a table or an energy function, or a
            charge that a charge scheme was made from.

        Examples
        --------
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
        >>> hybrid = create_hybrid_system(topology, system, spring, [0, 1], interpolate=True)
        >>> context = openmm.Context(hybrid.system, openmm.VerletIntegrator(0.001))
        >>> hybrid.system.getForce(0).setParticleParameters(0, 0.0, 0.34, 2.0)
        >>> hybrid.refresh(context)
        """
        refresh(self.record, context)


def create_hybrid_system(
    topology: app.Topology,
    system: openmm.System,
    potential: Potential | Any,
    region: RegionLike,
    *,
    embedding: str | Embedding = "mechanical",
    interpolate: bool | str = False,
    remove_constraints: bool = True,
    keep: Any = (),
    ignore_forces: Any = (),
    charge: int | None = None,
    multiplicity: int = 1,
    scale: tuple[str, float] | None = None,
    parameters: Mapping[str, float] | None = None,
    force_group: int = 0,
    properties: Mapping[str, str] | None = None,
) -> HybridSystem:
    """Describe a region of a classical System by a potential.

    The region R keeps its classical interactions with the environment E, and its own energy comes from the potential.
    With mechanical embedding the energy is E_MM(E,E) + E_MM(R,E) + E_NN(R and its link atoms). The given System and
    topology are not changed.

    Parameters
    ----------
    topology : openmm.app.Topology
    system : openmm.System
        The classical System of that topology.
    potential : Potential or openmmml.MLPotential
        The latter without cut bonds.
    region : Region, str, iterable of int, or boolean mask
        From `select_region`, whose options say how bonds are cut; or an MDTraj selection, atom indices, or one truth
        value for each atom.
    embedding : str or Embedding
        How the environment acts on the region: an object that holds its options, such as `Mechanical`, or the name of
        one, whose options are then its defaults. Other packages can register embeddings
        (`openmm_nn.systems.hybrid.embeddings`).
    interpolate : bool or str
        Interpolate by a Context parameter, ``lambda_interpolate`` or the name given, between the classical System at 0
        and the hybrid at 1, its default; the derivative of the energy by it is exact. Needs the native extension.
    remove_constraints : bool
        Remove constraints between two atoms of the region.
    keep : one or several of openmm.Force, int, str, (int, int)
        What on the region is a bias or a restraint and stays as it is, see `openmm_nn.systems.hybrid.biases`: forces of
        the System, their indices or names, and constraints by their two atoms. What is certainly one stays anyway, and
        an error asks about what may be one.
    ignore_forces : one or several of openmm.Force, int, str, (int, int)
        What is force field and not asked about: of bonded and nonbonded forces the potential replaces what their rules
        say; a force of another kind, for which there is no rule, stays as it is.
    charge : int, optional
        Formal charge of the region with its link atoms, in e. By default what its bonds imply, else the rounded sum of
        the classical charges; a warning says so where it is a guess.
    multiplicity : int
        Spin multiplicity of the region.
    scale : tuple of (str, float), optional
        Name and default value of a Context parameter that multiplies the potential's energy.
    parameters : mapping of str to float, optional
        Default values of the potential's global parameters, in place of the card's.
    force_group : int
        Of the potential's force.
    properties : mapping of str to str, optional
        ``device``, ``precision``, ``threads``, ``concurrent``, ``cuda_graphs``, ``geometry`` of the potential's force.

    Returns
    -------
    HybridSystem

    Raises
    ------
    ParameterError
        If an option has a value that does not exist, or contradicts another; or if a force or a constraint on the
        region may be a bias or force field, and neither `keep` nor `ignore_forces` says which.
    ParticleError
        If the region is empty, repeats atoms, names atoms that do not exist, was made for another System, or has
        elements that the potential does not know.
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

    Options of the embedding belong to its object:

    >>> from openmm_nn import Mechanical
    >>> create_hybrid_system(topology, system, spring, [0, 1], embedding=Mechanical(subtract_region=False))
    HybridSystem(4 particles, mechanical embedding, Region(2 atoms, Ar2, guessed charge +0 e, 0 cut bonds))
    """
    method = find_embedding(embedding)
    check_kinds(topology, system)
    check_potential(potential)
    kept, force_field = name_biases(system, keep, ignore_forces)
    graph = make_graph(topology, system, kept.forces, kept.constraints)
    check_system_box(system, topology)
    chosen = as_region(graph, topology, system, region)
    # First, since what another region left of the classical forces would be asked about.
    check_overlaps(system, chosen.indices, kept.forces | force_field.forces)
    biases = find_biases(
        system,
        graph,
        chosen.indices,
        bonded_rule=getattr(method, "bonded_rule", "capped"),
        keep=kept,
        force_field=force_field,
        remove_constraints=remove_constraints,
    )
    chosen.check_cuts()
    parameter = check_interpolation(potential, system, interpolate, scale)
    request = EmbeddingRequest(
        topology=topology,
        system=system,
        potential=potential,
        graph=graph,
        region=chosen,
        ignored=biases.untouched,
        interpolate=parameter,
        remove_constraints=remove_constraints,
        charge=formal_charge(chosen, potential, charge, multiplicity),
        multiplicity=multiplicity,
        scale=scale,
        parameters=parameters,
        force_group=force_group,
        properties=properties,
        kept_constraints=biases.constraints,
    )
    _warn_of_polar_cuts(graph, chosen)
    made = method.embed(request)
    record = HybridRecord(
        classical=copy.deepcopy(system),
        system=made.system,
        graph=graph,
        region=chosen,
        bonded_rule=made.bonded_rule,
        ignored=biases.untouched,
        interpolated=parameter,
        replaces_images=made.replaces_images,
        roles=made.roles,
        subtracted=made.subtracted,
        charges_from=made.charges_from,
        kept=biases.forces,
        kept_constraints=biases.constraints,
    )
    return HybridSystem(made.system, topology, chosen, method, record, _report(request, made, biases))


def _warn_of_polar_cuts(graph: BondGraph, region: Region) -> None:
    for cut in region.cuts:
        if is_polar(graph, cut):
            errors.warn(
                f"the cut bond {graph.describe(cut.inside, cut.outside)} is not between carbons: a link "
                "hydrogen imitates it badly."
            )


def _report(request: EmbeddingRequest, made: Embedded, biases: Biases) -> BoundaryReport:
    graph, region = request.graph, request.region
    charges = classical_charges(request.system)
    seconds = {cut.outside: second_neighbours(graph, region, cut) for cut in region.cuts}
    scheme = made.charge_scheme
    return BoundaryReport(
        region=region,
        cuts=region.cuts,
        bonded_rule=made.bonded_rule,
        terms=made.terms,
        charge_region=region.classical_charge,
        charge_environment=None if charges is None else float(np.sum(charges)) - float(region.classical_charge or 0.0),
        charge_scheme=scheme,
        charges=() if charges is None else _boundary_charges(region.cuts, seconds, charges, graph, scheme),
        constraints_removed=made.constraints_removed,
        charge=request.charge,
        multiplicity=request.multiplicity,
        kept=biases.rows,
    )


def _boundary_charges(
    cuts: tuple[CutBond, ...], seconds: dict[int, list[int]], charges: np.ndarray, graph: BondGraph, scheme: str
) -> tuple[Any, ...]:
    sites = (
        {}
        if scheme == "none"
        else {m: scheme_sites(scheme, float(charges[m]), m, others) for m, others in seconds.items()}
    )
    return charge_rows(cuts, seconds, sites, charges, graph.labels, scheme)
