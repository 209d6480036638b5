"""Reads files in children of its own, each with limits, and reports how each ended.

Run as ``python reader.py``: takes lines ``kind<TAB>path`` and answers each with a line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

SECONDS = 30.0
MEMORY = 3 << 30
"""Bytes of address space beyond what the reader has when it starts."""


def read(kind: str, path: str) -> str:
    """Read a file all the way, and return what became of it."""
    import numpy as np
    import openmm as mm

    from openmm_nn import ModelCard, load_potential

    numbers, x = [8, 1, 1], np.array([[0.0, 0.0, 0.0], [0.096, 0.0, 0.0], [-0.024, 0.093, 0.0]])

    def in_a_context(system: Any) -> None:
        context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
        context.setPositions(x)
        context.getState(energy=True, forces=True)

    if kind == "card":
        ModelCard.from_json(Path(path).read_bytes().decode("utf-8", "surrogatepass"))
    elif kind == "run":
        from openmm_nn.runs import RunFile

        RunFile.load(path)
    elif kind == "xml":
        text = Path(path).read_bytes().decode("utf-8", "replace")
        in_a_context(mm.XmlSerializer.deserializeSystem(text))
    elif kind == "pt2":
        # Loading looks at card and hash; running it is running a program.
        load_potential(path)
    else:
        potential = load_potential(path)
        periodic = None if potential.card.periodic == "optional" else potential.card.periodic == "always"
        potential.evaluate(x, numbers, box=np.eye(3) * 3.0 if periodic else None)
        system = mm.System()
        for _ in numbers:
            system.addParticle(1.0)
        system.addForce(potential.create_force(atomic_numbers=numbers))
        in_a_context(system)
    return "read"


def in_child(kind: str, path: str, write: int) -> None:
    """Read a file under limits and say how it ended, through a pipe."""
    import openmm as mm

    from openmm_nn.errors import OpenMMNNError

    with open("/proc/self/statm", encoding="ascii") as file:
        have = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (have + MEMORY, have + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS), int(SECONDS)))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    said = ""
    try:
        outcome = read(kind, path)
    except (OpenMMNNError, mm.OpenMMException) as error:
        outcome, said = type(error).__name__, str(error)
    except BaseException as error:  # noqa: BLE001  # the point is to see what comes out
        outcome, said = f"unnamed {type(error).__name__}", str(error)
    os.write(write, json.dumps({"outcome": outcome, "said": said[:600]}).encode()[:60_000])
    os._exit(0)


def run(kind: str, path: str) -> dict[str, Any]:
    """Read a file in a child; a crash, a hang or too much memory is an outcome."""
    pipe, write = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(pipe)
        in_child(kind, path, write)
    os.close(write)
    hung = False
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() - start > 4 * SECONDS:
            os.kill(child, signal.SIGKILL)
            hung = True
        time.sleep(0.002)
    with os.fdopen(pipe, "rb") as stream:
        answer = stream.read()
    result = json.loads(answer) if answer else {"outcome": "nothing", "said": ""}
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = "hang" if hung or number == signal.SIGXCPU else f"crash {signal.Signals(number).name}"
        result = {"outcome": name, "said": ""}
    result.update(seconds=round(time.monotonic() - start, 3), megabytes=usage.ru_maxrss // 1024)
    return result


def main() -> None:
    """Answer lines until there are no more."""
    import torch

    import openmm_nn
    import openmm_nn.potentials.formats
    import openmm_nn.runs  # noqa: F401

    torch.set_num_threads(1)
    # Everything that a first read loads, once for all children.
    openmm_nn.load_potential("openmm-nn/hcno-1")
    openmm_nn.potentials.formats.formats()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        kind, path = line.rstrip("\n").split("\t")
        sys.stdout.write(json.dumps(run(kind, path)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
