"""Figures of the structure: dihedrals and their free energy, RMSD, fluctuations, water, hydrogen bonds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..runs import RunDirectory
from ..runs.reading import Table, read_table
from .figure import Figure, axis, line, thin

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["boundary_figures", "structure_figures"]

_TIME = "time in production / ps"
_TICKS = {"range": [-180, 180], "tickvals": [-180, -90, 0, 90, 180]}


def structure_figures(run: RunDirectory, analysis: dict[str, Any]) -> list[Figure]:
    """Figures of what MDTraj computed."""
    part = analysis.get("structure") or {}
    table = read_table(run.path / str(part.get("series", "-")))
    figures = _free_energy(run, analysis)
    if len(table.get("time_ps", ())) < 2:
        return figures
    return [*figures, *_dihedrals(run, part), *_shape(table), *_fluctuations(run, part), *_water(run, part),
            *_bonds(table), *_secondary(table)]  # fmt: skip


def _free_energy(run: RunDirectory, analysis: dict[str, Any]) -> list[Figure]:
    part = analysis.get("free_energy") or {}
    figures = []
    for row in (part.get("residues") or [])[:3]:
        residue, independent = row["residue"], float(row["independent_frames"])
        table = read_table(run.path / row["surface"])
        if not table:
            continue
        phi, psi = (np.degrees(np.unique(table[f"{name}_rad"])) for name in ("phi", "psi"))
        shape = (len(phi), len(psi))
        surface, error = (table[name].reshape(shape).T for name in ("free_energy_kJ/mol", "error_kJ/mol"))
        text = [[f"± {value:.1f}" if np.isfinite(value) else "no error: seen in one block only" for value in line]
                for line in error]  # fmt: skip
        heat = {"type": "heatmap", "x": phi, "y": psi, "z": surface, "colorscale": "@scale", "zmin": 0, "zmax":
                max(10.0, float(np.nanmax(surface))), "text": text, "hoverongaps": False, "xgap": 0.5, "ygap": 0.5,
                "hovertemplate": "φ %{x:.0f}°, ψ %{y:.0f}°<br>F = %{z:.1f} kJ/mol %{text}<extra></extra>",
                "colorbar": {"title": {"text": "F / kJ mol⁻¹", "side": "right"}, "thickness": 12, "outlinewidth": 0},
                }  # fmt: skip
        figures.append(
            Figure(f"surface-{residue}", f"Free energy of φ and ψ, {residue}", [heat],
                   {"xaxis": axis("φ / °", **_TICKS, showgrid=False), "yaxis": axis("ψ / °", **_TICKS, showgrid=False)},
                   f"From the {independent:.0f} independent frames at {part['temperature']:g} K; blank where the run "
                   "never was. The error of each bin, from ten blocks, shows under the pointer.",
                   "fewer than about fifty independent frames, or basins that are visited once: then this is where the "
                   "run happened to be, not where the molecule prefers to be.", height=380)
        )  # fmt: skip
        figures.append(_lines(run, row, residue))
    return figures


def _lines(run: RunDirectory, row: dict[str, Any], residue: str) -> Figure:
    data = []
    for name, letter, color in (("phi", "φ", "@c1"), ("psi", "ψ", "@c5")):
        table = read_table(run.path / row[name])
        bars = {"type": "data", "array": table["error_kJ/mol"], "color": color, "thickness": 1, "width": 2}
        data.append(line(np.degrees(table[f"{name}_rad"]), table["free_energy_kJ/mol"], letter, color, error_y=bars,
                         mode="lines+markers", marker={"size": 4}))  # fmt: skip
    return Figure(
        f"lines-{residue}", f"Along φ and along ψ, {residue}", data,
        {"xaxis": axis("angle / °", **_TICKS), "yaxis": axis("F / kJ mol⁻¹", rangemode="tozero")},
        "The same free energy along each angle alone. Bars are standard errors from blocks; a point without one was "
        "seen in a single block.",
        "bars as long as the barriers are high.", height=380,
    )  # fmt: skip


def _dihedrals(run: RunDirectory, part: dict[str, Any]) -> list[Figure]:
    table = read_table(run.path / str(part.get("dihedrals", "-")))
    names = [name for name in table if name.startswith(("phi_", "psi_"))][:6]
    if not names:
        return []
    data = []
    for place, name in enumerate(names):
        kind, residue = name.removesuffix("_rad").split("_", 1)
        t, angle = thin(table["time_ps"], np.degrees(table[name]))
        letter = {"phi": "φ", "psi": "ψ"}[kind]
        data.append({"type": "scatter", "mode": "markers", "x": t, "y": angle, "name": f"{letter} {residue}",
                     "marker": {"size": 3.5, "color": f"@c{(1, 5, 4, 3, 2, 6)[place]}"}})  # fmt: skip
    return [
        Figure("dihedrals", "Backbone dihedrals over time", data,
               {"xaxis": axis(_TIME), "yaxis": axis("angle / °", **_TICKS)},
               "Points, since an angle that passes 180° comes back at −180°.",
               "a single jump between two bands: the populations on both sides are then not known.")
    ]  # fmt: skip


def _shape(table: Table) -> list[Figure]:
    t = table["time_ps"]
    data = [line(*thin(t, table["rmsd_nm"]), "RMSD of heavy atoms to the first frame", "@c1"),
            line(*thin(t, table["rg_nm"]), "radius of gyration", "@c4")]  # fmt: skip
    figures = [
        Figure("shape", "Shape of the region", data,
               {"xaxis": axis(_TIME), "yaxis": axis("nm", rangemode="tozero")},
               "How far the region has moved from its first frame after superposition, and how extended it is.",
               "an RMSD that keeps climbing, for something that should hold its fold; a radius that jumps, which can "
               "be a broken bond.")
    ]  # fmt: skip
    if "sasa_nm2" in table:
        figures.append(
            Figure("sasa", "Surface of the region", [line(*thin(t, table["sasa_nm2"]), "area", "@c4")],
                   {"xaxis": axis(_TIME), "yaxis": axis("SASA / nm²"), "showlegend": False},
                   "Area that a water molecule can touch (Shrake and Rupley), beside everything that is not water.",
                   "a trend: the region is opening or being buried.")
        )  # fmt: skip
    return figures


def _fluctuations(run: RunDirectory, part: dict[str, Any]) -> list[Figure]:
    table = read_table(run.path / str(part.get("rmsf", "-")))
    if len(table.get("rmsf_nm", ())) < 2:
        return []
    names = [f"{name} ({int(atom)})" for name, atom in zip(table["name"], table["atom"], strict=True)]
    data = [{"type": "bar", "x": names, "y": table["rmsf_nm"], "marker": {"color": "@c1"},
             "hovertemplate": "%{x}: %{y:.3f} nm<extra></extra>"}]  # fmt: skip
    return [
        Figure("rmsf", "Fluctuation of each atom", data,
               {"xaxis": axis("atom", showticklabels=len(names) <= 40, showgrid=False, tickfont={"size": 9}),
                "yaxis": axis("RMSF / nm"), "showlegend": False},
               "Root mean square distance of each atom from its mean place, after superposition. Methyl hydrogens, "
               "which rotate, stand out.",
               "a heavy atom that moves as much as a methyl hydrogen.")
    ]  # fmt: skip


def _water(run: RunDirectory, part: dict[str, Any]) -> list[Figure]:
    table = read_table(run.path / str(part.get("rdf", "-")))
    if len(table.get("r_nm", ())) < 3:
        return []
    level = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1, "line": {"color": "@muted",
             "width": 1, "dash": "dot"}}  # fmt: skip
    return [
        Figure("rdf", "Water around the region", [line(table["r_nm"], table["g"], "g(r)", "@c1")],
               {"xaxis": axis("r / nm"), "yaxis": axis("g(r)", rangemode="tozero"), "showlegend": False,
                "shapes": [level]},
               "Radial distribution of water oxygens around the region's heavy atoms. The force field decides how "
               "water and region attract each other; a first shoulder near 0.28 nm is hydrogen-bonded water.",
               "water nearer than 0.24 nm, no shell at all where polar atoms face the water, or a level other than 1 "
               "far away, which says that water does not fill the box evenly.")
    ]  # fmt: skip


def _bonds(table: Table) -> list[Figure]:
    kinds = {"within": "within the region", "given": "given to the surroundings",
             "accepted": "accepted from the surroundings"}  # fmt: skip
    data = []
    for (kind, label), color in zip(kinds.items(), ("@c5", "@c3", "@c1"), strict=True):
        values = table.get(f"hydrogen_bonds_{kind}")
        if values is not None and values.max() > 0:
            counts = np.bincount(values.astype(int))
            data.append({"type": "bar", "x": np.arange(len(counts)), "y": counts / counts.sum(), "name":
                         f"{label}, mean {values.mean():.2f}", "marker": {"color": color}})  # fmt: skip
    if not data:
        return []
    return [
        Figure("hydrogen-bonds", "Hydrogen bonds", data,
               {"xaxis": axis("number in a frame", dtick=1, showgrid=False), "yaxis": axis("fraction of frames")},
               "Counted by the criterion of Wernet and Nilsson, between the region and what is around it.",
               "no bond at all to water for a polar molecule in water.")
    ]  # fmt: skip


def _secondary(table: Table) -> list[Figure]:
    if "dssp_helix" not in table:
        return []
    data = [line(*thin(table["time_ps"], table[f"dssp_{name}"]), name, color, line={"width": 1.4})
            for name, color in (("helix", "@c6"), ("strand", "@c3"), ("coil", "@c1"))]  # fmt: skip
    return [
        Figure("dssp", "Secondary structure of the protein", data,
               {"xaxis": axis(_TIME), "yaxis": axis("fraction of residues", range=[0, 1])},
               "By DSSP, as MDTraj assigns it, in three classes.",
               "helices or strands that melt within a short run.")
    ]  # fmt: skip


def boundary_figures(run: RunDirectory, analysis: dict[str, Any]) -> list[Figure]:
    """Figures of cut bonds and the angles at them."""
    part = analysis.get("boundary") or {}
    table = read_table(run.path / str(part.get("series", "-")))
    figures = []
    for kind, title, unit, factor in (("bond", "Length of cut bonds", "nm", 1.0),
                                      ("angle", "Angles at cut bonds", "°", 180 / np.pi)):  # fmt: skip
        rows = [row for row in part.get("rows") or [] if row["kind"] == kind and row["column"] in table]
        if not rows:
            continue
        data = []
        for place, row in enumerate(rows[:6]):
            values = table[row["column"]] * factor
            data.append(line(*_density(values), row["name"], f"@c{place + 1}"))
        figures.append(
            Figure(f"boundary-{kind}", title, data,
                   {"xaxis": axis(f"{'length' if kind == 'bond' else 'angle'} / {unit}"),
                    "yaxis": axis("probability density")},
                   "How they are distributed in the production, smoothed. The force field holds these terms, between "
                   "an atom of the potential and one of its own." if kind == "bond" else
                   "Angles that contain a cut bond, at either end of it.",
                   "a distribution that leaves the usual range of such a bond, or that drifts away over the run."
                   if kind == "bond" else "more than about ten degrees off what the same angle is elsewhere.")
        )  # fmt: skip
    return figures


def _density(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smooth a distribution by Gaussians, as wide as Silverman's rule says."""
    spread = float(np.std(values)) or 1e-6
    width = 1.06 * spread * len(values) ** -0.2
    x = np.linspace(values.min() - 3 * width, values.max() + 3 * width, 120)
    kernels = np.exp(-0.5 * ((x[:, None] - values[None]) / width) ** 2)
    return x, kernels.mean(axis=1) / (width * np.sqrt(2 * np.pi))
