"""Dates, durations, formulas and units as a reader writes them."""

from __future__ import annotations

import datetime
from typing import Any

__all__ = ["command", "duration", "formula", "integrator", "length", "moment", "number"]

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_LENGTHS = {"angstrom": "Å", "nanometer": "nm", "bohr": "a₀"}
_INTEGRATORS = {"langevin": "Langevin, middle", "nose-hoover": "Nosé-Hoover chains", "verlet": "Verlet"}


def moment(text: Any) -> str:
    """Write a time that is in ISO 8601.

    Examples
    --------
    >>> from openmm_nn.report.words import moment
    >>> moment("2026-01-05T13:12:29+00:00"), moment(None)
    ('5 Jan 2026, 13:12 UTC', '')
    """
    when = _parse(text)
    if when is None:
        return "" if text is None else str(text)
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[when.month - 1]
    zone = " UTC" if when.utcoffset() == datetime.timedelta(0) else f" {when:%z}".rstrip()
    return f"{when.day} {month} {when.year}, {when:%H:%M}{zone}"


def duration(start: Any, end: Any) -> str:
    """Write how long something took, between two times in ISO 8601.

    Examples
    --------
    >>> from openmm_nn.report.words import duration
    >>> duration("2026-01-05T13:12:29+00:00", "2026-01-05T13:14:41+00:00")
    '2 min 12 s'
    """
    first, last = _parse(start), _parse(end)
    if first is None or last is None:
        return ""
    seconds = round((last - first).total_seconds())
    parts = ((seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s"))
    shown = [f"{value} {unit}" for value, unit in parts if value]
    return " ".join(shown[:2]) or "0 s"


def formula(text: Any) -> str:
    """Write a formula with its numbers low.

    Examples
    --------
    >>> from openmm_nn.report.words import formula
    >>> formula("C6H12N2O2")
    'C₆H₁₂N₂O₂'
    """
    return str(text or "").translate(_SUBSCRIPTS)


def length(value: float, unit: Any) -> str:
    """Write a length.

    Examples
    --------
    >>> from openmm_nn.report.words import length
    >>> length(5.0, "angstrom")
    '5 Å'
    """
    return f"{value:g} {_LENGTHS.get(str(unit), unit)}"


def integrator(settings: dict[str, Any]) -> str:
    """Write an integrator with what was set.

    Examples
    --------
    >>> from openmm_nn.report.words import integrator
    >>> integrator({"name": "langevin", "friction_1/ps": 5.0, "seed": 1})
    'Langevin, middle; friction 5 /ps; seed 1'
    """
    name = str(settings.get("name") or "")
    parts = [_INTEGRATORS.get(name, name)]
    if name != "verlet" and settings.get("friction_1/ps") is not None:
        parts.append(f"friction {settings['friction_1/ps']:g} /ps")
    if settings.get("seed") is not None:
        parts.append(f"seed {settings['seed']}")
    return "; ".join(part for part in parts if part)


def number(value: float) -> str:
    """Write a number with three digits that mean something.

    Examples
    --------
    >>> from openmm_nn.report.words import number
    >>> number(-86512.3), number(0.00502), number(1.294e-8), number(0.0)
    ('−86,500', '0.00502', '1.29 × 10⁻⁸', '0')
    """
    rounded = float(f"{value:.3g}")
    if rounded == 0 or 1e-4 <= abs(rounded) < 1e6:
        return f"{rounded:,.10g}".replace("-", "−")
    digits, exponent = f"{rounded:.2e}".split("e")
    return f"{digits} × 10{str(int(exponent)).translate(_RAISED)}".replace("-", "−")


def command(text: Any) -> str:
    """Write a command line as it is typed, wherever the program lies.

    Examples
    --------
    >>> from openmm_nn.report.words import command
    >>> command("/home/me/.venv/bin/openmm-nn run a.yaml"), command("lib/openmm_nn/cli/__main__.py run a.yaml")
    ('openmm-nn run a.yaml', 'openmm-nn run a.yaml')
    """
    program, space, rest = str(text or "").partition(" ")
    own = program.endswith(("/openmm-nn", "openmm_nn/cli/__main__.py"))
    return f"openmm-nn{space}{rest}" if own else str(text or "")


def _parse(text: Any) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(str(text))
    except ValueError:
        return None
