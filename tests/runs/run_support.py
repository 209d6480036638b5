"""Small runs for the tests: a molecule by itself, on the Reference platform."""

import csv
import os
import pathlib
import subprocess
import sys

from openmm import app

from tests import ROOT
from tests.runs.faulty import WATERS, write_model

PEPTIDE = ROOT / "examples" / "data" / "alanine-dipeptide-explicit.pdb"
# What depends on the clock of the machine.
CLOCK = ("speed_ns/day", "elapsed_s")
GROWING = ("trajectory.xtc", "uncertainty.csv", "flagged.csv", "flagged.xtc", "guards.jsonl")


def write_peptide(folder: pathlib.Path) -> pathlib.Path:
    """Alanine dipeptide without its water: 22 atoms."""
    path = folder / "peptide.pdb"
    if not path.exists():
        pdb = app.PDBFile(str(PEPTIDE))
        modeller = app.Modeller(pdb.topology, pdb.positions)
        modeller.deleteWater()
        modeller.topology.setPeriodicBoxVectors(None)
        with path.open("w") as file:
            app.PDBFile.writeFile(modeller.topology, modeller.positions, file, keepIds=True)
    return path


def waters_file(folder: pathlib.Path, *, name: str = "run.yaml", changes: dict[str, str] | None = None) -> pathlib.Path:
    """The run file of `run_file` for two waters by a committee of springs, whose steps cost next to nothing."""
    if not (folder / "committee.pt").exists():
        (folder / "waters.pdb").write_text(WATERS)
        write_model(folder, "committee")
    own = {"structure": "{file: waters.pdb}", "potential": "{name: committee.pt, threads: 1}"}
    return run_file(folder, name=name, changes={**own, **(changes or {})})


def run_file(folder: pathlib.Path, *, name: str = "run.yaml", changes: dict[str, str] | None = None) -> pathlib.Path:
    """A run file of the peptide by the bundled potential; `changes` replaces whole sections by their text."""
    write_peptide(folder)
    sections = {
        "structure": "{file: peptide.pdb}",
        "potential": "{name: openmm-nn/hcno-1, threads: 1}",
        "dynamics": "{ensemble: NVE, temperature: 300 K, timestep: 0.5 fs, platform: Reference, seed: 3}",
        "minimise": "{iterations: 20}",
        "equilibrate": "{length: 10 fs}",
        "produce": "{length: 40 fs}",
        "reporters": "{log: 1 fs, trajectory: 2 fs, checkpoint: 5 fs}",
        "uncertainty": "{every: 2 fs, flag_force: 50 kJ/mol/nm}",
        "guards": "{check: 1 fs}",
    }
    sections.update(changes or {})
    path = folder / name
    path.write_text("".join(f"{key}: {text}\n" for key, text in sections.items() if text))
    return path


def log_rows(directory: pathlib.Path) -> list[dict[str, str]]:
    """The log without what depends on the clock."""
    with (directory / "log.csv").open() as file:
        return [{key: value for key, value in row.items() if key not in CLOCK} for row in csv.DictReader(file)]


def assert_same_run(one: pathlib.Path, other: pathlib.Path) -> None:
    """Two runs wrote the same, bit for bit, but for what depends on the clock."""
    assert log_rows(one) == log_rows(other)
    for name in (*GROWING, "minimised.pdb", "equilibrated.pdb"):
        first, second = (folder / name for folder in (one, other))
        assert first.exists() == second.exists(), name
        if first.exists():
            assert first.read_bytes() == second.read_bytes(), f"{name} differs"
    assert (one / "checkpoint" / "state.xml").read_bytes() == (other / "checkpoint" / "state.xml").read_bytes()


def environment() -> dict[str, str]:
    """For processes that the tests start."""
    values = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    values.pop("OPENMM_NN_ENGINE", None)
    return values


def command(*arguments: str | pathlib.Path) -> list[str]:
    """The command line, as a process of its own."""
    return [sys.executable, "-m", "openmm_nn.cli", *map(str, arguments)]


def call(*arguments: str | pathlib.Path, folder: pathlib.Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        cwd=folder,
        timeout=250,
        check=False,
    )
