"""Mechanical embedding: classical charges of the environment act on classical charges of the region."""

from __future__ import annotations

import openmm

from ... import errors
from ...engine import force as force_module
from ...potentials.potential import Potential
from .bonded import RegionAtoms
from .embeddings import EmbeddingRequest
from .interpolation import Factor, bonded_forces, image_forces, pair_forces
from .mechanical import Remainder, remove_region


class MechanicalEmbedding:
    """E = E_MM(E,E) + E_MM(R,E) + E_NN(R and link atoms), for a region R and its environment E."""

    name = "mechanical"

    def embed(self, request: EmbeddingRequest) -> Remainder:
        """Take the region's own energy out of the classical System and add the potential.

        Parameters
        ----------
        request : EmbeddingRequest

        Returns
        -------
        Remainder
        """
        remainder = remove_region(
            request.system,
            request.graph,
            request.region,
            bonded_rule=request.bonded_rule,
            ignored=request.ignored,
            remove_constraints=request.remove_constraints,
            keep_pairs=request.subtract_region,
        )
        for force in (*own_forces(request), *request.scheme):
            remainder.system.addForce(force)
        _add_potential(remainder.system, request)
        return remainder


def own_forces(request: EmbeddingRequest) -> list[openmm.Force]:
    """Make the forces that add E_MM(R) back for interpolation, or subtract what was left in of it and its images.

    Parameters
    ----------
    request : EmbeddingRequest

    Returns
    -------
    list of openmm.Force
    """
    system, region, ignored = request.system, request.region, request.ignored
    interpolate, subtract, images = request.interpolate, request.subtract_region, request.replaces_images
    forces: list[openmm.Force] = []
    purpose = "interpolate" if interpolate else "subtract_region"
    if interpolate or subtract:
        factor = Factor(0.0 if subtract else 1.0, -1.0, interpolate) if interpolate else Factor(-1.0)
        forces += pair_forces(system, region, ignored, factor, purpose, images=images and subtract)
    if images and not subtract:
        # Zero exceptions leave the images in.
        factor = Factor(0.0, -1.0, interpolate) if interpolate else Factor(-1.0)
        forces += image_forces(system, region, ignored, factor, "long_range")
    if interpolate:
        atoms = RegionAtoms.of(region.atoms, request.graph.neighbours)
        forces += bonded_forces(system, atoms, request.bonded_rule, ignored, Factor(1.0, -1.0, interpolate))
    return forces


def _add_potential(system: openmm.System, request: EmbeddingRequest) -> None:
    potential, region = request.potential, request.region
    bonds = request.graph.inner_bonds(region.atoms)
    if isinstance(potential, Potential):
        # The engine on PythonForce, which reports no bonds, brings bonds of zero strength of its own.
        force = force_module.create_force(
            potential.source(),
            topology=request.topology,
            atoms=region.atoms,
            links=request.links,
            bonds=bonds,
            periodic=request.uses_box,
            charge=request.charge,
            multiplicity=request.multiplicity,
            force_group=request.force_group,
            properties=request.properties,
            scale=(request.interpolate, 1.0) if request.interpolate else None,
        )
        if request.interpolate:
            force.setScaleRange(0.0, 1.0)
            force.addEnergyParameterDerivative(request.interpolate)
        system.addForce(force)
        return
    if request.links:
        raise errors.UnsupportedError(
            "potential",
            f"an MLPotential with {len(request.links)} cut bonds; its force has no link atoms",
            "regions of whole molecules",
            "use expand='molecule', or a Potential from openmm_nn.load_potential(...)",
        )
    if request.properties:
        raise errors.ParameterError(
            "properties",
            f"{dict(request.properties)!r} with an MLPotential, which has none of them",
            "None",
            "leave properties out",
        )
    potential._impl.addForces(
        request.topology,
        system,
        list(region.atoms),
        request.force_group,
        charge=request.charge,
        multiplicity=request.multiplicity,
    )
    _hold_together(system, bonds, request.force_group)


def _hold_together(system: openmm.System, bonds: list[tuple[int, int]], force_group: int) -> None:
    """Add bonds of zero strength in place: the PythonForce of an MLPotential reports none to barostats and imaging."""
    if not bonds:
        return
    force = openmm.HarmonicBondForce()
    force.setName("bonds of the region, without strength")
    force.setForceGroup(force_group)
    for first, second in bonds:
        force.addBond(first, second, 0.0, 0.0)
    system.addForce(force)


EMBEDDING = MechanicalEmbedding()
