"""Every planted fault is caught by its own check, by name, in words that say what to do."""

import re

import pytest

from openmm_nn import Potential, load_potential, preflight
from tests.checks.faults import FAULTS, Fault
from tests.checks.structures import structure


@pytest.fixture(scope="module")
def sound() -> Potential:
    return load_potential("openmm-nn/hcno-1")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-").replace("/", "."))
def test_planted_fault(sound: Potential, fault: Fault) -> None:
    numbers, positions = structure(fault.molecule)
    report = preflight(numbers, fault.make(sound), positions, checks=[fault.check], **fault.options)
    found = report[fault.check]
    assert found.verdict == "fail", (found.verdict, found.value, found.advice)
    assert re.search(fault.says, found.advice), found.advice
    assert report.verdict == "fail"


def test_faults_are_many_and_checks_are_covered() -> None:
    """Twenty or more faults, and every check that can fail by a potential's own fault has one."""
    from openmm_nn.checks.preflight import available_checks

    assert len(FAULTS) >= 20
    covered = {fault.check for fault in FAULTS}
    # What these measure is of the structure or the machine, or is caught elsewhere before a file is loaded.
    without = {"card_module", "starting_geometry", "single_against_double", "threads", "cost"}
    assert covered | without == set(available_checks())
    assert not covered & without
