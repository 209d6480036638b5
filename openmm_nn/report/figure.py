"""A figure of the report: what plotly draws, and what is said beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Figure", "axis", "band", "line", "thin", "with_error"]

_POINTS = 1500


@dataclass(frozen=True)
class Figure:
    """A figure.

    Colours are names that start with ``@`` and that the page replaces, since they depend on light and dark.

    Parameters
    ----------
    key
        Its id in the page.
    title
        What is shown.
    data, layout
        For plotly.
    says
        What it shows, in a sentence or two.
    worry
        What would be worrying.
    wide
        Whether it takes the whole width.
    height
        Pixels.
    """

    key: str
    title: str
    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    says: str
    worry: str = ""
    wide: bool = False
    height: int = 300
    config: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what the page's script needs."""
        return {"key": self.key, "data": plain(list(self.data)), "layout": plain(dict(self.layout))}


def plain(value: Any) -> Any:
    """Turn arrays into lists of few digits, and what is not finite into null, as JSON has it."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def thin(
    x: NDArray[np.float64], y: NDArray[np.float64], points: int = _POINTS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Leave out points of a long series so that its peaks stay.

    Parameters
    ----------
    x, y
        (n,).
    points
        About how many to keep.

    Returns
    -------
    x, y : numpy.ndarray
        Lowest and highest of each stretch; all if they are few.

    Examples
    --------
    >>> import numpy as np
    >>> from openmm_nn.report.figure import thin
    >>> values = np.zeros(10_000)
    >>> values[1234] = 1.0
    >>> time, kept = thin(np.arange(10_000.0), values, points=100)
    >>> len(kept) <= 100, float(kept.max())
    (True, 1.0)
    """
    if len(x) <= points:
        return x, y
    chosen: list[int] = []
    for part in np.array_split(np.arange(len(x)), points // 2):
        values = np.where(np.isfinite(y[part]), y[part], 0.0)
        chosen += sorted({int(part[np.argmin(values)]), int(part[np.argmax(values)])})
    return x[chosen], y[chosen]


def with_error(value: float, error: float, digits: int = 2) -> str:
    """Write a number with its standard error, both to the error's second digit, or first.

    Examples
    --------
    >>> from openmm_nn.report.figure import with_error
    >>> with_error(1026.37, 305.2), with_error(-39.59, 5.78), with_error(0.012346, 0.00067), with_error(2.0, 0.0)
    ('1030 ± 310', '−39.6 ± 5.8', '0.01235 ± 0.00067', '2 ± 0')
    """
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return f"{value:.4g} ± {error:.2g}".replace("-", "−")
    place = digits - 1 - math.floor(math.log10(error))
    shown = max(0, place)
    return f"{round(value, place):.{shown}f} ± {round(error, place):.{shown}f}".replace("-", "−")


def axis(title: str, **options: Any) -> dict[str, Any]:
    """Return an axis with its title and unit."""
    return {"title": {"text": title}, **options}


def line(x: Any, y: Any, name: str, color: str, **options: Any) -> dict[str, Any]:
    """Return a line of plotly."""
    style = {"color": color, "width": 1.6, **options.pop("line", {})}
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "name": name, "line": style, **options}


def band(x: Any, low: Any, high: Any, name: str, color: str) -> list[dict[str, Any]]:
    """Return a filled band: two lines, of which the first is not in the legend."""
    edge = {"type": "scatter", "mode": "lines", "x": x, "line": {"width": 0}, "hoverinfo": "skip"}
    return [
        {**edge, "y": low, "showlegend": False},
        {**edge, "y": high, "fill": "tonexty", "fillcolor": color, "name": name},
    ]
