"""Infrared-like spectra from the autocorrelation of the dipole moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ParameterError
from ..units import WAVENUMBER
from .arrays import as_series, as_trajectory

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Spectrum", "compute_dipole_spectrum", "compute_dipoles", "compute_ir_spectrum"]


@dataclass(frozen=True)
class Spectrum:
    """A spectrum.

    Parameters
    ----------
    wavenumbers
        (n,) float64, 1/cm.
    intensities
        (n,) float64, such that their integral over the wavenumbers is the mean square of the dipole's derivative,
        e²nm²/ps².
    resolution
        1/cm: half the width at half the height of a sharp line.
    """

    wavenumbers: NDArray[np.float64]
    intensities: NDArray[np.float64]
    resolution: float


def compute_dipoles(traj: Any, charges: ArrayLike) -> NDArray[np.float64]:
    """Return the dipole moment of every frame.

    Parameters
    ----------
    traj
        mdtraj.Trajectory, its molecules whole.
    charges
        (n_atoms,) or, from a model whose charges follow the geometry, (n_frames, n_atoms); e.

    Returns
    -------
    numpy.ndarray
        (n_frames, 3) float64, e nm, from minus to plus, Σ q (r - r of the first atom). Charges that are constant are
        left to `mdtraj.dipole_moments`, whose sign is the other one: it measures from every atom to the first.

    Raises
    ------
    ParameterError
        If the charges have another shape.

    Examples
    --------
    >>> import mdtraj
    >>> from openmm_nn.analysis import compute_dipoles
    >>> topology = mdtraj.Topology()
    >>> residue = topology.add_residue("X", topology.add_chain())
    >>> atoms = [topology.add_atom("H", mdtraj.element.hydrogen, residue) for _ in range(2)]
    >>> traj = mdtraj.Trajectory([[[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]], topology)
    >>> compute_dipoles(traj, [-1.0, 1.0]).round(6)[0, 0]
    np.float64(0.1)
    """
    traj = as_trajectory(traj)
    values = np.asarray(charges, dtype=np.float64)
    if values.shape not in ((traj.n_atoms,), (traj.n_frames, traj.n_atoms)):
        raise ParameterError(
            "charges", f"shape {values.shape}", f"({traj.n_atoms},) or ({traj.n_frames}, {traj.n_atoms})",
                    "give a charge for each atom, or for each atom in each frame"
        )  # fmt: skip
    if values.ndim == 1:
        import mdtraj

        return -np.asarray(mdtraj.dipole_moments(traj, values), dtype=np.float64)
    xyz = traj.xyz.astype(np.float64)
    return np.asarray(np.einsum("fa,fax->fx", values, xyz - xyz[:, :1]))


def compute_dipole_spectrum(dipoles: ArrayLike, timestep: float, *, resolution: float | None = None) -> Spectrum:
    """Fourier transform the autocorrelation of the dipole's time derivative.

    I(ν) ∝ ∫ ⟨μ̇(0)·μ̇(t)⟩ cos(2πνt) w(t) dt, the infrared absorption with the harmonic quantum correction, up to a
    factor. The derivative is taken in frequency space, so that high frequencies are not damped; w is Gaussian.

    Parameters
    ----------
    dipoles
        (n_frames, 3), e nm, at equal times.
    timestep
        Between two frames, ps. It must be under half the period of the fastest vibration: 0.004 ps or less where
        there are hydrogens.
    resolution
        1/cm: half width at half height of a line; by default what an eighth of the run resolves.

    Returns
    -------
    Spectrum
        Up to the highest frequency that the frames resolve.

    Raises
    ------
    ParameterError
        If the dipoles are too few, or the time step or resolution is not positive.

    References
    ----------
    Thomas et al., Phys. Chem. Chem. Phys. 15, 6608 (2013), doi:10.1039/c3cp44302g.

    Examples
    --------
    >>> import numpy as np
    >>> from openmm_nn.analysis import compute_dipole_spectrum
    >>> t = np.arange(4096) * 0.001
    >>> dipoles = np.stack([np.cos(2 * np.pi * 50 * t), 0 * t, 0 * t], axis=1)
    >>> spectrum = compute_dipole_spectrum(dipoles, 0.001)
    >>> bool(abs(spectrum.wavenumbers[spectrum.intensities.argmax()] - 50 * 33.3564) < spectrum.resolution)
    True
    """
    values = as_series("dipoles", dipoles, dimensions=2, least=16)
    if not timestep > 0:
        raise ParameterError("timestep", f"{timestep} ps", "more than 0", "give the time between frames")
    count = len(values)
    length = count * timestep
    finest = WAVENUMBER / length
    half_width = 8 * finest if resolution is None else resolution
    if not half_width > 0:
        raise ParameterError("resolution", f"{resolution} 1/cm", "more than 0", "leave it out")

    # A taper against the jump between end and start; the sum of its squares restores the total power.
    taper = np.hanning(count)
    taper *= np.sqrt(count / (taper @ taper))
    power = np.abs(np.fft.rfft((values - values.mean(axis=0)) * taper[:, None], axis=0)) ** 2
    frequencies = np.fft.rfftfreq(count, timestep)
    density = power.sum(axis=1) * (2 * np.pi * frequencies) ** 2 * 2 * timestep / count
    wavenumbers = frequencies * WAVENUMBER
    smooth = _smooth(density / WAVENUMBER, half_width / (wavenumbers[1] - wavenumbers[0]))
    return Spectrum(wavenumbers.astype(np.float64), smooth, half_width)


def _smooth(density: NDArray[np.float64], half_width: float) -> NDArray[np.float64]:
    """Convolve with a Gaussian of unit area, which is the product with a Gaussian in time; mirrored at the ends."""
    sigma = half_width / np.sqrt(2 * np.log(2))
    if sigma < 0.2:
        return density
    reach = min(int(np.ceil(5 * sigma)), len(density) - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(density, reach, mode="reflect")
    return np.asarray(np.convolve(padded, kernel / kernel.sum(), mode="valid"))


def compute_ir_spectrum(
    traj: Any, charges: ArrayLike, *, timestep: float | None = None, resolution: float | None = None
) -> Spectrum:
    """Return an infrared-like spectrum of a trajectory whose atoms carry charges.

    Parameters
    ----------
    traj
        mdtraj.Trajectory, its molecules whole, its frames at equal times.
    charges
        (n_atoms,) or (n_frames, n_atoms), e. With charges that are constant, intensities are those of a force field;
        charges of a model that follow the geometry give those of the model.
    timestep
        Between two frames, ps; by default the trajectory's.
    resolution
        1/cm, see `compute_dipole_spectrum`.

    Returns
    -------
    Spectrum
        Of all atoms of the trajectory; use `traj.atom_slice` for the region's.

    Raises
    ------
    ParameterError
        If charges have another shape, or the frames are too few.

    Examples
    --------
    >>> import mdtraj, numpy as np
    >>> from openmm_nn.analysis import compute_ir_spectrum
    >>> topology = mdtraj.Topology()
    >>> residue = topology.add_residue("X", topology.add_chain())
    >>> atoms = [topology.add_atom("H", mdtraj.element.hydrogen, residue) for _ in range(2)]
    >>> t = np.arange(2048) * 0.001
    >>> xyz = np.zeros((2048, 2, 3))
    >>> xyz[:, 1, 0] = 0.1 + 0.01 * np.sin(2 * np.pi * 60 * t)
    >>> spectrum = compute_ir_spectrum(mdtraj.Trajectory(xyz, topology, time=t), [-0.5, 0.5])
    >>> bool(abs(spectrum.wavenumbers[spectrum.intensities.argmax()] - 2001.4) < spectrum.resolution)
    True
    """
    traj = as_trajectory(traj)
    if timestep is None:
        steps = np.diff(traj.time)
        if len(steps) == 0 or steps[0] <= 0 or np.ptp(steps) > 1e-2 * abs(float(np.mean(steps))):
            raise ParameterError(
                "timestep", "None, with frames that are not at equal times", "frames at equal times",
                        "give timestep= in ps, or a trajectory without gaps"
            )  # fmt: skip
        timestep = float(np.mean(steps))
    return compute_dipole_spectrum(compute_dipoles(traj, charges), timestep, resolution=resolution)
