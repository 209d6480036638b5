"""Which properties of the neural forces make the steps of a System shortest: measured, not guessed."""

from __future__ import annotations

import copy
import os
import statistics
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import openmm
from openmm import unit

from .. import native
from ..errors import ParameterError
from ..platforms import PlatformLike, find_platform

__all__ = ["TuneResult", "tune"]

_WARM_UP = 3
_TIME_STEP = 1e-6  # ps: the atoms stay where they are


@dataclass(frozen=True)
class TuneResult:
    """What was tried.

    Parameters
    ----------
    properties
        The fastest ones, which the System's neural forces have now.
    times
        Of every candidate, by what is written for it: milliseconds a step, one number a round.
    failures
        Candidates that cannot be run, with the reason.
    """

    properties: Mapping[str, str]
    times: Mapping[str, list[float]]
    failures: Mapping[str, str]

    def __str__(self) -> str:
        chosen = _written(self.properties)
        lines = [f"{'properties':40} {'median':>8} {'min':>8} {'max':>8}  ms a step"]
        for name, values in sorted(self.times.items(), key=lambda item: statistics.median(item[1])):
            numbers = (statistics.median(values), min(values), max(values))
            mark = "  chosen" if name == chosen else ""
            lines.append(f"{name:40} " + " ".join(f"{number:8.3f}" for number in numbers) + mark)
        lines += [f"{name}: {reason}" for name, reason in self.failures.items()]
        return "\n".join(lines)


def tune(
    system: openmm.System,
    positions: Any,
    platform: PlatformLike,
    *,
    candidates: Iterable[Mapping[str, str]] | None = None,
    rounds: int = 5,
    steps: int = 20,
    verbose: bool = True,
) -> TuneResult:
    """Measure candidates for the properties of a System's neural forces, and give the forces the fastest ones.

    Every candidate steps in a Context of its own; rounds are interleaved, so that a machine whose speed drifts slows
    all of them. A candidate that cannot be run, as a model that cannot be recorded as a CUDA graph, is left out and
    named.

    Parameters
    ----------
    system
        With one neural force or more, of the native engine. Its forces' properties are set; no Context sees that
        afterwards but new ones.
    positions : Quantity or array_like
        (N,3), of all particles; nm without a unit. Where a simulation could start.
    platform
        An OpenMM platform, or its name.
    candidates
        Properties to try. By default, on a CPU: threads 1 to the number of cores, beside the classical forces or after
        them; on CUDA: with and without `cuda_graphs`.
    rounds, steps
        How many rounds, and steps of each candidate in a round.
    verbose
        Whether the table is printed.

    Returns
    -------
    TuneResult

    Raises
    ------
    ParameterError
        If there is no neural force, or no candidate can be run.

    Examples
    --------
    >>> import openmm_nn
    >>> result = openmm_nn.tune(hybrid.system, pdb.positions, "CPU")  # doctest: +SKIP
    >>> result.properties  # doctest: +SKIP
    {'threads': '1', 'concurrent': 'true'}
    """
    forces = native.neural_forces(system)
    if not forces:
        raise ParameterError(
            "system", "no neural force of the native engine", "one or more",
                    "add one with create_force(), add_neural_force() or create_hybrid_system()"
        )  # fmt: skip
    platform = find_platform(platform)
    choices = [dict(one) for one in (_candidates(platform.getName()) if candidates is None else candidates)]
    contexts: dict[str, openmm.Context] = {}
    failures: dict[str, str] = {}
    for choice in choices:
        try:
            contexts[_written(choice)] = _context(system, choice, positions, platform)
        except openmm.OpenMMException as error:
            failures[_written(choice)] = str(error)
    if not contexts:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise ParameterError("candidates", reasons or "none", "one that can be run, or more", "correct the properties")
    times: dict[str, list[float]] = {name: [] for name in contexts}
    for _ in range(rounds):
        for name, context in contexts.items():
            begin = time.perf_counter()
            context.getIntegrator().step(steps)
            context.getState(velocities=True)  # waits for a GPU
            times[name].append(1000.0 * (time.perf_counter() - begin) / steps)
    fastest = min(times, key=lambda name: statistics.median(times[name]))
    properties = next(choice for choice in choices if _written(choice) == fastest)
    for force in forces.values():
        for name, value in properties.items():
            force.setProperty(name, value)
    result = TuneResult(properties=properties, times=times, failures=failures)
    if verbose:
        sys.stdout.write(f"{result}\n")
    return result


def _written(properties: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in properties.items()) or "as they are"


def _candidates(platform: PlatformLike) -> list[dict[str, str]]:
    if find_platform(platform).getName() == "CUDA":
        return [{"cuda_graphs": "false"}, {"cuda_graphs": "true"}]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    numbers = sorted({1, max(1, cores // 2), max(1, cores - 1), cores})
    beside = ("true", "false") if platform in ("CPU", "Reference") else ("false",)
    return [{"threads": str(number), "concurrent": value} for number in numbers for value in beside]


def _context(
    system: openmm.System, properties: Mapping[str, str], positions: Any, platform: openmm.Platform
) -> openmm.Context:
    trial = copy.deepcopy(system)
    for force in native.neural_forces(trial).values():
        for name, value in properties.items():
            force.setProperty(name, value)
    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, _TIME_STEP)
    context = openmm.Context(trial, integrator, platform)
    context.setPositions(positions)
    integrator.step(_WARM_UP)
    return context
