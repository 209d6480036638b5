"""The bundled potential, compiled, against its TorchScript file: the same function to the rounding of float32."""

import pathlib

import numpy as np
import pytest
import torch

from openmm_nn import Potential, load_potential
from openmm_nn.bench import measure_step
from openmm_nn.bench.model_cost import compile_bundled
from openmm_nn.potentials.bundled import BUNDLED
from tests.platforms import REFERENCE, energy_of, forces_of
from tests.refusals import refused
from tests.samples import bare_system

NAME = "openmm-nn/hcno-1"

# Compiling takes half a minute, longer on a machine that is busy.
pytestmark = [pytest.mark.process, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Potential:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # one code instead of two
    try:
        return compile_bundled(tmp_path_factory.mktemp("bundled") / "hcno-1.pt2")
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scripted() -> Potential:
    return load_potential(NAME)


def molecules(sizes: tuple[int, ...]) -> list[tuple[np.ndarray, list[int]]]:
    """Kept geometries with so many atoms: positions (N, 3) in nm and atomic numbers."""
    data = np.load(BUNDLED[NAME].parent / "labels_sample.npz")
    counts = np.diff(data["first"])
    chosen = []
    for size in sizes:
        label = int(np.flatnonzero(counts == size)[0])
        atoms = slice(int(data["first"][label]), int(data["first"][label + 1]))
        chosen.append((0.1 * data["positions"][atoms].astype(float), data["numbers"][atoms].astype(int).tolist()))
    return chosen


def crowd(spacing: float) -> tuple[np.ndarray, list[int]]:
    """Some molecules side by side, near enough to feel one another: 206 atoms."""
    parts = molecules((22, 3, 20, 12, 18, 9, 16, 6, 22, 3, 20, 12, 18, 9, 16))
    places = [spacing * np.array([k % 3, k // 3 % 3, k // 9]) for k in range(len(parts))]
    positions = [x - x.mean(axis=0) + place for (x, _), place in zip(parts, places, strict=True)]
    return np.concatenate(positions), [z for _, numbers in parts for z in numbers]


def rounding(forces: np.ndarray) -> tuple[float, float]:
    """Bounds for energies, kJ/mol, and forces, kJ/mol/nm: seven digits of atomic energies of some eV, and of slopes."""
    return 1e-4 * np.sqrt(len(forces)), 3e-6 * float(np.abs(forces).max()) + 5e-3


CASES = [*molecules((3, 5, 9, 14, 22, 35)), crowd(0.9)]
NAMES = [f"{len(numbers)} atoms" for _, numbers in CASES]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_any_number_of_atoms(compiled: Potential, scripted: Potential, case: tuple[np.ndarray, list[int]]) -> None:
    """Energy, forces and what the members say of both; on both sides of the number below which all pairs are taken."""
    found, expected = compiled.evaluate(*case), scripted.evaluate(*case)
    assert np.abs(expected.forces).max() > 10.0
    energy, force = rounding(expected.forces)
    assert abs(found.energy - expected.energy) < energy
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=force)
    assert found.energy_std == pytest.approx(expected.energy_std, abs=energy)
    np.testing.assert_allclose(found.forces_std, expected.forces_std, rtol=0, atol=force)


@pytest.mark.parametrize("boxed", [False, True], ids=["cluster", "periodic"])
def test_in_a_context(compiled: Potential, scripted: Potential, engine: str, boxed: bool) -> None:
    """Both engines, and edges across the faces of a triclinic box."""
    positions, numbers = crowd(0.9)
    box = np.array([[2.7, 0.0, 0.0], [0.4, 2.7, 0.0], [-0.3, 0.5, 1.8]]) if boxed else None
    results = []
    for potential in (compiled, scripted):
        system = bare_system(len(numbers), box=box)
        system.addForce(potential.create_force(atomic_numbers=numbers, periodic=boxed))
        context = REFERENCE.context(system, positions)
        results.append((energy_of(context), forces_of(context)))
    (found, found_forces), (expected, expected_forces) = results
    energy, force = rounding(expected_forces)
    assert abs(found - expected) < energy
    np.testing.assert_allclose(found_forces, expected_forces, rtol=0, atol=force)


def test_the_bench_measures_compiled_code(compiled: Potential, native: str, tmp_path: pathlib.Path) -> None:
    assert compiled.data is not None
    path = tmp_path / "hcno-1.pt2"
    path.write_bytes(compiled.data)
    side_chain = "resname ALA and name CB HB1 HB2 HB3"
    result = measure_step(
        "peptide", side_chain, potential=str(path), rounds=1, steps=1, platform="Reference", peers=False
    )
    assert set(result.times) == {"classical", "model", "classical + model", "hybrid"}
    assert result.work["atoms"] == 5
    refused(lambda: measure_step("peptide", potential=str(path), cuda_graphs=True), "cuda_graphs", "bench model")
