"""What preflight found: one `Check` for every question asked, and the report that holds them."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._version import __version__
from ..errors import ParameterError
from ..tables import Table, as_html

__all__ = ["VERDICTS", "Check", "PreflightReport"]

VERDICTS = ("pass", "warn", "fail", "skipped")
"""What a check can say: all is well; look at it; do not use it like this; the question does not arise."""

_MARKS = {"pass": "pass", "warn": "WARN", "fail": "FAIL", "skipped": "-"}
_WIDTH = 118


@dataclass(frozen=True)
class Check:
    """One question, with the number that answers it.

    Parameters
    ----------
    name
        Stable name, see `openmm_nn.checks.preflight.available_checks`.
    value
        What was measured; None if there is no number.
    unit
        Its unit; empty for plain numbers.
    verdict
        ``pass``, ``warn``, ``fail`` or ``skipped``.
    advice
        What it means and what to do, in words.
    details
        More numbers and names; plain values that JSON knows.
    limit
        What `value` was compared with, in the same unit; None if there is no such number.
    seconds
        How long it took.

    Examples
    --------
    >>> from openmm_nn.checks import Check
    >>> Check("rotation", 1e-6, "kJ/mol", "pass", "the energy does not change").verdict
    'pass'
    """

    name: str
    value: float | None
    unit: str
    verdict: str
    advice: str
    details: Mapping[str, Any] = field(default_factory=dict)
    limit: float | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ParameterError("verdict", repr(self.verdict), ", ".join(VERDICTS), "choose one of these")


@dataclass(frozen=True, repr=False)
class PreflightReport:
    """All checks of a potential on a structure.

    Parameters
    ----------
    potential
        Name of the potential.
    sha256
        Hash of its file; None for a callable.
    atoms
        Number of atoms.
    formula
        Of the structure.
    checks
        One for every name asked for, in the order in which they were made.
    seconds
        How long all of it took.
    version
        Of openmm_nn.

    Examples
    --------
    >>> from openmm_nn.checks import Check, PreflightReport
    >>> report = PreflightReport("water", None, 3, "H2O", (Check("finite", 0.0, "", "pass", "all numbers"),))
    >>> report.verdict, PreflightReport.from_json(report.to_json()) == report
    ('pass', True)
    """

    potential: str
    sha256: str | None
    atoms: int
    formula: str
    checks: tuple[Check, ...]
    seconds: float = 0.0
    version: str = __version__

    @property
    def verdict(self) -> str:
        """The worst verdict of all checks: ``fail``, ``warn`` or ``pass``."""
        found = {check.verdict for check in self.checks}
        return "fail" if "fail" in found else "warn" if "warn" in found else "pass"

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.verdict == "fail")

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The checks that ask to be looked at."""
        return tuple(check for check in self.checks if check.verdict == "warn")

    def __getitem__(self, name: str) -> Check:
        """Return a check by its name."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(f"{name!r} is not among the checks of this report: {', '.join(c.name for c in self.checks)}")

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values.

        Returns
        -------
        dict
            What `to_json` writes; numbers that are not finite are None.
        """
        values = {"format": "openmm_nn preflight", "verdict": self.verdict}
        values.update(_plain(dataclasses.asdict(self)))
        return values

    def to_json(self) -> str:
        """Write the report as JSON.

        Returns
        -------
        str
            JSON without NaN or infinity.
        """
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> PreflightReport:
        """Read what `to_json` wrote.

        Parameters
        ----------
        text
            JSON.

        Returns
        -------
        PreflightReport
            The report.

        Raises
        ------
        ParameterError
            If it is no such JSON.
        """
        try:
            values = json.loads(text)
            if values.pop("format") != "openmm_nn preflight":
                raise ValueError("the field 'format' says otherwise")
            values.pop("verdict")
            checks = tuple(Check(**entry) for entry in values.pop("checks"))
            return cls(checks=checks, **values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ParameterError(
                "text", f"text that is no preflight report ({error})", "what PreflightReport.to_json wrote",
                        "run preflight again"
            ) from error  # fmt: skip

    def to_text(self, *, rich: bool | None = None) -> str:
        """Write the report for reading.

        Parameters
        ----------
        rich
            Whether to draw a table with the package rich; by default if it is installed.

        Returns
        -------
        str
            A table of verdicts and numbers, then the advice for what failed or asks to be looked at.
        """
        head = f"Preflight of {self._head()}"
        rows = [(_MARKS[c.verdict], c.name, _number(c), _first_sentence(c.advice)) for c in self.checks]
        table = _rich_table(rows) if rich is not False else None
        if table is None:
            if rich:
                _need_rich()
            table = _plain_table(rows)
        parts = [head, "", table]
        concerns = [check for check in self.checks if check.verdict in ("fail", "warn")]
        if concerns:
            parts.append("")
            parts += [f"{_MARKS[check.verdict]}  {check.name}: {check.advice}" for check in concerns]
        return "\n".join(parts)

    def __repr__(self) -> str:
        return f"PreflightReport({self._head()})"

    def __str__(self) -> str:
        return self.to_text(rich=False)

    def _repr_html_(self) -> str:
        rows = [(_MARKS[c.verdict], c.name, _number(c), c.advice) for c in self.checks]
        return as_html([self._head(), Table("", ("verdict", "check", "measured", "what it says"), rows, right=(2,))])

    def _head(self) -> str:
        return (
            f"{self.potential!r} on {self.formula} ({self.atoms} atoms): {self.verdict.upper()}, "
            f"{len(self.failures)} failed, {len(self.warnings)} to look at, {len(self.checks)} checks "
            f"in {self.seconds:.1f} s"
        )


def _number(check: Check) -> str:
    if check.value is None:
        return ""
    return f"{check.value:.3g} {check.unit}".strip()


def _first_sentence(text: str) -> str:
    # A sentence ends with a period and a space: numbers have periods too.
    return text.partition(". ")[0].rstrip(".")


def _plain_table(rows: list[tuple[str, str, str, str]]) -> str:
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    room = max(20, _WIDTH - sum(widths) - 6)
    lines = []
    for row in rows:
        said = row[3] if len(row[3]) <= room else row[3][: room - 1] + "…"
        lines.append("  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].rjust(widths[2]), said]))
    return "\n".join(line.rstrip() for line in lines)


def _rich_table(rows: list[tuple[str, str, str, str]]) -> str | None:
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return None
    table = Table(show_header=True, expand=False)
    table.add_column("verdict")
    table.add_column("check")
    table.add_column("measured", justify="right")
    table.add_column("what it says", overflow="fold")
    for row in rows:
        table.add_row(*row)
    buffer = io.StringIO()
    Console(file=buffer, width=_WIDTH, force_terminal=False, color_system=None).print(table, markup=False)
    return buffer.getvalue().rstrip("\n")


def _need_rich() -> None:
    from ..errors import MissingDependencyError

    raise MissingDependencyError(
        "rich", "True, and the package rich is not installed", "rich >= 13", "pip install 'openmm-nn[analysis]'"
    )


def _plain(value: Any) -> Any:
    """Convert to what JSON knows: numbers of numpy to Python's, numbers that are not finite to None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
