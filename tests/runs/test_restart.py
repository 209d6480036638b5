"""Runs that die: they go on from the last checkpoint, and nothing is lost or doubled."""

import concurrent.futures
import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import mdtraj
import numpy as np
import pytest

from openmm_nn.errors import RunError, RunFileError
from openmm_nn.native.build import source_hash
from openmm_nn.runs import continue_run, run
from openmm_nn.runs import directory as directory_module
from tests.refusals import refusal
from tests.runs.run_support import ROOT, assert_same_run, environment, log_rows, run_file, waters_file

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


def test_a_production_is_not_shorter_than_what_was_run(unbroken: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(unbroken, tmp_path / "out")
    text = (tmp_path / "out" / "run.yaml").read_text()
    with refusal(RunFileError, "run.yaml, line 6: produce.length", got="'20 fs'", allowed="0.04 ps"):
        continue_run(tmp_path / "out", length="20 fs")
    assert (tmp_path / "out" / "run.yaml").read_text() == text
    assert_same_run(unbroken, tmp_path / "out")


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
    with refusal(RunError, "checkpoint", got="state.chk"):
        continue_run(tmp_path / "out")


def test_a_file_that_was_cut_is_named(unbroken: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(unbroken, tmp_path / "out")
    os.truncate(tmp_path / "out" / "trajectory.xtc", 100)
    with refusal(RunError, str(tmp_path / "out" / "trajectory.xtc"), got="100 bytes"):
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


@pytest.mark.parametrize(
    "old, new, key",
    [
        ("temperature: 300 K", "temperature: 310 K", "dynamics.temperature"),
        ("potential: {", "potential: {precision: double, ", "potential"),
        ("flag_force: 50 kJ/mol/nm", "flag_force: 50 kJ/mol/nm, bias: {height: 1 eV, width: 1 eV}", "uncertainty.bias"),
    ],
)
def test_what_cannot_be_changed_any_more(
    unbroken: pathlib.Path, tmp_path: pathlib.Path, old: str, new: str, key: str
) -> None:
    """Changes that would have no effect, or would not fit, are not taken in silence."""
    shutil.copytree(unbroken, tmp_path / "out")
    file = tmp_path / "out" / "run.yaml"
    assert file.read_text().count(old) == 1
    file.write_text(file.read_text().replace(old, new))
    with refusal(RunFileError, re.compile(rf"run\.yaml, line \d: {re.escape(key)}")):
        continue_run(tmp_path / "out")


def test_two_processes_in_one_directory(tmp_path: pathlib.Path) -> None:
    def begin_again(progress: Any) -> None:
        if progress.stage == "produce":
            with refusal(RunError, "directory", got=(str(tmp_path / "out"), "process")):
                continue_run(tmp_path / "out")
            raise Interrupted

    with pytest.raises(Interrupted):
        run(waters_file(tmp_path), tmp_path / "out", progress=begin_again)


def test_a_directory_that_is_in_use(unbroken: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with refusal(RunError, "directory", got=str(unbroken), remedy="openmm-nn continue"):
        run(waters_file(tmp_path), unbroken)
    with refusal(RunError, "directory", got=(str(tmp_path), "other.yaml"), remedy="--output"):
        run(waters_file(tmp_path, name="other.yaml"), tmp_path)
    with refusal(RunError, "directory", got=str(tmp_path / "nothing")):
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
                raise directory_module.RunError("test", "a stop", "none", "run again")

    monkeypatch.setattr(os, "fsync", full_fsync)
    stopped = "no space left" if name != "record.json" else "a stop"
    with refusal(RunError, re.compile(r"test|.*/out/.*"), got=stopped):
        run(waters_file(tmp_path), out, progress=arm)
    armed.clear()
    assert continue_run(out).status == "finished"
    assert_same_run(unbroken, out)


FULL = """
import pathlib, resource, sys
from openmm_nn.errors import RunError
from openmm_nn.runs import run
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


@pytest.mark.process
def test_a_file_that_cannot_grow(tmp_path: pathlib.Path) -> None:
    """A limit of the kernel cuts a frame of the trajectory in the middle: the half frame is noticed and cut off."""
    run(run_file(tmp_path), tmp_path / "whole")
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        timeout=200,
        check=False,
    )
    assert "no space left on the disk" in result.stdout, result.stdout + result.stderr
    assert "openmm-nn continue" in result.stdout
    assert continue_run(tmp_path / "out").status == "finished"
    assert_same_run(tmp_path / "whole", tmp_path / "out")


SERVER = """
import os, pathlib, sys, traceback
import torch
from openmm_nn.runs import continue_run, run
for line in sys.stdin:
    folder, out = line.split()
    place = pathlib.Path(folder) / out
    child = os.fork()
    if child == 0:
        try:
            if (place / "run.yaml").exists():
                continue_run(place)
            else:
                run(pathlib.Path(folder) / "run.yaml", place)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Server:
    """A process that has imported everything, and runs or continues in children of its own: a kill costs little."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", env=environment(),
        )  # fmt: skip

    def start(self, folder: pathlib.Path, out: str) -> int:
        """Start a run, or go on with it if it has begun; return the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{folder} {out}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait(self) -> int:
        """Return the status of the run that was started."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def finish(self, folder: pathlib.Path, out: str) -> None:
        """Start or go on, and let it finish."""
        self.start(folder, out)
        assert self.wait() == 0

    def close(self) -> None:
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0


def kill_until_finished(
    server: Server, folder: pathlib.Path, rng: random.Random, kills: int, *, early: float, most: int
) -> list[dict[str, Any]]:
    """Start or continue a run and kill it at random moments, until it is finished or so many times; then let it finish.

    The share `early` is killed within the first half second, while it starts; the others after up to `most` checkpoints
    of their own, at any moment before the next one: how fast the machine is does not decide how many kills fit.
    """
    out = folder / "out"
    moments: list[dict[str, Any]] = []
    while len(moments) < kills and not is_finished(out):
        stamps = {None, checkpoint_stamp(out)}
        child = server.start(folder, "out")
        begun = time.monotonic()
        if rng.random() < early:
            time.sleep(rng.uniform(0.0, 0.5))
        else:
            wanted, last, between = len(stamps) + rng.randint(1, most), time.monotonic(), 0.0
            while len(stamps) < wanted and not is_finished(out) and is_alive(child):
                time.sleep(0.001)
                stamp = checkpoint_stamp(out)
                if stamp not in stamps:
                    stamps.add(stamp)
                    now = time.monotonic()
                    last, between = now, now - last
            time.sleep(rng.uniform(0.0, min(between, 0.1)))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        status = server.wait()
        if status == 0:
            return moments
        assert status == signal.SIGKILL  # a run that fails says why on stderr
        seconds = round(time.monotonic() - begun, 2)
        moments.append({**standing(out), "lines_when_killed": count_lines(out), "seconds": seconds})
    server.finish(folder, "out")
    return moments


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def is_finished(out: pathlib.Path) -> bool:
    try:
        return bool(json.loads((out / "record.json").read_text())["status"] == "finished")
    except (OSError, ValueError):
        return False


def checkpoint_stamp(out: pathlib.Path) -> int | None:
    """When the last checkpoint was written."""
    try:
        return (out / "checkpoint" / "point.json").stat().st_mtime_ns
    except OSError:
        return None


def standing(out: pathlib.Path) -> dict[str, Any]:
    """Where the checkpoint stands that a killed run left: its stage and step, and the lines that the log had then."""
    for name in ("checkpoint", "checkpoint.new", "checkpoint.old"):
        try:
            point = json.loads((out / name / "point.json").read_text())
        except (OSError, ValueError):
            continue
        lines = (out / "log.csv").read_bytes()[: point["sizes"]["log.csv"]].count(b"\n")
        return {"stage": point["stage"], "step": point["step"], "lines": lines}
    return {"stage": "none", "step": 0, "lines": 0}


def count_lines(out: pathlib.Path) -> int:
    log = out / "log.csv"
    return log.read_bytes().count(b"\n") if log.exists() else 0


OFTEN = "{log: 1 fs, trajectory: 1 fs, checkpoint: 10 fs}"


@pytest.mark.process
def test_killed_at_random_moments(tmp_path: pathlib.Path) -> None:
    """Six kills; the soak has a hundred."""
    file = waters_file(tmp_path, changes={"produce": "{length: 800 fs}", "reporters": OFTEN})
    run(file, tmp_path / "whole")
    server = Server()
    moments = kill_until_finished(server, tmp_path, random.Random(7), 6, early=0.2, most=8)
    server.close()
    assert len(moments) == 6
    # The kills met a run that got on, and at least one cut off what had been written but not saved.
    assert any(moment["lines_when_killed"] > moment["lines"] for moment in moments)
    assert len({(moment["stage"], moment["step"]) for moment in moments}) >= 2
    assert_same_run(tmp_path / "whole", tmp_path / "out")


@pytest.mark.process
@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_killed_a_hundred_times(tmp_path: pathlib.Path) -> None:
    """A hundred kills over several runs; what is found is kept with the hash of the sources it speaks for."""
    started = time.monotonic()
    # Torch compiles a class for one thread at a time only: the model is written before there are several.
    waters_file(tmp_path)

    def one(number: int) -> dict[str, Any]:
        rng, moments, runs, server = random.Random(2026 + number), [], 0, Server()
        while len(moments) < 25:
            folder = tmp_path / f"run{number}-{runs}"
            folder.mkdir()
            for name in ("committee.pt", "waters.pdb"):
                shutil.copy(tmp_path / name, folder)
            runs += 1
            seed = 3 + number + 10 * runs
            dynamics = f"{{ensemble: NVE, temperature: 300 K, timestep: 0.5 fs, platform: Reference, seed: {seed}}}"
            # The peptide's frames are packed, the waters' are not; its steps cost more, so its run is shorter.
            make, length = (waters_file, "1000 fs") if number else (run_file, "300 fs")
            make(folder, changes={"produce": f"{{length: {length}}}", "reporters": OFTEN, "dynamics": dynamics})
            server.finish(folder, "whole")
            moments += kill_until_finished(server, folder, rng, 25 - len(moments), early=0.2, most=12 if number else 4)
            assert_same_run(folder / "whole", folder / "out")
        server.close()
        return {"system": "two waters" if number else "peptide", "runs": runs, "kills": moments}

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(one, range(4)))
    kills = [moment for entry in found for moment in entry["kills"]]
    sources = sorted((ROOT / "openmm_nn" / "runs").glob("*.py"))
    (ROOT / "tests" / "reference" / "soak_kills.json").write_text(
        json.dumps(
            {
                "what": "runs on Reference, killed by SIGKILL at random moments and continued; log, trajectory, "
                "uncertainty, flagged frames and last state equal those of an unbroken run, bit for bit",
                "command": "make soak",
                "kills": len(kills),
                "of_them_in_dynamics_after_something_was_written": sum(
                    moment["lines_when_killed"] > moment["lines"] > 0 for moment in kills
                ),
                "different_checkpoints": len({(moment["stage"], moment["step"]) for moment in kills}),
                "frames_lost_or_doubled": 0,
                "minutes": round((time.monotonic() - started) / 60, 1),
                "runs": found,
                "native_sources_sha256": source_hash(),
                "simulation_sources_sha256": hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest(),
                "versions": {name: importlib.metadata.version(name) for name in ("openmm-nn", "openmm", "torch")},
            },
            indent=1,
        )
        + "\n"
    )
    assert len(kills) == 100
    assert sum(moment["lines_when_killed"] > moment["lines"] > 0 for moment in kills) >= 20
    assert len({(moment["stage"], moment["step"]) for moment in kills}) >= 20
