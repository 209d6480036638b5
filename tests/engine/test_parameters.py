"""Global parameters of the Context, their derivatives, and the scale."""

import numpy as np
import openmm as mm
import pytest

from tests import oracle
from tests.models import ModelSet
from tests.platforms import REFERENCE, PlatformCase, energy_of, forces_of
from tests.samples import bare_system, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]


@pytest.fixture
def positions() -> np.ndarray:
    return random_cluster(NUMBERS, seed=21)


def derivatives_of(context: mm.Context) -> dict[str, float]:
    return dict(context.getState(getParameterDerivatives=True).getEnergyParameterDerivatives())


def test_defaults_come_from_the_card(models: ModelSet, engine: str, positions: np.ndarray) -> None:
    system = bare_system(6)
    system.addForce(models.pair("parameter").create_force(atomic_numbers=NUMBERS))
    context = REFERENCE.context(system, positions)
    assert dict(context.getParameters()) == {"strength": 1.5, "tilt": -2.0}
    expected = 1.5**2 * oracle.pair_energy(positions, NUMBERS) - 2.0
    REFERENCE.check_energy(energy_of(context), expected)


def test_values_are_those_of_the_context(
    models: ModelSet, platform: PlatformCase, engine: str, positions: np.ndarray
) -> None:
    system = bare_system(6)
    system.addForce(models.pair("parameter").create_force(atomic_numbers=NUMBERS))
    context = platform.context(system, positions)
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS)
    for strength, tilt in [(0.0, 7.0), (2.0, 0.0), (-1.0, -3.5)]:
        context.setParameter("strength", strength)
        context.setParameter("tilt", tilt)
        platform.check_energy(energy_of(context), strength**2 * energy + tilt)
        platform.check_forces(forces_of(context), strength**2 * forces)


def test_derivatives(models: ModelSet, platform: PlatformCase, native: str, positions: np.ndarray) -> None:
    system = bare_system(6)
    force = models.pair("parameter").create_force(atomic_numbers=NUMBERS)
    force.addEnergyParameterDerivative("strength")
    force.addEnergyParameterDerivative("tilt")
    system.addForce(force)
    context = platform.context(system, positions)
    context.setParameter("strength", 0.75)
    energy = oracle.pair_energy(positions, NUMBERS)
    found = derivatives_of(context)
    platform.check_energy(found["strength"], 2.0 * 0.75 * energy)
    platform.check_energy(found["tilt"], 1.0)


def test_derivative_against_differences(models: ModelSet, native: str, positions: np.ndarray) -> None:
    system = bare_system(6)
    force = models.pair("parameter", unit="angstrom").create_force(atomic_numbers=NUMBERS)
    force.setScaleParameter("lambda_nn", 0.4)
    force.addEnergyParameterDerivative("strength")
    force.addEnergyParameterDerivative("lambda_nn")
    system.addForce(force)
    context = REFERENCE.context(system, positions)
    found = derivatives_of(context)
    assert found.get("tilt", 0.0) == 0.0  # Reference lists every parameter
    for name, value in (("strength", 1.5), ("lambda_nn", 0.4)):
        ends = []
        for h in (1e-4, -1e-4):
            context.setParameter(name, value + h)
            ends.append(energy_of(context))
        context.setParameter(name, value)
        np.testing.assert_allclose(found[name], (ends[0] - ends[1]) / 2e-4, rtol=1e-7)


def test_torchforce_derivatives(models: ModelSet, platform: PlatformCase, native: str) -> None:
    points = np.random.default_rng(1).uniform(-1.0, 1.0, (9, 3))
    system = bare_system(9)
    force = models.torchforce("parameter").create_force()
    force.addEnergyParameterDerivative("k")
    force.addEnergyParameterDerivative("x0")
    system.addForce(force)
    found = derivatives_of(platform.context(system, points))
    platform.check_energy(found["k"], float(np.sum(points**2)) + 2.0 * 3.5 * 0.25)
    platform.check_energy(found["x0"], 3.5**2)


def test_derivative_not_asked_for_is_not_there(models: ModelSet, native: str, positions: np.ndarray) -> None:
    system = bare_system(6)
    system.addForce(models.pair("parameter").create_force(atomic_numbers=NUMBERS))
    found = derivatives_of(REFERENCE.context(system, positions))
    assert not any(found.values())  # Reference lists every parameter, with zeros


@pytest.mark.parametrize("offset", [False, True])
def test_scale(models: ModelSet, platform: PlatformCase, native: str, positions: np.ndarray, offset: bool) -> None:
    """The scale multiplies everything, offset and returned forces included."""
    system = bare_system(6)
    force = models.pair("edges-forces", offset=offset).create_force(atomic_numbers=NUMBERS)
    force.setScaleParameter("lambda_nn", 1.0)
    force.addEnergyParameterDerivative("lambda_nn")
    system.addForce(force)
    context = platform.context(system, positions)
    whole, forces = energy_of(context), forces_of(context)
    assert context.getParameter("lambda_nn") == 1.0
    for scale in (0.0, 0.25, 1.75):
        context.setParameter("lambda_nn", scale)
        platform.check_energy(energy_of(context), scale * whole)
        platform.check_forces(forces_of(context), scale * forces)
        platform.check_energy(derivatives_of(context)["lambda_nn"], whole)


def test_scale_and_parameter_shared_by_two_forces(models: ModelSet, native: str, positions: np.ndarray) -> None:
    system = bare_system(6)
    for _ in range(2):
        force = models.pair("parameter").create_force(atomic_numbers=NUMBERS)
        force.addEnergyParameterDerivative("strength")
        system.addForce(force)
    context = REFERENCE.context(system, positions)
    energy = oracle.pair_energy(positions, NUMBERS)
    REFERENCE.check_energy(derivatives_of(context)["strength"], 2.0 * 2.0 * 1.5 * energy)


def test_derivative_in_an_integrator(models: ModelSet, native: str, positions: np.ndarray) -> None:
    """CustomIntegrator reads dE/dparameter by deriv()."""
    system = bare_system(6)
    force = models.pair("parameter").create_force(atomic_numbers=NUMBERS)
    force.addEnergyParameterDerivative("strength")
    system.addForce(force)
    integrator = mm.CustomIntegrator(0.001)
    integrator.addGlobalVariable("slope", 0.0)
    integrator.addComputeGlobal("slope", "deriv(energy, strength)")
    context = REFERENCE.context(system, positions, integrator)
    integrator.step(1)
    assert context.getStepCount() == 1
    expected = 2.0 * 1.5 * oracle.pair_energy(positions, NUMBERS)
    REFERENCE.check_energy(integrator.getGlobalVariableByName("slope"), expected)


@pytest.mark.parametrize("charge, multiplicity", [(0, 1), (-1, 2), (2, 3)])
def test_charge_and_multiplicity(
    models: ModelSet, platform: PlatformCase, engine: str, positions: np.ndarray, charge: int, multiplicity: int
) -> None:
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS)
    factor = 1.0 + charge / 4.0 + multiplicity / 8.0
    system = bare_system(6)
    potential = models.pair("charge")
    system.addForce(potential.create_force(atomic_numbers=NUMBERS, charge=charge, multiplicity=multiplicity))
    context = platform.context(system, positions)
    platform.check_energy(energy_of(context), factor * energy)
    platform.check_forces(forces_of(context), factor * forces)
    result = potential.evaluate(positions, NUMBERS, charge=charge, multiplicity=multiplicity)
    np.testing.assert_allclose(result.energy, factor * energy, rtol=1e-10)


def test_parameters_of_evaluate(models: ModelSet, positions: np.ndarray) -> None:
    energy = oracle.pair_energy(positions, NUMBERS)
    potential = models.pair("parameter")
    np.testing.assert_allclose(potential.evaluate(positions, NUMBERS).energy, 2.25 * energy - 2.0, rtol=1e-10)
    found = potential.evaluate(positions, NUMBERS, parameters={"strength": 2.0}).energy
    np.testing.assert_allclose(found, 4.0 * energy - 2.0, rtol=1e-10)
