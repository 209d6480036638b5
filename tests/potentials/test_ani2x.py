"""ANI-2x through the engine against torchani itself in float64."""

import copy
import os
import pathlib
import re
import shutil
import warnings

import numpy as np
import openmm as mm
import pytest
import torch

from openmm_nn import Potential, load_potential, units
from openmm_nn.errors import ParticleError
from tests import oracle
from tests.platforms import REFERENCE, energy_of, forces_of
from tests.refusals import refusal
from tests.samples import bare_system, peptide_atoms, peptide_pdb, random_cluster

torchani = pytest.importorskip("torchani", reason="the extra 'torchani' is not installed: pip install torchani")
HARTREE = units.ENERGY_UNITS["hartree"]


@pytest.fixture(scope="module")
def weights(shared: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A writable copy of the weights, where torchani looks for them."""
    folder = tmp_path_factory.mktemp("torchani")
    shutil.copytree(shared / "torchani", folder, dirs_exist_ok=True)
    before = os.environ.get("TORCHANI_DATA_DIR")
    os.environ["TORCHANI_DATA_DIR"] = str(folder)
    yield folder
    if before is None:
        del os.environ["TORCHANI_DATA_DIR"]
    else:
        os.environ["TORCHANI_DATA_DIR"] = before


@pytest.fixture(scope="module")
def peptide(shared: pathlib.Path) -> tuple[np.ndarray, list[int]]:
    """Positions (22, 3) in nm and atomic numbers of the dipeptide."""
    pdb = peptide_pdb(shared)
    atoms = peptide_atoms(pdb.topology)
    numbers = [atom.element.atomic_number for atom in pdb.topology.atoms() if atom.index in set(atoms)]
    return np.array(pdb.getPositions(asNumpy=True)._value)[atoms], numbers


@pytest.fixture(scope="module")
def geometries(peptide: tuple[np.ndarray, list[int]]) -> np.ndarray:
    """Twenty perturbed geometries (20, 22, 3) in nm."""
    rng = np.random.default_rng(20)
    return np.array([peptide[0] + rng.normal(0.0, 0.004, peptide[0].shape) for _ in range(20)])


@pytest.fixture(scope="module")
def exact(weights: pathlib.Path, peptide: tuple[np.ndarray, list[int]], geometries: np.ndarray) -> np.ndarray:
    """Energies (8, 20) in hartree of the members, by torchani in float64."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torchani.models.ANI2x(dtype=torch.float64)
        found = []
        for index in range(8):
            species = torch.tensor([peptide[1]] * len(geometries))
            with torch.no_grad():
                coordinates = torch.tensor(10.0 * geometries, dtype=torch.float64)
                found.append(model[index]((species, coordinates)).energies.numpy())
    return np.array(found)


@pytest.fixture(scope="module")
def single(weights: pathlib.Path) -> Potential:
    return load_potential("ani2x/0")


@pytest.fixture(scope="module")
def committee(weights: pathlib.Path) -> Potential:
    return load_potential("ani2x")


def test_cards(single: Potential, committee: Potential) -> None:
    assert committee.card.committee_size == 8
    assert single.card.committee_size == 1
    for card in (single.card, committee.card):
        assert set(card.elements) == {"H", "C", "N", "O", "F", "S", "Cl"}
        assert card.periodic == "optional"
        assert card.frame == "invariant"
        assert set(card.energy_offset) == set(card.elements)
        assert card.references and card.license and card.level_of_theory
        assert card.long_range is False


def test_energies(
    single: Potential, engine: str, peptide: tuple[np.ndarray, list[int]], geometries: np.ndarray, exact: np.ndarray
) -> None:
    system = bare_system(22)
    system.addForce(single.create_force(atomic_numbers=peptide[1]))
    context = REFERENCE.context(system)
    for geometry, energy in zip(geometries, exact[0], strict=True):
        context.setPositions(geometry)
        np.testing.assert_allclose(energy_of(context) / HARTREE, energy, rtol=0, atol=1e-6)


def test_energies_of_the_committee(
    committee: Potential, native: str, peptide: tuple[np.ndarray, list[int]], geometries: np.ndarray, exact: np.ndarray
) -> None:
    system = bare_system(22)
    force = committee.create_force(atomic_numbers=peptide[1])
    system.addForce(force)
    context = REFERENCE.context(system)
    for k in range(0, 20, 5):
        context.setPositions(geometries[k])
        np.testing.assert_allclose(energy_of(context) / HARTREE, exact[:, k].mean(), rtol=0, atol=1e-6)
        members = np.array(force.getMemberEnergies(context)) / HARTREE
        np.testing.assert_allclose(members, exact[:, k], rtol=0, atol=1e-6)


def test_evaluate(
    committee: Potential, peptide: tuple[np.ndarray, list[int]], geometries: np.ndarray, exact: np.ndarray
) -> None:
    result = committee.evaluate(geometries[3], peptide[1])
    np.testing.assert_allclose(result.energy / HARTREE, exact[:, 3].mean(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(result.energy_std / HARTREE, exact[:, 3].std(ddof=1), rtol=0, atol=2e-6)
    assert result.forces_std.shape == (22,)
    assert (result.forces_std > 0.0).all()


def test_forces(single: Potential, engine: str, peptide: tuple[np.ndarray, list[int]], geometries: np.ndarray) -> None:
    """Against central differences in double; and the float32 forces against those in double."""
    system = bare_system(22)
    system.addForce(single.create_force(atomic_numbers=peptide[1], properties={"precision": "double"}))
    context = REFERENCE.context(system, geometries[0])
    forces = forces_of(context)

    def energy(x: np.ndarray) -> float:
        context.setPositions(x)
        return energy_of(context)

    numeric = oracle.central_differences(energy, geometries[0])
    np.testing.assert_allclose(forces, numeric, rtol=0, atol=1e-4 * np.abs(forces).max())
    system = bare_system(22)
    system.addForce(single.create_force(atomic_numbers=peptide[1]))
    found = forces_of(REFERENCE.context(system, geometries[0]))
    np.testing.assert_allclose(found, numeric, rtol=0, atol=1e-4 * np.abs(forces).max())


def test_resolution(single: Potential, engine: str, peptide: tuple[np.ndarray, list[int]]) -> None:
    """In float32, at -1.3e6 kJ/mol, where a float32 total has steps of 0.125: differences to 1e-3 kJ/mol."""
    scans = []
    for precision in ("single", "double"):
        system = bare_system(22)
        force = single.create_force(atomic_numbers=peptide[1], properties={"precision": precision})
        system.addForce(force)
        context = REFERENCE.context(system)
        scan = []
        for k in range(40):
            moved = peptide[0].copy()
            moved[5] += 2e-6 * k * np.array([1.0, 0.5, -0.25])
            context.setPositions(moved)
            scan.append(energy_of(context))
        scans.append(np.array(scan))
    assert scans[0].mean() < -1.2e6
    rise = scans[1] - scans[1].mean()
    assert np.abs(rise).max() > 2e-3
    noise = (scans[0] - scans[0].mean()) - rise
    assert np.sqrt(np.mean(noise**2)) < 1e-3


def test_float32_model_keeps_its_dtype(single: Potential) -> None:
    assert single.card.dtype == "float32"


def test_periodic(single: Potential, engine: str, peptide: tuple[np.ndarray, list[int]]) -> None:
    """In a large box the periodic energy is that of the cluster, wherever the box is cut; in a small one it is not."""
    import torch

    positions, numbers = peptide
    for size, differs in ((4.0, False), (1.1, True)):
        box = np.diag([size, size, size])
        system = bare_system(22, box=box)
        system.addForce(single.create_force(atomic_numbers=numbers, periodic=True, properties={"precision": "double"}))
        context = REFERENCE.context(system)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = torchani.models.ANI2x(model_index=0, dtype=torch.float64)
        expected = model(
            (torch.tensor([numbers]), torch.tensor(10.0 * positions[None], dtype=torch.float64)),
            cell=torch.tensor(10.0 * box, dtype=torch.float64),
            pbc=torch.tensor([True, True, True]),
        ).energies.item()
        rng = np.random.default_rng(1)
        for _ in range(2):
            context.setPositions(positions + rng.integers(-1, 2, (22, 3)) @ box)
            np.testing.assert_allclose(energy_of(context, {0}) / HARTREE, expected, rtol=0, atol=1e-6)
        cluster = single.evaluate(positions, numbers).energy / HARTREE
        assert (abs(cluster - expected) > 1e-4) == differs


@pytest.mark.parametrize("numbers", [[16, 1, 1], [9, 17, 6, 1], [8, 1, 1, 16, 17, 9, 7, 6], [17, 17]])
def test_what_other_elements_need_is_left_out(
    committee: Potential, native: str, numbers: list[int], weights: pathlib.Path
) -> None:
    """Networks cut down to the elements at hand give what torchani's own give in float64."""
    geometry = random_cluster(numbers, seed=3, closest=0.14)
    system = bare_system(len(numbers))
    force = committee.create_force(atomic_numbers=numbers, properties={"precision": "double"})
    system.addForce(force)
    context = REFERENCE.context(system, geometry)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torchani.models.ANI2x(dtype=torch.float64)
        species = torch.tensor([numbers])
        positions = torch.tensor(geometry[None] * 10.0)
        expected = model.energies_qbcs((species, positions), unbiased=True)
    np.testing.assert_allclose(energy_of(context) / HARTREE, float(expected.energies), rtol=0, atol=1e-9)
    spread = np.std(np.array(force.getMemberEnergies(context)) / HARTREE, ddof=1)
    np.testing.assert_allclose(spread / np.sqrt(len(numbers)), float(expected.qbcs), rtol=1e-6)


def test_element_outside(single: Potential) -> None:
    with refusal(ParticleError, re.compile("region|atomic_numbers"), got="Na"):
        single.create_force(atomic_numbers=[11])


def test_runs(single: Potential, engine: str, peptide: tuple[np.ndarray, list[int]]) -> None:
    """200 steps of NVE at 0.25 fs keep the total energy to a fraction of the kinetic one."""
    masses = {1: 1.008, 6: 12.011, 7: 14.007, 8: 15.999}
    system = mm.System()
    for number in peptide[1]:
        system.addParticle(masses[number])
    system.addForce(single.create_force(atomic_numbers=peptide[1]))
    context = REFERENCE.context(system, peptide[0], mm.VerletIntegrator(0.00025))
    mm.LocalEnergyMinimizer.minimize(context, 50.0, 50)
    context.setVelocitiesToTemperature(300.0, 1)
    totals = []
    for _ in range(40):
        context.getIntegrator().step(5)
        state = context.getState(getEnergy=True)
        totals.append(state.getPotentialEnergy()._value + state.getKineticEnergy()._value)
    kinetic = context.getState(getEnergy=True).getKineticEnergy()._value
    assert kinetic > 10.0
    assert np.ptp(totals) < 0.05 * kinetic


def test_all_pairs_give_the_same_energies(
    weights: pathlib.Path, peptide: tuple[np.ndarray, list[int]], geometries: np.ndarray
) -> None:
    """What a GPU records: shapes that do not depend on positions, which the near pairs alone decide."""
    potential = load_potential("ani2x/0")
    numbers = torch.tensor(peptide[1])
    sparse = copy.deepcopy(potential.module).double()
    static = copy.deepcopy(sparse)
    static.specialize(numbers)
    static.make_static(numbers)
    static = torch.jit.freeze(static.eval())
    assert "nonzero" not in str(static.inlined_graph)
    for geometry in geometries[:4]:
        # Drawn apart, so that pairs and triples beyond both cutoffs are among them.
        x = torch.tensor(1.6 * geometry / units.LENGTH_UNITS["angstrom"], requires_grad=True)
        edges = ((torch.cdist(x, x) < potential.card.cutoff) & ~torch.eye(len(numbers), dtype=torch.bool)).nonzero().t()
        assert edges.shape[1] < len(numbers) * (len(numbers) - 1)
        shifts = torch.zeros(edges.shape[1], 3, dtype=torch.float64)
        values = []
        for module in (sparse, static):
            energies = module(x, numbers, edges, shifts)
            values.append((energies.detach(), torch.autograd.grad(energies.sum(), x)[0]))
        torch.testing.assert_close(values[1], values[0], rtol=1e-10, atol=1e-12)
