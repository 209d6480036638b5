"""From the ensemble that was sampled to another, frame by frame: a classical run as seen by the hybrid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
from openmm import unit

from ..errors import ParameterError
from ..platforms import PlatformLike, find_platform
from ..units import thermal_energy
from .arrays import as_series, as_trajectory, quiet_pymbar
from .averages import compute_statistical_inefficiency

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Reweighting", "compute_energies", "compute_reweighting"]


@dataclass(frozen=True)
class Reweighting:
    """Weights that turn averages over one ensemble into averages over another.

    Parameters
    ----------
    weights
        (n_frames,) float64; their sum is 1.
    effective_size
        Kish's effective sample size (Σw)²/Σw²: frames that count. Under some tens, do not believe the averages.
    inefficiency
        Statistical inefficiency of the sampled series: divide the effective size by it where frames are correlated.
    free_energy, free_energy_error
        Of the target minus that of the sampled ensemble, kJ/mol, by exponential averaging.
    """

    weights: NDArray[np.float64]
    effective_size: float
    inefficiency: float
    free_energy: float
    free_energy_error: float

    @property
    def efficiency(self) -> float:
        """Effective size over the number of frames, 0 to 1."""
        return self.effective_size / len(self.weights)

    def average(self, series: ArrayLike) -> tuple[float, float]:
        """Average over the target ensemble.

        Parameters
        ----------
        series
            (n_frames,), in any unit.

        Returns
        -------
        mean, error : float
            The error is that of a weighted mean, times the square root of the inefficiency.
        """
        values = as_series("series", series)
        if len(values) != len(self.weights):
            raise ParameterError(
                "series", f"{len(values)} frames", f"{len(self.weights)}", "give one value for each frame"
            )
        mean = float(self.weights @ values)
        return mean, float(np.sqrt(self.inefficiency * (self.weights**2 @ (values - mean) ** 2)))


def compute_energies(
    traj: Any,
    system: openmm.System,
    *,
    platform: PlatformLike = "CPU",
    properties: Mapping[str, str] | None = None,
    groups: set[int] | int = -1,
) -> NDArray[np.float64]:
    """Return the potential energy of a System in every frame of a trajectory.

    Parameters
    ----------
    traj
        mdtraj.Trajectory of all particles.
    system
        The System; a hybrid, or its classical twin.
    platform
        An OpenMM platform, or its name.
    properties
        Of the platform.
    groups
        Force groups, as `openmm.Context.getState` takes them.

    Returns
    -------
    numpy.ndarray
        (n_frames,) float64, kJ/mol.

    Raises
    ------
    ParticleError
        If the trajectory has another number of atoms than the System has particles.

    Examples
    --------
    >>> import mdtraj, openmm
    >>> from openmm_nn.analysis import compute_energies
    >>> system, spring = openmm.System(), openmm.CustomExternalForce("x^2")
    >>> system.addParticle(1.0), spring.addParticle(0), system.addForce(spring)
    (0, 0, 0)
    >>> compute_energies(mdtraj.Trajectory([[[2.0, 0.0, 0.0]]], None), system, platform="Reference")
    array([4.])
    """
    traj = as_trajectory(traj, atoms=system.getNumParticles())
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), find_platform(platform), dict(properties or {})
    )
    boxes = traj.unitcell_vectors if system.usesPeriodicBoundaryConditions() else None
    energies = np.empty(traj.n_frames)
    for frame, xyz in enumerate(traj.xyz):
        set_frame(context, xyz, None if boxes is None else boxes[frame])
        energy = context.getState(getEnergy=True, groups=groups).getPotentialEnergy()
        energies[frame] = energy.value_in_unit(unit.kilojoule_per_mole)
    return energies


def set_frame(context: openmm.Context, xyz: NDArray[np.float32], box: NDArray[np.float32] | None) -> None:
    """Put a frame into a Context.

    Parameters
    ----------
    context
        The Context.
    xyz
        (n_atoms, 3), nm.
    box
        (3, 3), nm: rows are box vectors; None to leave the Context's.
    """
    if box is not None:
        # OpenMM wants the reduced form, which rounding in a trajectory file can miss by its last digit.
        a, b, c = (np.array(row, dtype=np.float64) for row in box)
        a[1:] = 0.0
        b[2] = 0.0
        c -= b * np.round(c[1] / b[1])
        c -= a * np.round(c[0] / a[0])
        b -= a * np.round(b[0] / a[0])
        context.setPeriodicBoxVectors(*(openmm.Vec3(*row) for row in (a, b, c)))
    context.setPositions(xyz.astype(np.float64))
    context.computeVirtualSites()


def compute_reweighting(sampled: ArrayLike, target: ArrayLike, temperature: float) -> Reweighting:
    """Return the weights that turn frames sampled with one energy into frames of another.

    Parameters
    ----------
    sampled
        (n_frames,), kJ/mol: of the frames, by the energy function that sampled them.
    target
        (n_frames,), kJ/mol: by the other.
    temperature
        K, of both.

    Returns
    -------
    Reweighting
        Weights proportional to exp(-(target - sampled) / RT), and what they are worth.

    Raises
    ------
    ParameterError
        If the arrays differ in length or are not finite.

    Examples
    --------
    >>> from openmm_nn.analysis import compute_reweighting
    >>> compute_reweighting([0.0, 1.0, 0.0, 1.0], [5.0, 6.0, 5.0, 6.0], 300.0).effective_size
    4.0
    """
    before, after = as_series("sampled", sampled, least=4), as_series("target", target, least=4)
    if len(before) != len(after):
        raise ParameterError(
            "target", f"{len(after)} frames", f"{len(before)}, as sampled has", "use the same frames for both"
        )
    if not temperature > 0:
        raise ParameterError("temperature", f"{temperature} K", "more than 0", "give that of the run")
    kt = thermal_energy(temperature)
    work = (after - before) / kt
    factors = np.exp(-(work - work.min()))
    weights = factors / factors.sum()
    inefficiency = min(compute_statistical_inefficiency(work), float(len(work)))
    estimate = quiet_pymbar("other_estimators").exp(work[np.arange(0, len(work), inefficiency).astype(int)])
    full = quiet_pymbar("other_estimators").exp(work)
    return Reweighting(
        weights,
        float(1.0 / (weights @ weights)),
        inefficiency,
        kt * float(full["Delta_f"]),
        kt * float(estimate["dDelta_f"]),
    )
