"""Compiled packages against NumPy, against the same potential as TorchScript, and against the contract."""

import io
import pathlib
import zipfile

import numpy as np
import openmm as mm
import pytest
import torch

from openmm_nn import Link, Potential, export_potential, load_potential
from openmm_nn.testing import check_potential
from tests import oracle
from tests.models import MEMBERS, ModelSet
from tests.platforms import REFERENCE, PlatformCase, energy_of, forces_of
from tests.potentials.aoti.packages import NUMBERS, Packages, SideBySide
from tests.samples import BOXES, Region, bare_system, make_periodic, random_cluster

# Compiling a package takes long on a machine that is busy.
pytestmark = [pytest.mark.process, pytest.mark.timeout(1200)]

PAIRS = ["committee", "parameters", "returned_forces"]


def expected(
    name: str, positions: np.ndarray, numbers: list[int], box: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Energy and forces by NumPy, without offsets."""
    chosen = MEMBERS if name == "committee" else ((1.0, 0.0),)
    results = [oracle.pair_energy_forces(positions, numbers, box, member=member) for member in chosen]
    return float(np.mean([r[0] for r in results])), np.mean([r[1] for r in results], axis=0)


def offset(potential: Potential, numbers: list[int]) -> float:
    symbols = {1: "H", 6: "C", 7: "N", 8: "O"}
    return sum(potential.card.energy_offset.get(symbols[z], 0.0) for z in numbers) * potential.card.energy_factor


@pytest.mark.parametrize("boxed", [False, True], ids=["cluster", "triclinic"])
@pytest.mark.parametrize("name", PAIRS)
def test_contract(packages: Packages, engine: str, name: str, boxed: bool) -> None:
    box = BOXES["triclinic"] if boxed else None
    check_potential(packages(name), NUMBERS, random_cluster(NUMBERS, seed=5), box=box)


def test_contract_in_single_precision(packages: Packages, engine: str) -> None:
    check_potential(packages("spring"), [1, 1, 1], random_cluster([1, 1, 1], seed=5))


@pytest.mark.parametrize("name", PAIRS)
def test_one_energy_in_three_systems_of_units(packages: Packages, name: str) -> None:
    """nm and kJ/mol, Angstrom and eV, bohr and hartree, to 1e-9 of the energy of the pairs."""
    potential = packages(name)
    positions = random_cluster(NUMBERS, seed=9)
    energy, forces = expected(name, positions, NUMBERS)
    found = potential.evaluate(positions, NUMBERS)
    assert abs(found.energy - offset(potential, NUMBERS) - energy) <= 1e-9 * abs(energy) + 1e-16 * abs(found.energy)
    np.testing.assert_allclose(found.forces, forces, rtol=1e-9, atol=1e-9 * np.abs(forces).max())


@pytest.mark.parametrize("name", PAIRS)
def test_on_every_platform(packages: Packages, platform: PlatformCase, engine: str, name: str) -> None:
    potential = packages(name)
    box = BOXES["triclinic"]
    positions = np.random.default_rng(3).uniform(0.0, 1.0, (6, 3)) @ box
    energy, forces = expected(name, positions, NUMBERS, box)
    system = bare_system(6, box=box)
    make_periodic(system)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS, periodic=True))
    context = platform.context(system, positions)
    # OpenCL in single precision does not hold an energy of 5e5 kJ/mol to better than that.
    resolution = 0.0 if platform.double else 4e-7 * abs(offset(potential, NUMBERS))
    assert abs(energy_of(context, {0}) - offset(potential, NUMBERS) - energy) < 1e-6 * abs(energy) + 1e-3 + resolution
    platform.check_forces(forces_of(context, {0}), forces)


@pytest.mark.parametrize("count", [1, 2, 3, 17, 60])
def test_any_number_of_atoms(packages: Packages, engine: str, count: int) -> None:
    """One package serves every size, one atom without an edge among them."""
    numbers = [NUMBERS[i % 6] for i in range(count)]
    positions = np.random.default_rng(count).uniform(0.0, 0.5 * count ** (1 / 3), (count, 3))
    for name in PAIRS:
        potential = packages(name)
        energy, forces = expected(name, positions, numbers)
        system = bare_system(count)
        system.addForce(potential.create_force(atomic_numbers=numbers))
        context = REFERENCE.context(system, positions)
        scale = max(1.0, float(np.abs(forces).max()))
        assert abs(energy_of(context) - offset(potential, numbers) - energy) < 1e-9 * scale + 1e-8
        np.testing.assert_allclose(forces_of(context), forces, atol=1e-10 * scale)


def test_atoms_far_apart_have_no_edges(packages: Packages, engine: str) -> None:
    positions = np.diag([1.0, 2.0, 3.0])
    for name in PAIRS:
        found = packages(name).evaluate(positions, [1, 6, 8])
        assert abs(found.energy - offset(packages(name), [1, 6, 8])) < 1e-9
        assert not found.forces.any()


def test_committee(packages: Packages, models: ModelSet, native: str) -> None:
    positions = random_cluster(NUMBERS, seed=12)
    results = [oracle.pair_energy_forces(positions, NUMBERS, member=member) for member in MEMBERS]
    energies, forces = np.array([r[0] for r in results]), np.array([r[1] for r in results])
    deviation = np.sqrt(forces.var(axis=0, ddof=1).sum(axis=1))
    potential = packages("committee")
    found = potential.evaluate(positions, NUMBERS)
    np.testing.assert_allclose(found.energy_std, energies.std(ddof=1), rtol=1e-7)
    np.testing.assert_allclose(found.forces_std, deviation, rtol=1e-8)
    force = potential.create_force(atomic_numbers=NUMBERS)
    system = bare_system(6)
    system.addForce(force)
    context = REFERENCE.context(system, positions)
    np.testing.assert_allclose(force.getForceStd(context), deviation, rtol=1e-8)
    members = np.array(force.getMemberEnergies(context)) - offset(potential, NUMBERS)
    np.testing.assert_allclose(members, energies, atol=1e-7)


def test_parameters_and_their_derivatives(packages: Packages, platform: PlatformCase, native: str) -> None:
    positions = random_cluster(NUMBERS, seed=21)
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS)
    unit = packages("parameters").card.energy_factor
    force = packages("parameters").create_force(atomic_numbers=NUMBERS)
    for name in ("strength", "tilt"):
        force.addEnergyParameterDerivative(name)
    system = bare_system(6)
    system.addForce(force)
    context = platform.context(system, positions)
    assert dict(context.getParameters()) == {"strength": 1.0, "tilt": 0.0}
    for strength, tilt in [(0.0, 0.5), (1.25, -0.25)]:
        context.setParameter("strength", strength)
        context.setParameter("tilt", tilt)
        platform.check_energy(energy_of(context), strength**2 * energy + tilt * unit)
        platform.check_forces(forces_of(context), strength**2 * forces)
        found = dict(context.getState(getParameterDerivatives=True).getEnergyParameterDerivatives())
        np.testing.assert_allclose(found["strength"], 2.0 * strength * energy, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["tilt"], unit, rtol=1e-6)


def test_parameters_outside_of_openmm(packages: Packages) -> None:
    positions = random_cluster(NUMBERS, seed=21)
    energy = oracle.pair_energy(positions, NUMBERS)
    potential = packages("parameters")
    found = potential.evaluate(positions, NUMBERS, parameters={"strength": 2.0})
    np.testing.assert_allclose(found.energy, 4.0 * energy, rtol=1e-9)
    derivatives = potential.runner()(  # in Angstrom and eV
        {
            "positions": 10.0 * positions,
            "atomic_numbers": np.array(NUMBERS),
            "edge_index": np.zeros((2, 0), dtype=np.int64),
            "edge_shifts": np.zeros((0, 3)),
            "strength": 3.0,
            "tilt": 0.5,
        },
        True,
        ["tilt", "strength"],
        False,
    )[2]
    assert derivatives == {"tilt": 1.0, "strength": 0.0}


@pytest.mark.parametrize("threads", ["1", "2"])
def test_threads(packages: Packages, native: str, threads: str) -> None:
    """The package has code for one thread and for several; both give the same."""
    rng = np.random.default_rng(1)
    numbers = [NUMBERS[i % 6] for i in range(120)]
    positions = rng.uniform(0.0, 2.0, (120, 3))
    energy, forces = expected("committee", positions, numbers)
    system = bare_system(120)
    potential = packages("committee")
    system.addForce(potential.create_force(atomic_numbers=numbers, properties={"threads": threads}))
    context = REFERENCE.context(system, positions)
    np.testing.assert_allclose(forces_of(context), forces, rtol=1e-9, atol=1e-9 * np.abs(forces).max())
    np.testing.assert_allclose(energy_of(context), energy + offset(potential, numbers), rtol=1e-12)
    folders = {line.split()[-2] for line in mapped_libraries()}
    assert len(folders) >= int(threads)


def mapped_libraries() -> list[str]:
    """Lines about compiled models of the memory map of this process."""
    lines = pathlib.Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if "openmm_nn-" in line and line.endswith("(deleted)")]


def test_code_for_one_thread_and_for_several(packages: Packages) -> None:
    """They are two libraries: only that for several threads uses OpenMP."""
    data = packages("committee").data
    assert data is not None
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        libraries = {name.split("/")[-2]: archive.read(name) for name in archive.namelist() if name.endswith(".so")}
    assert {name: b"libgomp" in content for name, content in libraries.items()} == {"model": False, "parallel": True}


def test_nothing_is_left_behind(
    packages: Packages, native: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    potential = load_potential(packages.path("committee"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    system = bare_system(6)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS))
    positions = random_cluster(NUMBERS, seed=1)
    context = REFERENCE.context(system, positions)
    assert energy_of(context) == pytest.approx(potential.evaluate(positions, NUMBERS).energy, abs=1e-9)
    assert any(str(tmp_path) in line for line in mapped_libraries()), "it was unpacked elsewhere"
    assert list(tmp_path.iterdir()) == []


def test_region_with_a_link(packages: Packages, models: ModelSet, engine: str) -> None:
    """What the engine does around a model is the same for a compiled one."""
    region = Region()
    results = []
    for potential in (packages("returned_forces"), models.pair("edges-forces")):
        system = region.system(BOXES["triclinic"])
        force = potential.create_force(
            atomic_numbers=region.numbers[:7],
            region=region.atoms[:7],
            links=[Link(region.atoms[6], region.atoms[7], "ratio", 0.71)],
            bonds=region.bonds[:6],
        )
        force.setForceGroup(2)
        system.addForce(force)
        context = REFERENCE.context(system, region.positions)
        results.append((energy_of(context, {2}), forces_of(context, {2})))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-10)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-9, atol=1e-9)


def test_same_bits_again(packages: Packages, native: str) -> None:
    positions = random_cluster(NUMBERS, seed=2)
    for name in (*PAIRS, "spring"):
        energies, forces = set(), set()
        for _ in range(2):
            system = bare_system(6)
            system.addForce(packages(name).create_force(atomic_numbers=NUMBERS))
            context = REFERENCE.context(system, positions)
            for _ in range(3):
                energies.add(energy_of(context).hex())
                forces.add(forces_of(context).tobytes())
        assert len(energies) == 1 and len(forces) == 1


def test_the_model_can_be_replaced_in_a_context(packages: Packages, models: ModelSet, native: str) -> None:
    positions = random_cluster(NUMBERS, seed=2)
    script = models.pair("edges", output="atomic_energies", members=4, offset=True)
    force = script.create_force(atomic_numbers=NUMBERS)
    system = bare_system(6)
    index = system.addForce(force)
    context = REFERENCE.context(system, positions)
    before = energy_of(context)
    living = type(force).cast(context.getSystem().getForce(index))
    compiled = packages("committee")
    assert compiled.data is not None
    living.setModel(compiled.data, compiled.card.to_json())
    living.updateModelInContext(context)
    assert energy_of(context) == pytest.approx(before, abs=1e-8)
    counts = living.getStatistics(context)
    assert counts["evaluations"] == 2


def test_energy_is_conserved(packages: Packages, native: str) -> None:
    positions = random_cluster(NUMBERS, seed=8, closest=0.18)
    system = bare_system(6)
    system.addForce(packages("returned_forces").create_force(atomic_numbers=NUMBERS))
    integrator = mm.VerletIntegrator(0.0005)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    context.setVelocitiesToTemperature(50.0, 3)

    def total() -> float:
        state = context.getState(energy=True)
        return float((state.getPotentialEnergy() + state.getKineticEnergy())._value)

    first = total()
    totals = []
    for _ in range(50):
        integrator.step(10)
        totals.append(total())
    kinetic = context.getState(energy=True).getKineticEnergy()._value
    assert np.abs(np.array(totals) - first).max() < 0.02 * kinetic


def test_sums_in_tiles(tmp_path: pathlib.Path) -> None:
    """Code for several threads whose sums torch would put in wrong places is compiled in another way."""
    card = ModelSet.pair_card("edges", output="atomic_energies", members=4)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        compiled = export_potential(SideBySide(), tmp_path / "model.pt2", card, format="aotinductor")
        scripted = export_potential(SideBySide(), tmp_path / "model.pt", card)
        numbers = [NUMBERS[i % 6] for i in range(60)]
        positions = np.random.default_rng(2).uniform(0.0, 1.0, (60, 3))
        found, expected = compiled.evaluate(positions, numbers), scripted.evaluate(positions, numbers)
    finally:
        torch.set_num_threads(before)
    assert found.energy == pytest.approx(expected.energy, rel=1e-10)
    assert found.energy_std == pytest.approx(expected.energy_std, rel=1e-8)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-9 * np.abs(expected.forces).max())
