"""MultistepLangevinIntegrator: OpenMM's Langevin steps inside, impulses of what acts seldom between them."""

import copy
import math

import numpy as np
import openmm as mm
import pytest
from openmm import unit

from openmm_nn import native
from openmm_nn.units import thermal_energy
from tests.platforms import REFERENCE, PlatformCase

SPRINGS = {0: 2.0e5, 1: 3.0e4, 2: 4.0e3}  # kJ/mol/nm^2 to the origin, by force group
MASSES = np.array([1.0, 12.0, 16.0, 0.0])
START = np.array([[0.01, 0.0, -0.02], [0.02, 0.03, 0.0], [-0.01, 0.02, 0.01], [0.05, 0.0, 0.0]])
VELOCITIES = np.array([[0.5, -0.3, 0.1], [0.1, 0.2, -0.2], [0.0, 0.1, 0.3], [0.0, 0.0, 0.0]])


def oscillators(masses: np.ndarray = MASSES) -> mm.System:
    system = mm.System()
    for mass in masses:
        system.addParticle(float(mass))
    for group, constant in SPRINGS.items():
        force = mm.CustomExternalForce(f"{constant / 2:g} * (x^2 + y^2 + z^2)")
        for index in range(len(masses)):
            force.addParticle(index)
        force.setForceGroup(group)
        system.addForce(force)
    return system


def multistep(
    step: float, *groups: tuple[int, int], temperature: float = 300.0, friction: float = 0.0
) -> mm.Integrator:
    return native.load().MultistepLangevinIntegrator(temperature, friction, step, groups)


def context_of(system: mm.System, integrator: mm.Integrator, platform: PlatformCase = REFERENCE) -> mm.Context:
    context = platform.context(system, START, integrator)
    context.setVelocities(VELOCITIES)
    return context


def state_of(context: mm.Context) -> tuple[np.ndarray, np.ndarray]:
    state = context.getState(positions=True, velocities=True)
    return (
        np.array(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)),
        np.array(state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)),
    )


def impulses(steps: int, inner: float, every: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The scheme in NumPy: what acts every n inner steps acts n-fold, half at either end of a step."""
    x, v = START.copy(), VELOCITIES.copy()
    inverse = np.where(MASSES > 0, 1 / np.where(MASSES > 0, MASSES, 1.0), 0.0)[:, None]
    fastest, whole = min(every.values()), max(every.values())

    def kick(group: int, share: float) -> None:
        nonlocal v
        v -= share * every[group] * inner * SPRINGS[group] * x * inverse

    for step in range(steps):
        for group, number in every.items():
            if number == fastest:
                kick(group, 1.0)
            elif step % number == 0:
                kick(group, 1.0 if step % whole else 0.5)
        x += inner * v
        for group, number in every.items():
            if number != fastest and (step + 1) % whole == 0:
                kick(group, 0.5)
    return x, v


@pytest.mark.parametrize("counts", [(1, 1, 1), (4, 2, 1), (6, 6, 1), (8, 4, 2), (3, 1, 3)])
def test_the_scheme(native: str, platform: PlatformCase, counts: tuple[int, int, int]) -> None:
    """Without friction, against the recurrence itself."""
    inner = 0.0002
    integrator = multistep(inner * max(counts), *enumerate(counts))
    context = context_of(oscillators(), integrator, platform)
    integrator.step(5)
    found = state_of(context)
    expected = impulses(5 * max(counts), inner, {group: max(counts) // count for group, count in enumerate(counts)})
    tolerance = 1e-10 if platform.name in ("Reference", "CPU") or platform.precision == "double" else 2e-5
    for ours, theirs in zip(found, expected, strict=True):
        assert np.allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def test_one_level_is_langevin_middle(native: str) -> None:
    """The same random numbers, the same trajectory, bit for bit."""
    found = []
    for integrator in (
        mm.LangevinMiddleIntegrator(300, 5, 0.001),
        multistep(0.001, (0, 1), (1, 1), (2, 1), friction=5.0),
        multistep(0.003, (0, 3), (1, 3), (2, 3), friction=5.0),
    ):
        integrator.setRandomNumberSeed(7)
        context = context_of(oscillators(), integrator)
        integrator.step(round(0.03 / integrator.getStepSize()._value))
        found.append(state_of(context))
    for other in found[1:]:
        assert np.array_equal(found[0][0], other[0])
        assert np.array_equal(found[0][1], other[1])


def test_steps_and_time_are_those_of_the_slowest(native: str, platform: PlatformCase) -> None:
    integrator = multistep(0.004, (0, 4), (1, 2), (2, 1), friction=1.0)
    context = context_of(oscillators(), integrator, platform)
    integrator.step(3)
    assert context.getStepCount() == 3
    assert context.getState().getTime().value_in_unit(unit.picosecond) == pytest.approx(0.012)
    assert integrator.getStepSize().value_in_unit(unit.picosecond) == pytest.approx(0.004)


def test_what_is_kept_is_not_used_elsewhere(native: str, platform: PlatformCase) -> None:
    """New positions between steps are new forces; a step without that goes on with those that it ended with."""
    found = []
    for moved in (False, True):
        context = context_of(oscillators(), multistep(0.001, (0, 4), (1, 2), (2, 1)), platform)
        if moved:
            context.setPositions(2 * START)
            context.getIntegrator().step(2)
            context.setPositions(START)
            context.setVelocities(VELOCITIES)
        context.getIntegrator().step(3)
        found.append(state_of(context))
    for ours, theirs in zip(*found, strict=True):
        assert np.allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


def test_a_step_that_failed_leaves_no_forces(native: str) -> None:
    """A force fails once in the middle of the second step; what follows is what follows from there."""

    def system_with(fails: int) -> mm.System:
        system, calls = oscillators(), 0

        def compute(state: mm.State) -> tuple[float, np.ndarray]:
            nonlocal calls
            calls += 1
            if calls == fails:
                raise RuntimeError("once")
            return 0.0, np.zeros((len(MASSES), 3))

        force = mm.PythonForce(compute)
        force.setForceGroup(0)
        system.addForce(force)
        return system

    groups = ((0, 4), (1, 2), (2, 1))
    context = context_of(system_with(7), multistep(0.002, *groups))
    with pytest.raises(Exception, match="once"):
        context.getIntegrator().step(2)
    x, v = state_of(context)
    fresh = context_of(system_with(0), multistep(0.002, *groups))
    fresh.setPositions(x)
    fresh.setVelocities(v)
    for one in (context, fresh):
        one.getIntegrator().step(1)
    for found, expected in zip(state_of(context), state_of(fresh), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def argon(side: int = 5) -> tuple[mm.System, np.ndarray]:
    """A periodic lattice of identical atoms, which a GPU platform sorts anew now and then."""
    spacing = 0.4
    system = mm.System()
    system.setDefaultPeriodicBoxVectors(*(side * spacing * np.eye(3)))
    pairs, soft = mm.NonbondedForce(), mm.CustomNonbondedForce("2 * (0.9 - r)^2")
    for force in (pairs, soft):
        force.setNonbondedMethod(type(force).CutoffPeriodic)
        force.setCutoffDistance(0.9)
    pairs.setForceGroup(1)
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3), -1).reshape(-1, 3)
    for _ in grid:
        system.addParticle(39.9)
        pairs.addParticle(0.0, 0.34, 1.0)
        soft.addParticle([])
    system.addForce(pairs)
    system.addForce(soft)
    rng = np.random.default_rng(5)
    return system, rng.permutation(grid) * spacing + rng.normal(scale=0.01, size=grid.shape)


def test_particles_in_another_order(native: str, platform: PlatformCase) -> None:
    """For more steps than a GPU platform leaves its order alone, against the Reference platform."""
    system, x = argon()
    velocities = np.random.default_rng(6).normal(scale=1.0, size=x.shape)
    found = []
    for each in (platform, REFERENCE):
        integrator = multistep(0.002, (0, 2), (1, 1))
        context = each.context(system, x, integrator)
        context.setVelocities(velocities)
        integrator.step(300)
        found.append(state_of(context)[0])
    assert np.abs(found[1] - x).max() > 0.5
    assert np.abs(found[0] - found[1]).max() < (1e-3 if platform.double else 0.05)


def test_one_evaluation_of_a_slow_force_a_step(native: str) -> None:
    counter = mm.PythonForce(lambda state: (calls.append(1), (0.0, np.zeros((len(MASSES), 3))))[1])
    calls: list[int] = []
    counter.setForceGroup(2)
    system = oscillators()
    system.addForce(counter)
    context = context_of(system, multistep(0.002, (0, 4), (1, 2), (2, 1)))
    context.getIntegrator().step(10)
    assert len(calls) == 11  # the first step asks at its beginning too


def test_a_barostat_makes_new_forces(native: str) -> None:
    """Whatever moves the atoms between steps: with the volume changed every step, nothing kept is used."""
    system = oscillators()
    system.setDefaultPeriodicBoxVectors(*(2.0 * np.eye(3)))
    pairs = mm.CustomNonbondedForce("0")
    pairs.setNonbondedMethod(mm.CustomNonbondedForce.CutoffPeriodic)
    pairs.setCutoffDistance(0.5)
    for _ in MASSES:
        pairs.addParticle([])
    system.addForce(pairs)
    barostat = mm.MonteCarloBarostat(1.0, 300.0, 1)
    barostat.setRandomNumberSeed(4)
    system.addForce(barostat)
    context = context_of(system, multistep(0.0002, (0, 2), (1, 1), (2, 1)))
    for _ in range(20):
        before, velocities = state_of(context)
        context.getIntegrator().step(1)
        box = context.getState().getPeriodicBoxVectors(asNumpy=True)._value
        if not np.allclose(box, 2.0 * np.eye(3)):
            break
    else:
        raise AssertionError("the barostat accepted nothing")
    # A step from where the barostat had put the atoms, in a Context of its own.
    other = context_of(oscillators(), multistep(0.0002, (0, 2), (1, 1), (2, 1)))
    other.setPositions(before * np.diag(box) / 2.0)
    other.setVelocities(velocities)
    other.getIntegrator().step(1)
    for ours, theirs in zip(state_of(context), state_of(other), strict=True):
        assert np.allclose(ours, theirs, rtol=0, atol=1e-9)


def test_constraints_hold(native: str, platform: PlatformCase) -> None:
    system = oscillators()
    length = float(np.linalg.norm(START[0] - START[1]))
    system.addConstraint(0, 1, length)
    integrator = multistep(0.002, (0, 4), (1, 2), (2, 1), friction=1.0)
    integrator.setConstraintTolerance(1e-6)
    context = context_of(system, integrator, platform)
    context.applyVelocityConstraints(1e-6)
    integrator.step(20)
    x, v = state_of(context)
    assert abs(np.linalg.norm(x[0] - x[1]) / length - 1) < 1e-5
    assert np.allclose(x[3], START[3], rtol=0, atol=1e-7)  # it has no mass
    assert not v[3].any()
    assert abs((v[0] - v[1]) @ (x[0] - x[1])) < 1e-5


def test_the_temperature(native: str) -> None:
    """Oscillators at 300 K: <x^2> of the whole spring, and the kinetic energy, by equipartition."""
    count = 400
    system = oscillators(np.full(count, 12.0))
    integrator = multistep(0.002, (0, 4), (1, 2), (2, 1), friction=20.0)
    integrator.setRandomNumberSeed(3)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("Reference"))
    context.setPositions(np.zeros((count, 3)))
    context.setVelocitiesToTemperature(300, 1)
    integrator.step(500)
    squares, kinetic = [], []
    for _ in range(60):
        integrator.step(25)
        x, v = state_of(context)
        squares.append((x**2).mean())
        kinetic.append(12.0 * (v**2).mean())
    spring = sum(SPRINGS.values())
    for values, factor in ((squares, spring), (kinetic, 1.0)):
        blocks = np.array(values).reshape(12, 5).mean(1) * factor / thermal_energy(300.0)
        error = blocks.std(ddof=1) / math.sqrt(len(blocks))
        assert error < 0.01
        assert abs(blocks.mean() - 1) < 4 * error + 0.01


def test_it_goes_on_from_a_checkpoint(native: str) -> None:
    integrator = multistep(0.002, (0, 4), (1, 2), (2, 1), friction=10.0)
    context = context_of(oscillators(), integrator)
    integrator.step(5)
    saved = context.createCheckpoint()
    integrator.step(5)
    expected = state_of(context)
    context.loadCheckpoint(saved)
    assert context.getStepCount() == 5
    integrator.step(5)
    for ours, theirs in zip(state_of(context), expected, strict=True):
        assert np.array_equal(ours, theirs)


def test_xml_and_copies(native: str) -> None:
    integrator = multistep(0.004, (0, 4), (1, 2), (5, 1), temperature=310.0, friction=2.0)
    integrator.setRandomNumberSeed(11)
    integrator.setConstraintTolerance(1e-7)
    assert integrator.getIntegrationForceGroups() == 0b100011
    text = mm.XmlSerializer.serialize(integrator)
    again = mm.XmlSerializer.deserialize(text)
    assert mm.XmlSerializer.serialize(again) == text
    assert mm.XmlSerializer.serialize(copy.deepcopy(integrator)) == text
    context = context_of(oscillators(), again)
    again.step(2)
    assert context.getStepCount() == 2


def test_quantities(native: str) -> None:
    integrator = multistep(0.004, (0, 1))
    integrator.setTemperature(310 * unit.kelvin)
    integrator.setFriction(0.002 / unit.femtosecond)
    assert integrator.getTemperature() == 310 * unit.kelvin
    assert integrator.getFriction().value_in_unit(unit.picosecond**-1) == pytest.approx(2.0)
    assert integrator.getGroups() == ((0, 1),)


@pytest.mark.parametrize(
    "groups, words",
    [
        ([], "groups is empty"),
        ([(32, 1)], "groups has the force group 32; allowed are 0 to 31"),
        ([(0, 0)], "groups has 0 evaluations a step for force group 0; allowed is 1 or more"),
        ([(0, 1), (0, 2)], "groups has force group 0 twice"),
        ([(0, 2), (1, 3)], "groups has 2 and 3 evaluations a step; allowed are numbers of which each divides"),
    ],
)
def test_groups_that_do_not_fit(native: str, groups: list[tuple[int, int]], words: str) -> None:
    with pytest.raises(mm.OpenMMException, match=words):
        multistep(0.004, *groups)


def test_one_context(native: str) -> None:
    integrator = multistep(0.004, (0, 1))
    context = context_of(oscillators(), integrator)
    with pytest.raises(mm.OpenMMException, match="already bound"):
        context_of(oscillators(), integrator)
    del context
    with pytest.raises(mm.OpenMMException, match="not bound"):
        multistep(0.004, (0, 1)).step(1)
