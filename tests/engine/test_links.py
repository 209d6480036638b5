"""Hydrogens that cap cut bonds inside the force: where they are, and that their forces reach Q and M."""

import numpy as np
import openmm as mm
import pytest

from openmm_nn import Link
from tests import oracle
from tests.models import ModelSet
from tests.platforms import REFERENCE, PlatformCase, energy_of, forces_of
from tests.samples import BOXES, bare_system, make_periodic

NUMBERS = [6, 8, 1, 6]
POSITIONS = np.array(
    [
        [0.10, 0.20, 0.15],  # Q of two cuts
        [0.22, 0.22, 0.10],
        [0.05, 0.28, 0.21],
        [0.31, 0.12, 0.05],  # Q of one
        [0.06, 0.07, 0.09],  # M
        [0.01, 0.19, 0.29],  # M
        [0.45, 0.14, 0.02],  # M
        [0.90, 0.90, 0.90],  # a bystander
    ]
)
REGION = [0, 1, 2, 3]
LINKS = {
    "fixed": (Link(0, 4, "fixed", 0.109), Link(3, 6, "fixed", 0.101), Link(0, 5, "fixed", 0.109)),
    "ratio": (Link(0, 4, "ratio", 0.71), Link(3, 6, "ratio", 0.68), Link(0, 5, "ratio", 0.71)),
    "both": (Link(0, 4, "ratio", 0.71), Link(3, 6, "fixed", 0.101), Link(0, 5, "fixed", 0.109)),
}
BONDS = [(0, 1), (0, 2), (1, 3)]


def expected_energy(x: np.ndarray, links: tuple[Link, ...], box: np.ndarray | None = None) -> float:
    """The pair energy of the region and its link hydrogens, made whole by hand from atom 0."""
    whole = x.copy()
    for i, j in BONDS:
        whole[j] = whole[i] + oracle.nearest(x[j] - whole[i], box)
    caps = [oracle.place_link(whole[k.inside], x[k.outside], k.rule, k.value, box) for k in links]
    return oracle.pair_energy(np.array([*whole[REGION], *caps]), NUMBERS + [1] * len(links))


def linked_system(
    models: ModelSet, links: tuple[Link, ...], box: np.ndarray | None = None, kind: str = "plain"
) -> mm.System:
    system = bare_system(len(POSITIONS), box=box)
    if box is not None:
        make_periodic(system)
    system.addForce(models.pair(kind).create_force(atomic_numbers=NUMBERS, region=REGION, links=links, bonds=BONDS))
    return system


@pytest.mark.parametrize("kind", ["plain", "edges"])
@pytest.mark.parametrize("rule", list(LINKS))
def test_energy_and_forces(models: ModelSet, platform: PlatformCase, engine: str, rule: str, kind: str) -> None:
    links = LINKS[rule]
    context = platform.context(linked_system(models, links, kind=kind), POSITIONS)
    platform.check_energy(energy_of(context), expected_energy(POSITIONS, links))
    forces = forces_of(context)
    numeric = oracle.central_differences(lambda x: expected_energy(x, links), POSITIONS)
    scale = np.abs(numeric).max()
    assert np.abs(numeric[[4, 5, 6]]).max() > 1e-2 * scale
    np.testing.assert_allclose(forces, numeric, atol=(1e-7 if platform.double else 1e-5) * scale)
    assert not forces[7].any()


@pytest.mark.parametrize("rule", list(LINKS))
def test_finite_differences_of_the_engine(models: ModelSet, engine: str, rule: str) -> None:
    context = REFERENCE.context(linked_system(models, LINKS[rule]), POSITIONS)
    forces = forces_of(context)

    def energy(x: np.ndarray) -> float:
        context.setPositions(x)
        return energy_of(context)

    numeric = oracle.central_differences(energy, POSITIONS)
    np.testing.assert_allclose(forces, numeric, atol=1e-6 * np.abs(forces).max())


@pytest.mark.parametrize("shape", list(BOXES))
@pytest.mark.parametrize("rule", list(LINKS))
def test_across_a_box_edge(models: ModelSet, platform: PlatformCase, engine: str, shape: str, rule: str) -> None:
    links, box = LINKS[rule], BOXES[shape]
    positions = POSITIONS - np.array([0.08, 0.2, 0.12])
    expected = expected_energy(positions, links)
    reference = oracle.central_differences(lambda x: expected_energy(x, links), positions)
    context = platform.context(linked_system(models, links, box))
    rng = np.random.default_rng(2)
    for _ in range(3):
        context.setPositions(positions + rng.integers(-2, 3, (len(positions), 3)) @ box)
        np.testing.assert_allclose(energy_of(context, {0}), expected, rtol=1e-10 if platform.double else 5e-5)
        scale = np.abs(reference).max()
        np.testing.assert_allclose(forces_of(context, {0}), reference, atol=(1e-7 if platform.double else 5e-5) * scale)


@pytest.mark.parametrize("rule", list(LINKS))
def test_total_force_and_torque_vanish(models: ModelSet, platform: PlatformCase, engine: str, rule: str) -> None:
    context = platform.context(linked_system(models, LINKS[rule]), POSITIONS)
    forces = forces_of(context)
    limit = (1e-9 if platform.double else 1e-5) * np.abs(forces).max() * len(forces)
    assert np.abs(forces.sum(axis=0)).max() < limit
    assert np.abs(np.cross(POSITIONS, forces).sum(axis=0)).max() < limit


def test_links_follow_the_atoms_and_their_order(models: ModelSet, engine: str) -> None:
    """The link hydrogens come after the particles: with atomic energies in a committee the deviation is per atom."""
    links = LINKS["both"]
    one = REFERENCE.context(linked_system(models, links), POSITIONS)
    other = REFERENCE.context(linked_system(models, links[::-1]), POSITIONS)
    np.testing.assert_allclose(energy_of(one), energy_of(other), rtol=1e-12)
    np.testing.assert_allclose(forces_of(one), forces_of(other), atol=1e-9)


def test_offset_counts_the_link_hydrogens(models: ModelSet, engine: str) -> None:
    from tests.models.generate import ATOMS

    system = bare_system(len(POSITIONS))
    potential = models.pair("plain", offset=True)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS, region=REGION, links=LINKS["fixed"], bonds=BONDS))
    offset = 2 * ATOMS["C"] + ATOMS["O"] + 4 * ATOMS["H"]
    found = energy_of(REFERENCE.context(system, POSITIONS)) - offset
    np.testing.assert_allclose(found, expected_energy(POSITIONS, LINKS["fixed"]), atol=1e-8)


def test_dynamics_conserve_energy(models: ModelSet, engine: str) -> None:
    """200 steps of Verlet with bonds Q-M as springs: no force is missing on Q or M."""
    links = LINKS["both"]
    system = linked_system(models, links)
    springs = mm.HarmonicBondForce()
    for i, j in [*BONDS, *((k.inside, k.outside) for k in links)]:
        springs.addBond(i, j, float(np.linalg.norm(POSITIONS[i] - POSITIONS[j])), 1e4)
    system.addForce(springs)
    context = REFERENCE.context(system, POSITIONS, mm.VerletIntegrator(0.0002))
    context.setVelocitiesToTemperature(200.0, 5)
    energies = []
    for _ in range(100):
        context.getIntegrator().step(2)
        state = context.getState(getEnergy=True)
        energies.append(state.getPotentialEnergy()._value + state.getKineticEnergy()._value)
    spread = np.ptp(energies)
    kinetic = context.getState(getEnergy=True).getKineticEnergy()._value
    assert spread < 0.01 * kinetic, (spread, kinetic)


@pytest.mark.parametrize(
    "link, words",
    [
        (Link(1, 0, "fixed", 0.109), "outside"),
        (Link(5, 6, "fixed", 0.109), "inside"),
        (Link(0, 99, "fixed", 0.109), "99"),
        (Link(0, 4, "halfway", 0.109), "halfway"),
        (Link(0, 4, "fixed", -0.109), "-0.109"),
        (Link(0, 4, "ratio", 0.0), "0"),
    ],
)
def test_bad_links(models: ModelSet, engine: str, link: Link, words: str) -> None:
    """Refused when the force is made, or with the System's size at hand when the Context is."""
    with pytest.raises((ValueError, mm.OpenMMException), match=words):
        energy_of(REFERENCE.context(linked_system(models, (link,)), POSITIONS))
