"""Committees put together from several potentials, against what each says alone."""

import dataclasses
import re

import numpy as np
import pytest

from openmm_nn import Potential, load_potential
from openmm_nn.errors import CardError, ParameterError
from openmm_nn.testing import check_potential
from tests.models import ModelSet
from tests.platforms import REFERENCE, energy_of, forces_of
from tests.refusals import refusal
from tests.samples import bare_system, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]
POSITIONS = random_cluster(NUMBERS, seed=5)


def expect(members: list[Potential], found: Potential) -> None:
    alone = [member.evaluate(POSITIONS, NUMBERS) for member in members]
    result = found.evaluate(POSITIONS, NUMBERS)
    energies = np.array([one.energy for one in alone])
    forces = np.array([one.forces for one in alone])
    np.testing.assert_allclose(result.energy, energies.mean(), rtol=1e-12)
    np.testing.assert_allclose(result.energy_std, energies.std(ddof=1), rtol=1e-8)
    np.testing.assert_allclose(result.forces, forces.mean(axis=0), rtol=1e-9, atol=1e-9)
    if result.forces_std is not None:
        deviation = np.sqrt(forces.var(axis=0, ddof=1).sum(axis=1))
        np.testing.assert_allclose(result.forces_std, deviation, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("output", ["energy", "atomic_energies"])
def test_files(models: ModelSet, engine: str, output: str) -> None:
    paths = [models.pair_file("edges", output=output, deep=deep) for deep in (False, True)]
    members = [load_potential(path) for path in paths]
    found = load_potential(paths)
    assert found.card.committee_size == 2
    assert found.card.outputs[0] == ("energies" if output == "energy" else output)
    assert found.data is not None
    expect(members, found)
    system = bare_system(6)
    system.addForce(found.create_force(atomic_numbers=NUMBERS))
    context = REFERENCE.context(system, POSITIONS)
    result = found.evaluate(POSITIONS, NUMBERS)
    np.testing.assert_allclose(energy_of(context), result.energy, rtol=1e-12)
    np.testing.assert_allclose(forces_of(context), result.forces, rtol=1e-9, atol=1e-9)


def test_contract(models: ModelSet) -> None:
    paths = tuple(models.pair_file("edges", output="atomic_energies", deep=deep) for deep in (False, True))
    check_potential(load_potential(paths), NUMBERS, POSITIONS, tolerance=1e-5)


@pytest.mark.parametrize("output", ["energy", "atomic_energies"])
def test_reference_energies_may_differ(models: ModelSet, output: str) -> None:
    """Members trained with energies of isolated atoms of their own: each is added to its member, in double."""
    base = models.pair("edges", output=output, offset=True)
    shifted = {symbol: 1.001 * value + 3.0 for symbol, value in base.card.energy_offset.items()}
    other = load_potential(base.module, card=dataclasses.replace(base.card, energy_offset=shifted))
    for members in ([base, other], [other, base]):
        expect(members, load_potential(members))


def test_forces_of_the_models(models: ModelSet) -> None:
    """Members that return forces: their mean; deviations of the forces are not to be had."""
    members = [models.pair("edges-forces"), models.pair("edges-forces")]
    found = load_potential([models.pair_file("edges-forces")] * 2)
    assert found.card.outputs == ("energies", "forces")
    expect(members, found)


def test_modules_and_callables(models: ModelSet) -> None:
    card = models.pair_card("plain")
    modules = [models.pair_module("plain"), models.pair_module("plain", deep=True)]
    members = [load_potential(module, card=card) for module in modules]
    expect(members, load_potential(modules, card=card))
    expect(members, load_potential([module.forward for module in modules], card=card))


def test_elements_are_those_that_all_know(models: ModelSet) -> None:
    paths = [models.pair_file("plain"), models.pair_file("plain", elements=("O", "H", "C"))]
    assert load_potential(paths).card.elements == ("H", "C", "O")


def test_members_that_do_not_fit(models: ModelSet) -> None:
    one = models.pair_file("edges")
    with refusal(CardError, re.compile(".*inputs of member 1"), got="atomic_numbers"):
        load_potential([one, models.pair_file("plain")])
    with refusal(CardError, re.compile(".*length_unit of member 1"), anywhere="angstrom"):
        load_potential([one, models.pair_file("edges", unit="angstrom")])
    with refusal(CardError, "source", got="committee"):
        load_potential([one, models.pair_file("edges", output="energies", members=2)])
    with refusal(CardError, re.compile(".*"), got="no element"):
        load_potential([models.pair_file("plain", elements=("H",)), models.pair_file("plain", elements=("O",))])
    with refusal(ParameterError, re.compile(".*"), allowed="two potentials"):
        load_potential([one])
    with refusal(ParameterError, re.compile(".*"), allowed="two potentials"):
        load_potential([])
