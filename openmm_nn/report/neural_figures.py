"""Figures of what only a hybrid has: deviations of the committee, interaction with the environment, the ledger."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..runs import RunDirectory
from ..runs.reading import read_table
from .energy_figures import timeline
from .figure import Figure, axis, line, thin

__all__ = ["interaction_figures", "twin_figures", "uncertainty_figures"]


def uncertainty_figures(run: RunDirectory, analysis: dict[str, Any]) -> list[Figure]:
    """Figures of σ over time and by atom."""
    stages, marks = timeline(run, "uncertainty.csv")
    figures = []
    if stages:
        columns = ("t", "sigma_E_kJ/mol", "sigma_F_max_kJ/mol/nm")
        t, energy, force = (np.concatenate([table[name] for table in stages.values()]) for name in columns)
        figures.append(
            Figure("sigma-energy", "Deviation of the committee: energy",
                   [line(*thin(t, energy), "σ of the energy", "@c5")],
                   {"xaxis": axis("time / ps"), "shapes": marks, "showlegend": False,
                    "yaxis": axis("σ<sub>E</sub> / kJ mol⁻¹", rangemode="tozero")},
                   "Standard deviation among the members' energies. Where they agree they can still all be wrong; "
                   "where they do not, at least one of them is.",
                   "a deviation that climbs, or that is several times RT (2.5 kJ/mol at 300 K).")
        )  # fmt: skip
        data = [line(*thin(t, force), "largest σ of a force", "@c5")]
        data += _flagged(run, stages)
        figures.append(
            Figure("sigma-force", "Deviation of the committee: forces", data,
                   {"xaxis": axis("time / ps"), "shapes": marks,
                    "yaxis": axis("largest σ<sub>F</sub> / kJ mol⁻¹ nm⁻¹", rangemode="tozero")},
                   "The largest deviation of a force on any atom. Marked frames were over the threshold of the run "
                   "and are kept in flagged.xtc, for labelling.",
                   "spikes far over the rest: the region was where the potential has not been trained.")
        )  # fmt: skip
    return figures + _by_atom(run, analysis)


def _flagged(run: RunDirectory, stages: dict[str, Any]) -> list[dict[str, Any]]:
    table = read_table(run.path / "flagged.csv")
    if not table or "time_ps" not in table:
        return []
    force = table.get("sigma_F_max_kJ/mol/nm", table.get("sigma_F_max"))
    names = table.get("stage", np.full(len(table["time_ps"]), list(stages)[-1]))
    starts = {name: float(rows["t"][0] - rows["time_ps"][0]) for name, rows in stages.items()}
    t = table["time_ps"] + np.array([starts.get(str(name), 0.0) for name in names])
    return [{"type": "scatter", "mode": "markers", "x": t[-500:], "y": None if force is None else force[-500:],
             "name": f"flagged ({len(t)})", "marker": {"color": "@c6", "size": 6, "symbol": "diamond"}}]  # fmt: skip


def _by_atom(run: RunDirectory, analysis: dict[str, Any]) -> list[Figure]:
    part = analysis.get("uncertainty") or {}
    table = read_table(run.path / str(part.get("atoms", "-")))
    if not table:
        return []
    names = [f"{name} ({int(atom)})" for name, atom in zip(table["name"], table["atom"], strict=True)]
    data = [
        {"type": "bar", "x": names, "y": table["sigma_F_kJ/mol/nm"], "name": "root mean square",
         "marker": {"color": "@c5"}},
        {"type": "scatter", "mode": "markers", "x": names, "y": table["sigma_F_max_kJ/mol/nm"], "name": "largest",
         "marker": {"color": "@c6", "size": 5}},
    ]  # fmt: skip
    return [
        Figure("sigma-atoms", "Deviation of the committee: by atom", data,
               {"xaxis": axis("atom", showticklabels=len(names) <= 40, showgrid=False, tickfont={"size": 9}),
                "yaxis": axis("σ<sub>F</sub> / kJ mol⁻¹ nm⁻¹", rangemode="tozero")},
               f"{part['members']} members were asked about every frame that was read: root mean square over the "
               f"frames, and the largest value. Over all atoms it is {part['sigma_F']:.3g} kJ/mol/nm.",
               "one group that stands out: label structures of it, and train again.", wide=True)
    ]  # fmt: skip


def interaction_figures(run: RunDirectory, analysis: dict[str, Any]) -> list[Figure]:
    """Figures of the energy between region and environment, and of the ledger."""
    figures = []
    part = analysis.get("interaction") or {}
    table = read_table(run.path / str(part.get("series", "-")))
    if len(table.get("time_ps", ())) > 1:
        t = table["time_ps"]
        data = [line(t, table["total_kJ/mol"], "together", "@ink"),
                line(t, table["coulomb_kJ/mol"], "Coulomb", "@c1"),
                line(t, table["van_der_waals_kJ/mol"], "van der Waals", "@c3")]  # fmt: skip
        figures.append(
            Figure("interaction", "Region and environment", data,
                   {"xaxis": axis("time in production / ps"), "yaxis": axis("E / kJ mol⁻¹")},
                   "Nonbonded energy of all pairs across the boundary. In mechanical embedding it is the force "
                   "field's, with the charges that the region has in it.",
                   "a drift of the Coulomb part that no change of structure explains, or repulsion (van der Waals "
                   "well over zero), which says that something is too close.")
        )  # fmt: skip
    ledger = analysis.get("ledger") or {}
    table = read_table(run.path / str(ledger.get("series", "-")))
    if len(table.get("time_ps", ())) > 1:
        shown = [name for name in ledger["means"] if np.ptp(table[f"{name}_kJ/mol"]) > 1e-6]
        shown = [name for name in shown if name != "RR removed"]
        data = [
            {"type": "bar", "orientation": "h", "y": shown[::-1], "x": [float(np.std(table[f"{name}_kJ/mol"])) for name
             in shown[::-1]], "marker": {"color": "@c4"}, "hovertemplate": "%{y}: ± %{x:.1f} kJ/mol<extra></extra>"}
        ]  # fmt: skip
        figures.append(
            Figure("ledger", "What fluctuates", data,
                   {"xaxis": axis("standard deviation / kJ mol⁻¹"), "showlegend": False, "bargap": 0.35,
                    "yaxis": axis("term", showgrid=False)},
                   "How much each term of the ledger moves from frame to frame; the means are in the table.",
                   "a link term that fluctuates like the whole region.")
        )  # fmt: skip
    return figures


def twin_figures(run: RunDirectory, analysis: dict[str, Any]) -> list[Figure]:
    """Figures of the comparison with a classical twin."""
    part = analysis.get("twin") or {}
    table = read_table(run.path / str(part.get("rdf", "-")))
    if len(table.get("r_nm", ())) < 3:
        return []
    data = [line(table["r_nm"], table["g"], "this run", "@c5"), line(table["r_nm"], table["g_twin"], "its twin", "@c1")]
    return [
        Figure("twin-rdf", "Water around the region, and around its twin", data,
               {"xaxis": axis("r / nm"), "yaxis": axis("g(r)", rangemode="tozero")},
               "Radial distribution of water oxygens around the heavy atoms of the region in both runs.",
               "a first shell that moves by more than 0.01 nm: the region's shape has changed what the water sees.")
    ]  # fmt: skip
