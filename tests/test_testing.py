"""The public contract suite: good potentials pass, and each fault is found, with its numbers."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from openmm_nn import ModelCard, load_potential
from openmm_nn.testing import (
    check_committee,
    check_context,
    check_forces,
    check_invariances,
    check_outputs,
    check_potential,
    check_serialization,
    check_subset,
)
from tests.models import HarmonicWithForces, ModelSet
from tests.models.generate import script
from tests.samples import BOXES, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]
POSITIONS = random_cluster(NUMBERS, seed=71)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["plain", "edges", "edges-forces", "parameter"])
def test_good_potentials_pass(models: ModelSet, engine: str, kind: str, dtype: str) -> None:
    check_potential(models.pair(kind, dtype=dtype), NUMBERS, POSITIONS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_good_committee_with_offsets_passes(models: ModelSet, engine: str, dtype: str) -> None:
    potential = models.pair("edges", output="atomic_energies", members=4, dtype=dtype, offset=True)
    check_potential(potential, NUMBERS, POSITIONS)


@pytest.mark.parametrize("shape", list(BOXES))
@pytest.mark.parametrize("kind", ["box", "edges"])
def test_good_periodic_potentials_pass(models: ModelSet, engine: str, kind: str, shape: str) -> None:
    positions = np.random.default_rng(3).uniform(0.0, 1.0, (6, 3)) @ BOXES[shape]
    check_potential(models.pair(kind), NUMBERS, positions, box=BOXES[shape])


def test_charged_potential_passes(models: ModelSet, engine: str) -> None:
    check_potential(models.pair("charge"), NUMBERS, POSITIONS, charge=-1, multiplicity=2)


def test_absolute_frame_passes(models: ModelSet, engine: str) -> None:
    check_potential(models.torchforce("harmonic"), NUMBERS, POSITIONS)


def test_forces_that_are_not_the_gradient() -> None:
    module = script(HarmonicWithForces("contiguous", wrong_by=1.01))
    potential = load_potential(module, card=ModelCard.torchforce(outputs=("energy", "forces")))
    with pytest.raises(AssertionError, match=r"not the gradient.*kJ/mol"):
        check_forces(potential, NUMBERS, POSITIONS)
    with pytest.raises(AssertionError, match="not the gradient"):
        check_potential(potential, NUMBERS, POSITIONS)


def broken(function: object, **changes: object) -> object:
    """The potential of a callable with positions and numbers, whose card claims to be invariant."""
    card = ModelCard(
        name="broken",
        inputs=("positions", "atomic_numbers"),
        outputs=("energy",),
        format="callable",
        dtype="float64",
        frame="invariant",
        long_range=False,
    )
    return load_potential(function, card=dataclasses.replace(card, **changes))  # type: ignore[arg-type]


def test_direction_dependent_energy() -> None:
    def function(positions: Tensor, atomic_numbers: Tensor) -> Tensor:
        return 100.0 * ((positions[1:, 0] - positions[:-1, 0]) ** 2).sum()

    with pytest.raises(AssertionError, match=r"permutation|rotation"):
        check_invariances(broken(function), [6, 6, 6, 6, 6, 6], POSITIONS)


def test_chiral_energy() -> None:
    def function(positions: Tensor, atomic_numbers: Tensor) -> Tensor:
        order = torch.argsort(atomic_numbers)
        a, b, c = (positions[order[k]] - positions[order[0]] for k in (1, 2, 3))
        return 1e4 * torch.dot(torch.linalg.cross(a, b), c)

    with pytest.raises(AssertionError, match="reflection"):
        check_invariances(broken(function), [1, 6, 7, 8], POSITIONS[:4])


def test_order_dependent_energy() -> None:
    def function(positions: Tensor, atomic_numbers: Tensor) -> Tensor:
        return 100.0 * ((positions[1] - positions[0]) ** 2).sum()

    with pytest.raises(AssertionError, match="permutation"):
        check_invariances(broken(function), NUMBERS, POSITIONS)


def test_energy_that_changes_from_call_to_call() -> None:
    calls: list[int] = []

    def function(positions: Tensor, atomic_numbers: Tensor) -> Tensor:
        calls.append(1)
        return 10.0 * len(calls) + 0.0 * positions.sum()

    with pytest.raises(AssertionError, match="two evaluations"):
        check_outputs(broken(function), NUMBERS, POSITIONS)


def test_single_checks(models: ModelSet, native: str) -> None:
    """Each check is of use by itself."""
    potential = models.pair("edges", members=4, output="energies")
    for check in (check_committee, check_context, check_serialization, check_subset, check_outputs, check_forces):
        check(potential, NUMBERS, POSITIONS)
