"""What a committee of models disagrees about, over time and by atom."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm

from .. import native
from ..errors import UnsupportedError
from ..platforms import PlatformLike, find_platform
from .arrays import as_trajectory
from .reweighting import set_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Uncertainty", "compute_uncertainty", "find_neural_force"]


@dataclass(frozen=True)
class Uncertainty:
    """Deviations among the members of a committee.

    Parameters
    ----------
    time
        (n_frames,) float64, ps.
    atoms
        (n_atoms,) int64: the region, by index in the System.
    members
        (n_frames, K) float64, kJ/mol: the members' energies.
    forces
        (n_frames, n_atoms) float64, kJ/mol/nm: σ_F of every atom, the square root of the sum over x, y and z of the
        sample variances of the members' forces.
    links
        (n_frames, n_links) float64, kJ/mol/nm: the same of the link atoms.
    """

    time: Array
    atoms: NDArray[np.int64]
    members: Array
    forces: Array
    links: Array

    @property
    def energy(self) -> Array:
        """(n_frames,) float64, kJ/mol: σ_E, the sample standard deviation of the members' energies."""
        return np.asarray(np.std(self.members, axis=1, ddof=1))

    @property
    def by_atom(self) -> Array:
        """(n_atoms,) float64, kJ/mol/nm: root mean square of σ_F over the frames."""
        return np.asarray(np.sqrt(np.mean(self.forces**2, axis=0)))


def find_neural_force(system: openmm.System) -> tuple[int, Any]:
    """Find the neural force of a System.

    Parameters
    ----------
    system
        A hybrid System, or a purely neural one; as made, or read from XML.

    Returns
    -------
    index : int
        Among the System's forces.
    force : NeuralForce
        The first one.

    Raises
    ------
    UnsupportedError
        If there is none.

    Examples
    --------
    >>> import openmm
    >>> from openmm_nn import load_potential
    >>> from openmm_nn.analysis.uncertainty import find_neural_force
    >>> system = openmm.System()
    >>> number = system.addParticle(1.0)
    >>> number = system.addForce(load_potential(lambda x: (x**2).sum()).create_force())
    >>> find_neural_force(system)[0]
    0
    """
    for index, force in enumerate(system.getForces()):
        neural = native.as_neural_force(force) or force
        if hasattr(neural, "getMemberEnergies"):
            return index, neural
    raise UnsupportedError(
        "system", "a System without a neural force", "one that openmm_nn made, here or read from XML",
                "give HybridSystem.system, or the System of the run"
    )  # fmt: skip


def compute_uncertainty(
    traj: Any, system: openmm.System, *, platform: PlatformLike = "CPU", properties: Mapping[str, str] | None = None
) -> Uncertainty:
    """Ask every member of a committee about every frame.

    Parameters
    ----------
    traj
        mdtraj.Trajectory of all particles.
    system
        The System with the committee's force; nothing else of it is evaluated.
    platform
        An OpenMM platform, or its name.
    properties
        Of the platform.

    Returns
    -------
    Uncertainty
        K backward passes for each frame.

    Raises
    ------
    UnsupportedError
        If the System has no neural force, or that has one member only.
    ParticleError
        If the trajectory has another number of atoms than the System has particles.

    Examples
    --------
    >>> import mdtraj, openmm
    >>> from openmm import app
    >>> from openmm_nn import create_system, load_potential
    >>> from openmm_nn.analysis import compute_uncertainty
    >>> topology = app.Topology()
    >>> residue = topology.addResidue("HOH", topology.addChain())
    >>> for symbol in "OHH":
    ...     atom = topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
    >>> system = create_system(topology, load_potential("openmm-nn/hcno-1"))
    >>> water = [[[0.0, 0.0, 0.0], [0.096, 0.0, 0.0], [-0.024, 0.093, 0.0]]]
    >>> uncertainty = compute_uncertainty(mdtraj.Trajectory(water, None), system)
    >>> uncertainty.members.shape, uncertainty.forces.shape
    ((1, 4), (1, 3))
    """
    traj = as_trajectory(traj, atoms=system.getNumParticles())
    index, _ = find_neural_force(system)
    alone = copy.deepcopy(system)
    for other in reversed(range(alone.getNumForces())):
        if other != index:
            alone.removeForce(other)
    _, force = find_neural_force(alone)
    context = openmm.Context(
        alone, openmm.VerletIntegrator(0.001), find_platform(platform), dict(properties or {})
    )
    particles = list(force.getParticles()) or list(range(system.getNumParticles()))
    boxes = traj.unitcell_vectors
    members, deviations = [], []
    for frame, xyz in enumerate(traj.xyz):
        set_frame(context, xyz, None if boxes is None else boxes[frame])
        energies = force.getMemberEnergies(context)
        if len(energies) < 2:
            raise UnsupportedError(
                "system", "a potential of one member", "a committee, whose members can disagree",
                        "run a committee, such as 'ani2x' or 'openmm-nn/hcno-1'"
            )  # fmt: skip
        members.append(energies)
        deviations.append(force.getForceStd(context))
    sigma = np.array(deviations, dtype=np.float64)
    return Uncertainty(
        np.asarray(traj.time, dtype=np.float64),
        np.array(particles, dtype=np.int64),
        np.array(members, dtype=np.float64),
        sigma[:, : len(particles)],
        sigma[:, len(particles) :],
    )
