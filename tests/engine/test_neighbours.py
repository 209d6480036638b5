"""Neighbour lists of both engines against all pairs and images by brute force, in random boxes.

Rectangular, triclinic (as skewed as reduced boxes may be) and slab-like boxes, thin in one direction and long in
another; cutoffs from a tenth of the smallest height to three times that, where several images of a pair, and of an atom
with itself, count. Atoms lie on random images, some on top of faces of the box.
"""

import hashlib
import json
import time

import numpy as np
import openmm as mm
import pytest
import torch
from torch import Tensor

from openmm_nn import ModelCard, Potential, load_potential
from tests import REFERENCE_FOLDER, ROOT
from tests.platforms import REFERENCE, energy_of
from tests.samples import bare_system

SHAPES = ("rectangular", "triclinic", "slab", "needle", "cluster")
MARGIN = 1e-9  # nm: pairs this near to the cutoff may be counted or not, and no random case has one


class Recorder:
    """A callable model that keeps the edges that it was given."""

    def __init__(self) -> None:
        self.vectors = np.zeros((0, 3))
        self.pairs = np.zeros((2, 0), dtype=int)

    def __call__(self, positions: Tensor, edge_index: Tensor, edge_shifts: Tensor) -> Tensor:
        vectors = positions[edge_index[1]] - positions[edge_index[0]] + edge_shifts
        self.vectors, self.pairs = vectors.detach().numpy().copy(), edge_index.numpy().copy()
        return (vectors**2).sum()


def random_box(shape: str, rng: np.random.Generator) -> np.ndarray | None:
    """Reduced box vectors (3, 3) in nm as rows; None for a cluster."""
    if shape == "cluster":
        return None
    lengths = rng.uniform(0.5, 2.0, 3)
    if shape == "slab":
        lengths[rng.integers(3)] *= rng.uniform(0.1, 0.3)
    if shape == "needle":
        lengths[rng.integers(3)] *= rng.uniform(4.0, 10.0)
    box = np.diag(lengths)
    if shape != "rectangular":
        skew = rng.uniform(-0.5, 0.5, 3) if rng.random() < 0.8 else rng.choice([-0.5, 0.0, 0.5], 3)
        box[1, 0] = skew[0] * box[0, 0]
        box[2, 0] = skew[1] * box[0, 0]
        box[2, 1] = skew[2] * box[1, 1]
    # A box narrower than a bond (0.109 nm), or with less than 1/250 nm^3 for each of eight carbons, is refused.
    return box * max(1.0, 0.12 / heights(box).min(), (0.04 / np.linalg.det(box)) ** (1.0 / 3.0))


def heights(box: np.ndarray) -> np.ndarray:
    volume = abs(np.linalg.det(box))
    return np.array([volume / np.linalg.norm(np.cross(box[(k + 1) % 3], box[(k + 2) % 3])) for k in range(3)])


def brute_force(positions: np.ndarray, cutoff: float, box: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, float]:
    """Pairs (E, 2) and vectors (E, 3) of all edges by trying every image, and how near to the cutoff a pair comes."""
    count = len(positions)
    lattice = np.zeros((1, 3))
    x = positions
    if box is not None:
        x = x - np.floor(x @ np.linalg.inv(box)) @ box
        reach = np.ceil(cutoff / heights(box)).astype(int) + 1
        steps = [np.arange(-n, n + 1) for n in reach]
        lattice = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3) @ box
    vectors = (x[None, :, :] - x[:, None, :])[:, :, None, :] + lattice
    distances = np.linalg.norm(vectors, axis=-1)
    near = distances < cutoff
    itself = np.eye(count, dtype=bool)[:, :, None] & (np.abs(lattice).sum(axis=1) == 0.0)
    near &= ~itself
    i, j, s = np.nonzero(near)
    gap = float(np.abs(distances[~itself] - cutoff).min()) if count > 1 or len(lattice) > 1 else np.inf
    return np.column_stack([i, j]), vectors[i, j, s], gap


def random_case(rng: np.random.Generator) -> tuple[np.ndarray, float, np.ndarray | None]:
    """Positions (N, 3) in nm, on any image, a cutoff in nm and a box."""
    shape = SHAPES[rng.integers(len(SHAPES))]
    box = random_box(shape, rng)
    count = int(rng.integers(1, 9))
    if box is None:
        return rng.uniform(-1.0, 1.0, (count, 3)), float(rng.uniform(0.1, 3.0)), None
    smallest = float(heights(box).min())
    # So that the brute force stays small: not more than some thousand images.
    most = 0.5 * smallest if rng.random() < 0.5 else min(3.0 * smallest, 1.2)
    cutoff = float(rng.uniform(0.1 * smallest, most))
    inside = rng.uniform(0.0, 1.0, (count, 3))
    inside[rng.random((count, 3)) < 0.1] = 0.0  # on a face
    return (inside + rng.integers(-2, 3, (count, 3))) @ box, cutoff, box


def same_edges(recorder: Recorder, pairs: np.ndarray, vectors: np.ndarray) -> bool:
    """Whether the recorded edges are the expected ones, as sets of pairs with vectors."""
    if recorder.pairs.shape[1] != len(pairs):
        return False
    found = np.column_stack([recorder.pairs.T, np.round(recorder.vectors, 6)])
    wanted = np.column_stack([pairs, np.round(vectors, 6)])
    found, wanted = found + 0.0, wanted + 0.0
    one, two = found[np.lexsort(found.T[::-1])], wanted[np.lexsort(wanted.T[::-1])]
    if np.array_equal(one[:, :2], two[:, :2]) and np.allclose(one, two, atol=1.5e-6):
        return True
    # Rounding may have put neighbours of a sorted row in another order: match each edge by itself.
    left = [(int(a), int(b), v) for (a, b), v in zip(pairs, vectors, strict=True)]
    for a, b, v in zip(*recorder.pairs, recorder.vectors, strict=True):
        for k, (p, q, w) in enumerate(left):
            if (p, q) == (a, b) and np.abs(w - v).max() < 1e-8:
                del left[k]
                break
        else:
            return False
    return not left


def potential_of(recorder: Recorder, cutoff: float) -> Potential:
    card = ModelCard(
        name="recorder",
        format="callable",
        inputs=("positions", "edge_index", "edge_shifts"),
        outputs=("energy",),
        dtype="float64",
        cutoff=cutoff,
        periodic="optional",
        frame="invariant",
        long_range=False,
    )
    return load_potential(recorder, card=card)


def through_a_context(recorder: Recorder, positions: np.ndarray, cutoff: float, box: np.ndarray | None) -> None:
    """Edges as a force of the chosen engine makes them."""
    system = bare_system(len(positions), box=box)
    numbers = [6] * len(positions)
    system.addForce(potential_of(recorder, cutoff).create_force(atomic_numbers=numbers, periodic=box is not None))
    energy_of(REFERENCE.context(system, positions))


def through_evaluate(recorder: Recorder, positions: np.ndarray, cutoff: float, box: np.ndarray | None) -> None:
    """Edges of `Potential.evaluate`, without OpenMM."""
    potential_of(recorder, cutoff).evaluate(positions, [6] * len(positions), box=box)


def compare(cases: int, seed: int, evaluate: object) -> dict[str, int]:
    """Run random cases; the first that disagrees fails with what is needed to repeat it. Returns what was covered."""
    rng = np.random.default_rng(seed)
    covered = {"cases": 0, "edges": 0, "several images": 0, "clusters": 0, "skipped": 0}
    while covered["cases"] < cases:
        positions, cutoff, box = random_case(rng)
        pairs, vectors, gap = brute_force(positions, cutoff, box)
        if gap < MARGIN:
            covered["skipped"] += 1
            continue
        recorder = Recorder()
        evaluate(recorder, positions, cutoff, box)  # type: ignore[operator]
        assert same_edges(recorder, pairs, vectors), (
            f"case {covered['cases']} of seed {seed}: {recorder.pairs.shape[1]} edges, brute force {len(pairs)}; "
            f"positions {positions.tolist()}, cutoff {cutoff!r}, box {None if box is None else box.tolist()}"
        )
        covered["cases"] += 1
        covered["edges"] += len(pairs)
        covered["clusters"] += box is None
        covered["several images"] += len(pairs) > len(np.unique(pairs, axis=0)) if len(pairs) else 0
    return covered


def test_brute_force_is_right() -> None:
    """The brute force itself, where the answer is known: a cubic lattice has 6 neighbours, then 12, then 8."""
    box = np.diag([0.3, 0.3, 0.3])
    for cutoff, count in ((0.29, 0), (0.31, 6), (0.43, 18), (0.53, 26)):
        assert len(brute_force(np.array([[0.1, 0.7, -0.4]]), cutoff, box)[0]) == count


def test_random_cases(engine: str) -> None:
    covered = compare(100, {"native": 1, "python": 2}[engine], through_a_context)
    assert covered["several images"] > 10
    assert covered["clusters"] > 5
    assert covered["skipped"] < 5


def test_random_cases_without_a_context() -> None:
    assert compare(100, 3, through_evaluate)["several images"] > 10


def test_living_context(engine: str) -> None:
    """One Context, whose box and atoms change between evaluations: no list outlives its geometry."""
    rng = np.random.default_rng(4)
    recorder = Recorder()
    cutoff = 0.55
    system = bare_system(6, box=np.diag([1.0, 1.0, 1.0]))
    system.addForce(potential_of(recorder, cutoff).create_force(atomic_numbers=[6] * 6, periodic=True))
    context = REFERENCE.context(system, np.zeros((6, 3)) + np.arange(6)[:, None] * 0.1)
    for _ in range(40):
        box = random_box("triclinic", rng)
        assert box is not None
        positions = (rng.uniform(0.0, 1.0, (6, 3)) + rng.integers(-1, 2, (6, 3))) @ box
        pairs, vectors, gap = brute_force(positions, cutoff, box)
        if gap < MARGIN:
            continue
        context.setPeriodicBoxVectors(*(mm.Vec3(*row) for row in box.tolist()))
        context.setPositions(positions)
        energy_of(context)
        assert same_edges(recorder, pairs, vectors), box


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["native", "python"])
def test_ten_thousand_cases(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 cases of each engine; what was covered goes to a file with the hash of the sources."""
    from conftest import select_engine

    torch.set_num_threads(1)
    select_engine(name, monkeypatch)
    start = time.perf_counter()
    covered: dict[str, object] = dict(compare(10_000, {"native": 101, "python": 102}[name], through_a_context))
    covered["seconds"] = round(time.perf_counter() - start)
    root = ROOT / "openmm_nn"
    sources = sorted((root / "native" / "engine").glob("*.cpp")) if name == "native" else [root / "evaluate.py"]
    covered["sources_sha256"] = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    target = REFERENCE_FOLDER / "soak_neighbours.json"
    content = json.loads(target.read_text()) if target.exists() else {}
    content.update({"what": "edges in random boxes against brute force", "command": "make soak", name: covered})
    target.write_text(json.dumps(content, indent=2) + "\n")
    assert covered["several images"] > 1_000  # type: ignore[operator]
