"""A short minimisation without a Context: limited-memory BFGS with short steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import OpenMMNNError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["minimise"]

_MEMORY = 10
_FIRST_STIFFNESS = 2.0e5
"""kJ/mol/nm²: that of a soft bond, for the first step."""


def minimise(evaluate: Callable[[Array], Any], start: Array, *, steps: int, longest: float) -> Array:
    """Lower the energy along the forces.

    Parameters
    ----------
    evaluate
        Returns an object with ``energy`` (kJ/mol) and ``forces`` (kJ/mol/nm).
    start
        (N,3) nm.
    steps
        At most so many evaluations.
    longest
        No atom moves further in a step, nm.

    Returns
    -------
    numpy.ndarray
        (N,3) nm: where the energy was lowest.
    """
    x = np.array(start, dtype=np.float64)
    history: list[tuple[Array, Array]] = []
    best_energy, best = np.inf, x.copy()
    previous: tuple[Array, Array] | None = None
    limit = longest
    for _ in range(steps):
        try:
            result = evaluate(x)
        except OpenMMNNError:
            break
        if result.energy < best_energy:
            best_energy, best = result.energy, x.copy()
            limit = min(longest, 1.5 * limit)
        else:
            # Too far: back to the best point, with shorter steps and without what was learnt.
            limit *= 0.4
            if limit < 1e-5 * longest:
                break
            if result.energy > best_energy + 1.0:
                history, previous = [], None
                x = best.copy()
                result = evaluate(x)
        gradient = -np.asarray(result.forces)
        if previous is not None:
            s, y = (x - previous[0]).ravel(), (gradient - previous[1]).ravel()
            if s @ y > 1e-12 * np.linalg.norm(s) * np.linalg.norm(y):
                history = [*history, (s, y)][-_MEMORY:]
        previous = (x.copy(), gradient.copy())
        step = _direction(gradient.ravel(), history).reshape(x.shape)
        length = float(np.linalg.norm(step, axis=1).max())
        if length == 0.0 or not np.isfinite(length):
            break
        x = x + step * min(1.0, limit / length)
    return best


def _direction(gradient: Array, history: list[tuple[Array, Array]]) -> Array:
    q = gradient.copy()
    kept = []
    for s, y in reversed(history):
        rho = 1.0 / (y @ s)
        alpha = rho * (s @ q)
        q -= alpha * y
        kept.append((rho, alpha))
    if history:
        s, y = history[-1]
        q *= (s @ y) / (y @ y)
    else:
        q /= _FIRST_STIFFNESS
    for (s, y), (rho, alpha) in zip(history, reversed(kept), strict=True):
        q += s * (alpha - rho * (y @ q))
    return -q
