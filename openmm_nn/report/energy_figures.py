"""Figures of energies, temperature, density and speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..runs import RunDirectory
from ..runs.reading import Table, read_table
from ..units import thermal_energy
from .figure import Figure, axis, band, line, thin, with_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["energy_figures", "performance_figures", "production", "temperature_figures", "timeline"]

_TIME = "time / ps"


def timeline(run: RunDirectory, name: str = "log.csv") -> tuple[dict[str, Table], list[dict[str, Any]]]:
    """Put the stages of a run one after the other.

    Parameters
    ----------
    run
        The directory.
    name
        Of a table with ``stage`` and ``time_ps``.

    Returns
    -------
    stages : dict of str to Table
        The stages of dynamics; a column ``t`` counts on from stage to stage, ps.
    marks : list of dict
        For plotly: the stages before the last one are shaded.
    """
    offset, found, marks = 0.0, {}, []
    lengths = {str(stage.get("name")): float(stage.get("steps") or 0) * float(run.record.get("timestep") or 0.0)
               for stage in run.record.get("stages") or ()}  # fmt: skip
    for stage, table in run.stages(name).items():
        times = table.get("time_ps")
        if times is None or times.dtype.kind != "f":
            continue
        kept = np.isfinite(times)
        if not kept.any():
            continue
        rows = {key: column[kept] for key, column in table.items()}
        rows["t"] = rows["time_ps"] + offset
        found[stage] = rows
        begin, offset = offset, offset + max(lengths.get(stage, 0.0), float(rows["time_ps"].max()))
        marks.append({"type": "rect", "xref": "x", "yref": "paper", "x0": begin, "x1": offset, "y0": 0, "y1": 1,
                      "fillcolor": "@shade", "line": {"width": 0}, "layer": "below"})  # fmt: skip
    return found, marks[:-1]


def production(stages: dict[str, Table]) -> Table:
    """Return the last stage, which is the one that counts; empty before there is one."""
    return stages.get("produce") or (list(stages.values())[-1] if stages else {})


def _over_time(stages: dict[str, Table], column: str) -> tuple[Array, Array]:
    parts = [(table["t"], table[column]) for table in stages.values() if column in table]
    if not parts:
        return np.empty(0), np.empty(0)
    t, y = (np.concatenate(column) for column in zip(*parts, strict=True))
    known = np.isfinite(y)
    return t[known], y[known]


def energy_figures(run: RunDirectory, analysis: dict[str, Any]) -> list[Figure]:
    """Figures of the energies."""
    stages, marks = timeline(run)
    t, total = _over_time(stages, "total_kJ/mol")
    figures = _minimisation(run)
    if len(t) < 2:
        return figures
    last = production(stages)
    reference = float(np.nanmean(last["total_kJ/mol"]))
    data = [line(*thin(t, total - reference), "total energy", "@c1")]
    result = (analysis.get("energies") or {}).get("produce") or {}
    drift = result.get("drift")
    if drift:
        ends = np.array([last["t"].min(), last["t"].max()])
        fit = drift["slope"] * (ends - last["t"].mean())
        label = f"slope {with_error(drift['slope'], drift['error'])} kJ/mol/ps"
        data.append(line(ends, fit, label, "@ink", line={"dash": "dash", "width": 1.5}))
    constant = run.record.get("ensemble") == "NVE"
    says = (
        "Potential and kinetic energy together, relative to the mean of the production; what came before it is shaded. "
        + ("At constant energy this is what the integrator must keep. " if constant else
           "The thermostat adds and removes heat, so it moves about a mean instead of staying put. ")
    )  # fmt: skip
    worry = (
        "a slope beyond three standard errors, or steps in the line: the time step is too long, or the potential is "
        "not smooth." if constant else
        "a trend that lasts to the end, which says that the run has not equilibrated, or a sudden jump."
    )  # fmt: skip
    figures.append(
        Figure("total-energy", "Total energy", data,
               {"xaxis": axis(_TIME), "yaxis": axis("E − ⟨E⟩ / kJ mol⁻¹"), "shapes": marks}, says, worry)
    )  # fmt: skip
    series = []
    for name, color in (("potential", "@c2"), ("kinetic", "@c3")):
        times, values = _over_time(stages, f"{name}_kJ/mol")
        if len(times):
            level = float(np.nanmean(last[f"{name}_kJ/mol"]))
            series.append(line(*thin(times, values - level), f"{name} ({level:,.0f})".replace("-", "−"), color))
    figures.append(
        Figure("parts-of-energy", "Potential and kinetic energy", series,
               {"xaxis": axis(_TIME), "yaxis": axis("E − ⟨E⟩ / kJ mol⁻¹"), "shapes": marks},
               "Each relative to its own mean of the production, which is in the legend, in kJ/mol. In equilibrium "
               "both are level, and what one gains the other has lost.",
               "a potential energy that still falls: the structure is relaxing, and averages over it mean little.")
    )  # fmt: skip
    return figures + _blocks(run, result)


def _minimisation(run: RunDirectory) -> list[Figure]:
    table = run.stages().get("minimise", {})
    energy = table.get("potential_kJ/mol", np.empty(0))
    if len(energy) < 3:
        return []
    return [
        Figure("minimisation", "Minimisation", [line(table["step"], energy, "potential energy", "@c2")],
               {"xaxis": axis("iteration"), "yaxis": axis("E / kJ mol⁻¹"), "showlegend": False},
               "The potential energy before the first step of dynamics.",
               "an energy that is still falling steeply at the end.")
    ]  # fmt: skip


def _blocks(run: RunDirectory, result: dict[str, Any]) -> list[Figure]:
    table = read_table(run.path / str(result.get("blocks", "-")))
    if len(table.get("size_frames", ())) < 3:
        return []
    rows = production(timeline(run)[0])
    spacing = float(np.median(np.diff(rows["time_ps"]))) if len(rows["time_ps"]) > 1 else 1.0
    bars = {"type": "data", "array": table["uncertainty_kJ/mol"], "color": "@c2", "thickness": 1, "width": 3}
    lengths = table["size_frames"] * spacing
    data = [line(lengths, table["error_kJ/mol"], "error", "@c2", mode="lines+markers",
                 error_y=bars)]  # fmt: skip
    return [
        Figure("blocks", "How sure is the mean potential energy", data,
               {"xaxis": axis("length of a block / ps", type="log", tickvals=lengths[::2],
                              ticktext=[f"{length:.3g}" for length in lengths[::2]]),
                "yaxis": axis("error of the mean / kJ mol⁻¹", rangemode="tozero"), "showlegend": False},
               "The standard error of the mean from blocks of growing length. Where it levels off, blocks no longer "
               "remember each other, and the level is the error.",
               "no level at all: the run is shorter than its own memory, and every error here is too small.")
    ]  # fmt: skip


def temperature_figures(run: RunDirectory, analysis: dict[str, Any]) -> list[Figure]:
    """Figures of temperature and density."""
    stages, marks = timeline(run)
    t, kelvin = _over_time(stages, "temperature_K")
    figures: list[Figure] = []
    if len(t) < 2:
        return figures
    data: list[dict[str, Any]] = []
    target = run.temperature
    rows = production(stages)
    if target:
        ends = np.array([t.min(), t.max()])
        ratio = np.nanmedian(rows["kinetic_kJ/mol"] / rows["temperature_K"]) * 2 / thermal_energy(1.0)
        spread = 2 * target * np.sqrt(2 / max(float(ratio), 1.0))
        data += band(ends, np.full(2, target - spread), np.full(2, target + spread), "95 % expected", "@band3")
        data.append(line(ends, np.full(2, target), f"thermostat, {target:g} K", "@ink",
                         line={"dash": "dash", "width": 1.2}))  # fmt: skip
    data.append(line(*thin(t, kelvin), "temperature", "@c3"))
    figures.append(
        Figure("temperature", "Temperature", data, {"xaxis": axis(_TIME), "yaxis": axis("T / K"), "shapes": marks},
               "From the kinetic energy. The band is where a System of this size should be 95 % of the time.",
               "a mean beside the thermostat's, points that leave the band often, or a climb: energy comes from "
               "somewhere, such as a time step that is too long.")
    )  # fmt: skip
    t, density = _over_time(stages, "density_g/mL")
    if len(t) > 1 and np.ptp(density) > 1e-5 * abs(float(density.mean())):
        figures.append(
            Figure("density", "Density", [line(*thin(t, density), "density", "@c4")],
                   {"xaxis": axis(_TIME), "yaxis": axis("ρ / g mL⁻¹"), "shapes": marks, "showlegend": False},
                   "Mass of the System over the volume of its box, which the barostat changes.",
                   "a trend that lasts to the end; or a value far from that of the liquid, near 1 for water.")
        )  # fmt: skip
    return figures


def performance_figures(run: RunDirectory, analysis: dict[str, Any]) -> list[Figure]:
    """Figures of speed."""
    stages, marks = timeline(run)
    figures = []
    cost = analysis.get("performance")
    t, speed = _over_time(stages, "speed_ns/day")
    step = float(run.record.get("timestep") or 0.0)
    median = float(np.median(speed)) if len(speed) else 0.0
    if cost:
        names = ["force field alone", "model alone", "whole step, measured now"]
        values = [cost["classical_ms"], cost["model_ms"], cost["whole_ms"]]
        colors = ["@c1", "@c5", "@c2"]
        if median > 0 and step > 0:
            names.append("whole step, in the run")
            values.append(step * 1e-3 * 86_400e3 / median)
            colors.append("@c3")
        data = [{"type": "bar", "orientation": "h", "y": names, "x": values, "marker": {"color": colors},
                 "text": [f"{value:.3g} ms" for value in values], "textposition": "auto", "cliponaxis": False,
                 "hovertemplate": "%{y}: %{x:.3g} ms<extra></extra>"}]  # fmt: skip
        ideal = float(cost["ideal_ms"])
        shape = {"type": "line", "x0": ideal, "x1": ideal, "yref": "paper", "y0": 0, "y1": 1,
                 "line": {"color": "@ink", "width": 1.2, "dash": "dash"}}  # fmt: skip
        label = {"x": ideal, "xref": "x", "y": 1, "yref": "paper", "yanchor": "bottom", "text": "ideal",
                 "showarrow": False, "font": {"size": 11, "color": "@muted"}}  # fmt: skip
        layout = {"xaxis": axis("time of a step / ms", rangemode="tozero"), "showlegend": False, "shapes": [shape],
                  "yaxis": axis("what is evaluated", showgrid=False), "bargap": 0.35, "annotations": [label],
                  "margin": {"l": 52, "r": 12, "t": 22, "b": 42}}  # fmt: skip
        figures.append(
            Figure("step-cost", "What a step costs", data, layout,
                   f"Measured on {cost['platform']} when this page was made; the top bar is from the run's log. "
                   f"The dashed line is the ideal, {ideal:.3g} ms: the slower of model and force field, with the other "
                   "running beside it for nothing.",
                   "a whole step much longer than model and force field together, or a run much slower than what is "
                   "measured now: something else used the machine, or frames were written too often.")
        )  # fmt: skip
    if len(t) > 2:
        figures.append(
            Figure("speed", "Speed over the run", [line(*thin(t, speed), "speed", "@c2")],
                   {"xaxis": axis(_TIME), "yaxis": axis("speed / ns per day", rangemode="tozero"), "shapes": marks,
                    "showlegend": False},
                   f"As the run logged it; {median:.3g} ns per day in the middle.",
                   "a decay over time, which points to memory that grows or to a machine that is shared.")
        )  # fmt: skip
    return figures
