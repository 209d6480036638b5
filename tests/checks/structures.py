"""Structures of the preflight tests, nm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Methanol, water and ethane near their equilibrium, in angstrom.
_METHANOL = (
    [6, 8, 1, 1, 1, 1],
    [
        [-0.0468, 0.6615, 0.0000],
        [-0.0468, -0.7522, 0.0000],
        [-1.0881, 0.9797, 0.0000],
        [0.4378, 1.0711, 0.8881],
        [0.4378, 1.0711, -0.8881],
        [0.8700, -1.0529, 0.0000],
    ],
)
_WATER = ([8, 1, 1], [[0.0, 0.0, 0.1173], [0.0, 0.7572, -0.4692], [0.0, -0.7572, -0.4692]])


def structure(name: str) -> tuple[list[int], NDArray[np.float64]]:
    """Atomic numbers and positions (N,3) in nm of ``methanol``, ``water``, or methanol less a hydrogen, ``radical``."""
    if name == "radical":
        numbers, rows = _METHANOL[0][:-1], _METHANOL[1][:-1]
    else:
        numbers, rows = {"methanol": _METHANOL, "water": _WATER}[name]
    return list(numbers), 0.1 * np.array(rows, dtype=np.float64)
