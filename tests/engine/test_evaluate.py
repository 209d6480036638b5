"""Potential.evaluate, the engine in Python, and the geometry under it."""

import numpy as np
import openmm as mm
import pytest
from openmm import unit

from openmm_nn import load_potential
from openmm_nn.engine.evaluator import Evaluator, LocalLink
from openmm_nn.errors import EvaluationError, ModelError, ParameterError, ParticleError
from openmm_nn.geometry import WholeMaker, as_box, minimum_image, nearest_image, smallest_height
from tests import oracle
from tests.models import ModelSet
from tests.refusals import refusal
from tests.samples import BOXES, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]
POSITIONS = random_cluster(NUMBERS, seed=5)
SHAPES = list(BOXES)


# ---- boxes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_nearest_image_against_brute_force(shape: str) -> None:
    box = BOXES[shape]
    steps = np.array([[i, j, k] for i in range(-3, 4) for j in range(-3, 4) for k in range(-3, 4)], dtype=float)
    rng = np.random.default_rng(0)
    for delta in rng.uniform(-1.0, 1.0, (200, 3)) @ box:
        shortest = np.linalg.norm(delta + steps @ box, axis=1).min()
        np.testing.assert_allclose(np.linalg.norm(nearest_image(delta, box)), shortest, rtol=1e-12)
        if shortest < 0.5 * smallest_height(box):
            np.testing.assert_allclose(minimum_image(delta, box), nearest_image(delta, box), atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_smallest_height(shape: str) -> None:
    a, b, c = BOXES[shape]
    volume = abs(np.dot(a, np.cross(b, c)))
    faces = [np.linalg.norm(np.cross(u, v)) for u, v in ((a, b), (b, c), (c, a))]
    np.testing.assert_allclose(smallest_height(BOXES[shape]), volume / max(faces), rtol=1e-12)


def test_box_is_reduced_like_openmm_does() -> None:
    from openmm.app.internal.unitcell import reducePeriodicBoxVectors

    skewed = np.array([[2.0, 0.0, 0.0], [3.3, 2.5, 0.0], [-2.9, 4.1, 3.0]])
    expected = reducePeriodicBoxVectors([mm.Vec3(*row) for row in skewed] * unit.nanometer)
    np.testing.assert_allclose(as_box(skewed), np.array(expected.value_in_unit(unit.nanometer)), atol=1e-12)
    np.testing.assert_allclose(as_box([mm.Vec3(*row) for row in skewed] * unit.nanometer), as_box(skewed))
    np.testing.assert_allclose(as_box(10.0 * skewed * unit.angstrom), as_box(skewed), rtol=1e-12)
    for wrong in (np.eye(2), -np.eye(3), np.ones((3, 3)), [[1, 0, 0], [0, np.nan, 0], [0, 0, 1]], "box"):
        with refusal(ParameterError, "box"):
            as_box(wrong)


@pytest.mark.parametrize("shape", SHAPES)
def test_whole_maker_is_invariant(shape: str) -> None:
    box = BOXES[shape]
    maker = WholeMaker(6, [(0, 2), (2, 4), (1, 3)])
    assert [list(c) for c in maker.components] == [[0, 2, 4], [1, 3], [5]]
    rng = np.random.default_rng(4)
    positions = np.array([0.3, 0.3, 0.3]) + rng.uniform(-0.15, 0.15, (6, 3))
    for _ in range(20):
        moved, offsets = maker.apply(positions + rng.integers(-2, 3, (6, 3)) @ box, box)
        np.testing.assert_allclose(moved - moved[0], positions - positions[0], atol=1e-10)
        assert np.linalg.norm(offsets, axis=1).max() < 0.5


# ---- Potential.evaluate ----------------------------------------------------------------------------------------


def test_units_of_positions() -> None:
    potential = load_potential(lambda positions: (positions**2).sum())
    expected = np.sum(POSITIONS**2)
    rows = [mm.Vec3(*row) for row in POSITIONS]
    for given in (POSITIONS, POSITIONS.tolist(), rows, rows * unit.nanometer, 10.0 * POSITIONS * unit.angstrom):
        before = np.array(POSITIONS)
        np.testing.assert_allclose(potential.evaluate(given).energy, expected, rtol=1e-12)
        np.testing.assert_array_equal(before, POSITIONS)
    for wrong in (POSITIONS[0], POSITIONS[:, :2], np.zeros((0, 3)), POSITIONS * unit.kelvin, "x"):
        with refusal(ParticleError, "positions"):
            potential.evaluate(wrong)


@pytest.mark.parametrize("kind", ["box", "edges", "edges-forces"])
@pytest.mark.parametrize("shape", SHAPES)
def test_in_a_box(models: ModelSet, kind: str, shape: str) -> None:
    box = BOXES[shape]
    positions = np.random.default_rng(7).uniform(0.0, 1.0, (6, 3)) @ box
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS, box)
    result = models.pair(kind, unit="angstrom").evaluate(positions, NUMBERS, box=box)
    np.testing.assert_allclose(result.energy, energy, rtol=1e-9)
    np.testing.assert_allclose(result.forces, forces, rtol=1e-8, atol=1e-7)


def test_small_crystal_counts_several_images(models: ModelSet) -> None:
    """A box smaller than the cutoff: edges know as many images as there are, a model without them cannot."""
    box = np.diag([0.45, 0.5, 0.55])
    positions, numbers = np.array([[0.1, 0.1, 0.1], [0.3, 0.35, 0.3]]), [8, 1]
    energy, forces = oracle.pair_energy_forces(positions, numbers, box)
    result = models.pair("edges").evaluate(positions, numbers, box=box)
    np.testing.assert_allclose(result.energy, energy, rtol=1e-9)
    np.testing.assert_allclose(result.forces, forces, rtol=1e-8, atol=1e-7)
    with refusal(ParameterError, "box", got="0.45", allowed="0.6"):
        models.pair("box").evaluate(positions, numbers, box=box)


def test_box_that_the_card_does_not_allow(models: ModelSet) -> None:
    with refusal(ParameterError, "box", allowed="never"):
        models.pair("plain").evaluate(POSITIONS, NUMBERS, box=np.eye(3))
    with refusal(ParameterError, "box", allowed="always"):
        models.torchforce("box").evaluate(POSITIONS)


def test_atoms_without_edges(models: ModelSet) -> None:
    """One atom, or atoms far apart, have no edges; the energy is that of the atoms."""
    result = models.pair("edges", offset=True).evaluate(np.array([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]), [8, 1])
    np.testing.assert_allclose(result.energy, -197000.75 - 1300.5, rtol=1e-12)
    np.testing.assert_array_equal(result.forces, np.zeros((2, 3)))


def test_offset_is_added_in_double(models: ModelSet) -> None:
    """In float32, at -5e5 kJ/mol: the energy is resolved as if there were no offset."""
    plain = models.pair("plain", dtype="float32").evaluate(POSITIONS, NUMBERS).energy
    offset = -197000.75 - 2 * 1300.5 - 2 * 99000.25 - 143000.125
    found = models.pair("plain", dtype="float32", offset=True).evaluate(POSITIONS, NUMBERS).energy
    assert abs(found - offset - plain) < 1e-9


def test_not_finite_names_the_atoms() -> None:
    import torch

    potential = load_potential(lambda positions: torch.sqrt(positions[:, 0]).sum())
    positions = np.abs(POSITIONS)
    positions[2, 1] = np.inf
    with refusal(EvaluationError, "positions", got="atom 2"):
        potential.evaluate(positions)
    positions[2, 1] = 0.0
    positions[4, 0] = -1.0
    with refusal(EvaluationError, "forces", got="atom 4"):
        potential.evaluate(positions)


def test_failing_model_is_named() -> None:
    def broken(positions: object) -> None:
        raise RuntimeError("inside out")

    with refusal(ModelError, "potential 'TorchForce'", got="inside out"):
        load_potential(broken).evaluate(POSITIONS)


# ---- Evaluator --------------------------------------------------------------------------------------------------


def test_scale_links_and_derivatives_together(models: ModelSet) -> None:
    potential = models.pair("parameter", unit="angstrom", offset=True)
    links = [LocalLink(2, 5, "ratio", 0.7), LocalLink(3, 5, "fixed", 0.1)]
    evaluator = Evaluator(potential.card, potential.runner(), NUMBERS[:5], links=links)
    assert evaluator.atoms == 7
    values = {"strength": 0.5, "tilt": 3.0}

    def energy(x: np.ndarray) -> float:
        return evaluator.evaluate(x, None, values, forces=False, scale=0.25).energy

    result = evaluator.evaluate(POSITIONS, None, values, derivatives=["strength", "tilt"], scale=0.25)
    assert result.forces is not None and result.forces_std is None
    numeric = oracle.central_differences(energy, POSITIONS)
    np.testing.assert_allclose(result.forces, numeric, atol=1e-5 * np.abs(numeric).max())
    for name, found in result.derivatives.items():
        ends = []
        for step in (1e-4, -1e-4):
            changed = {**values, name: values[name] + step}
            ends.append(evaluator.evaluate(POSITIONS, None, changed, forces=False, scale=0.25).energy)
        np.testing.assert_allclose(found, (ends[0] - ends[1]) / 2e-4, rtol=1e-5)


def test_periodic_evaluator_needs_a_box(models: ModelSet) -> None:
    potential = models.pair("edges")
    evaluator = Evaluator(potential.card, potential.runner(), NUMBERS, periodic=True)
    with refusal(ParameterError, "box"):
        evaluator.evaluate(POSITIONS)
