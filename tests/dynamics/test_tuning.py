"""Properties that are chosen by measuring them."""

import openmm as mm
import pytest

import openmm_nn
from openmm_nn.errors import ParameterError
from openmm_nn.native import neural_forces
from tests.models import ModelSet
from tests.refusals import refusal
from tests.samples import bare_system, random_cluster

NUMBERS = [8, 1, 1, 6, 1, 1]
POSITIONS = random_cluster(NUMBERS, 4)


def system_of(models: ModelSet) -> mm.System:
    system = bare_system(len(NUMBERS))
    system.addForce(models.pair("edges").create_force(atomic_numbers=NUMBERS))
    return system


def test_the_fastest_is_set(models: ModelSet, native: str, capsys: pytest.CaptureFixture[str]) -> None:
    system = system_of(models)
    result = openmm_nn.tune(system, POSITIONS, "CPU", rounds=2, steps=5)
    assert len(result.times) >= 2
    assert all(len(values) == 2 and min(values) > 0 for values in result.times.values())
    (force,) = neural_forces(system).values()
    assert {name: force.getProperties()[name] for name in result.properties} == dict(result.properties)
    printed = capsys.readouterr().out
    assert printed.count("chosen") == 1
    assert all(name in printed for name in result.times)


def test_candidates_that_cannot_be_run_are_left_out(models: ModelSet, native: str) -> None:
    system = system_of(models)
    result = openmm_nn.tune(
        system, POSITIONS, "Reference", candidates=[{"precision": "half"}, {}], rounds=1, steps=2, verbose=False
    )
    assert list(result.times) == ["as they are"]
    assert "precision" in result.failures["precision half"]
    with refusal(ParameterError, "candidates", got="precision half"):
        openmm_nn.tune(system, POSITIONS, "Reference", candidates=[{"precision": "half"}], verbose=False)


def test_a_system_without_neural_forces() -> None:
    with refusal(ParameterError, "system", got="no neural force"):
        openmm_nn.tune(bare_system(3), POSITIONS[:3], "Reference")
