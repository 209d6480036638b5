"""Progress of a run: a bar on a terminal, plain lines elsewhere, nothing with --quiet."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from ..runs.progress import Progress as RunProgress
from ..runs.progress import ProgressCallback
from .console import output

__all__ = ["describe", "showing", "showing_parts"]

_SECONDS = 10.0
_STAGES = {
    "prepare": "preparing the System",
    "preflight": "examining the potential",
    "minimise": "minimising",
    "equilibrate": "equilibrating",
    "produce": "producing",
}


def describe(value: RunProgress) -> str:
    """Write what is known: speed, time left, temperature, energy, sigma.

    Parameters
    ----------
    value
        From a run.

    Returns
    -------
    str
        One line without the stage and the step.
    """
    parts = []
    if value.speed is not None:
        parts.append(f"{value.speed:.3g} ns/day")
    if value.remaining is not None:
        parts.append(f"{_duration(value.remaining)} left")
    if value.temperature is not None:
        parts.append(f"{value.temperature:.0f} K")
    if value.potential is not None:
        parts.append(f"{value.potential:.0f} kJ/mol")
    if value.spread is not None:
        parts.append(f"σ_E {value.spread.energy:.1f} kJ/mol, σ_F {value.spread.force:.0f} kJ/mol/nm")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    days, rest = divmod(whole, 86400)
    text = f"{rest // 3600}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days} d {text}" if days else text


@contextlib.contextmanager
def showing() -> Iterator[ProgressCallback | None]:
    """Give what a run calls with its progress.

    Yields
    ------
    callable or None
        None with --quiet.
    """
    if output.quiet:
        yield None
    elif output.err.is_terminal:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[text]}", markup=False),
        )
        with Progress(*columns, console=output.err, refresh_per_second=4) as bars:
            yield _Bars(bars)
    else:
        yield _Lines()


@contextlib.contextmanager
def showing_parts() -> Iterator[Callable[[str], None] | None]:
    """Give what an analysis calls with the name of each part, before it begins.

    Yields
    ------
    callable or None
        None with --quiet.
    """
    if output.quiet:
        yield None
    elif output.err.is_terminal:
        with output.err.status("reading") as status:
            yield lambda name: status.update(_part(name))
    else:
        yield lambda name: output.err.print(_part(name), soft_wrap=True)


def _part(name: str) -> str:
    return "writing the page" if name == "page" else f"analysing: {name.replace('_', ' ')}"


class _Bars:
    """One bar for each stage."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, value: RunProgress) -> None:
        if value.note:
            self._bars.console.print(f"warning: {value.note}", style="yellow", soft_wrap=True)
            return
        if value.stage not in _STAGES:
            return
        if value.stage not in self._tasks:
            for task in self._tasks.values():
                self._bars.stop_task(task)
            self._tasks[value.stage] = self._bars.add_task(
                f"{_STAGES[value.stage]:<20}", total=value.steps or None, count="", text=""
            )
        count = f"{value.step}/{value.steps}" if value.steps else (str(value.step) if value.step else "")
        self._bars.update(
            self._tasks[value.stage], completed=value.step, count=count, text=describe(value), total=value.steps or None
        )


class _Lines:
    """A line at the beginning and the end of every stage, and every ten seconds between."""

    def __init__(self) -> None:
        self._stage = ""
        self._last = 0.0

    def __call__(self, value: RunProgress) -> None:
        now = time.monotonic()
        if value.note:
            output.err.print(f"warning: {value.note}", soft_wrap=True)
            return
        if value.stage not in _STAGES:
            return
        ends = value.steps > 0 and value.step == value.steps
        if value.stage == self._stage and now - self._last < _SECONDS and not ends:
            return
        self._stage, self._last = value.stage, now
        count = f" step {value.step} of {value.steps}" if value.steps else (f" {value.step}" if value.step else "")
        text = describe(value)
        line = f"{_STAGES[value.stage]}{count}{': ' if text else ''}{text}"
        output.err.print(line, soft_wrap=True)
