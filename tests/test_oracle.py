"""The NumPy side of the tests against differences, hand-made numbers, and the torch side."""

import numpy as np
import pytest
import torch

from tests import oracle
from tests.models import MEMBERS, PairBox, PairEdges, PairPlain, PairSpec
from tests.samples import BOXES, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]


def test_pair_by_hand() -> None:
    """H and O at 0.25 nm: 20 * 1.05 * 1.4 * (e^-0.8 - 2 e^-0.4) * (1 - (0.25/0.6)^2)^3."""
    energy, forces = oracle.pair_energy_forces([[0.0, 0.0, 0.0], [0.0, 0.15, 0.2]], [1, 8])
    assert energy == pytest.approx(-14.788702, abs=1e-6)
    np.testing.assert_allclose(forces[0], -forces[1])
    assert forces[0, 0] == 0.0 and forces[0, 1] / forces[0, 2] == pytest.approx(0.75)


@pytest.mark.parametrize("shape", [None, *BOXES])
def test_forces_are_the_gradient(shape: str | None) -> None:
    box = None if shape is None else BOXES[shape] / 3.0
    x = random_cluster(NUMBERS, seed=2)
    forces = oracle.pair_energy_forces(x, NUMBERS, box)[1]
    numeric = oracle.central_differences(lambda y: oracle.pair_energy(y, NUMBERS, box), x)
    np.testing.assert_allclose(forces, numeric, atol=1e-6 * np.abs(forces).max())


@pytest.mark.parametrize("member", MEMBERS)
def test_torch_plain(member: tuple[float, float]) -> None:
    x = random_cluster(NUMBERS, seed=3)
    y = torch.tensor(x, requires_grad=True)
    energy = PairPlain(PairSpec(members=(member,)))(y, torch.tensor(NUMBERS))
    energy.backward()
    expected = oracle.pair_energy_forces(x, NUMBERS, member=member)
    np.testing.assert_allclose(energy.item(), expected[0], rtol=1e-12)
    np.testing.assert_allclose(-y.grad, expected[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", list(BOXES))
def test_torch_periodic(shape: str) -> None:
    box = BOXES[shape]
    x = np.random.default_rng(1).uniform(0.0, 1.0, (6, 3)) @ box
    expected = oracle.pair_energy(x, NUMBERS, box)
    found = PairBox()(torch.tensor(x), torch.tensor(box), torch.tensor(NUMBERS))
    np.testing.assert_allclose(found.item(), expected, rtol=1e-12)
    edges = oracle.edges(x, 0.6, box)
    index = torch.tensor([[e[0] for e in edges], [e[1] for e in edges]])
    shifts = torch.tensor([list(e[2]) for e in edges], dtype=torch.float64) @ torch.tensor(box)
    found = PairEdges()(torch.tensor(x), torch.tensor(NUMBERS), index, shifts)
    np.testing.assert_allclose(found.item(), expected, rtol=1e-12)


def test_edges_of_a_cubic_crystal() -> None:
    """One atom a cell of 1 nm: 6 neighbours at 1, 12 at sqrt 2, 8 at sqrt 3."""
    for cutoff, count in ((0.99, 0), (1.01, 6), (1.42, 18), (1.74, 26)):
        assert len(oracle.edges([[0.3, 0.1, 0.2]], cutoff, np.eye(3))) == count


def test_nearest() -> None:
    box = np.diag([2.0, 3.0, 4.0])
    np.testing.assert_allclose(oracle.nearest([1.9, -2.9, 9.0], box), [-0.1, 0.1, 1.0], atol=1e-12)
    np.testing.assert_allclose(oracle.nearest([1.9, 0.0, 0.0], None), [1.9, 0.0, 0.0])


def test_links() -> None:
    q, m = np.array([0.1, 0.0, 0.0]), np.array([1.95, 0.0, 0.0])
    box = np.diag([2.0, 2.0, 2.0])
    np.testing.assert_allclose(oracle.place_link(q, m, "fixed", 0.1, box), [0.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(oracle.place_link(q, m, "ratio", 0.5, box), [0.025, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(oracle.place_link(q, m, "ratio", 0.5), [1.025, 0.0, 0.0], atol=1e-12)
