"""Life in a Context: groups, counts, integrators, threads, minimisation, checkpoints, other particles."""

import hashlib
import threading

import numpy as np
import openmm as mm
import pytest
from openmm import app, unit

from openmm_nn import create_system
from tests import oracle
from tests.counting import counting_potential
from tests.models import TORCHFORCE_K, ModelSet
from tests.platforms import (
    PLATFORMS,
    REFERENCE,
    PlatformCase,
    energy_of,
    forces_of,
    positions_of,
    why_no_opencl_minimizer,
)
from tests.samples import bare_system, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]


@pytest.fixture
def positions() -> np.ndarray:
    return random_cluster(NUMBERS, seed=41)


INTEGRATORS = {
    "verlet": lambda: mm.VerletIntegrator(0.0002),
    "langevin-middle": lambda: mm.LangevinMiddleIntegrator(300.0, 1.0, 0.0002),
    "nose-hoover": lambda: mm.NoseHooverIntegrator(300.0, 1.0, 0.0002),
    "brownian": lambda: mm.BrownianIntegrator(300.0, 100.0, 0.0002),
}


@pytest.mark.parametrize("name", list(INTEGRATORS))
def test_one_evaluation_a_step(
    models: ModelSet, platform: PlatformCase, engine: str, positions: np.ndarray, name: str
) -> None:
    counter, potential = counting_potential(models)
    system = bare_system(6)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS))
    context = platform.context(system, positions, INTEGRATORS[name]())
    context.getIntegrator().step(3)
    before = counter.calls
    context.getIntegrator().step(20)
    assert counter.calls - before == 20
    assert set(counter.atoms) == {6}


@pytest.mark.parametrize("elsewhere", [case for case in PLATFORMS if case.name != "CUDA"], ids=str)
def test_what_speaks_of_another_platform(
    models: ModelSet, elsewhere: PlatformCase, native: str, positions: np.ndarray
) -> None:
    """A System whose model is to be recorded on a GPU is evaluated anywhere."""
    energies = []
    for properties in ({}, {"cuda_graphs": "true"}):
        system = bare_system(6)
        system.addForce(models.pair("edges").create_force(atomic_numbers=NUMBERS, properties=properties))
        energies.append(energy_of(elsewhere.context(system, positions)))
    elsewhere.check_energy(*energies)


def test_statistics_count_the_same(
    models: ModelSet, platform: PlatformCase, native: str, positions: np.ndarray
) -> None:
    system = bare_system(6)
    force = models.pair("edges").create_force(atomic_numbers=NUMBERS)
    system.addForce(force)
    context = platform.context(system, positions)
    assert force.getStatistics(context)["evaluations"] == 0
    context.getIntegrator().step(3)
    before = force.getStatistics(context)
    context.getIntegrator().step(20)
    after = force.getStatistics(context)
    assert after["evaluations"] - before["evaluations"] == 20
    assert after["warmup_evaluations"] == before["warmup_evaluations"]
    assert after["atoms"] - before["atoms"] == 120


def test_none_when_its_group_is_not_asked_for(
    models: ModelSet, platform: PlatformCase, engine: str, positions: np.ndarray
) -> None:
    counter, potential = counting_potential(models)
    system = bare_system(6)
    force = potential.create_force(atomic_numbers=NUMBERS, force_group=7)
    assert force.getForceGroup() == 7
    system.addForce(force)
    spring = mm.CustomExternalForce("x^2+y^2+z^2")
    for i in range(6):
        spring.addParticle(i)
    system.addForce(spring)
    integrator = mm.VerletIntegrator(0.0002)
    integrator.setIntegrationForceGroups({0})
    context = platform.context(system, positions, integrator)
    before = counter.calls
    integrator.step(5)
    energy_of(context, {0})
    forces_of(context, {0, 1, 2})
    context.getState(getPositions=True, getVelocities=True)
    assert counter.calls == before
    platform.check_energy(energy_of(context, {7}), oracle.pair_energy(positions_of(context), NUMBERS))
    assert counter.calls == before + 1


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_multiple_time_steps(
    models: ModelSet, platform: PlatformCase, engine: str, positions: np.ndarray, steps: int
) -> None:
    """MTSLangevinIntegrator: the neural group once an outer step; the springs `steps` times."""
    counter, potential = counting_potential(models)
    system = bare_system(6)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS, force_group=1))
    spring = mm.HarmonicBondForce()
    spring.addBond(0, 1, 0.1, 1000.0)
    system.addForce(spring)
    integrator = mm.MTSLangevinIntegrator(300.0, 1.0, 0.0004, [(1, 1), (0, steps)])
    context = platform.context(system, positions, integrator)
    integrator.step(2)
    before = counter.calls
    integrator.step(10)
    assert counter.calls - before == 10
    assert np.isfinite(positions_of(context)).all()


def test_outer_loop_equals_verlet(models: ModelSet, engine: str, positions: np.ndarray) -> None:
    """MTSIntegrator with one substep follows velocity Verlet written by hand in NumPy."""
    system = bare_system(6)
    system.addForce(models.pair("plain").create_force(atomic_numbers=NUMBERS, force_group=1))
    step = 0.0005
    context = REFERENCE.context(system, positions, mm.MTSIntegrator(step, [(1, 1)]))
    context.setVelocities(np.zeros((6, 3)))
    context.getIntegrator().step(50)
    x, v = positions.copy(), np.zeros((6, 3))
    f = oracle.pair_energy_forces(x, NUMBERS)[1]
    for _ in range(50):
        v += 0.5 * step * f / 12.0
        x += step * v
        f = oracle.pair_energy_forces(x, NUMBERS)[1]
        v += 0.5 * step * f / 12.0
    assert np.abs(x - positions).max() > 1e-3
    np.testing.assert_allclose(positions_of(context), x, atol=1e-9)


def test_two_contexts_in_two_threads(models: ModelSet, platform: PlatformCase, engine: str) -> None:
    starts = [random_cluster(NUMBERS, seed=s) for s in (51, 52)]

    def prepare(k: int) -> mm.Context:
        system = bare_system(6)
        system.addForce(models.pair("edges").create_force(atomic_numbers=NUMBERS))
        return platform.context(system, starts[k], mm.VerletIntegrator(0.0002))

    def run(context: mm.Context, k: int, out: dict[int, np.ndarray]) -> None:
        context.getIntegrator().step(60)
        out[k] = positions_of(context)

    alone: dict[int, np.ndarray] = {}
    for k in range(2):
        run(prepare(k), k, alone)
    contexts = [prepare(k) for k in range(2)]
    together: dict[int, np.ndarray] = {}
    threads = [threading.Thread(target=run, args=(contexts[k], k, together)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    for k in range(2):
        np.testing.assert_allclose(together[k], alone[k], atol=1e-9 if platform.double else 1e-5)


def test_context_made_in_another_thread(models: ModelSet, engine: str, positions: np.ndarray) -> None:
    found: list[float] = []

    def work() -> None:
        system = bare_system(6)
        system.addForce(models.pair("edges").create_force(atomic_numbers=NUMBERS))
        found.append(energy_of(REFERENCE.context(system, positions)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout=120)
    REFERENCE.check_energy(found[0], oracle.pair_energy(positions, NUMBERS))


def test_minimizer(models: ModelSet, platform: PlatformCase, engine: str) -> None:
    if platform.name == "OpenCL" and why_no_opencl_minimizer():
        pytest.skip(why_no_opencl_minimizer())
    system = bare_system(8)
    system.addForce(models.torchforce("harmonic").create_force())
    context = platform.context(system, np.random.default_rng(0).uniform(-1.0, 1.0, (8, 3)))
    mm.LocalEnergyMinimizer.minimize(context, 1e-3)
    assert np.abs(positions_of(context)).max() < 1e-3
    assert energy_of(context) < TORCHFORCE_K * 24 * 1e-6


def test_checkpoint(models: ModelSet, platform: PlatformCase, engine: str, positions: np.ndarray) -> None:
    system = bare_system(6)
    system.addForce(models.pair("parameter").create_force(atomic_numbers=NUMBERS))
    context = platform.context(system, positions, mm.LangevinMiddleIntegrator(300.0, 1.0, 0.0002))
    context.setParameter("strength", 1.1)
    context.getIntegrator().step(10)
    checkpoint = context.createCheckpoint()
    context.getIntegrator().step(20)
    ends = positions_of(context)
    context.setParameter("strength", 5.0)
    context.loadCheckpoint(checkpoint)
    assert context.getParameter("strength") == 1.1
    context.getIntegrator().step(20)
    if platform.name == "Reference":
        assert (positions_of(context) == ends).all()
    else:
        np.testing.assert_allclose(positions_of(context), ends, atol=1e-9 if platform.double else 1e-5)


def test_reinitialize(models: ModelSet, platform: PlatformCase, engine: str, positions: np.ndarray) -> None:
    system = bare_system(6)
    system.addForce(models.pair("edges").create_force(atomic_numbers=NUMBERS))
    context = platform.context(system, positions)
    before = energy_of(context)
    system.addForce(mm.CMMotionRemover())
    context.reinitialize(preserveState=True)
    platform.check_energy(energy_of(context), before)


def test_frozen_atoms(models: ModelSet, platform: PlatformCase, engine: str, positions: np.ndarray) -> None:
    """Massless particles may be in the region: they act, and stay."""
    system = bare_system(6)
    system.setParticleMass(0, 0.0)
    system.setParticleMass(3, 0.0)
    system.addForce(models.pair("edges").create_force(atomic_numbers=NUMBERS))
    context = platform.context(system, positions)
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS)
    platform.check_energy(energy_of(context), energy)
    platform.check_forces(forces_of(context), forces)
    context.getIntegrator().step(50)
    moved = np.linalg.norm(positions_of(context) - positions, axis=1)
    assert moved[[0, 3]].max() < 1e-7
    assert moved[[1, 2, 4, 5]].min() > 1e-6


def test_update_model(models: ModelSet, platform: PlatformCase, engine: str, positions: np.ndarray) -> None:
    """Other weights in a living Context; natively, a Context that is not told keeps its own."""
    system = bare_system(6)
    force = models.pair("edges", output="energies").create_force(atomic_numbers=NUMBERS)
    system.addForce(force)
    one, two = platform.context(system, positions), platform.context(system, positions)
    before, forces = oracle.pair_energy_forces(positions, NUMBERS)
    platform.check_energy(energy_of(one), before)
    data = models.pair_file("edges", output="energies", deep=True).read_bytes()
    force.setModel(data, force.getCard())
    platform.check_energy(energy_of(one), before)
    force.updateModelInContext(one)
    assert force.getModelHash() == hashlib.sha256(data).hexdigest()
    platform.check_energy(energy_of(one), 2.0 * before)
    platform.check_forces(forces_of(one), 2.0 * forces)
    if engine == "native":  # the other engine has one function for all Contexts of a force
        platform.check_energy(energy_of(two), before)
    three = platform.context(system, positions)
    platform.check_energy(energy_of(three), 2.0 * before)


@pytest.mark.parametrize("change", ["wide", "angstrom"])
def test_update_to_another_card(models: ModelSet, engine: str, positions: np.ndarray, change: str) -> None:
    """A card with another cutoff or unit is obeyed or refused; never half of it."""
    system = bare_system(6)
    force = models.pair("edges").create_force(atomic_numbers=NUMBERS)
    system.addForce(force)
    context = REFERENCE.context(system, positions)
    energy_of(context)
    options = {"wide": True} if change == "wide" else {"unit": "angstrom"}
    other = models.pair("edges", **options)
    try:
        force.setModel(models.pair_file("edges", **options).read_bytes(), other.card.to_json())
        force.updateModelInContext(context)
    except (ValueError, mm.OpenMMException) as error:
        assert "card" in str(error)  # noqa: PT017
        return
    expected = oracle.pair_energy(positions, NUMBERS, window=6.0 if change == "wide" else 0.6)
    REFERENCE.check_energy(energy_of(context), expected)


def test_create_system(models: ModelSet, platform: PlatformCase, engine: str) -> None:
    """A pure system: masses and elements of the topology, nothing else."""
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    symbols = ["O", "H", "C", "N", "H", "C"]
    for symbol in symbols:
        topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
    positions = random_cluster(NUMBERS, seed=41)
    # C2H2NO has 29 electrons.
    system = create_system(topology, models.pair("edges"), multiplicity=2)
    assert [system.getParticleMass(i) for i in range(6)] == [app.Element.getBySymbol(s).mass for s in symbols]
    assert system.getNumConstraints() == 0
    context = platform.context(system, positions)
    platform.check_energy(energy_of(context), oracle.pair_energy(positions, NUMBERS))
    assert unit.is_quantity(context.getState(getEnergy=True).getPotentialEnergy())
