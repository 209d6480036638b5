"""Quantities of run files: a number and its unit, such as ``0.5 fs``."""

from __future__ import annotations

import math
import re
from typing import Any

from openmm import unit

from ..units import ENERGY_UNITS, LENGTH_UNITS

__all__ = ["DIMENSIONS", "parse_quantity", "pattern", "write_quantity"]


def _factor(value: Any, target: Any) -> float:
    return float((1.0 * value).value_in_unit(target))


_LENGTHS = {**LENGTH_UNITS, "A": LENGTH_UNITS["angstrom"], "Å": LENGTH_UNITS["angstrom"]}

DIMENSIONS: dict[str, dict[str, float]] = {
    "time": {
        "fs": _factor(unit.femtosecond, unit.picosecond),
        "ps": 1.0,
        "ns": _factor(unit.nanosecond, unit.picosecond),
        "us": _factor(unit.microsecond, unit.picosecond),
        "µs": _factor(unit.microsecond, unit.picosecond),
    },
    "temperature": {"K": 1.0},
    "length": _LENGTHS,
    "pressure": {"bar": 1.0, "atm": _factor(unit.atmosphere, unit.bar)},
    "energy": dict(ENERGY_UNITS),
    "force": {f"{energy}/{length}": e / x for energy, e in ENERGY_UNITS.items() for length, x in _LENGTHS.items()},
    "rate": {"1/ps": 1.0, "/ps": 1.0, "ps^-1": 1.0, "1/fs": 1.0 / _factor(unit.femtosecond, unit.picosecond)},
    "mass": {"dalton": 1.0, "Da": 1.0, "amu": 1.0},
}
"""By dimension: what one of each unit is in ps, K, nm, bar, kJ/mol, kJ/mol/nm, 1/ps or dalton."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_QUANTITY = re.compile(rf"^\s*({_NUMBER})\s*(\S.*?)\s*$")


def pattern(dimension: str) -> str:
    """Return the regular expression of a dimension's quantities, for the JSON schema.

    Parameters
    ----------
    dimension
        A key of `DIMENSIONS`.

    Returns
    -------
    str
        Anchored at both ends.

    Examples
    --------
    >>> import re
    >>> from openmm_nn.runs.quantities import pattern
    >>> bool(re.match(pattern("time"), "0.5 fs"))
    True
    """
    return rf"^\s*{_NUMBER}\s*(?:{'|'.join(map(re.escape, DIMENSIONS[dimension]))})\s*$"


def parse_quantity(text: object, dimension: str) -> float | None:
    """Read a quantity.

    Parameters
    ----------
    text
        A number, a space and a unit.
    dimension
        A key of `DIMENSIONS`.

    Returns
    -------
    float or None
        In the unit of the package (ps, K, nm, bar, kJ/mol, kJ/mol/nm, 1/ps, dalton); None if it is no such quantity.

    Examples
    --------
    >>> from openmm_nn.runs.quantities import parse_quantity
    >>> parse_quantity("2 ns", "time"), parse_quantity("2", "time")
    (2000.0, None)
    """
    found = _QUANTITY.match(text) if isinstance(text, str) else None
    factor = DIMENSIONS[dimension].get(found[2]) if found else None
    if found is None or factor is None:
        return None
    value = float(found[1]) * factor
    return value if math.isfinite(value) else None


def write_quantity(value: float, name: str) -> str:
    """Write a number with its unit.

    Parameters
    ----------
    value
        In that unit.
    name
        Of the unit.

    Returns
    -------
    str
        Such as ``0.5 fs``.

    Examples
    --------
    >>> from openmm_nn.runs.quantities import write_quantity
    >>> write_quantity(0.5, "fs")
    '0.5 fs'
    """
    return f"{value:.12g} {name}"
