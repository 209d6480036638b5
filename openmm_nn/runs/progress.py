"""Progress: what is told to whoever watches a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..dynamics.samples import Spread

__all__ = ["Progress", "ProgressCallback"]


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Parameters
    ----------
    stage
        ``prepare``, ``preflight``, ``minimise``, ``equilibrate``, ``produce`` or ``finished``.
    step, steps
        Done and to be done in the stage; `steps` is 0 where it is not known.
    speed
        ns/day; None if it is not known yet.
    remaining
        Seconds left in the stage; None if it is not known yet.
    potential
        Potential energy, kJ/mol.
    temperature
        K.
    spread
        Deviation of a committee.
    note
        Something to tell, such as a warning.
    """

    stage: str
    step: int = 0
    steps: int = 0
    speed: float | None = None
    remaining: float | None = None
    potential: float | None = None
    temperature: float | None = None
    spread: Spread | None = None
    note: str = ""


ProgressCallback = Callable[[Progress], None]
