"""Runs that die: they go on from the last checkpoint, and nothing is lost or doubled."""

import errno
import importlib.metadata
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import mdtraj
import numpy as np
import pytest
from run_support import ROOT, assert_same_run, command, environment, log_rows, run_file, waters_file

from openmm_nn.errors import RunError
from openmm_nn.native.build import source_hash
from openmm_nn.simulation import continue_run, run
from openmm_nn.simulation import directory as directory_module

STEPS = 80  # of the production in run_file


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("unbroken")
    result = run(waters_file(folder), folder / "out")
    assert result.status == "finished"
    return folder / "out"


class Interrupted(Exception):
    """Raised by a test in the middle of a run."""


def interrupt_at(stage: str, step: int) -> Any:
    """A progress callback that ends a run."""

    def callback(progress: Any) -> None:
        if progress.stage == stage and progress.step >= step:
            raise Interrupted

    return callback


def test_what_a_run_writes(unbroken: pathlib.Path) -> None:
    """The counts follow from the run file; the time is that within the stage."""
    rows = log_rows(unbroken)
    steps = {stage: [int(row["step"]) for row in rows if row["stage"] == stage] for stage in ("equilibrate", "produce")}
    assert steps == {"equilibrate": list(range(0, 21, 2)), "produce": list(range(0, 81, 2))}
    trajectory = mdtraj.load(unbroken / "trajectory.xtc", top=unbroken / "topology.pdb")
    np.testing.assert_allclose(trajectory.time, np.arange(1, 21) * 0.002, atol=1e-6)
    total = np.array([float(row["total_kJ/mol"]) for row in rows if row["stage"] == "produce"])
    assert np.ptp(total) < 3.0
    record = json.loads((unbroken / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["region"]["formula"] == "H4O2"
    assert record["card"]["name"] == "committee"
    flagged = (unbroken / "flagged.csv").read_text().splitlines()[1:]
    assert flagged
    assert len(mdtraj.load(unbroken / "flagged.xtc", top=unbroken / "topology.pdb")) == len(flagged)
    spreads = (unbroken / "uncertainty.csv").read_text().splitlines()
    assert len(spreads) == 1 + 6 + 21


@pytest.mark.parametrize("moment", [("equilibrate", 0), ("equilibrate", 13), ("produce", 0), ("produce", 37)], ids=str)
def test_an_interrupted_run_goes_on(unbroken: pathlib.Path, tmp_path: pathlib.Path, moment: tuple[str, int]) -> None:
    with pytest.raises(Interrupted):
        run(waters_file(tmp_path), tmp_path / "out", progress=interrupt_at(*moment))
    assert json.loads((tmp_path / "out" / "record.json").read_text())["status"] == "running"
    assert continue_run(tmp_path / "out").status == "finished"
    assert_same_run(unbroken, tmp_path / "out")


def test_with_a_thermostat(tmp_path: pathlib.Path) -> None:
    """The random numbers of the Reference platform are part of the checkpoint."""
    dynamics = "{temperature: 300 K, friction: 5 /ps, timestep: 0.5 fs, platform: Reference, seed: 3}"
    file = waters_file(tmp_path, changes={"dynamics": dynamics, "equilibrate": ""})
    run(file, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(file, tmp_path / "broken", progress=interrupt_at("produce", 33))
    continue_run(tmp_path / "broken")
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_before_the_first_checkpoint(unbroken: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(Interrupted):
        run(waters_file(tmp_path), tmp_path / "out", progress=interrupt_at("minimise", 1))
    continue_run(tmp_path / "out")
    assert_same_run(unbroken, tmp_path / "out")


def test_a_longer_production(unbroken: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Twenty fs, then twenty more, are forty."""
    file = waters_file(tmp_path, changes={"produce": "{length: 20 fs}  # to begin with"})
    run(file, tmp_path / "out")
    result = continue_run(tmp_path / "out", length="40 fs")
    assert result.status == "finished"
    assert_same_run(unbroken, tmp_path / "out")
    assert "produce: {length: 40 fs}  # to begin with" in (tmp_path / "out" / "run.yaml").read_text()


def test_a_finished_run_stays_finished(unbroken: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(unbroken, tmp_path / "out")
    assert continue_run(tmp_path / "out").status == "finished"
    assert_same_run(unbroken, tmp_path / "out")


def test_between_two_checkpoints(unbroken: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Killed between two renames, the new point has its old name only; killed before, it is half written."""
    out = tmp_path / "out"
    with pytest.raises(Interrupted):
        run(waters_file(tmp_path), out, progress=interrupt_at("produce", 37))
    (out / "checkpoint").rename(out / "checkpoint.new")
    (out / "checkpoint.old").mkdir()
    (out / "checkpoint.old" / "point.json").write_text("{")
    with pytest.raises(Interrupted):
        continue_run(out, progress=interrupt_at("produce", 55))
    (out / "checkpoint.new").mkdir(exist_ok=True)
    (out / "checkpoint.new" / "state.xml").write_text("half")
    continue_run(out)
    assert_same_run(unbroken, out)


def test_a_damaged_checkpoint_is_named(unbroken: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(unbroken, tmp_path / "out")
    (tmp_path / "out" / "checkpoint" / "state.chk").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"checkpoint: got none that is complete \(checkpoint: state\.chk is damaged\)"):
        continue_run(tmp_path / "out")


def test_a_file_that_was_cut_is_named(unbroken: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(unbroken, tmp_path / "out")
    os.truncate(tmp_path / "out" / "trajectory.xtc", 100)
    with pytest.raises(RunError, match=r"trajectory\.xtc: got 100 bytes, fewer than at the last checkpoint"):
        continue_run(tmp_path / "out")


def test_another_platform(unbroken: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """state.xml takes over where the binary checkpoint belongs to another platform; the record says so."""
    out = tmp_path / "out"
    with pytest.raises(Interrupted):
        run(waters_file(tmp_path), out, progress=interrupt_at("produce", 37))
    text = (out / "run.yaml").read_text().replace("platform: Reference", "platform: CPU, properties: {Threads: '1'}")
    (out / "run.yaml").write_text(text)
    result = continue_run(out)
    assert result.status == "finished"
    assert any("another platform" in warning for warning in result.warnings)
    ours, theirs = (mdtraj.load(path / "trajectory.xtc", top=path / "topology.pdb") for path in (out, unbroken))
    np.testing.assert_allclose(ours.xyz, theirs.xyz, atol=2e-3)


def test_two_processes_in_one_directory(tmp_path: pathlib.Path) -> None:
    def begin_again(progress: Any) -> None:
        if progress.stage == "produce":
            with pytest.raises(RunError, match="another process is running"):
                continue_run(tmp_path / "out")
            raise Interrupted

    with pytest.raises(Interrupted):
        run(waters_file(tmp_path), tmp_path / "out", progress=begin_again)


def test_a_directory_that_is_in_use(unbroken: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(RunError, match="holds a run already"):
        run(waters_file(tmp_path), unbroken)
    with pytest.raises(
        RunError, match=r"holds other files \(committee\.pt, other\.yaml, peptide\.pdb\)|holds a run already"
    ):
        run(waters_file(tmp_path, name="other.yaml"), tmp_path)
    with pytest.raises(RunError, match="holds no run"):
        continue_run(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["log.csv", "trajectory.xtc", "state.xml", "record.json"])
def test_a_full_disk(
    unbroken: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """No space left, in each kind of file: the error says so, and the run goes on when there is space again."""
    out = tmp_path / "out"
    real_fsync = os.fsync
    armed = []

    def full_fsync(handle: int) -> None:
        if armed and os.readlink(f"/proc/self/fd/{handle}").rstrip(".new").endswith(name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real_fsync(handle)

    def arm(progress: Any) -> None:
        if progress.stage == "produce" and progress.step >= 33:
            armed.append(True)
            if name == "record.json":
                raise directory_module.RunError("stopped by the test")

    monkeypatch.setattr(os, "fsync", full_fsync)
    with pytest.raises(RunError, match=r"no space left on the disk|stopped by the test"):
        run(waters_file(tmp_path), out, progress=arm)
    armed.clear()
    assert continue_run(out).status == "finished"
    assert_same_run(unbroken, out)


FULL = """
import pathlib, resource, sys
from openmm_nn.errors import RunError
from openmm_nn.simulation import run
folder = pathlib.Path(sys.argv[1])
def limit(progress):
    if progress.stage == "produce" and progress.step == 30:
        size = (folder / "out" / "trajectory.xtc").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
try:
    run(folder / "run.yaml", folder / "out", progress=limit)
except RunError as error:
    print(error)
"""


def test_a_file_that_cannot_grow(tmp_path: pathlib.Path) -> None:
    """A limit of the kernel cuts a frame of the trajectory in the middle: the half frame is noticed and cut off."""
    run(run_file(tmp_path), tmp_path / "whole")
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=200,
        check=False,
    )
    assert "no space left on the disk" in result.stdout, result.stdout + result.stderr
    assert "openmm-nn continue" in result.stdout
    assert continue_run(tmp_path / "out").status == "finished"
    assert_same_run(tmp_path / "whole", tmp_path / "out")


def kill_until_finished(
    folder: pathlib.Path, rng: random.Random, kills: int, waits: list[float], *, early: float
) -> list[dict[str, Any]]:
    """Start or continue a run, and kill it at a random moment, so many times; then let it finish.

    Most are killed within a second or two after they began to write; the share `early` while they start.
    """
    out = folder / "out"
    moments = []
    for number in range(kills):
        arguments = ("continue", out) if (out / "run.yaml").exists() else ("run", folder / "run.yaml", "-o", out)
        process = subprocess.Popen(
            command(*arguments), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment()
        )
        begun = time.monotonic()
        if rng.random() < early:
            time.sleep(rng.uniform(0.0, 4.0))
        else:
            before = stamp(out)
            while stamp(out) == before and process.poll() is None and time.monotonic() - begun < 60.0:
                time.sleep(0.005)
            time.sleep(rng.uniform(*waits))
        if process.poll() is not None:
            moments.append({"kill": number, "finished": True})
            process.wait()
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        sizes = {path.name: path.stat().st_size for path in out.glob("*.csv")} if out.is_dir() else {}
        moments.append(
            {"kill": number, "seconds": round(time.monotonic() - begun, 3), "log_bytes": sizes.get("log.csv", 0)}
        )
    arguments = ("continue", out) if (out / "run.yaml").exists() else ("run", folder / "run.yaml", "-o", out)
    ended = subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment(), timeout=250, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return moments


def stamp(out: pathlib.Path) -> int:
    """When the log changed last."""
    log = out / "log.csv"
    return log.stat().st_mtime_ns if log.exists() else 0


def test_killed_at_random_moments(tmp_path: pathlib.Path) -> None:
    """Six kills; the soak has a hundred."""
    changes = {"produce": "{length: 300 fs}", "reporters": "{log: 1 fs, trajectory: 1 fs, checkpoint: 10 fs}"}
    file = waters_file(tmp_path, changes=changes)
    run(file, tmp_path / "whole")
    moments = kill_until_finished(tmp_path, random.Random(7), 6, [0.0, 0.5], early=0.2)
    assert sum("seconds" in moment for moment in moments) >= 4
    assert_same_run(tmp_path / "whole", tmp_path / "out")


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_killed_a_hundred_times(tmp_path: pathlib.Path) -> None:
    """A hundred kills over several runs; what is found is kept with the hash of the sources that it speaks for."""
    wanted, rng, record = 100, random.Random(2026), []
    changes = {"produce": "{length: 1000 fs}", "reporters": "{log: 1 fs, trajectory: 1 fs, checkpoint: 10 fs}"}
    started = time.monotonic()
    while sum(len(entry["kills"]) for entry in record) < wanted:
        folder = tmp_path / f"run{len(record)}"
        folder.mkdir()
        seed = 3 + len(record)
        dynamics = f"{{ensemble: NVE, temperature: 300 K, timestep: 0.5 fs, platform: Reference, seed: {seed}}}"
        file = run_file(folder, changes={**changes, "dynamics": dynamics})
        run(file, folder / "whole")
        left = wanted - sum(len(entry["kills"]) for entry in record)
        moments = kill_until_finished(folder, rng, min(left, 25), [0.0, 1.0], early=0.25)
        assert_same_run(folder / "whole", folder / "out")
        record.append({"seed": seed, "kills": [moment for moment in moments if "seconds" in moment]})
    kills = sum(len(entry["kills"]) for entry in record)
    (ROOT / "tests" / "reference" / "soak_kills.json").write_text(
        json.dumps(
            {
                "what": "runs of the peptide on Reference, killed by SIGKILL at random moments and continued; "
                "log, trajectory, uncertainty, flagged frames and last state equal an unbroken run's, bit for bit",
                "command": "make soak",
                "kills": kills,
                "runs": len(record),
                "frames_lost": 0,
                "frames_doubled": 0,
                "minutes": round((time.monotonic() - started) / 60, 1),
                "moments": record,
                "native_sources_sha256": source_hash(),
                "versions": {name: importlib.metadata.version(name) for name in ("openmm-nn", "openmm", "torch")},
            },
            indent=1,
        )
        + "\n"
    )
    assert kills >= wanted
