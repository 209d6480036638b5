"""Load: Contexts one after another, and processes side by side."""

import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from openmm_nn.native.build import source_hash
from tests.runs.run_support import ROOT, assert_same_run, command, environment, run_file

CONTEXTS = """
import gc, json, os, sys
import openmm
from openmm_nn.runs import RunFile, prepare
def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
prepared = prepare(RunFile.load(sys.argv[1]))
energies, memory = [], []
for number in range(int(sys.argv[2])):
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(prepared.system, openmm.VerletIntegrator(0.0005), platform)
    context.setPositions(prepared.positions)
    context.getIntegrator().step(5)
    energies.append(context.getState(energy=True).getPotentialEnergy()._value)
    del context
    memory.append(resident())
print(json.dumps({"energies": energies, "memory": memory}))
"""


def contexts(folder: pathlib.Path, count: int) -> dict[str, Any]:
    """Make Contexts of the peptide in turn, in a process of their own."""
    result = subprocess.run(
        [sys.executable, "-c", CONTEXTS, str(run_file(folder)), str(count)],
        capture_output=True, encoding="utf-8", env=environment(), timeout=3000, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    values: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return values


def side_by_side(folder: pathlib.Path, count: int) -> list[float]:
    """Run the same run file in so many processes at a time; return their seconds."""
    file = run_file(folder)
    begun = time.monotonic()
    processes = [
        subprocess.Popen(
            command("run", file, "-o", folder / f"out{number}"),
            env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8",
        )
        for number in range(count)
    ]  # fmt: skip
    seconds = []
    for process in processes:
        _, errors = process.communicate(timeout=3000)
        assert process.returncode == 0, errors
        seconds.append(round(time.monotonic() - begun, 1))
    for number in range(1, count):
        assert_same_run(folder / "out0", folder / f"out{number}")
    return seconds


def record(name: str, values: dict[str, Any]) -> None:
    """Keep a result with the hash of the sources that it speaks for."""
    values = {
        **values,
        "command": "make soak",
        "cores": len(os.sched_getaffinity(0)),
        "native_sources_sha256": source_hash(),
        "versions": {name: importlib.metadata.version(name) for name in ("openmm-nn", "openmm", "torch")},
    }
    (ROOT / "tests" / "reference" / name).write_text(json.dumps(values, indent=2) + "\n")


@pytest.mark.process
def test_contexts_in_turn(tmp_path: pathlib.Path) -> None:
    """Eight here, fifty in the soak: the same energy to the last bit."""
    found = contexts(tmp_path, 8)
    assert len(set(found["energies"])) == 1


@pytest.mark.process
def test_processes_side_by_side(tmp_path: pathlib.Path) -> None:
    """Two here, eight in the soak: the same files to the last bit."""
    side_by_side(tmp_path, 2)


@pytest.mark.process
@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_fifty_contexts_in_turn(tmp_path: pathlib.Path) -> None:
    found = contexts(tmp_path, 50)
    # The allocator takes one more arena, of some tens of MB, sooner or later: a leak grows with every Context.
    steps = np.diff(found["memory"][9:])
    grown = float(steps.sum() - steps.max())
    record(
        "soak_contexts.json",
        {
            "what": "fifty Contexts of the peptide by the bundled potential in turn, on Reference, five steps each",
            "contexts": 50,
            "different_energies": len(set(found["energies"])),
            "grown_MB_after_the_tenth_but_for_the_largest_step": round(grown, 2),
            "largest_step_MB": round(float(steps.max()), 2),
            "resident_MB": [round(value, 1) for value in found["memory"][::10]],
        },
    )
    assert len(set(found["energies"])) == 1
    assert grown < 20.0


@pytest.mark.process
@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_eight_processes_side_by_side(tmp_path: pathlib.Path) -> None:
    seconds = side_by_side(tmp_path, 8)
    record(
        "soak_processes.json",
        {
            "what": "the same run of the peptide in eight processes at a time, on Reference: files equal bit for bit",
            "processes": 8,
            "seconds_until_each_had_ended": seconds,
        },
    )
