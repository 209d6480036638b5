"""The scripts of the gallery run as they are, cut short; `make demo` runs 01, 02 and 05 in full."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

pytestmark = pytest.mark.process

SCRIPTS = {
    "01_add_force_to_a_system.py": ((), "01/system.xml"),
    "02_hybrid.py": (("--picoseconds", "0.05"), "02/hybrid.png"),
    "03_interpolation.py": (("--picoseconds", "0.1", "--windows", "2"), "03/interpolation.png"),
}


def run(script: Path, *options: str) -> str:
    """Run a script in a process of its own, and return what it says."""
    done = subprocess.run(
        [sys.executable, str(script), *options],
        capture_output=True, encoding="utf-8", timeout=280, env={**os.environ, "MPLBACKEND": "Agg"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(tmp_path: Path, name: str) -> None:
    """In a copy, so that it writes nothing beside the pictures that are there."""
    options, written = SCRIPTS[name]
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "examples" / "data")
    shutil.copy(ROOT / "examples" / name, tmp_path / "examples")
    run(tmp_path / "examples" / name, *options)
    assert (tmp_path / "examples" / "output" / written).stat().st_size > 1000


def test_training(tmp_path: Path) -> None:
    """From a SMILES to dynamics: too little of everything, but all of it."""
    pytest.importorskip("rdkit", reason="RDKit makes the geometries: pip install rdkit")
    pytest.importorskip("tblite", reason="tblite makes the labels: pip install tblite")
    script = ROOT / "examples" / "04_train_a_potential" / "train_a_potential.py"
    options = ("--smiles", "CO", "--labels", "60", "--epochs", "2", "--picoseconds", "0.01", "--output", str(tmp_path))
    said = run(script, *options)
    assert all(f"\n{step}. " in f"\n{said}" for step in (1, 2, 3, 4)), said
    assert list(tmp_path.rglob("potential.pt"))


def test_every_script_is_run() -> None:
    scripts = {path.name for path in (ROOT / "examples").glob("[0-9]*.py")}
    assert scripts == set(SCRIPTS)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "examples/05_run_file/run.yaml" in makefile
