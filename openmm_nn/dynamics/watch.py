"""Watch: the guards of a run together, and as a reporter of OpenMM."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmm import unit

from ..errors import EvaluationError, ParameterError
from .committee_spread import find_committee, measure_spread
from .evidence import write_evidence
from .guards import (
    BondGuard,
    EnergyJumpGuard,
    Event,
    FiniteGuard,
    ForceGuard,
    Guard,
    UncertaintyGuard,
)
from .samples import Measure, Sample

if TYPE_CHECKING:
    pass

__all__ = ["GuardReporter", "Watch"]

logger = logging.getLogger(__name__)


class Watch:
    """Several guards, each with what happens when it trips.

    Parameters
    ----------
    guards
        Each with its action, ``stop`` or ``record``. One that goes on tripping is recorded once, until it
        is quiet again.
    """

    def __init__(self, guards: Iterable[tuple[Guard, str]]) -> None:
        self.guards = list(guards)
        self.wants_forces = any(isinstance(guard, ForceGuard) for guard, _ in self.guards)
        """Whether samples have to have forces."""
        self._tripped: set[str] = set()

    def begin(self) -> None:
        """Forget what was seen: a stage begins."""
        self._tripped.clear()
        for guard, _ in self.guards:
            if isinstance(guard, EnergyJumpGuard):
                guard.previous = None

    def first(self, sample: Sample) -> Event | None:
        """Let only the guard of numbers look."""
        return next((guard.check(sample) for guard, _ in self.guards if isinstance(guard, FiniteGuard)), None)

    def structure(self, sample: Sample) -> Event | None:
        """Let only the guard of bonds look."""
        for guard, action in self.guards:
            event = guard.check(sample) if isinstance(guard, BondGuard) else None
            if event is not None:
                return dataclasses.replace(event, action=action)
        return None

    def check(self, sample: Sample) -> list[Event]:
        """Let every guard look; return what is new, up to the first that stops."""
        events = []
        for guard, action in self.guards:
            event = guard.check(sample)
            if event is None:
                self._tripped.discard(guard.name)
                continue
            if action == "stop" or guard.name not in self._tripped:
                events.append(dataclasses.replace(event, action=action))
            self._tripped.add(guard.name)
            if action == "stop":
                break
        return events

    def state(self) -> dict[str, Any]:
        """Return what the guards remember, for a checkpoint."""
        previous = [guard.previous for guard, _ in self.guards if isinstance(guard, EnergyJumpGuard)]
        return {
            "tripped": sorted(self._tripped),
            "energy_jump": list(previous[0]) if previous and previous[0] else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember what `state` returned."""
        self._tripped = set(state.get("tripped", ()))
        previous = state.get("energy_jump")
        for guard, _ in self.guards:
            if isinstance(guard, EnergyJumpGuard):
                guard.previous = (str(previous[0]), float(previous[1])) if previous else None


class GuardReporter:
    """Guards as a reporter of OpenMM, for those who have a script of their own.

    Parameters
    ----------
    interval
        Steps between checks.
    guards
        Guards, or pairs of a guard and its action, ``stop`` (the default) or ``record``.
    folder
        Where offending.pdb and last_good.xml are written when a guard stops the run; None to write nothing.
    on_event
        Called with every event; by default it is logged as a warning.
    region
        Atoms whose temperature is watched by itself.

    Raises
    ------
    ParameterError
        If the interval is not above zero, or there is no guard.

    Examples
    --------
    >>> from openmm_nn.dynamics import FiniteGuard, GuardReporter, TemperatureGuard
    >>> reporter = GuardReporter(10, [FiniteGuard(), TemperatureGuard(600.0)], folder="out")
    >>> simulation.reporters.append(reporter)  # doctest: +SKIP
    """

    def __init__(
        self,
        interval: int,
        guards: Sequence[Guard | tuple[Guard, str]],
        *,
        folder: str | Path | None = None,
        on_event: Callable[[Event], None] | None = None,
        region: Iterable[int] = (),
    ) -> None:
        if interval < 1:
            raise ParameterError("interval", repr(interval), "one step or more", "10 is common")
        pairs = [guard if isinstance(guard, tuple) else (guard, "stop") for guard in guards]
        if not pairs:
            raise ParameterError("guards", "none", "one or more", "give FiniteGuard(), for one")
        self.watch = Watch(pairs)
        self.events: list[Event] = []
        """What was found so far."""
        self._interval = interval
        self._folder = None if folder is None else Path(folder)
        self._on_event = on_event
        self._region = tuple(region)
        self._measure: Measure | None = None
        self._committee: Any = None
        self._last_good: Any = None

    def __repr__(self) -> str:
        return f"GuardReporter(every {self._interval} steps, {[guard for guard, _ in self.watch.guards]})"

    def describeNextReport(self, simulation: Any) -> dict[str, Any]:
        """Tell OpenMM when the next check is, and what it needs."""
        steps = self._interval - simulation.currentStep % self._interval
        include = ["positions", "velocities", "energy", *(["forces"] if self.watch.wants_forces else [])]
        return {"steps": steps, "periodic": False, "include": include}

    def report(self, simulation: Any, state: Any) -> None:
        """Look at a state.

        Raises
        ------
        EvaluationError
            If a guard stops the run.
        """
        if self._measure is None:
            self._measure = Measure(simulation.system, self._region)
            watches = any(isinstance(guard, UncertaintyGuard) for guard, _ in self.watch.guards)
            self._committee = find_committee(simulation.system) if watches else None
        spread = None if self._committee is None else measure_spread(self._committee, simulation.context)
        moment = state.getTime().value_in_unit(unit.picosecond)
        sample = self._measure.sample(state, "simulation", simulation.currentStep, moment, spread)
        for event in self.watch.check(sample):
            self.events.append(event)
            if self._on_event is not None:
                self._on_event(event)
            else:
                logger.warning("%s", event.message)
            if event.action == "stop":
                self._write(simulation, sample)
                raise EvaluationError(
                    f"guard {event.guard!r}", event.message, "a state that trips no guard that stops",
                    "look at the last good state; a limit that is too tight is an argument of the guard"
                )  # fmt: skip
        self._last_good = state

    def _write(self, simulation: Any, sample: Sample) -> None:
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        write_evidence(self._folder, simulation.topology, sample.positions, self._last_good)
