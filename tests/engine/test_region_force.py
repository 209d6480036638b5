"""RegionForce: exactly what leaves the energy when the pairs of a region become exceptions of zero."""

import copy

import numpy as np
import openmm as mm
import pytest
from openmm import unit

from openmm_nn import native
from tests.platforms import REFERENCE, PlatformCase, energy_of, forces_of

METHODS = ("NoCutoff", "CutoffNonPeriodic", "CutoffPeriodic", "Ewald", "PME", "LJPME")
BOX = np.array([[2.6, 0.0, 0.0], [0.4, 2.7, 0.0], [-0.5, 0.6, 2.5]])
COUNT = 40
REGION = [3, 17, 8, 21, 22, 23, 30, 5, 39, 11]


def make(
    method: str, *, switch: bool = False, rectangular: bool = False
) -> tuple[mm.System, mm.NonbondedForce, np.ndarray]:
    """Charged Lennard-Jones particles at random, with exceptions inside the region, outside it and across."""
    rng = np.random.default_rng(5)
    box = np.diag(np.diag(BOX)) if rectangular else BOX
    system = mm.System()
    system.setDefaultPeriodicBoxVectors(*(box * unit.nanometer))
    force = mm.NonbondedForce()
    for index in range(COUNT):
        system.addParticle(12.0)
        force.addParticle((-1) ** index * rng.uniform(0.1, 0.8), rng.uniform(0.15, 0.3), rng.uniform(0.1, 1.0))
    exceptions = [
        (21, 22, 0.0, 0.0),
        (22, 23, 0.0, 0.0),
        (21, 23, 0.1, 0.2),
        (3, 39, -0.2, 0.0),
        (3, 4, 0.0, 0.0),
        (6, 7, 0.1, 0.1),
    ]
    for first, second, product, epsilon in exceptions:
        force.addException(first, second, product, 0.2, epsilon)
    force.setNonbondedMethod(getattr(mm.NonbondedForce, method))
    force.setCutoffDistance(0.8)
    # Ewald's sums must be converged to compare with what is exact.
    force.setEwaldErrorTolerance(1e-5)
    force.setUseDispersionCorrection(False)
    if method in ("PME", "LJPME"):
        force.setPMEParameters(4.0, 60, 60, 60)
        force.setLJPMEParameters(3.5, 60, 60, 60)
    if method not in ("NoCutoff", "CutoffNonPeriodic"):
        force.setExceptionsUsePeriodicBoundaryConditions(True)
    if switch:
        force.setUseSwitchingFunction(True)
        force.setSwitchingDistance(0.6)
    system.addForce(force)
    grid = np.array([(i, j, k) for i in range(4) for j in range(4) for k in range(4)])
    positions = (rng.permutation(grid)[:COUNT] + rng.uniform(-0.12, 0.12, (COUNT, 3))) / 4 @ box
    positions += rng.integers(-1, 2, (COUNT, 3)) @ box if method not in ("NoCutoff", "CutoffNonPeriodic") else 0
    return system, force, positions


def context_of(system: mm.System, positions: np.ndarray, platform: PlatformCase) -> mm.Context:
    context = platform.context(system)
    context.setPositions(positions)
    return context


def removed(system: mm.System, positions: np.ndarray, platform: PlatformCase) -> tuple[float, np.ndarray]:
    """What OpenMM's own energy and forces lose when the region's pairs are zeroed."""
    without = copy.deepcopy(system)
    nonbonded = without.getForce(0)
    for i in range(len(REGION)):
        for j in range(i):
            nonbonded.addException(REGION[i], REGION[j], 0.0, 1.0, 0.0, True)
    full, rest = context_of(system, positions, platform), context_of(without, positions, platform)
    return energy_of(full) - energy_of(rest), forces_of(full) - forces_of(rest)


def region_system(force: mm.NonbondedForce, system: mm.System) -> tuple[mm.System, object]:
    """A System with nothing but the RegionForce."""
    alone = mm.System()
    alone.setDefaultPeriodicBoxVectors(*system.getDefaultPeriodicBoxVectors())
    for _ in range(COUNT):
        alone.addParticle(12.0)
    region = native.load().RegionForce(force, REGION)
    alone.addForce(region)
    return alone, region


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("switch", [False, True], ids=["plain", "switch"])
def test_equals_what_zero_exceptions_remove(method: str, switch: bool) -> None:
    if method == "Ewald":
        # OpenMM's Ewald sum takes rectangular boxes.
        system, force, positions = make(method, switch=switch, rectangular=True)
    else:
        system, force, positions = make(method, switch=switch)
    energy, forces = removed(system, positions, REFERENCE)
    alone, _ = region_system(force, system)
    context = context_of(alone, positions, REFERENCE)
    assert energy_of(context) == pytest.approx(energy, abs=1e-8 * max(1.0, abs(energy)))
    np.testing.assert_allclose(forces_of(context), forces, atol=1e-7 * np.abs(forces).max())


@pytest.mark.parametrize("method", METHODS)
def test_is_the_same_on_every_platform(method: str, platform: PlatformCase) -> None:
    system, force, positions = make(method, rectangular=method == "Ewald")
    alone, _ = region_system(force, system)
    reference, context = context_of(alone, positions, REFERENCE), context_of(alone, positions, platform)
    # Single precision holds a position to 1e-7 of a few nm.
    scale = 1e-9 if platform.double else 2e-5
    expected = forces_of(reference)
    assert energy_of(context) == pytest.approx(energy_of(reference), abs=scale * max(1.0, np.abs(expected).max()))
    np.testing.assert_allclose(forces_of(context), expected, atol=scale * np.abs(expected).max())


@pytest.mark.parametrize("method", METHODS)
def test_forces_are_the_gradient(method: str) -> None:
    system, force, positions = make(method, switch=True, rectangular=method == "Ewald")
    alone, _ = region_system(force, system)
    context = context_of(alone, positions, REFERENCE)
    forces, step = forces_of(context), 1e-5
    for particle in REGION[:5]:
        for axis in range(3):
            energies = []
            for sign in (1, -1):
                moved = positions.copy()
                moved[particle, axis] += sign * step
                context.setPositions(moved)
                energies.append(energy_of(context))
            assert forces[particle, axis] == pytest.approx(
                -(energies[0] - energies[1]) / (2 * step), abs=1e-6 * np.abs(forces).max()
            )
    assert np.abs(forces.sum(axis=0)).max() < 1e-9 * np.abs(forces).max()


def test_scale_and_its_derivative(platform: PlatformCase) -> None:
    system, force, positions = make("PME")
    alone, region = region_system(force, system)
    full = energy_of(context_of(alone, positions, platform))
    region.setScaleParameter("lambda", 0.25)
    region.setScale(1.0, -1.0)
    region.setHasScaleDerivative(True)
    context = context_of(alone, positions, platform)
    for value in (0.25, 0.0, 1.0):
        context.setParameter("lambda", value)
        state = context.getState(energy=True, parameterDerivatives=True)
        assert energy_of(context) == pytest.approx((1 - value) * full, abs=1e-4 * abs(full))
        assert state.getEnergyParameterDerivatives()["lambda"] == pytest.approx(-full, rel=1e-4)


def test_many_particles_use_threads_and_give_the_same() -> None:
    """Above 300 particles the rows are shared among threads."""
    rng = np.random.default_rng(1)
    count = 400
    system, force = mm.System(), mm.NonbondedForce()
    box = 4.0 * np.eye(3)
    system.setDefaultPeriodicBoxVectors(*(box * unit.nanometer))
    for _ in range(count):
        system.addParticle(12.0)
        force.addParticle(rng.uniform(-0.5, 0.5), 0.2, 0.3)
    force.setNonbondedMethod(mm.NonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(0.9)
    force.setUseDispersionCorrection(False)
    system.addForce(force)
    grid = np.array([(i, j, k) for i in range(8) for j in range(8) for k in range(8)])
    positions = (rng.permutation(grid)[:count] + rng.uniform(-0.1, 0.1, (count, 3))) / 2
    alone = mm.System()
    alone.setDefaultPeriodicBoxVectors(*(box * unit.nanometer))
    for _ in range(count):
        alone.addParticle(12.0)
    alone.addForce(native.load().RegionForce(force, range(count)))
    whole, region = context_of(system, positions, REFERENCE), context_of(alone, positions, REFERENCE)
    assert energy_of(region) == pytest.approx(energy_of(whole), abs=1e-8 * abs(energy_of(whole)))
    expected = forces_of(whole)
    np.testing.assert_allclose(forces_of(region), expected, atol=1e-9 * np.abs(expected).max())


def test_xml_keeps_everything() -> None:
    system, force, positions = make("LJPME")
    alone, region = region_system(force, system)
    region.setScaleParameter("lambda", 0.5)
    region.setScale(0.25, 2.0)
    region.setForceGroup(3)
    text = mm.XmlSerializer.serialize(alone)
    again = mm.XmlSerializer.deserialize(text)
    assert mm.XmlSerializer.serialize(again) == text
    assert native.load().RegionForce.cast(again.getForce(0)).getScale() == (0.25, 2.0)
    assert energy_of(context_of(again, positions, REFERENCE)) == energy_of(context_of(alone, positions, REFERENCE))


def test_offsets_by_parameters_are_refused() -> None:
    _, force, _ = make("PME")
    force.addGlobalParameter("p", 0.0)
    force.addParticleParameterOffset("p", REGION[0], 0.1, 0.0, 0.0)
    with pytest.raises(
        mm.OpenMMException, match=rf"particle {REGION[0]} .*offset by the parameter 'p'.*Remove the offset"
    ):
        native.load().RegionForce(force, REGION)
