"""The model runs beside the classical forces: the same numbers to the last bit, and no evaluation for nothing."""

import numpy as np
import openmm as mm
import pytest
from openmm import unit

from openmm_nn.errors import ParameterError
from tests.models import ModelSet
from tests.refusals import refusal
from tests.samples import bare_system, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]
PLATFORM_NAMES = ("Reference", "CPU")


def context_of(
    models: ModelSet,
    name: str,
    integrator: mm.Integrator,
    *,
    concurrent: bool = True,
    kind: str = "edges",
    group: int = 0,
    barostat: bool = False,
) -> tuple[mm.Context, mm.Force]:
    system = bare_system(6)
    if barostat:
        system.setDefaultPeriodicBoxVectors(*(np.eye(3) * 3.0))
        spectator = mm.NonbondedForce()
        spectator.setNonbondedMethod(mm.NonbondedForce.CutoffPeriodic)
        for _ in range(6):
            spectator.addParticle(0.0, 0.3, 0.0)
        system.addForce(spectator)
    force = models.pair(kind).create_force(
        atomic_numbers=NUMBERS, force_group=group, properties={"concurrent": concurrent}
    )
    system.addForce(force)
    if barostat:
        # After the neural force, so that it moves the atoms once the evaluation has been started.
        pressure = mm.MonteCarloBarostat(1.0, 300.0, 2)
        pressure.setRandomNumberSeed(5)
        system.addForce(pressure)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName(name))
    context.setPositions(random_cluster(NUMBERS, seed=41))
    return context, force


def langevin() -> mm.Integrator:
    integrator = mm.LangevinMiddleIntegrator(300.0, 1.0, 0.0005)
    integrator.setRandomNumberSeed(11)
    return integrator


def trajectory(context: mm.Context, steps: int) -> np.ndarray:
    frames = []
    for _ in range(steps):
        context.getIntegrator().step(1)
        frames.append(context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    return np.array(frames)


@pytest.mark.parametrize("name", PLATFORM_NAMES)
@pytest.mark.parametrize("barostat", [False, True])
def test_the_same_trajectory_to_the_last_bit(models: ModelSet, native: str, name: str, barostat: bool) -> None:
    runs = []
    for concurrent in (True, False):
        context, force = context_of(models, name, langevin(), concurrent=concurrent, barostat=barostat)
        runs.append(trajectory(context, 40))
        early = force.getStatistics(context)["early_evaluations"]
        assert (early > 0) == concurrent
    assert np.array_equal(runs[0], runs[1])


@pytest.mark.parametrize("name", PLATFORM_NAMES)
def test_every_evaluation_of_a_step_is_early(models: ModelSet, native: str, name: str) -> None:
    context, force = context_of(models, name, langevin())
    context.getIntegrator().step(2)
    before = force.getStatistics(context)
    context.getIntegrator().step(30)
    after = force.getStatistics(context)
    assert after["evaluations"] - before["evaluations"] == 30
    assert after["early_evaluations"] - before["early_evaluations"] == 30


def test_an_energy_at_the_end_of_a_step_is_no_early_one(models: ModelSet, native: str) -> None:
    context, force = context_of(models, "CPU", langevin())
    context.getIntegrator().step(2)
    before = force.getStatistics(context)
    context.getState(energy=True)
    after = force.getStatistics(context)
    assert after["evaluations"] - before["evaluations"] == 1
    assert after["early_evaluations"] == before["early_evaluations"]


def test_parameters_and_positions_set_between_steps_are_seen(models: ModelSet, native: str) -> None:
    ends = []
    for concurrent in (True, False):
        context, _ = context_of(models, "Reference", langevin(), concurrent=concurrent)
        context.getIntegrator().step(3)
        moved = context.getState(positions=True).getPositions(asNumpy=True) + 0.01 * unit.nanometer * np.eye(6, 3)
        context.setPositions(moved)
        ends.append(trajectory(context, 5))
    assert np.array_equal(ends[0], ends[1])


def test_none_for_a_group_that_is_not_integrated(models: ModelSet, native: str) -> None:
    context, force = context_of(models, "CPU", langevin(), group=3)
    context.getIntegrator().setIntegrationForceGroups({0})
    context.getIntegrator().step(10)
    assert force.getStatistics(context)["evaluations"] == 0
    assert force.getStatistics(context)["early_evaluations"] == 0


def test_multiple_time_steps_have_nothing_to_start_early(models: ModelSet, native: str) -> None:
    integrator = mm.MTSLangevinIntegrator(300.0, 1.0, 0.001, [(0, 2), (1, 1)])
    context, force = context_of(models, "CPU", integrator, group=1)
    context.getIntegrator().step(2)
    before = force.getStatistics(context)
    context.getIntegrator().step(20)
    after = force.getStatistics(context)
    assert after["evaluations"] - before["evaluations"] == 20
    assert after["early_evaluations"] == before["early_evaluations"]


def test_an_integrator_that_moves_first_is_learnt(models: ModelSet, native: str) -> None:
    """Forces are needed after a move that follows the announcement of the step: three early ones, then no more."""
    integrator = mm.CustomIntegrator(0.0002)
    integrator.addUpdateContextState()
    integrator.addComputePerDof("x", "x+dt*v+0.001*dt")
    integrator.addComputePerDof("v", "v+dt*f/m")
    integrator.addComputePerDof("x", "x+1e-6*v")
    context, force = context_of(models, "CPU", integrator)
    context.getIntegrator().step(20)
    statistics = force.getStatistics(context)
    assert statistics["early_evaluations"] == 3
    assert statistics["evaluations"] == 23


@pytest.mark.parametrize("name", PLATFORM_NAMES)
def test_an_error_of_the_model_is_thrown_in_the_step(models: ModelSet, native: str, name: str) -> None:
    context, _ = context_of(models, name, langevin())
    context.getIntegrator().step(2)
    positions = random_cluster(NUMBERS, seed=41)
    positions[3] = np.nan
    context.setPositions(positions)
    with pytest.raises(mm.OpenMMException, match=r"particle 3|Particle coordinate is NaN"):
        context.getIntegrator().step(1)
    context.setPositions(random_cluster(NUMBERS, seed=41))
    context.getIntegrator().step(2)


def test_contexts_come_and_go_with_an_evaluation_under_way(models: ModelSet, native: str) -> None:
    """A step that fails elsewhere leaves the evaluation that it started."""
    for _ in range(20):
        context, _ = context_of(models, "CPU", langevin())
        context.getIntegrator().step(1)
        del context


def test_simulation_with_reporters(models: ModelSet, native: str) -> None:
    """Reporters ask for energies between steps; the trajectory does not change."""
    ends = []
    for every in (0, 2):
        context, _ = context_of(models, "Reference", langevin())
        for i in range(10):
            context.getIntegrator().step(1)
            if every and i % every == 0:
                context.getState(energy=True, forces=True)
        ends.append(context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    assert np.array_equal(ends[0], ends[1])


def test_a_wrong_value_is_refused(models: ModelSet, native: str) -> None:
    with refusal(ParameterError, "properties['concurrent']", allowed="'true', 'false'"):
        models.pair("edges").create_force(atomic_numbers=NUMBERS, properties={"concurrent": "perhaps"})
