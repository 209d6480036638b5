"""Fixtures of the tests of foreign families."""

import dataclasses
import json
import os
import pathlib

import pytest

from tests.potentials.formats.agreement import Agreement, Record

RESULTS = "OPENMM_NN_FORMATS_RESULTS"
"""Environment variable: a JSON file to which measured agreements are added, by test."""


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Keep what a test measured where `environments.py` collects it."""

    def keep(agreement: Agreement) -> Agreement:
        target = os.environ.get(RESULTS)
        if target:
            path = pathlib.Path(target)
            found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            name = str(request.node.name).removeprefix("test_")
            found[name] = {k: float(f"{v:.3g}") for k, v in dataclasses.asdict(agreement).items()}
            path.write_text(json.dumps(found, indent=1), encoding="utf-8")
        return agreement

    return keep
