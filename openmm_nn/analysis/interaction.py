"""The energy between the region and its environment, which in mechanical embedding is the force field's."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
from openmm import unit

from ..errors import UnsupportedError
from ..platforms import PlatformLike, find_platform
from ..systems.hybrid.ledger import default_parameters
from ..systems.hybrid.nonbonded import zero_pairs
from ..systems.hybrid.pair_parts import nonbonded_parts
from .arrays import as_atoms, as_trajectory
from .reweighting import set_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["InteractionEnergy", "compute_interaction_energy"]


@dataclass(frozen=True)
class InteractionEnergy:
    """Nonbonded energy of the pairs across the boundary.

    Parameters
    ----------
    time
        (n_frames,) float64, ps.
    coulomb, van_der_waals
        (n_frames,) float64, kJ/mol. The pairs of a CustomNonbondedForce count as van der Waals.
    """

    time: Array
    coulomb: Array
    van_der_waals: Array

    @property
    def total(self) -> Array:
        """Their sum, kJ/mol: the row ``RE`` of the ledger."""
        return self.coulomb + self.van_der_waals


def compute_interaction_energy(
    traj: Any,
    system: openmm.System,
    region: Iterable[int],
    *,
    platform: PlatformLike = "CPU",
    properties: Mapping[str, str] | None = None,
) -> InteractionEnergy:
    """Return the energy between a region and its environment in every frame.

    It is not the total less two parts: the Coulomb energy is [E(q_R) - E(-q_R)] / 2, which with Ewald methods keeps the
    region's own images out; the van der Waals energy is a sum over the pairs.

    Parameters
    ----------
    traj
        mdtraj.Trajectory of all particles.
    system
        The hybrid System, or the classical one: the pairs across the boundary are the same in both.
    region
        Atom indices of the region.
    platform
        An OpenMM platform, or its name.
    properties
        Of the platform.

    Returns
    -------
    InteractionEnergy
        For a frame, two evaluations of the nonbonded forces.

    Raises
    ------
    ParticleError
        If the trajectory has another number of atoms than the System has particles, or an atom does not exist.
    UnsupportedError
        If the System has no nonbonded force.

    Examples
    --------
    >>> import mdtraj, openmm
    >>> from openmm_nn.analysis import compute_interaction_energy
    >>> system, force = openmm.System(), openmm.NonbondedForce()
    >>> for charge in (1.0, -1.0, 0.0):
    ...     number = system.addParticle(1.0), force.addParticle(charge, 0.1, 0.0)
    >>> number = system.addForce(force)
    >>> traj = mdtraj.Trajectory([[[0, 0, 0], [1, 0, 0], [0, 3, 0]]], None)
    >>> compute_interaction_energy(traj, system, [0], platform="Reference").coulomb.round(3)
    array([-138.935])
    """
    traj = as_trajectory(traj, atoms=system.getNumParticles())
    inside = {int(atom) for atom in as_atoms(traj, region, "region")}
    rows = {"coulomb": np.zeros(traj.n_frames), "van_der_waals": np.zeros(traj.n_frames)}
    boxes = traj.unitcell_vectors if system.usesPeriodicBoundaryConditions() else None
    for name, factor, context in _contexts(system, inside, platform, properties):
        for frame, xyz in enumerate(traj.xyz):
            set_frame(context, xyz, None if boxes is None else boxes[frame])
            energy = context.getState(getEnergy=True).getPotentialEnergy()
            rows[name][frame] += factor * energy.value_in_unit(unit.kilojoule_per_mole)
    return InteractionEnergy(np.asarray(traj.time, dtype=np.float64), rows["coulomb"], rows["van_der_waals"])


def _contexts(
    system: openmm.System, inside: set[int], platform: PlatformLike, properties: Mapping[str, str] | None
) -> list[tuple[str, float, openmm.Context]]:
    bare = copy.deepcopy(system)
    for index in reversed(range(bare.getNumForces())):
        bare.removeForce(index)
    for index in reversed(range(bare.getNumConstraints())):
        bare.removeConstraint(index)
    kinds = (openmm.NonbondedForce, openmm.CustomNonbondedForce)
    forces = [force for force in system.getForces() if isinstance(force, kinds)]
    if not forces:
        raise UnsupportedError(
            "system", "a System without nonbonded forces", "one whose environment acts on the region by them",
                    "give the hybrid System, or the classical one"
        )  # fmt: skip
    contexts = []
    for name, force in [(name, force) for force in forces for name in ("coulomb", "van_der_waals")]:
        reduced = _only(force, name)
        if reduced is None:
            continue
        if isinstance(reduced, openmm.NonbondedForce):
            zero_pairs(reduced, tuple(sorted(inside)))
        for part in nonbonded_parts(reduced, inside, default_parameters(system)):
            for term, factor in part.rows:
                if term == "RE":
                    partial = copy.deepcopy(bare)
                    for piece in part.forces:
                        piece.setForceGroup(0)
                        partial.addForce(copy.deepcopy(piece))
                    chosen = find_platform(platform)
                    context = openmm.Context(partial, openmm.VerletIntegrator(0.001), chosen, dict(properties or {}))
                    contexts.append((name, factor, context))
    return contexts


def _only(force: Any, name: str) -> Any:
    """Copy a nonbonded force with its charges alone, or its wells alone; None if it has no such part."""
    if isinstance(force, openmm.CustomNonbondedForce):
        return None if name == "coulomb" else copy.deepcopy(force)
    new = copy.deepcopy(force)
    charge, well = (1.0, 0.0) if name == "coulomb" else (0.0, 1.0)
    for index in range(new.getNumParticles()):
        q, sigma, epsilon = new.getParticleParameters(index)
        new.setParticleParameters(index, q * charge, sigma, epsilon * well)
    for index in range(new.getNumExceptions()):
        first, second, product, sigma, epsilon = new.getExceptionParameters(index)
        new.setExceptionParameters(index, first, second, product * charge, sigma, epsilon * well)
    for index in range(new.getNumParticleParameterOffsets()):
        parameter, atom, q, sigma, epsilon = new.getParticleParameterOffset(index)
        new.setParticleParameterOffset(index, parameter, atom, q * charge, sigma, epsilon * well)
    for index in range(new.getNumExceptionParameterOffsets()):
        parameter, exception, product, sigma, epsilon = new.getExceptionParameterOffset(index)
        new.setExceptionParameterOffset(index, parameter, exception, product * charge, sigma, epsilon * well)
    new.setUseDispersionCorrection(False)
    if name == "coulomb" and new.getNonbondedMethod() == openmm.NonbondedForce.LJPME:
        new.setNonbondedMethod(openmm.NonbondedForce.PME)
    return new
