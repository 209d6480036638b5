"""Edges handed to a model against all pairs and images by brute force."""

import dataclasses

import numpy as np
import openmm as mm
import pytest
import torch
from torch import Tensor

from openmm_nn import ModelCard, Potential, load_potential
from tests import oracle
from tests.models import ModelSet
from tests.platforms import REFERENCE, PlatformCase, energy_of, forces_of
from tests.refusals import refusal
from tests.samples import BOXES, bare_system, make_periodic

NUMBERS = [8, 1, 6, 7, 1, 6, 6, 1]
ANGSTROM = 0.1


class Recorder:
    """A callable model in angstrom that keeps what it was given."""

    def __init__(self) -> None:
        self.positions: Tensor = torch.zeros(0)
        self.index: Tensor = torch.zeros(0)
        self.shifts: Tensor = torch.zeros(0)

    def __call__(self, positions: Tensor, edge_index: Tensor, edge_shifts: Tensor) -> Tensor:
        self.positions, self.index, self.shifts = positions.detach().clone(), edge_index.clone(), edge_shifts.clone()
        vectors = positions[edge_index[1]] - positions[edge_index[0]] + edge_shifts
        return (vectors**2).sum()


def recording(cutoff: float) -> tuple[Recorder, Potential]:
    recorder = Recorder()
    card = ModelCard(
        name="recorder",
        format="callable",
        inputs=("positions", "edge_index", "edge_shifts"),
        outputs=("energy",),
        length_unit="angstrom",
        energy_unit="kJ/mol",
        dtype="float64",
        cutoff=cutoff / ANGSTROM,
        periodic="optional",
        frame="invariant",
        long_range=False,
    )
    return recorder, load_potential(recorder, card=card)


def compare(recorder: Recorder, positions: np.ndarray, cutoff: float, box: np.ndarray | None) -> None:
    """The recorded edges are exactly those of the brute force, with shifts in the model's unit."""
    expected = oracle.edges(positions, cutoff, box)
    assert recorder.index.dtype == torch.int64
    assert recorder.index.shape == (2, len(expected))
    assert recorder.shifts.shape == (len(expected), 3)
    assert recorder.shifts.dtype == recorder.positions.dtype == torch.float64
    # Atoms may be handed over at another image: what counts is the vector r_ij of an edge.
    i, j = recorder.index[0].numpy(), recorder.index[1].numpy()
    x = recorder.positions.numpy()
    found = ANGSTROM * (x[j] - x[i] + recorder.shifts.numpy())
    lattice = np.zeros((3, 3)) if box is None else box
    wanted = np.array([positions[b] - positions[a] + np.array(s) @ lattice for a, b, s in expected]).reshape(-1, 3)
    pairs = np.array([(a, b) for a, b, _ in expected]).reshape(-1, 2)
    one = np.lexsort((*np.round(found, 7).T, j, i))
    two = np.lexsort((*np.round(wanted, 7).T, pairs[:, 1], pairs[:, 0]))
    np.testing.assert_array_equal(np.column_stack([i, j])[one], pairs[two])
    np.testing.assert_allclose(found[one], wanted[two], atol=1e-10)


@pytest.mark.parametrize("cutoff", [0.25, 0.5, 4.0])
def test_cluster(engine: str, cutoff: float) -> None:
    positions = np.random.default_rng(4).uniform(0.0, 0.9, (8, 3))
    recorder, potential = recording(cutoff)
    system = bare_system(8)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS))
    energy_of(REFERENCE.context(system, positions))
    compare(recorder, positions, cutoff, None)


@pytest.mark.parametrize("shape", list(BOXES))
@pytest.mark.parametrize("cutoff", [0.5, 0.9, 1.7, 3.1])
def test_periodic_several_images(engine: str, shape: str, cutoff: float) -> None:
    """Up to and far beyond half the box: several images of a pair, and of an atom with itself."""
    box = BOXES[shape]
    positions = np.random.default_rng(5).uniform(0.0, 1.0, (5, 3)) @ box
    recorder, potential = recording(cutoff)
    system = bare_system(5, box=box)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS[:5], periodic=True))
    energy_of(REFERENCE.context(system, positions))
    compare(recorder, positions, cutoff, box)
    assert cutoff < 2.4 or any(i == j for i, j, _ in oracle.edges(positions, cutoff, box))


def test_one_atom_in_a_small_crystal(engine: str) -> None:
    box = np.array([[0.3, 0.0, 0.0], [0.1, 0.28, 0.0], [-0.05, 0.12, 0.25]])
    recorder, potential = recording(0.7)
    system = bare_system(1, box=box)
    system.addForce(potential.create_force(atomic_numbers=[6], periodic=True))
    energy_of(REFERENCE.context(system, np.array([[0.1, 0.2, 0.05]])))
    compare(recorder, np.array([[0.1, 0.2, 0.05]]), 0.7, box)
    assert recorder.index.shape[1] > 50


@pytest.mark.parametrize("shape", list(BOXES))
def test_energy_with_several_images(models: ModelSet, platform: PlatformCase, engine: str, shape: str) -> None:
    """Energy and forces in a box of half a nanometre, with edges out to 0.6."""
    box = BOXES[shape] / 4.0
    positions = np.random.default_rng(6).uniform(0.0, 1.0, (4, 3)) @ box
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS[:4], box)
    system = bare_system(4, box=box)
    system.addForce(models.pair("edges").create_force(atomic_numbers=NUMBERS[:4], periodic=True))
    context = platform.context(system, positions)
    platform.check_energy(energy_of(context), energy)
    platform.check_forces(forces_of(context), forces)


def test_edges_follow_the_atoms(models: ModelSet, engine: str) -> None:
    """A list made at one step is not used at the next."""
    system = bare_system(8)
    system.addForce(models.pair("edges").create_force(atomic_numbers=NUMBERS))
    context = REFERENCE.context(system)
    rng = np.random.default_rng(7)
    for _ in range(6):
        positions = rng.uniform(0.0, 0.9, (8, 3))
        context.setPositions(positions)
        REFERENCE.check_energy(energy_of(context), oracle.pair_energy(positions, NUMBERS))


def test_edges_of_a_cluster_in_a_periodic_system_have_no_shift(engine: str) -> None:
    box = BOXES["rectangular"]
    positions = np.random.default_rng(8).uniform(0.0, 0.5, (8, 3))
    recorder, potential = recording(0.6)
    system = bare_system(8, box=box)
    make_periodic(system)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS, bonds=[(i, i + 1) for i in range(7)]))
    energy_of(REFERENCE.context(system, positions + np.arange(8)[:, None] * box[1]), {0})
    compare(recorder, positions, 0.6, None)
    assert not recorder.shifts.any()


def test_counted(models: ModelSet, native: str) -> None:
    """Statistics count edges of both directions, and the atoms of the model, links included."""
    positions = np.random.default_rng(9).uniform(0.0, 0.9, (8, 3))
    system = bare_system(8)
    force = models.pair("edges").create_force(atomic_numbers=NUMBERS)
    system.addForce(force)
    context = REFERENCE.context(system, positions)
    before = force.getStatistics(context)
    energy_of(context)
    after = force.getStatistics(context)
    assert after["evaluations"] - before["evaluations"] == 1
    assert after["edges"] - before["edges"] == len(oracle.edges(positions, 0.6))
    assert after["atoms"] - before["atoms"] == 8


def test_cutoff_over_half_the_box_without_edges(models: ModelSet, engine: str) -> None:
    """A model with a cutoff that makes its own images can't be trusted in a box smaller than twice the cutoff."""
    potential = models.pair("box")
    box = np.diag([1.15, 1.5, 1.5])
    system = bare_system(8, box=box)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS, periodic=True))
    positions = np.random.default_rng(9).uniform(0.0, 0.9, (8, 3))
    with pytest.raises(mm.OpenMMException, match=r"(?s)box.*cutoff.*0\.6|cutoff.*0\.6.*box"):
        energy_of(REFERENCE.context(system, positions))


def test_offset_of_particles_without_neighbours(models: ModelSet, engine: str) -> None:
    from tests.models.generate import ATOMS

    potential = models.pair("edges", output="atomic_energies", offset=True)
    system = bare_system(2)
    system.addForce(potential.create_force(atomic_numbers=[1, 8]))
    found = energy_of(REFERENCE.context(system, np.array([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0]])))
    np.testing.assert_allclose(found, ATOMS["H"] + ATOMS["O"], rtol=1e-15)


def test_card_with_edges_needs_a_cutoff(models: ModelSet) -> None:
    with refusal(ValueError, "ModelCard.cutoff"):
        dataclasses.replace(models.pair_card("edges"), cutoff=None)
