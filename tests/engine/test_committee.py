"""Committees: the mean acts, the deviation can be read."""

import numpy as np
import pytest
import torch

from openmm_nn import Link, load_potential
from tests import oracle
from tests.models import MEMBERS, ModelSet
from tests.platforms import REFERENCE, PlatformCase, energy_of, forces_of
from tests.samples import bare_system, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]
OUTPUTS = ["energies", "atomic_energies"]


@pytest.fixture
def positions() -> np.ndarray:
    return random_cluster(NUMBERS, seed=12)


def members(positions: np.ndarray, numbers: list[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Energies (4,) and forces (4, N, 3) of the members by NumPy."""
    results = [oracle.pair_energy_forces(positions, numbers or NUMBERS, member=m) for m in MEMBERS]
    return np.array([r[0] for r in results]), np.array([r[1] for r in results])


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("kind", ["plain", "edges"])
def test_mean(
    models: ModelSet, platform: PlatformCase, engine: str, positions: np.ndarray, kind: str, output: str
) -> None:
    energies, forces = members(positions)
    system = bare_system(len(NUMBERS))
    system.addForce(models.pair(kind, output=output, members=4).create_force(atomic_numbers=NUMBERS))
    context = platform.context(system, positions)
    platform.check_energy(energy_of(context), energies.mean())
    platform.check_forces(forces_of(context), forces.mean(axis=0))


@pytest.mark.parametrize("output", OUTPUTS)
def test_deviation_from_evaluate(models: ModelSet, positions: np.ndarray, output: str) -> None:
    energies, forces = members(positions)
    result = models.pair("edges", output=output, members=4, offset=True).evaluate(positions, NUMBERS)
    np.testing.assert_allclose(result.energy_std, energies.std(ddof=1), rtol=1e-8)
    np.testing.assert_allclose(result.forces_std, np.sqrt(forces.var(axis=0, ddof=1).sum(axis=1)), rtol=1e-8)
    np.testing.assert_allclose(result.forces, forces.mean(axis=0), rtol=1e-8, atol=1e-8)


def test_no_deviation_of_one_member(models: ModelSet, positions: np.ndarray) -> None:
    result = models.pair("edges").evaluate(positions, NUMBERS)
    assert result.energy_std is None
    assert result.forces_std is None


@pytest.mark.parametrize("output", OUTPUTS)
def test_deviation_from_a_context(
    models: ModelSet, platform: PlatformCase, native: str, positions: np.ndarray, output: str
) -> None:
    energies, forces = members(positions)
    system = bare_system(len(NUMBERS))
    force = models.pair("edges", output=output, members=4).create_force(atomic_numbers=NUMBERS)
    system.addForce(force)
    context = platform.context(system, positions)
    tolerance = 1e-9 if platform.double else 1e-5
    np.testing.assert_allclose(force.getMemberEnergies(context), energies, rtol=tolerance)
    expected = np.sqrt(forces.var(axis=0, ddof=1).sum(axis=1))
    np.testing.assert_allclose(force.getForceStd(context), expected, rtol=10 * tolerance)


def test_deviation_follows_the_positions(models: ModelSet, native: str, positions: np.ndarray) -> None:
    """Read after a step, without an evaluation in between, it is that of the positions then."""
    system = bare_system(len(NUMBERS))
    force = models.pair("edges", output="energies", members=4).create_force(atomic_numbers=NUMBERS)
    system.addForce(force)
    context = REFERENCE.context(system, positions)
    energy_of(context)
    moved = positions * 1.1
    context.setPositions(moved)
    np.testing.assert_allclose(force.getMemberEnergies(context), members(moved)[0], rtol=1e-9)


def test_offset_and_links_in_the_members(models: ModelSet, native: str, positions: np.ndarray) -> None:
    from tests.models.generate import ATOMS

    system = bare_system(len(NUMBERS))
    force = models.pair("edges", output="atomic_energies", members=4, offset=True).create_force(
        atomic_numbers=NUMBERS[:5], region=range(5), links=[Link(3, 5, "ratio", 0.7)]
    )
    system.addForce(force)
    context = REFERENCE.context(system, positions)
    cap = oracle.place_link(positions[3], positions[5], "ratio", 0.7)
    seen = np.array([*positions[:5], cap])
    energies, forces = members(seen, [*NUMBERS[:5], 1])
    offset = ATOMS["O"] + ATOMS["C"] + ATOMS["N"] + 3 * ATOMS["H"]
    np.testing.assert_allclose(np.array(force.getMemberEnergies(context)) - offset, energies, atol=1e-7)
    std = force.getForceStd(context)
    assert len(std) == 6
    np.testing.assert_allclose(std, np.sqrt(forces.var(axis=0, ddof=1).sum(axis=1)), rtol=1e-7)


@pytest.mark.parametrize("output", OUTPUTS)
def test_committee_of_a_callable(models: ModelSet, engine: str, positions: np.ndarray, output: str) -> None:
    import dataclasses

    module = models.pair_module("plain", output=output, members=4).eval()
    card = dataclasses.replace(models.pair_card("plain", output=output, members=4), format="callable")
    system = bare_system(len(NUMBERS))
    system.addForce(load_potential(module, card=card).create_force(atomic_numbers=NUMBERS))
    context = REFERENCE.context(system, positions)
    energies, forces = members(positions)
    REFERENCE.check_energy(energy_of(context), energies.mean())
    REFERENCE.check_forces(forces_of(context), forces.mean(axis=0))


class Column(torch.nn.Module):
    """Energies of atoms as (N,1)."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, positions: torch.Tensor, atomic_numbers: torch.Tensor) -> torch.Tensor:
        return self.inner(positions, atomic_numbers).unsqueeze(1)


def test_atomic_energies_of_one_member_as_a_column(models: ModelSet, engine: str, positions: np.ndarray) -> None:
    card = models.pair_card("plain", output="atomic_energies")
    module = torch.jit.script(Column(models.pair_module("plain", output="atomic_energies")).eval())
    system = bare_system(len(NUMBERS))
    system.addForce(load_potential(module, card=card).create_force(atomic_numbers=NUMBERS))
    context = REFERENCE.context(system, positions)
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS)
    REFERENCE.check_energy(energy_of(context), energy)
    REFERENCE.check_forces(forces_of(context), forces)


def test_float32_atomic_energies_are_summed_in_double(models: ModelSet, engine: str) -> None:
    """Sixty atoms whose energies cancel in part: the sum keeps what float32 atoms have."""
    numbers = [6, 1, 8] * 20
    positions = random_cluster(numbers, seed=1, radius=0.6)
    exact = oracle.pair_energy(positions, numbers)
    system = bare_system(60)
    potential = models.pair("edges", output="atomic_energies", dtype="float32", offset=True)
    system.addForce(potential.create_force(atomic_numbers=numbers))
    from tests.models.generate import ATOMS

    offset = 20 * (ATOMS["C"] + ATOMS["H"] + ATOMS["O"])
    found = energy_of(REFERENCE.context(system, positions)) - offset
    # The total is -6e6 kJ/mol, where a float32 has steps of 0.5.
    np.testing.assert_allclose(found, exact, atol=2e-6 * abs(exact))
