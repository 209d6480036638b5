"""A region that is a cluster in a periodic System: which are refused, which warn, and which pass."""

import itertools
import re
import warnings

import numpy as np
import openmm as mm
import pytest
import torch

from openmm_nn import ModelCard, Potential, load_potential
from openmm_nn.errors import EvaluationError, ParameterError
from openmm_nn.geometry import WholeMaker, as_box, cluster_error
from tests import oracle
from tests.models import ModelSet
from tests.platforms import REFERENCE, PlatformCase, energy_of
from tests.samples import bare_system, make_periodic, random_lattice

OCTAHEDRON = 2.4 * np.array([[1, 0, 0], [1 / 3, 2 * np.sqrt(2) / 3, 0], [-1 / 3, np.sqrt(2) / 3, np.sqrt(6) / 3]])
SKEWED = np.array([[2.2, 0.0, 0.0], [1.05, 2.0, 0.0], [-1.0, 0.9, 2.1]])
LONG = np.diag([4.0, 4.0, 12.0])
BOXES = {"rectangular": np.diag([2.0, 2.2, 2.4]), "octahedron": OCTAHEDRON, "skewed": SKEWED, "long": LONG}
ERRORS = (mm.OpenMMException, EvaluationError)


def openmm_image(vector: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The image of a vector on which OpenMM's forces act, as its developer guide writes it."""
    d = np.array(vector, dtype=float)
    d = d - box[2] * np.floor(d[2] / box[2, 2] + 0.5)
    d = d - box[1] * np.floor(d[1] / box[1, 1] + 0.5)
    return d - box[0] * np.floor(d[0] / box[0, 0] + 0.5)


def all_are_minimum_images(whole: np.ndarray, box: np.ndarray) -> bool:
    pairs = itertools.combinations(whole, 2)
    return all(np.allclose(openmm_image(b - a, box), b - a, atol=1e-9) for a, b in pairs)


def sum_of_squares(*, cutoff: float | None = None, long_range: bool | None = None) -> Potential:
    """E is the sum of all squared distances: it feels which images it is given, at any distance."""

    def energy(positions: torch.Tensor) -> torch.Tensor:
        return (torch.cdist(positions, positions) ** 2).sum() / 2

    card = ModelCard(
        name="squares", format="callable", inputs=("positions",), outputs=("energy",), length_unit="nm",
        energy_unit="kJ/mol", dtype="float64", elements=None, periodic="never", frame="invariant",
        cutoff=cutoff, long_range=long_range,
    )  # fmt: skip
    return load_potential(energy, card=card)


def context_of(
    platform: PlatformCase,
    box: np.ndarray,
    count: int,
    bonds: list[tuple[int, int]],
    potential: Potential | None = None,
) -> mm.Context:
    system = bare_system(count, box=box)
    make_periodic(system)
    force = (potential or sum_of_squares()).create_force(atomic_numbers=[6] * count, bonds=bonds)
    system.addForce(force)
    return platform.context(system)


def evaluate(context: mm.Context, positions: np.ndarray) -> float:
    context.setPositions(positions)
    return energy_of(context, {0})


def squares(whole: np.ndarray) -> float:
    return float(sum(np.sum((b - a) ** 2) for a, b in itertools.combinations(whole, 2)))


def chain(start: np.ndarray, end: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Atoms from start to end, no more than 0.3 nm apart."""
    count = int(np.ceil(np.linalg.norm(end - start) / 0.25)) + 1
    points = np.linspace(start, end, count)
    points[1:-1] += rng.uniform(-0.02, 0.02, (count - 2, 3))
    return points


@pytest.mark.parametrize("shape", list(BOXES))
def test_refused_exactly_where_a_pair_is_not_its_minimum_image(platform: PlatformCase, engine: str, shape: str) -> None:
    """Chains of many lengths in all directions, their atoms scattered over images, against all pairs one by one."""
    box, rng = BOXES[shape], np.random.default_rng(5)
    outcomes = set()
    for _ in range(16 if platform.double else 8):
        end = rng.uniform(-0.62, 0.62, 3) * np.diag(box)
        whole = chain(np.zeros(3), end, rng) + rng.uniform(0, 2, 3)
        if np.any(np.abs(np.ptp(whole, axis=0) - np.diag(box) / 2) < 1e-3):
            continue
        bonds = [(i, i + 1) for i in range(len(whole) - 1)]
        context = context_of(platform, box, len(whole), bonds)
        scattered = whole + random_lattice(len(whole), box, 1)
        fits = all_are_minimum_images(whole, box)
        outcomes.add(fits)
        if fits:
            energy = evaluate(context, scattered)
            np.testing.assert_allclose(energy, squares(whole), rtol=1e-9 if platform.double else 1e-4)
        else:
            with pytest.raises(ERRORS, match="half the box"):
                evaluate(context, scattered)
    assert outcomes == {True, False}


@pytest.mark.parametrize("shape", list(BOXES))
def test_several_molecules_against_all_pairs(engine: str, shape: str) -> None:
    """Three molecules, placed by their centroids at the true nearest image of the first one's."""
    box, rng = BOXES[shape], np.random.default_rng(8)
    outcomes = []
    for _ in range(40):
        molecules = []
        for center in (np.zeros(3), *(rng.uniform(-0.4, 0.4, (2, 3)) @ box)):
            atoms = rng.uniform(-0.15, 0.15, (3, 3))
            molecules.append(atoms - atoms.mean(axis=0) + oracle.nearest(center, box))
        whole = np.concatenate(molecules)
        if np.any(np.abs(np.ptp(whole, axis=0) - np.diag(box) / 2) < 1e-3):
            continue
        bonds = [(3 * m + i, 3 * m + i + 1) for m in range(3) for i in range(2)]
        context = context_of(REFERENCE, box, 9, bonds)
        fits = all_are_minimum_images(whole, box)
        outcomes.append(fits)
        scattered = whole + random_lattice(9, box, 2)
        if fits:
            np.testing.assert_allclose(evaluate(context, scattered), squares(whole), rtol=1e-9)
        else:
            with pytest.raises(ERRORS, match="half the box"):
                evaluate(context, scattered)
    assert min(outcomes.count(True), outcomes.count(False)) >= 5


def test_long_in_one_direction(platform: PlatformCase, engine: str) -> None:
    """2.5 nm along z of a box of 4 x 4 x 12 nm is well within half of it; along x it is not."""
    along_z = np.linspace([0.0, 0.0, 0.0], [0.0, 0.1, 2.5], 11)
    bonds = [(i, i + 1) for i in range(10)]
    energy = evaluate(context_of(platform, LONG, 11, bonds), along_z)
    np.testing.assert_allclose(energy, squares(along_z), rtol=1e-9 if platform.double else 1e-4)
    with pytest.raises(ERRORS, match=r"2\.5 nm along x") as caught:
        evaluate(context_of(platform, LONG, 11, bonds), along_z[:, [2, 1, 0]])
    assert re.search(r"(particle|atom) 0\b.*(particle|atom) 10\b.*4 nm", str(caught.value))


def test_a_ring_across_the_border_passes_and_a_polymer_does_not(platform: PlatformCase, engine: str) -> None:
    """Eight atoms in a ring of 0.5 nm; and eight in a row through the box, the last bonded to the first one's image."""
    box, count = np.diag([2.0, 2.0, 2.0]), 8
    bonds = [(i, (i + 1) % count) for i in range(count)]
    angles = 2 * np.pi * np.arange(count) / count
    ring = 0.25 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    energy = evaluate(context_of(platform, box, count, bonds), ring + random_lattice(count, box, 3))
    np.testing.assert_allclose(energy, squares(ring), rtol=1e-9 if platform.double else 1e-4)
    polymer = np.stack([0.25 * np.arange(count), 0.05 * (-1.0) ** np.arange(count), 0 * angles], axis=1)
    with pytest.raises(ERRORS, match=r"own periodic image.*periodic=True"):
        evaluate(context_of(platform, box, count, bonds), polymer)


@pytest.mark.parametrize("row", [[2.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-0.4, 0.6, 2.0]])
def test_the_remedy_for_a_polymer_works(models: ModelSet, engine: str, row: list[float]) -> None:
    """Along every box vector of a triclinic box; with the box the potential counts the images itself."""
    box = np.array([[2.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-0.4, 0.6, 2.0]])
    count = 8
    positions = np.outer(np.arange(count) / count, row) + 0.03 * np.random.default_rng(1).normal(size=(count, 3))
    bonds = [(i, (i + 1) % count) for i in range(count)]
    system = bare_system(count, box=box)
    make_periodic(system)
    potential = models.pair("edges")
    for periodic in (False, True):
        part = mm.XmlSerializer.clone(system)
        part.addForce(potential.create_force(atomic_numbers=[6] * count, bonds=bonds, periodic=periodic))
        context = REFERENCE.context(part, positions)
        if periodic:
            expected, _ = oracle.pair_energy_forces(positions, [6] * count, box)
            np.testing.assert_allclose(energy_of(context, {0}), expected, rtol=1e-10)
        else:
            with pytest.raises(ERRORS, match=r"own periodic image.*periodic=True"):
                energy_of(context, {0})


def said(capfd: pytest.CaptureFixture[str], caught: list[warnings.WarningMessage]) -> list[str]:
    """What either engine has warned of."""
    written = [line for line in capfd.readouterr().err.splitlines() if "WARNING: NeuralForce" in line]
    return written + [str(entry.message) for entry in caught if entry.category is RuntimeWarning]


def test_later_in_a_run_it_is_said_once(platform: PlatformCase, engine: str, capfd: pytest.CaptureFixture[str]) -> None:
    box = np.diag([2.0, 2.2, 2.4])
    near = np.linspace([0.0, 0.0, 0.0], [0.9, 0.1, 0.0], 7)
    far = np.linspace([0.0, 0.0, 0.0], [1.1, 0.1, 0.0], 7)
    context = context_of(platform, box, 7, [(i, i + 1) for i in range(6)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for positions in (near, far, far, near, far):
            energy = evaluate(context, positions)
            np.testing.assert_allclose(energy, squares(positions), rtol=1e-9 if platform.double else 1e-4)
    (text,) = said(capfd, caught)
    assert re.search(r"1\.1 nm along x.*(particle|atom) 0\b.*(particle|atom) 6\b", text)


@pytest.mark.parametrize("cutoff, long_range, jumps", [(None, None, True), (0.5, True, True), (0.5, False, False)])
def test_two_atoms_that_pass_half_the_box(
    platform: PlatformCase,
    engine: str,
    capfd: pytest.CaptureFixture[str],
    cutoff: float | None,
    long_range: bool | None,
    jumps: bool,
) -> None:
    """Two atoms are always at their minimum image, but the force of a potential that reaches so far turns round."""
    potential = sum_of_squares(cutoff=cutoff, long_range=long_range)
    context = context_of(platform, np.diag([2.0, 2.2, 2.4]), 2, [], potential)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for x in (0.90, 0.99, 1.01, 1.02, 0.98):
            energy = evaluate(context, np.array([[0.0, 0.0, 0.0], [x, 0.1, 0.0]]))
            np.testing.assert_allclose(energy, min(x, 2.0 - x) ** 2 + 0.01, rtol=1e-5)
    texts = said(capfd, caught)
    assert len(texts) == jumps
    assert all("passed half the box" in text for text in texts)


def test_molecules_that_are_wrapped_do_not_jump(engine: str, capfd: pytest.CaptureFixture[str]) -> None:
    box = np.diag([2.0, 2.2, 2.4])
    context = context_of(REFERENCE, box, 3, [])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for seed in range(5):
            evaluate(context, np.diag([0.3, 0.4, 0.5]) + random_lattice(3, box, seed))
    assert not said(capfd, caught)


def test_atoms_exactly_half_a_box_apart(platform: PlatformCase, engine: str) -> None:
    """As in a crystal: both images are as near."""
    box = np.diag([2.0, 2.2, 2.4])
    whole = np.linspace([0.0, 0.0, 0.0], [1.0, 1.1, 1.2], 9)
    energy = evaluate(context_of(platform, box, 9, [(i, i + 1) for i in range(8)]), whole)
    np.testing.assert_allclose(energy, squares(whole), rtol=1e-9 if platform.double else 1e-4)


def test_the_check_of_the_package_in_numpy() -> None:
    """`cluster_error` names the axis and the two atoms."""
    whole = np.array([[0.0, 0.0, 0.0], [0.0, 1.3, 0.0], [0.2, 0.3, 0.1]])
    error = cluster_error(whole, [], np.diag([4.0, 2.4, 4.0]), str)
    assert error is not None
    assert (error.argument, error.got) == ("region", "atoms that reach 1.3 nm along y, from 0 to 1")
    assert cluster_error(whole, [], np.diag([4.0, 2.6, 4.0]), str) is None
    assert len(WholeMaker(3, []).apply(whole, np.diag([4.0, 2.6, 4.0]))[1]) == 3
    with pytest.raises(ParameterError):
        as_box(np.zeros((3, 3)))
