"""Compiled packages on the command line: what they are, and a copy with its card inside."""

import json
import pathlib

import pytest
from typer.testing import CliRunner

from openmm_nn import load_potential
from openmm_nn.cli.app import app
from tests.potentials.aoti.packages import Packages

pytestmark = [pytest.mark.process, pytest.mark.timeout(1200)]


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


def test_inspect(packages: Packages) -> None:
    path = packages.path("committee")
    status, text = call("inspect", path)
    assert status == 0
    assert "aotinductor" in text
    assert "forward(positions, atomic_numbers, edge_index, edge_shifts) -> atomic_energies" in text
    status, text = call("inspect", path, "--json")
    assert json.loads(text)["sha256"] == packages("committee").sha256


def test_export_is_a_copy(packages: Packages, tmp_path: pathlib.Path) -> None:
    path = packages.path("spring")
    status, text = call("export", path, tmp_path / "copy.pt2")
    assert status == 0
    assert "is written" in text
    assert load_potential(tmp_path / "copy.pt2").sha256 == packages("spring").sha256
    for options in (["other.pt"], ["other.pt2", "--portable"], ["other.pt2", "--format", "torchscript"]):
        status, text = call("export", path, tmp_path / options[0], *options[1:])
        assert status == 1
        assert "compiled code, which stays what it is" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.pt2"]
