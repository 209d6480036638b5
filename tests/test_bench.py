"""The measurements run, and count what they say; their times are not looked at."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = {
    "step": ("--potential", "openmm-nn/hcno-1", "--rounds", "1", "--steps", "1", "--no-peers"),
    "hybrid": ("interpolation", "--potential", "openmm-nn/hcno-1", "--rounds", "1", "--no-peers"),
    "scaling": ("--rounds", "1", "--waters", "700", "--sizes", "22", "40"),
}


@pytest.mark.parametrize("command", list(SMALL))
def test_measurements_run(tmp_path: pathlib.Path, native: str, command: str) -> None:
    written = tmp_path / "numbers.json"
    result = subprocess.run(
        [sys.executable, "-m", "openmm_nn.bench", command, *SMALL[command], "--json", str(written)],
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        timeout=280,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    numbers = json.loads(written.read_text())
    if command == "step":
        assert numbers["work"]["atoms"] == 22
        assert set(numbers["times"]) == {"classical", "model", "classical + model", "hybrid"}
        assert "hybrid / (classical + model in one loop)" in result.stdout
    elif command == "hybrid":
        assert set(numbers["interpolation"]["times"]) == {"classical", "hybrid", "interpolated"}
    else:
        (environment,) = numbers["environment"]
        assert environment["region"] == environment["work"]["atoms"] == 22
        assert [row["region"] for row in numbers["region"]] == [22, 40]
