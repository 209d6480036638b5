"""Spectra of dipoles that swing at known frequencies."""

import mdtraj
import numpy as np
import pytest

from openmm_nn.analysis import compute_dipole_spectrum, compute_dipoles, compute_ir_spectrum
from openmm_nn.errors import ParameterError
from tests.refusals import refusal

LIGHT = 0.0299792458  # cm/ps


def swinging(wavenumber: float, amplitude: float, time: np.ndarray, phase: float = 0.3) -> np.ndarray:
    dipole = np.zeros((len(time), 3))
    dipole[:, 1] = amplitude * np.cos(2 * np.pi * wavenumber * LIGHT * time + phase)
    return dipole


@pytest.mark.parametrize("wavenumber", [100.0, 1712.3, 3650.0])
def test_one_line(wavenumber: float) -> None:
    time = np.arange(20_000) * 0.001
    spectrum = compute_dipole_spectrum(swinging(wavenumber, 0.02, time) + 5.0, 0.001)
    assert spectrum.wavenumbers[np.argmax(spectrum.intensities)] == pytest.approx(wavenumber, abs=spectrum.resolution)
    # Its integral is the mean square of the derivative: (a ω)² / 2.
    area = spectrum.intensities.sum() * spectrum.wavenumbers[1]
    assert area == pytest.approx((0.02 * 2 * np.pi * wavenumber * LIGHT) ** 2 / 2, rel=0.03)
    half = spectrum.wavenumbers[spectrum.intensities > spectrum.intensities.max() / 2]
    assert np.ptp(half) / 2 == pytest.approx(spectrum.resolution, rel=0.25)


def test_two_lines_and_the_ratio_of_their_intensities() -> None:
    time = np.arange(16_000) * 0.002
    dipoles = swinging(800.0, 0.02, time) + swinging(1600.0, 0.01, time, 1.1)
    spectrum = compute_dipole_spectrum(dipoles, 0.002, resolution=10.0)
    low = spectrum.intensities[(spectrum.wavenumbers > 700) & (spectrum.wavenumbers < 900)].sum()
    high = spectrum.intensities[(spectrum.wavenumbers > 1500) & (spectrum.wavenumbers < 1700)].sum()
    # Half the amplitude at twice the frequency: the same intensity.
    assert low / high == pytest.approx(1.0, abs=0.02)
    assert low + high > 0.99 * spectrum.intensities.sum()


def test_white_noise_of_the_derivative_is_flat() -> None:
    random = np.random.default_rng(1)
    dipoles = np.cumsum(random.normal(size=(40_000, 3)), axis=0) * 0.001
    spectrum = compute_dipole_spectrum(dipoles, 0.001, resolution=200.0)
    # A random walk has differences that are white; the derivative is exact at frequencies low against 1/timestep.
    inner = (spectrum.wavenumbers > 500) & (spectrum.wavenumbers < 3000)
    flat = 3 * 0.001**2 / 0.001**2 * 2 * 0.001 / (1 / LIGHT)
    assert spectrum.intensities[inner] == pytest.approx(flat, rel=0.2)


def molecule(frames: int) -> mdtraj.Trajectory:
    topology = mdtraj.Topology()
    residue = topology.add_residue("CO2", topology.add_chain())
    for name, element in (("C", "carbon"), ("O1", "oxygen"), ("O2", "oxygen")):
        topology.add_atom(name, getattr(mdtraj.element, element), residue)
    time = np.arange(frames) * 0.001
    xyz = np.zeros((frames, 3, 3))
    xyz[:, 1, 0], xyz[:, 2, 0] = -0.116, 0.116
    xyz[:, 0, 0] = 0.005 * np.sin(2 * np.pi * 2350 * LIGHT * time)
    return mdtraj.Trajectory(xyz, topology, time=time)


def test_spectrum_of_a_trajectory() -> None:
    traj = molecule(4096)
    spectrum = compute_ir_spectrum(traj, [0.7, -0.35, -0.35])
    assert spectrum.wavenumbers[np.argmax(spectrum.intensities)] == pytest.approx(2350, abs=spectrum.resolution)
    same = compute_ir_spectrum(traj, np.tile([0.7, -0.35, -0.35], (4096, 1)), timestep=0.001)
    assert same.intensities == pytest.approx(spectrum.intensities, rel=1e-2, abs=1e-6)


def test_dipoles_are_those_of_mdtraj_but_for_the_sign() -> None:
    traj = mdtraj.Trajectory(np.random.default_rng(2).normal(size=(6, 3, 3)), molecule(1).topology)
    charges = np.array([0.7, -0.35, -0.35])
    found = compute_dipoles(traj, charges)
    assert found == pytest.approx(-mdtraj.dipole_moments(traj, charges))
    assert found == pytest.approx(np.einsum("a,fax->fx", charges, traj.xyz), abs=1e-6)
    assert compute_dipoles(traj, np.tile(charges, (6, 1))) == pytest.approx(found, abs=1e-6)


def test_wrong_arguments() -> None:
    traj = molecule(64)
    with refusal(ParameterError, "charges", got="shape (2,)", allowed="(3,) or (64, 3)"):
        compute_ir_spectrum(traj, [1.0, -1.0])
    with refusal(ParameterError, "timestep", got="0"):
        compute_dipole_spectrum(np.zeros((64, 3)), 0.0)
    with refusal(ParameterError, "resolution", got="-1"):
        compute_dipole_spectrum(np.zeros((64, 3)), 0.001, resolution=-1)
    traj.time[10:] += 1.0
    with refusal(ParameterError, "timestep", got="frames that are not at equal times"):
        compute_ir_spectrum(traj, [0.7, -0.35, -0.35])
