"""A structure: its bonds, masses and formula, and the part of it on which long checks are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from openmm import app, unit

from ..geometry import minimum_image
from ..model.card_values import element_symbol
from ..systems.hybrid.radii import covalent_radius

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Fragment", "find_bonds", "formula", "mass_of"]

_BOND_REACH = 1.3
"""Two atoms closer than this times the sum of their covalent radii count as bonded."""


@dataclasses.dataclass(frozen=True)
class Fragment:
    """Atoms of a structure as a cluster.

    Parameters
    ----------
    atoms
        Their indices in the structure.
    numbers
        (n,) atomic numbers.
    positions
        (n,3) float64, nm.
    bonds
        Pairs of indices below n.
    """

    atoms: tuple[int, ...]
    numbers: tuple[int, ...]
    positions: Array
    bonds: tuple[tuple[int, int], ...]


def mass_of(number: int) -> float:
    """Return the mass of an element in Da; that of carbon for numbers of no element."""
    try:
        return float(app.Element.getByAtomicNumber(number).mass.value_in_unit(unit.dalton))
    except KeyError:
        return 12.0


def formula(numbers: Sequence[int]) -> str:
    """Return a formula in Hill order.

    Parameters
    ----------
    numbers
        Atomic numbers.

    Returns
    -------
    str
        Such as ``C2H6O``.

    Examples
    --------
    >>> from openmm_nn.checks.fragments import formula
    >>> formula([8, 1, 1])
    'H2O'
    """
    symbols = [element_symbol(number) for number in numbers]
    counts = {symbol: symbols.count(symbol) for symbol in sorted(set(symbols))}
    order: list[str] = [s for s in ("C", "H") if s in counts and "C" in counts]
    order += [s for s in counts if s not in order]
    return "".join(f"{s}{counts[s] if counts[s] > 1 else ''}" for s in order)


def find_bonds(numbers: Sequence[int], positions: Array, box: Array | None) -> tuple[tuple[int, int], ...]:
    """Find pairs of atoms at the distance of a bond.

    Parameters
    ----------
    numbers
        (N,) atomic numbers.
    positions
        (N,3) float64, nm.
    box
        (3,3), nm, or None.

    Returns
    -------
    tuple of (int, int)
        Pairs with the first index lower.
    """
    radii = np.array([covalent_radius(n) if 1 <= n <= 118 else 0.0 for n in numbers])
    found: list[tuple[int, int]] = []
    for i in range(len(numbers) - 1):
        delta = positions[i + 1 :] - positions[i]
        if box is not None:
            delta = minimum_image(delta, box)
        near = np.linalg.norm(delta, axis=1) < _BOND_REACH * (radii[i + 1 :] + radii[i])
        found += [(i, i + 1 + int(j)) for j in np.flatnonzero(near)]
    return tuple(found)
