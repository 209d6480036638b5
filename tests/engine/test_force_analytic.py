"""Energies and forces of models that are known exactly, on every platform and engine."""

import dataclasses

import numpy as np
import openmm as mm
import pytest

from openmm_nn import ModelCard, load_potential
from tests import oracle
from tests.models import TORCHFORCE_K, ModelSet
from tests.models.analytic import HarmonicWithForces, StopGradient
from tests.models.generate import script
from tests.platforms import REFERENCE, PlatformCase, energy_of, forces_of
from tests.samples import bare_system, make_periodic, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6, 8]


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1.5, 1.5, (12, 3))


def test_harmonic(models: ModelSet, platform: PlatformCase, engine: str, points: np.ndarray) -> None:
    system = bare_system(len(points))
    system.addForce(models.torchforce("harmonic").create_force())
    context = platform.context(system, points)
    platform.check_energy(energy_of(context), TORCHFORCE_K * float(np.sum(points**2)))
    platform.check_forces(forces_of(context), -2.0 * TORCHFORCE_K * points)


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "strided"])
def test_returned_forces(
    models: ModelSet, platform: PlatformCase, engine: str, points: np.ndarray, layout: str
) -> None:
    system = bare_system(len(points))
    system.addForce(models.torchforce(f"forces-{layout}").create_force())
    context = platform.context(system, points)
    platform.check_energy(energy_of(context), TORCHFORCE_K * float(np.sum(points**2)))
    platform.check_forces(forces_of(context), -2.0 * TORCHFORCE_K * points)


def test_returned_forces_expanded(models: ModelSet, platform: PlatformCase, engine: str, points: np.ndarray) -> None:
    system = bare_system(len(points))
    system.addForce(models.torchforce("forces-expanded").create_force())
    context = platform.context(system, points)
    one = TORCHFORCE_K * np.array([1.0, -2.0, 3.0])
    platform.check_energy(energy_of(context), -float(np.sum(points @ one)))
    platform.check_forces(forces_of(context), np.tile(one, (len(points), 1)))


def test_returned_forces_are_used_and_not_the_gradient(engine: str, points: np.ndarray) -> None:
    module = script(HarmonicWithForces("transposed", wrong_by=1.7))
    potential = load_potential(module, card=ModelCard.torchforce(outputs=("energy", "forces")))
    system = bare_system(len(points))
    system.addForce(potential.create_force())
    forces = forces_of(REFERENCE.context(system, points))
    REFERENCE.check_forces(forces, -2.0 * 1.7 * TORCHFORCE_K * points)


@pytest.mark.parametrize("scripted", [True, False])
def test_stop_gradient(engine: str, points: np.ndarray, scripted: bool) -> None:
    """What a model takes out of its gradient stays out, frozen or not."""
    module = StopGradient().eval()
    card = ModelCard.torchforce()
    if not scripted:
        card = dataclasses.replace(card, format="callable")
    system = bare_system(len(points))
    system.addForce(load_potential(script(module) if scripted else module.forward, card=card).create_force())
    context = REFERENCE.context(system, points)
    REFERENCE.check_energy(energy_of(context), TORCHFORCE_K * float(np.sum(points**2)))
    REFERENCE.check_forces(forces_of(context), -TORCHFORCE_K * points)


def test_global_parameter(models: ModelSet, platform: PlatformCase, engine: str, points: np.ndarray) -> None:
    system = bare_system(len(points))
    system.addForce(models.torchforce("parameter").create_force())
    context = platform.context(system, points)
    assert context.getParameters()["k"] == 3.5
    assert context.getParameters()["x0"] == 0.25
    square = float(np.sum(points**2))
    platform.check_energy(energy_of(context), 3.5 * square + 3.5**2 * 0.25)
    context.setParameter("k", 5.25)
    context.setParameter("x0", -1.5)
    platform.check_energy(energy_of(context), 5.25 * square - 5.25**2 * 1.5)
    platform.check_forces(forces_of(context), -2.0 * 5.25 * points)


def test_wrapped_box(models: ModelSet, platform: PlatformCase, engine: str, points: np.ndarray) -> None:
    box = np.diag([1.1, 1.3, 0.9])
    system = bare_system(len(points), box=box)
    force = models.torchforce("box").create_force()
    assert force.usesPeriodicBoundaryConditions()
    system.addForce(force)
    context = platform.context(system, points)
    wrapped = points - np.floor(points / np.diag(box)) * np.diag(box)
    platform.check_energy(energy_of(context), TORCHFORCE_K * float(np.sum(wrapped**2)))
    platform.check_forces(forces_of(context), -2.0 * TORCHFORCE_K * wrapped)
    larger = np.diag([1.6, 1.4, 1.2])
    context.setPeriodicBoxVectors(*(mm.Vec3(*row) for row in larger.tolist()))
    wrapped = points - np.floor(points / np.diag(larger)) * np.diag(larger)
    platform.check_energy(energy_of(context), TORCHFORCE_K * float(np.sum(wrapped**2)))


@pytest.mark.parametrize("kind", ["plain", "box", "edges", "edges-forces"])
@pytest.mark.parametrize("dtype", ["float64", "platform"])
def test_pair_potential(models: ModelSet, platform: PlatformCase, engine: str, kind: str, dtype: str) -> None:
    positions = random_cluster(NUMBERS, seed=5)
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS)
    system = bare_system(len(NUMBERS))
    system.addForce(models.pair(kind, dtype=dtype).create_force(atomic_numbers=NUMBERS))
    context = platform.context(system, positions)
    platform.check_energy(energy_of(context), energy)
    platform.check_forces(forces_of(context), forces)


def test_float32_model_on_a_double_platform(models: ModelSet, engine: str) -> None:
    positions = random_cluster(NUMBERS, seed=5)
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS)
    system = bare_system(len(NUMBERS))
    system.addForce(models.pair("edges", dtype="float32").create_force(atomic_numbers=NUMBERS))
    context = REFERENCE.context(system, positions)
    found = energy_of(context)
    np.testing.assert_allclose(found, energy, rtol=1e-5)
    assert found != energy
    np.testing.assert_allclose(forces_of(context), forces, atol=1e-5 * np.abs(forces).max())


@pytest.mark.parametrize("precision, digits", [("single", 1e-5), ("double", 1e-10)])
def test_precision_property(models: ModelSet, engine: str, precision: str, digits: float) -> None:
    positions = random_cluster(NUMBERS, seed=5)
    energy, _ = oracle.pair_energy_forces(positions, NUMBERS)
    system = bare_system(len(NUMBERS))
    dtype = "float32" if precision == "double" else "float64"
    potential = models.pair("edges", dtype=dtype)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS, properties={"precision": precision}))
    found = energy_of(REFERENCE.context(system, positions))
    np.testing.assert_allclose(found, energy, rtol=digits)
    assert (abs(found - energy) > 1e-10 * abs(energy)) == (precision == "single")


def test_ordered_subset(models: ModelSet, platform: PlatformCase, engine: str) -> None:
    """The model sees the atoms in the order given, with their own elements, and nothing else."""
    rng = np.random.default_rng(8)
    positions = rng.uniform(-3.0, 3.0, (20, 3))
    atoms = [17, 3, 11, 0, 19, 8, 5]
    positions[atoms] = random_cluster(NUMBERS, seed=5) + np.array([1.0, -0.5, 0.25])
    energy, forces = oracle.pair_energy_forces(positions[atoms], NUMBERS)
    system = bare_system(20)
    system.addForce(models.pair("edges").create_force(atomic_numbers=NUMBERS, region=atoms))
    context = platform.context(system, positions)
    platform.check_energy(energy_of(context), energy)
    expected = np.zeros((20, 3))
    expected[atoms] = forces
    platform.check_forces(forces_of(context), expected)


def test_forces_add_to_what_is_there(models: ModelSet, platform: PlatformCase, engine: str) -> None:
    positions = random_cluster(NUMBERS, seed=5)
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS)
    system = bare_system(len(NUMBERS))
    spring = mm.CustomExternalForce("7*(x^2+y^2+z^2)")
    for i in range(len(NUMBERS)):
        spring.addParticle(i)
    system.addForce(spring)
    for _ in range(2):
        system.addForce(models.pair("edges").create_force(atomic_numbers=NUMBERS))
    context = platform.context(system, positions)
    platform.check_energy(energy_of(context), 2.0 * energy + 7.0 * float(np.sum(positions**2)))
    platform.check_forces(forces_of(context), 2.0 * forces - 14.0 * positions)


def test_no_atom_within_the_cutoff(models: ModelSet, platform: PlatformCase, engine: str) -> None:
    positions = np.arange(9.0).reshape(3, 3)
    system = bare_system(3)
    system.addForce(models.pair("edges").create_force(atomic_numbers=[1, 6, 8]))
    context = platform.context(system, positions)
    assert energy_of(context) == 0.0
    assert not forces_of(context).any()


def test_wrapped_positions_of_a_moving_periodic_system(models: ModelSet, platform: PlatformCase, engine: str) -> None:
    """An absolute frame sees positions as OpenMM holds them, though a platform may wrap and reorder its own."""
    count = 60
    box = np.diag([1.5, 1.6, 1.7])
    rng = np.random.default_rng(4)
    system = bare_system(count, box=box)
    make_periodic(system)
    force = load_potential(models.torchforce_file("harmonic")).create_force(region=list(range(10)))
    force.setForceGroup(1)
    system.addForce(force)
    integrator = mm.VerletIntegrator(0.002)
    integrator.setIntegrationForceGroups({31})
    context = platform.context(system, rng.uniform(0.0, 1.5, (count, 3)), integrator)
    context.setVelocities(rng.normal(0.0, 5.0, (count, 3)))
    integrator.step(600)
    state = context.getState(getPositions=True, getEnergy=True, getForces=True, groups={1})
    x = np.asarray(state.getPositions(asNumpy=True)._value)
    assert np.abs(x).max() > 3.0
    platform.check_energy(state.getPotentialEnergy()._value, TORCHFORCE_K * float(np.sum(x[:10] ** 2)))
    expected = np.zeros((count, 3))
    expected[:10] = -2.0 * TORCHFORCE_K * x[:10]
    platform.check_forces(np.asarray(state.getForces(asNumpy=True)._value), expected)
