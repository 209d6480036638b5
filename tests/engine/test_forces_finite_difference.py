"""Forces against central differences of the energy that the same Context reports."""

import numpy as np
import pytest

from tests import oracle
from tests.models import ModelSet
from tests.platforms import REFERENCE, PlatformCase, energy_of, forces_of
from tests.samples import BOXES, Region, bare_system, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]


@pytest.mark.parametrize(
    "output, members", [("energy", 1), ("energies", 4), ("atomic_energies", 1), ("atomic_energies", 4)]
)
@pytest.mark.parametrize("kind", ["plain", "edges"])
def test_cluster(models: ModelSet, engine: str, kind: str, output: str, members: int) -> None:
    positions = random_cluster(NUMBERS, seed=2)
    system = bare_system(len(NUMBERS))
    potential = models.pair(kind, output=output, members=members, offset=True)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS))
    context = REFERENCE.context(system, positions)
    check(context, positions, 1e-5)


@pytest.mark.parametrize("shape", list(BOXES))
def test_periodic(models: ModelSet, engine: str, shape: str) -> None:
    box = BOXES[shape]
    positions = np.random.default_rng(6).uniform(0.0, 1.0, (6, 3)) @ box
    system = bare_system(6, box=box)
    potential = models.pair("edges")
    system.addForce(potential.create_force(atomic_numbers=NUMBERS, periodic=True))
    context = REFERENCE.context(system, positions)
    check(context, positions, 1e-6)


@pytest.mark.parametrize("shape", list(BOXES))
def test_region_across_the_edge(models: ModelSet, engine: str, shape: str) -> None:
    region, box = Region(), BOXES[shape]
    system = region.system(box)
    potential = models.pair("plain")
    system.addForce(potential.create_force(atomic_numbers=region.numbers, region=region.atoms, bonds=region.bonds))
    positions = region.positions.copy()
    positions[region.atoms[::2]] += box[0] - box[2]
    context = REFERENCE.context(system, positions)
    check(context, positions, 1e-5)


def test_single_precision(models: ModelSet, platform: PlatformCase, engine: str) -> None:
    """In single the energy is too coarse for small steps: forces against a line integral over a large one."""
    positions = random_cluster(NUMBERS, seed=2)
    system = bare_system(len(NUMBERS))
    system.addForce(models.pair("edges", dtype="platform").create_force(atomic_numbers=NUMBERS))
    context = platform.context(system, positions)
    direction = forces_of(context) + 50.0 * np.random.default_rng(7).normal(size=positions.shape)
    direction /= np.linalg.norm(direction)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    half = 0.01  # nm
    work = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        context.setPositions(positions + half * node * direction)
        work += half * weight * float(np.sum(forces_of(context) * direction))
    ends = []
    for sign in (1.0, -1.0):
        context.setPositions(positions + sign * half * direction)
        ends.append(energy_of(context))
    assert abs(ends[0] - ends[1]) > 1.0
    np.testing.assert_allclose(work, ends[1] - ends[0], rtol=1e-7 if platform.double else 2e-5)


def check(context: object, positions: np.ndarray, tolerance: float) -> None:
    """Forces agree with differences to `tolerance` of the largest."""

    def energy(x: np.ndarray) -> float:
        context.setPositions(x)  # type: ignore[attr-defined]
        return energy_of(context)  # type: ignore[arg-type]

    context.setPositions(positions)  # type: ignore[attr-defined]
    forces = forces_of(context)  # type: ignore[arg-type]
    numeric = oracle.central_differences(energy, positions)
    largest = np.abs(forces).max()
    assert largest > 10.0
    np.testing.assert_allclose(forces, numeric, atol=tolerance * largest)
