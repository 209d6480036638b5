"""The measurements as pictures, drawn by matplotlib."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import MissingDependencyError, ParameterError
from .committee_cost import CommitteeResult
from .model_cost import ModelResult
from .peers import PEERS
from .scaling import ScalingRow
from .step import StepResult

__all__ = ["check_plot", "draw_committee", "draw_model", "draw_scaling", "draw_step"]

_ENDINGS = (".png", ".svg", ".pdf")
_PARTS, _OURS, _PEERS, _MODEL = "#8a94a0", "#0f6fb5", "#d9822b", "#2a9d6f"
_INK, _FAINT = "#20262d", "#5c6670"


def check_plot(path: str | Path) -> Path:
    """Say before a measurement whether its picture could be written.

    Parameters
    ----------
    path
        The file to write.

    Returns
    -------
    Path

    Raises
    ------
    ParameterError
        If its ending is not one of a picture, or its folder does not exist.
    MissingDependencyError
        If matplotlib is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in _ENDINGS or not path.parent.is_dir():
        raise ParameterError(
            "plot", str(path), f"a file in an existing folder that ends in {', '.join(_ENDINGS)}",
                    "give such a file"
        )  # fmt: skip
    _figure_class()
    return path


def draw_step(result: StepResult, path: str | Path) -> None:
    """Draw what a step costs: a bar for each median, a dot for each round; a much slower one is said in words.

    Parameters
    ----------
    result
        From `measure_step`.
    path
        The picture to write.
    """
    names = list(result.times)
    medians = {name: statistics.median(values) for name, values in result.times.items()}
    # A round that something else slowed does not set the scale: it is said in words.
    end = min(max(max(values) for values in result.times.values()), 1.5 * max(medians.values()))
    figure, (axes,) = _figure(1, height=1.3 + 0.42 * len(names))
    for place, name in enumerate(names):
        median = medians[name]
        values = [value for value in result.times[name] if value <= end]
        slowest = max(result.times[name])
        color = _OURS if name == "hybrid" else _PEERS if name in PEERS else _PARTS
        axes.barh(place, median, height=0.62, color=color, alpha=0.9 if name == "hybrid" else 0.75, linewidth=0)
        axes.plot(values, [place] * len(values), "o", color=_INK, markersize=3, alpha=0.45, markeredgewidth=0)
        beyond = f", slowest {slowest:.0f}" if slowest > end else ""
        axes.annotate(
            (f"{median:.2g}" if median < 10 else f"{median:.1f}") + beyond,
            (max([median, *values]), place), (6, 0), textcoords="offset points", va="center", color=_INK, fontsize=9,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), ["both in one loop" if name == "classical + model" else name for name in names])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1.15 * end)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("ms a step")
    setting = result.setting
    region = setting["region"].partition(" (")[0]
    _finish(
        figure, f"{setting['system']}: {region} of {int(setting['atoms']):,} by {setting['potential']}", setting, path
    )


def draw_scaling(results: Mapping[str, Sequence[ScalingRow]], setting: Mapping[str, str], path: str | Path) -> None:
    """Draw how a step grows, on logarithmic scales: a panel for the environment, and one for the region.

    Parameters
    ----------
    results
        Rows of `measure_environment` and of `measure_region`, by ``environment`` and ``region``; either may be missing.
    setting
        What was measured, and on what.
    path
        The picture to write.
    """
    results = {name: rows for name, rows in results.items() if rows}
    figure, panels = _figure(len(results), height=3.6, shared=True)
    for axes, (name, rows) in zip(panels, results.items(), strict=True):
        x = [row.atoms if name == "environment" else row.region for row in rows]
        for label, color, times in (
            ("hybrid", _OURS, [row.hybrid for row in rows]),
            ("classical System", _PARTS, [row.classical for row in rows]),
        ):
            _spread(axes, x, times, label, color)
        axes.plot(x, [row.model for row in rows], "o--", color=_MODEL, markersize=4, label="neural part, its own clock")
        _logarithmic(axes, x)
        fixed = f"{rows[0].region} atoms in the region" if name == "environment" else f"{rows[0].atoms:,} atoms in all"
        axes.set_xlabel(f"atoms of the {'System' if name == 'environment' else 'region'} ({fixed})")
    panels[0].set_ylabel("ms a step")
    handles, labels = panels[0].get_legend_handles_labels()  # lines with bars come last
    panels[0].legend([*handles[1:], handles[0]], [*labels[1:], labels[0]], frameon=False, fontsize=9)
    _finish(figure, f"{setting['system']} by {setting['potential']}", setting, path)


def draw_model(result: ModelResult, path: str | Path) -> None:
    """Draw what an evaluation costs against the number of atoms, TorchScript and compiled.

    Parameters
    ----------
    result
        From `measure_model`.
    path
        The picture to write.
    """
    figure, (axes,) = _figure(1, height=3.6)
    x = list(result.times)
    for name, label, color in ((".pt", ".pt, TorchScript", _PARTS), (".pt2", ".pt2, compiled", _OURS)):
        _spread(axes, x, [_range(result.times[atoms][name]) for atoms in x], label, color)
    _logarithmic(axes, x)
    axes.set_xlabel("atoms")
    axes.set_ylabel("ms an evaluation")
    axes.legend(frameon=False, fontsize=9)
    _finish(figure, f"energy and forces by {result.setting['potential']}", result.setting, path)


def draw_committee(result: CommitteeResult, path: str | Path) -> None:
    """Draw what an evaluation costs against the number of members.

    Parameters
    ----------
    result
        From `measure_committee`.
    path
        The picture to write.
    """
    figure, (axes,) = _figure(1, height=3.6)
    labels = {
        "apart": ("a force each, one after another", _PARTS),
        "list": ("a list in one force", _MODEL),
        "batched": (f"{result.setting['batched']}, batched", _OURS),
    }
    for name, sizes in result.times.items():
        label, color = labels[name]
        _spread(axes, list(sizes), [_range(values) for values in sizes.values()], label, color)
    axes.set_xticks(sorted({size for sizes in result.times.values() for size in sizes}))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("members")
    axes.set_ylabel("ms an evaluation")
    axes.legend(frameon=False, fontsize=9)
    region = result.setting["region"].partition(" (")[0]
    _finish(figure, f"{result.setting['members']}, {region}", result.setting, path)


def _figure_class() -> Any:
    try:
        return importlib.import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise MissingDependencyError(
            "plot", "no matplotlib, which draws", "matplotlib >= 3.8", "pip install 'openmm-nn[analysis]'"
        ) from error


def _figure(panels: int, *, height: float, shared: bool = False) -> tuple[Any, list[Any]]:
    """Make a figure, by itself: no window, and nothing that other figures of the process share."""
    figure = _figure_class()(figsize=(7.2 if panels == 1 else 9.0, height), layout="constrained", facecolor="white")
    grid = figure.subplots(1, panels, squeeze=False, sharey=shared)
    for axes in grid[0]:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("#c3c9cf")
        axes.tick_params(colors=_INK, labelsize=9)
        axes.grid(color="#e6e9ec", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, list(grid[0])


def _range(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _spread(axes: Any, x: Sequence[int], times: Sequence[tuple[float, float, float]], label: str, color: str) -> None:
    """Draw medians, with bars from the fastest to the slowest round."""
    medians = [median for median, _, _ in times]
    bars = [[median - low for median, low, _ in times], [high - median for median, _, high in times]]
    axes.errorbar(x, medians, bars, fmt="o-", color=color, markersize=5, linewidth=1.8, elinewidth=1.2, capsize=2.5,
                  label=label)  # fmt: skip


def _logarithmic(axes: Any, x: Sequence[int]) -> None:
    """Take logarithmic scales whose ticks are plain numbers: the sizes, and 1, 2, 5, 10, ... ms."""
    ticker = importlib.import_module("matplotlib.ticker")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(x, [f"{value:,}" for value in x])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())


def _finish(figure: Any, title: str, setting: Mapping[str, str], path: str | Path) -> None:
    figure.suptitle(title, x=0.012, ha="left", fontsize=12, fontweight="bold", color=_INK)
    said = ", ".join(setting[key] for key in ("platform", "machine", "versions"))
    figure.supxlabel(said, x=0.012, ha="left", fontsize=7, color=_FAINT)
    figure.savefig(Path(path), dpi=130)
