"""What only a GPU has: a model that is recorded once and replayed, and positions that never leave the device."""

import numpy as np
import openmm as mm
import pytest
import torch
from openmm import unit

import openmm_nn
from openmm_nn import native
from tests.models import MEMBERS, ModelSet, PairEdges, PairSpec
from tests.platforms import PRECISIONS, REFERENCE, PlatformCase, energy_of, forces_of, why_not
from tests.samples import BOXES, bare_system, make_periodic

pytestmark = pytest.mark.skipif(bool(why_not("CUDA")), reason=f"no CUDA: {why_not('CUDA')}")

NUMBERS = [8, 1, 1, 6, 1, 1, 1]
POSITIONS = np.array(
    [
        [0.0, 0.0, 0.0], [0.096, 0.0, 0.0], [-0.024, 0.093, 0.0],
        [0.31, 0.02, 0.01], [0.42, 0.03, 0.0], [0.28, 0.12, 0.03], [0.27, -0.05, 0.09],
    ]
)  # fmt: skip
BONDS = [(0, 1), (0, 2), (3, 4), (3, 5), (3, 6)]
RECORDED = {"cuda_graphs": "true"}


@pytest.fixture(params=PRECISIONS)
def cuda(request: pytest.FixtureRequest) -> PlatformCase:
    return PlatformCase("CUDA", str(request.param))


def bundled(properties: dict[str, str] | None = None) -> mm.System:
    system = bare_system(len(NUMBERS), box=np.diag([2.0, 2.0, 2.0]))
    make_periodic(system)
    potential = openmm_nn.load_potential("openmm-nn/hcno-1")
    system.addForce(potential.create_force(atomic_numbers=NUMBERS, bonds=BONDS, periodic=False, properties=properties))
    return system


def statistics(context: mm.Context) -> dict[str, int]:
    (force,) = native.neural_forces(context.getSystem()).values()
    return dict(force.getStatistics(context))


@pytest.mark.parametrize("properties", [{}, RECORDED], ids=["launched", "recorded"])
def test_bundled_potential(cuda: PlatformCase, properties: dict[str, str]) -> None:
    reference = REFERENCE.context(bundled(), POSITIONS)
    context = cuda.context(bundled(properties), POSITIONS)
    rng = np.random.default_rng(0)
    for _ in range(5):
        positions = POSITIONS + rng.normal(scale=0.004, size=POSITIONS.shape)
        for one in (context, reference):
            one.setPositions(positions)
        # Forces alone, energy alone, both: each is a recording of its own.
        forces = forces_of(context)
        np.testing.assert_allclose(forces, forces_of(reference), atol=2e-4 * np.abs(forces).max())
        np.testing.assert_allclose(energy_of(context), energy_of(reference), atol=0.02)
        state = context.getState(energy=True, forces=True)
        np.testing.assert_allclose(state.getForces(asNumpy=True)._value, forces, atol=1e-4 * np.abs(forces).max())


@pytest.mark.parametrize("kind", ["edges", "edges-forces"])
def test_recorded_equals_launched(models: ModelSet, cuda: PlatformCase, kind: str) -> None:
    def make(properties: dict[str, str]) -> mm.Context:
        system = bare_system(len(NUMBERS))
        system.addForce(models.pair(kind).create_force(atomic_numbers=NUMBERS, bonds=BONDS, properties=properties))
        return cuda.context(system, POSITIONS)

    recorded, launched = make(RECORDED), make({})
    rng = np.random.default_rng(1)
    for _ in range(4):
        positions = POSITIONS + rng.normal(scale=0.01, size=POSITIONS.shape)
        for context in (recorded, launched):
            context.setPositions(positions)
        cuda.check_energy(energy_of(recorded), energy_of(launched))
        cuda.check_forces(forces_of(recorded), forces_of(launched))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> openmm_nn.Potential:
    """Machine code for this GPU: four members, atomic energies."""
    return openmm_nn.export_potential(
        PairEdges(PairSpec(members=MEMBERS), "atomic_energies"),
        tmp_path_factory.mktemp("compiled") / "committee.pt2",
        ModelSet.pair_card("edges", output="atomic_energies", members=len(MEMBERS), offset=True),
        format="aotinductor",
        device="cuda",
    )


@pytest.mark.process
@pytest.mark.parametrize("properties", [{}, RECORDED], ids=["launched", "recorded"])
def test_machine_code(compiled: openmm_nn.Potential, cuda: PlatformCase, properties: dict[str, str]) -> None:
    """Against the module itself, evaluated in double by torch."""
    system = bare_system(len(NUMBERS))
    force = compiled.create_force(atomic_numbers=NUMBERS, bonds=BONDS, properties=properties)
    system.addForce(force)
    context = cuda.context(system, POSITIONS)
    module = PairEdges(PairSpec(members=MEMBERS), "atomic_energies")
    rng = np.random.default_rng(2)
    for _ in range(4):
        positions = POSITIONS + rng.normal(scale=0.01, size=POSITIONS.shape)
        context.setPositions(positions)
        energy, forces = by_torch(module, positions)
        np.testing.assert_allclose(forces_of(context), forces, atol=2e-5 * np.abs(forces).max())
        offset = force.getEnergyOffset()
        np.testing.assert_allclose(energy_of(context) - offset, energy, rtol=2e-5, atol=1e-3)
    spread = force.getForceStd(context)
    assert len(spread) == len(NUMBERS)
    assert max(spread) > 0.0


def by_torch(module: torch.nn.Module, positions: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean energy of the members, kJ/mol, and its forces, for all pairs of atoms."""
    count = len(positions)
    pairs = torch.tensor([[i, j] for i in range(count) for j in range(count) if i != j]).T
    x = torch.tensor(positions, dtype=torch.float64, requires_grad=True)
    shifts = torch.zeros(pairs.shape[1], 3, dtype=torch.float64)
    energy = module.double()(x, torch.tensor(NUMBERS), pairs, shifts).sum(1).mean()
    (gradient,) = torch.autograd.grad(energy, x)
    return float(energy.detach()), -gradient.numpy()


@pytest.mark.process
def test_machine_code_for_a_gpu_on_other_platforms(compiled: openmm_nn.Potential) -> None:
    """The model alone runs on the GPU; there is nothing to record it with."""
    system = bare_system(len(NUMBERS))
    system.addForce(compiled.create_force(atomic_numbers=NUMBERS, bonds=BONDS, properties=RECORDED))
    _, forces = by_torch(PairEdges(PairSpec(members=MEMBERS), "atomic_energies"), POSITIONS)
    np.testing.assert_allclose(
        forces_of(REFERENCE.context(system, POSITIONS)), forces, atol=2e-5 * np.abs(forces).max()
    )


def many(models: ModelSet, box: np.ndarray | None, properties: dict[str, str]) -> mm.System:
    """Ninety atoms, free or in a box that the model sees."""
    system = bare_system(90, box=box)
    if box is not None:
        make_periodic(system)
    potential = models.pair("edges")
    numbers = [(1, 6, 7, 8)[index % 4] for index in range(90)]
    system.addForce(
        potential.create_force(atomic_numbers=numbers, bonds=[], periodic=box is not None, properties=properties)
    )
    return system


def scattered(cell: np.ndarray, seed: int) -> np.ndarray:
    """Ninety positions (N, 3) in nm near the points of a grid in a cell."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(5), np.arange(4)), -1).reshape(-1, 3) / [5, 5, 4]
    return (rng.permutation(grid)[:90] + rng.uniform(-0.04, 0.04, (90, 3))) @ cell


@pytest.mark.parametrize("shape", ["free", *BOXES])
def test_edges_of_many_atoms(models: ModelSet, cuda: PlatformCase, shape: str) -> None:
    """A fixed number of edges an atom, found on the device, against those of the engine."""
    box = BOXES.get(shape)
    cell = np.diag([2.2, 2.2, 2.2]) if box is None else box
    recorded = cuda.context(many(models, box, RECORDED))
    reference = REFERENCE.context(many(models, box, {}))
    for seed in range(4):
        positions = scattered(cell, seed)
        if box is not None:
            positions = positions + np.random.default_rng(seed).integers(-1, 2, (90, 3)) @ box
        for context in (recorded, reference):
            context.setPositions(positions)
        cuda.check_energy(energy_of(recorded), energy_of(reference))
        cuda.check_forces(forces_of(recorded), forces_of(reference))


def test_more_and_more_neighbours(models: ModelSet, cuda: PlatformCase) -> None:
    """A gas that is compressed: room is made again and again; and a sudden collapse, which is an error."""
    recorded, reference = cuda.context(many(models, None, RECORDED)), REFERENCE.context(many(models, None, {}))
    start = scattered(np.diag([4.0, 4.0, 4.0]), 3)
    for factor in np.linspace(1.0, 0.4, 60):
        for context in (recorded, reference):
            context.setPositions(start * factor)
        cuda.check_energy(energy_of(recorded), energy_of(reference))
    cuda.check_forces(forces_of(recorded), forces_of(reference))
    recorded.setPositions(start * 0.08)
    with pytest.raises(mm.OpenMMException, match=r"an atom has \d+ neighbours, and there was room for"):
        energy_of(recorded)


def test_a_box_too_small_for_one_image(models: ModelSet, cuda: PlatformCase) -> None:
    box = np.diag([2.0, 1.1, 2.0])
    system = many(models, BOXES["rectangular"], RECORDED)
    system.getForce(0).setCutoffDistance(0.5)  # OpenMM has a limit of its own
    context = cuda.context(system, scattered(box, 1), box=box)
    with pytest.raises(mm.OpenMMException, match=r"1\.1\d* nm along an axis, less than twice the cutoff"):
        energy_of(context)


def test_ani2x(cuda: PlatformCase) -> None:
    pytest.importorskip("torchani", reason="torchani is not installed")
    potential = openmm_nn.load_potential("ani2x/0")

    def make(properties: dict[str, str]) -> mm.System:
        system = bare_system(len(NUMBERS))
        system.addForce(potential.create_force(atomic_numbers=NUMBERS, bonds=BONDS, properties=properties))
        return system

    context, reference = cuda.context(make(RECORDED), POSITIONS), REFERENCE.context(make({}), POSITIONS)
    rng = np.random.default_rng(7)
    for _ in range(3):
        positions = POSITIONS + rng.normal(scale=0.004, size=POSITIONS.shape)
        for one in (context, reference):
            one.setPositions(positions)
        forces = forces_of(reference)
        np.testing.assert_allclose(forces_of(context), forces, atol=2e-4 * np.abs(forces).max())
        np.testing.assert_allclose(energy_of(context), energy_of(reference), atol=0.05)


def test_nothing_crosses_to_the_host(cuda: PlatformCase) -> None:
    context = cuda.context(bundled(RECORDED), POSITIONS)
    forces_of(context)
    before = statistics(context)
    context.getIntegrator().step(20)
    after = statistics(context)
    assert after["evaluations"] == before["evaluations"] + 20
    assert after["bytes"] == before["bytes"]
    assert after["warmup_evaluations"] == before["warmup_evaluations"]


def test_dynamics(cuda: PlatformCase) -> None:
    def run(properties: dict[str, str]) -> tuple[np.ndarray, float]:
        integrator = mm.VerletIntegrator(0.0005)
        context = cuda.context(bundled(properties), POSITIONS, integrator)
        context.setVelocitiesToTemperature(200 * unit.kelvin, 3)
        integrator.step(60)
        state = context.getState(positions=True, energy=True)
        total = state.getPotentialEnergy() + state.getKineticEnergy()
        return np.array(state.getPositions(asNumpy=True)._value), float(total._value)

    (recorded, energy), (launched, other) = run(RECORDED), run({"geometry": "host"})
    np.testing.assert_allclose(recorded, launched, atol=2e-4)
    assert abs(energy - other) < 0.1


def test_a_parameter_that_changes(models: ModelSet, cuda: PlatformCase) -> None:
    def make(properties: dict[str, str] | None) -> mm.System:
        system = bare_system(len(NUMBERS))
        force = models.pair("edges").create_force(atomic_numbers=NUMBERS, bonds=BONDS, properties=properties)
        force.setScaleParameter("scale", 1.0)
        force.addEnergyParameterDerivative("scale")
        system.addForce(force)
        return system

    context, reference = cuda.context(make(RECORDED), POSITIONS), REFERENCE.context(make(None), POSITIONS)
    for scale in (1.0, 0.3, 0.0, 1.0):
        for one in (context, reference):
            one.setParameter("scale", scale)
        cuda.check_energy(energy_of(context), energy_of(reference))
        cuda.check_forces(forces_of(context), forces_of(reference))
        state = context.getState(parameterDerivatives=True)
        np.testing.assert_allclose(
            state.getEnergyParameterDerivatives()["scale"],
            reference.getState(parameterDerivatives=True).getEnergyParameterDerivatives()["scale"],
            rtol=1e-5,
        )


def test_what_goes_wrong_on_the_device_is_said(cuda: PlatformCase) -> None:
    context = cuda.context(bundled(RECORDED), POSITIONS)
    energy_of(context)
    bad = POSITIONS.copy()
    bad[3, 1] = np.nan
    context.setPositions(bad)
    with pytest.raises(mm.OpenMMException, match="position of particle 3 is not finite"):
        energy_of(context)


class TestRefusals:
    def test_where_the_geometry_is_the_hosts(self, cuda: PlatformCase) -> None:
        with pytest.raises(mm.OpenMMException, match="cuda_graphs is 'true', but the property geometry is 'host'"):
            cuda.context(bundled({**RECORDED, "geometry": "host"}), POSITIONS)

    def test_an_absolute_frame(self, models: ModelSet, cuda: PlatformCase) -> None:
        system = bare_system(3)
        system.addForce(models.torchforce("harmonic").create_force(properties=RECORDED))
        with pytest.raises(mm.OpenMMException, match="frame of the model is absolute"):
            cuda.context(system, POSITIONS[:3])

    def test_many_atoms_with_edges(self, cuda: PlatformCase) -> None:
        system = bare_system(4001)
        potential = openmm_nn.load_potential("openmm-nn/hcno-1")
        system.addForce(potential.create_force(atomic_numbers=[1] * 4001, properties=RECORDED))
        with pytest.raises(mm.OpenMMException, match="4000 is the limit"):
            cuda.context(system)

    def test_shapes_that_depend_on_data(self, models: ModelSet, cuda: PlatformCase) -> None:
        system = bare_system(len(NUMBERS))
        system.addForce(models.pair("plain").create_force(atomic_numbers=NUMBERS, properties=RECORDED))
        context = cuda.context(system, POSITIONS)
        with pytest.raises(mm.OpenMMException, match="cannot be recorded as a CUDA graph"):
            energy_of(context)
