"""Reweighting between Gaussians, whose weights, free energy and effective size are known."""

import mdtraj
import numpy as np
import openmm
import pytest

from openmm_nn.analysis import compute_energies, compute_reweighting
from openmm_nn.errors import ParameterError, ParticleError
from openmm_nn.units import thermal_energy
from tests.refusals import refusal

RT = thermal_energy(300.0)


def shifted(count: int, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames of a unit Gaussian, their energy, and that of a Gaussian shifted by some standard deviations."""
    x = np.random.default_rng(seed).normal(size=count)
    return x, RT * x**2 / 2, RT * (x - shift) ** 2 / 2


@pytest.mark.parametrize("shift", [0.3, 0.6, 1.0])
def test_effective_size_of_a_shifted_gaussian(shift: float) -> None:
    # <w>²/<w²> = exp(-shift²) for two Gaussians of one width.
    x, sampled, target = shifted(200_000, shift, 1)
    result = compute_reweighting(sampled, target, 300.0)
    assert result.efficiency == pytest.approx(np.exp(-(shift**2)), rel=0.05)
    assert result.effective_size == pytest.approx(200_000 * result.efficiency)
    assert result.weights.sum() == pytest.approx(1.0)
    assert abs(result.free_energy) < 4 * result.free_energy_error
    mean, error = result.average(x)
    assert mean == pytest.approx(shift, abs=4 * error)
    assert error == pytest.approx(np.sqrt((1 + shift**2) / (200_000 * np.exp(-(shift**2)))), rel=0.5)


def test_free_energy_of_a_narrower_gaussian() -> None:
    # k -> 4k: ΔF = RT ln 2.
    x, sampled, _ = shifted(100_000, 0.0, 2)
    result = compute_reweighting(sampled, 4 * sampled + 1000.0, 300.0)
    assert result.free_energy == pytest.approx(1000.0 + RT * np.log(2), abs=4 * result.free_energy_error)
    assert result.free_energy_error < 0.05
    mean, error = result.average(x**2)
    assert mean == pytest.approx(0.25, abs=4 * error)


def test_a_constant_difference_changes_no_weight() -> None:
    result = compute_reweighting(np.arange(10.0), np.arange(10.0) - 1.3e6, 300.0)
    assert result.weights == pytest.approx(np.full(10, 0.1))
    assert result.effective_size == pytest.approx(10.0)
    assert result.free_energy == pytest.approx(-1.3e6)


def test_energies_of_frames() -> None:
    system, force = openmm.System(), openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(0.9)
    for charge in (0.5, -0.5):
        system.addParticle(10.0)
        force.addParticle(charge, 0.3, 0.4)
    system.addForce(force)
    xyz = np.random.default_rng(3).uniform(0, 2, (5, 2, 3))
    box = np.array([[2.0, 0, 0], [0.5, 2.0, 0], [-0.4, 0.6, 2.0]])
    traj = mdtraj.Trajectory(xyz, None)
    traj.unitcell_vectors = np.repeat(box[None], 5, axis=0).astype(np.float32)
    found = compute_energies(traj, system, platform="Reference")
    for frame in range(5):
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
        context.setPeriodicBoxVectors(*box)
        context.setPositions(traj.xyz[frame].astype(float))
        assert found[frame] == pytest.approx(context.getState(getEnergy=True).getPotentialEnergy()._value, abs=1e-4)


def test_wrong_arguments() -> None:
    with refusal(ParameterError, "target", got="5 frames", allowed="4"):
        compute_reweighting(np.zeros(4), np.zeros(5), 300.0)
    with refusal(ParameterError, "temperature", got="-1"):
        compute_reweighting(np.zeros(4), np.zeros(4), -1)
    system = openmm.System()
    system.addParticle(1.0)
    with refusal(ParticleError, "traj", got="2 atoms", allowed="1"):
        compute_energies(mdtraj.Trajectory(np.zeros((1, 2, 3)), None), system)
    with refusal(ParameterError, "series", got="3 frames", allowed="4"):
        compute_reweighting(np.zeros(4), np.zeros(4), 300.0).average(np.zeros(3))
