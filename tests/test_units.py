"""One potential in four systems of units; the factors themselves against openmm.unit."""

import numpy as np
import pytest
from openmm import unit

from openmm_nn import Link, units
from tests import oracle
from tests.models import ModelSet
from tests.models.generate import ATOMS, UNITS
from tests.platforms import PlatformCase, energy_of, forces_of
from tests.samples import BOXES, bare_system, make_periodic, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]


@pytest.mark.parametrize("kind", ["plain", "edges", "edges-forces"])
@pytest.mark.parametrize("name", list(UNITS))
def test_same_energy_and_forces(models: ModelSet, platform: PlatformCase, engine: str, name: str, kind: str) -> None:
    positions = random_cluster(NUMBERS, seed=9)
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS)
    system = bare_system(len(NUMBERS))
    system.addForce(models.pair(kind, unit=name).create_force(atomic_numbers=NUMBERS))
    context = platform.context(system, positions)
    platform.check_energy(energy_of(context), energy)
    platform.check_forces(forces_of(context), forces)


@pytest.mark.parametrize("name", list(UNITS))
@pytest.mark.parametrize("kind", ["box", "edges"])
def test_box_and_shifts(models: ModelSet, engine: str, name: str, kind: str) -> None:
    from tests.platforms import REFERENCE

    box = BOXES["triclinic"]
    positions = np.random.default_rng(3).uniform(0.0, 1.0, (6, 3)) @ box
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS, box)
    assert abs(energy - oracle.pair_energy(positions, NUMBERS)) > 0.1
    system = bare_system(6, box=box)
    make_periodic(system)
    system.addForce(models.pair(kind, unit=name).create_force(atomic_numbers=NUMBERS, periodic=True))
    context = REFERENCE.context(system, positions)
    REFERENCE.check_energy(energy_of(context, {0}), energy)
    REFERENCE.check_forces(forces_of(context, {0}), forces)


@pytest.mark.parametrize("name", list(UNITS))
def test_offsets_and_links(models: ModelSet, engine: str, name: str) -> None:
    """Offsets are in the card's energy unit; a link distance is in nm whatever the card says."""
    from tests.platforms import REFERENCE

    positions = random_cluster(NUMBERS, seed=9)
    system = bare_system(6)
    potential = models.pair("plain", unit=name, offset=True)
    system.addForce(
        potential.create_force(atomic_numbers=NUMBERS[:5], region=range(5), links=[Link(2, 5, "fixed", 0.109)])
    )
    cap = oracle.place_link(positions[2], positions[5], "fixed", 0.109)
    expected = oracle.pair_energy(np.array([*positions[:5], cap]), [*NUMBERS[:5], 1])
    offset = ATOMS["O"] + ATOMS["C"] + ATOMS["N"] + 3 * ATOMS["H"]
    np.testing.assert_allclose(energy_of(REFERENCE.context(system, positions)) - offset, expected, atol=1e-7)


@pytest.mark.parametrize("name", list(UNITS))
def test_evaluate(models: ModelSet, name: str) -> None:
    positions = random_cluster(NUMBERS, seed=9)
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS)
    for given in (positions, positions * unit.nanometer, 10.0 * positions * unit.angstrom):
        result = models.pair("edges", unit=name).evaluate(given, NUMBERS)
        np.testing.assert_allclose(result.energy, energy, rtol=1e-10)
        np.testing.assert_allclose(result.forces, forces, rtol=1e-9, atol=1e-8)


def test_factors() -> None:
    assert set(units.LENGTH_UNITS) == {"nm", "angstrom", "bohr"}
    assert set(units.ENERGY_UNITS) == {"kJ/mol", "kcal/mol", "eV", "hartree"}
    nm, kj = unit.nanometer, unit.kilojoules_per_mole
    np.testing.assert_allclose(units.LENGTH_UNITS["angstrom"], (1.0 * unit.angstrom).value_in_unit(nm), rtol=1e-15)
    np.testing.assert_allclose(units.LENGTH_UNITS["bohr"], (1.0 * unit.bohr).value_in_unit(nm), rtol=1e-15)
    np.testing.assert_allclose(
        units.ENERGY_UNITS["kcal/mol"], (1.0 * unit.kilocalorie_per_mole).value_in_unit(kj), rtol=1e-15
    )
    # CODATA: the hartree in kJ/mol and the eV in kJ/mol; openmm.unit's own constants are a few 1e-8 older.
    np.testing.assert_allclose(units.ENERGY_UNITS["hartree"], 2625.4996394799, rtol=1e-7)
    np.testing.assert_allclose(units.ENERGY_UNITS["eV"], 96.48533212331, rtol=1e-7)
