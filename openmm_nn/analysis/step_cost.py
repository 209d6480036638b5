"""What a step costs, and how much of it is the model's."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import openmm
from openmm import unit

from ..platforms import PlatformLike, find_platform
from .arrays import as_trajectory
from .reweighting import set_frame
from .uncertainty import find_neural_force

__all__ = ["StepCost", "compute_step_cost"]

_WARM_UP = 5
_STEP = 0.5 * unit.femtosecond


@dataclass(frozen=True)
class StepCost:
    """Times of a step on this machine.

    Parameters
    ----------
    whole
        Of the System as it is, ms.
    model, classical
        With nothing but the neural force, and without it, ms.
    platform
        Where it was measured.
    """

    whole: float
    model: float
    classical: float
    platform: str

    @property
    def ideal(self) -> float:
        """Of the slower of the two, ms: what a step would cost if the other ran beside it for nothing."""
        return max(self.model, self.classical)


def compute_step_cost(
    traj: Any,
    system: openmm.System,
    *,
    platform: PlatformLike = "CPU",
    properties: Mapping[str, str] | None = None,
    seconds: float = 3.0,
) -> StepCost:
    """Measure the step of a System, of its model alone, and of the rest alone, in turns.

    Parameters
    ----------
    traj
        mdtraj.Trajectory of all particles; its last frame is taken.
    system
        With a neural force.
    platform
        An OpenMM platform, or its name.
    properties
        Of the platform.
    seconds
        About how long to measure.

    Returns
    -------
    StepCost
        Medians of the rounds. They mean little on a machine that does something else as well.

    Raises
    ------
    UnsupportedError
        If the System has no neural force.

    Examples
    --------
    >>> import mdtraj, openmm
    >>> from openmm_nn import load_potential
    >>> from openmm_nn.analysis import compute_step_cost
    >>> system = openmm.System()
    >>> number = system.addParticle(1.0)
    >>> number = system.addForce(load_potential(lambda x: (x**2).sum()).create_force())
    >>> traj = mdtraj.Trajectory([[[0.1, 0.0, 0.0]]], None)
    >>> cost = compute_step_cost(traj, system, platform="Reference", seconds=0.05)
    >>> cost.whole >= 0.0 and cost.ideal >= cost.model
    True
    """
    traj = as_trajectory(traj, atoms=system.getNumParticles())
    index, _ = find_neural_force(system)
    barostats = [i for i, force in enumerate(system.getForces()) if "Barostat" in type(force).__name__]
    every = set(range(system.getNumForces())) - set(barostats)
    parts = {"whole": every, "model": {index}, "classical": every - {index}}
    contexts = {name: _context(system, kept, platform, properties) for name, kept in parts.items()}
    box = traj.unitcell_vectors
    for context in contexts.values():
        set_frame(context, traj.xyz[-1], None if box is None else box[-1])
        context.getIntegrator().step(_WARM_UP)
    began = time.perf_counter()
    _time(contexts, 1)
    once = time.perf_counter() - began
    steps = max(1, int(seconds / max(once, 1e-6) / 5))
    rounds = [_time(contexts, steps) for _ in range(5)]
    found = {name: statistics.median(result[name] for result in rounds) for name in contexts}
    return StepCost(found["whole"], found["model"], found["classical"], find_platform(platform).getName())


def _context(
    system: openmm.System, kept: set[int], platform: PlatformLike, properties: Mapping[str, str] | None
) -> openmm.Context:
    part = copy.deepcopy(system)
    for index in reversed(range(part.getNumForces())):
        if index not in kept:
            part.removeForce(index)
    chosen = find_platform(platform)
    return openmm.Context(part, openmm.VerletIntegrator(_STEP), chosen, dict(properties or {}))


def _time(contexts: Mapping[str, openmm.Context], steps: int) -> dict[str, float]:
    """Milliseconds a step."""
    times = {}
    for name, context in contexts.items():
        began = time.perf_counter()
        context.getIntegrator().step(steps)
        context.getState(getEnergy=True)  # the device has finished when this has an answer
        times[name] = 1000 * (time.perf_counter() - began) / steps
    return times
