"""What an evaluation costs."""

from __future__ import annotations

import time

from .preflight_report import Check
from .registry import register
from .subject import Subject

__all__: list[str] = []

_REPEATS = 5
_SECONDS_A_DAY = 86400.0


@register("cost")
def cost(subject: Subject) -> Check:
    """Time energy and forces, outside of OpenMM, in the precision in which the potential runs."""
    subject.run(subject.positions, box=subject.box, precision="model")
    taken = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        subject.run(subject.positions, box=subject.box, precision="model")
        taken.append(time.perf_counter() - start)
    best = min(taken)
    nanoseconds = _SECONDS_A_DAY / best * subject.timestep / 1000.0
    details = {"ns_a_day": nanoseconds, "atoms": len(subject.numbers), "device": subject.device}
    text = (
        f"At {1000 * subject.timestep:g} fs that is {nanoseconds:.3g} ns a day, from Python and before anything "
        "else of a "
        "step; the native engine is somewhat faster."
    )
    return Check("cost", 1000.0 * best, "ms", "pass", text, details)
