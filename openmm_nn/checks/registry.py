"""The checks by name, in the order in which they are made."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from openmm import OpenMMException

from ..errors import OpenMMNNError, ParameterError
from .preflight_report import Check

if TYPE_CHECKING:
    from .subject import Subject

__all__ = ["CheckFunction", "check_names", "describe", "register", "run_checks", "select"]

CheckFunction = Callable[["Subject"], Check]

# What a model of a user's own may raise beside the package's errors; anything else is a fault of a check.
_FAILURES = (OpenMMNNError, OpenMMException, ArithmeticError, RuntimeError, TypeError, ValueError, LookupError)

# The files that hold the checks, in the order in which those are made and reported.
_FAMILIES = (
    "declaration",
    "start",
    "plausibility",
    "gradient",
    "symmetry",
    "periodicity",
    "cutoff",
    "short_range",
    "precision",
    "committee_sigma",
    "short_dynamics",
    "cost",
)
_CHECKS: dict[str, CheckFunction] = {}
"""Every check by its name. Which file is imported first decides their order here: ask `check_names`."""

_GATES = ("elements", "finite")
"""Checks without which no other one makes sense."""

_ALWAYS = ("card_module", "charge_and_spin")
"""Checks that read the card, and so are made even if the potential cannot be evaluated."""


def register(name: str) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check under its stable name.

    Parameters
    ----------
    name
        What reports and callers call it.

    Returns
    -------
    callable
        A decorator.
    """

    def add(function: CheckFunction) -> CheckFunction:
        _CHECKS[name] = function
        return function

    return add


def check_names() -> tuple[str, ...]:
    """Return the names of all checks, in the order in which they are made."""
    for family in _FAMILIES:
        importlib.import_module(f".{family}", __package__)
    return tuple(sorted(_CHECKS, key=lambda name: _FAMILIES.index(_CHECKS[name].__module__.rpartition(".")[2])))


def describe(name: str) -> str:
    """Return the first line of a check's docstring."""
    return (_CHECKS[name].__doc__ or "").strip().splitlines()[0]


def select(names: Iterable[str] | None) -> tuple[str, ...]:
    """Return the names asked for, in the order of the registry.

    Parameters
    ----------
    names
        Names, or None for all.

    Returns
    -------
    tuple of str
        The names.

    Raises
    ------
    ParameterError
        If one is not known.
    """
    known = check_names()
    if names is None:
        return known
    wanted = (names,) if isinstance(names, str) else tuple(names)
    for name in wanted:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            remedy = f"did you mean {close[0]}?" if close else "choose among these names"
            raise ParameterError("checks", repr(name), ", ".join(known), remedy)
    return tuple(name for name in known if name in wanted)


def run_checks(subject: Subject, names: Iterable[str] | None) -> tuple[Check, ...]:
    """Make checks one after the other.

    Parameters
    ----------
    subject
        The potential and the structure.
    names
        Names, or None for all.

    Returns
    -------
    tuple of Check
        One for each; an error of the potential is a failure of the check that met it.
    """
    chosen = select(names)
    done: list[Check] = []
    stopped = ""
    for name in dict.fromkeys((*_GATES, *chosen)):
        if name in _GATES and not stopped:
            found = _run(name, subject)
            if found.verdict == "fail":
                stopped = name
            if name in chosen or found.verdict == "fail":
                done.append(found)
            continue
        if stopped and name not in _ALWAYS:
            text = f"Not made: {stopped!r} failed, and without it this says nothing. Correct that first."
            done.append(Check(name, None, "", "skipped", text))
        else:
            done.append(_run(name, subject))
    order = check_names()
    return tuple(sorted(done, key=lambda check: order.index(check.name)))


def _run(name: str, subject: Subject) -> Check:
    start = time.perf_counter()
    try:
        found = _CHECKS[name](subject)
    except _FAILURES as error:
        found = Check(name, None, "", "fail", f"The potential gave an error during this check: {error}")
    return dataclasses.replace(found, name=name, seconds=round(time.perf_counter() - start, 4))
