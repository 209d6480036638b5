"""The sections of the report, their tables and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..runs import RunDirectory
from ..runs.reading import read_table
from .energy_figures import energy_figures, performance_figures, production, temperature_figures, timeline
from .figure import Figure, with_error
from .neural_figures import interaction_figures, twin_figures, uncertainty_figures
from .structure_figures import boundary_figures, structure_figures
from .words import command, duration, formula, integrator, length, moment, number

__all__ = ["Fact", "Section", "Table", "facts", "make_sections"]


@dataclass(frozen=True)
class Fact:
    """A number at the head of the page."""

    label: str
    value: str
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page; the first column names the row."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    verdicts: bool = False


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    key: str
    title: str
    text: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    blocks: Sequence[tuple[str, str]] = field(default=())
    viewer: bool = False
    short: str = ""


def facts(run: RunDirectory, analysis: dict[str, Any]) -> list[Fact]:
    """Return what the head of the page shows."""
    record, found = run.record, []
    rows = production(timeline(run)[0])
    planned = sum(float(stage.get("steps") or 0) for stage in record.get("stages") or () if stage.get("name") ==
                  "produce") * float(record.get("timestep") or 0.0)  # fmt: skip
    if len(rows.get("time_ps", ())):
        done = float(rows["time_ps"].max())
        found.append(Fact("production", f"{done:.4g}", "ps", f"of {planned:.4g} ps" if planned else ""))
    region = record.get("region") or {}
    if region.get("atoms"):
        found.append(Fact("region", str(len(region["atoms"])), "atoms", formula(region.get("formula"))))
    averages = ((analysis.get("energies") or {}).get("produce") or {}).get("averages") or {}
    if "temperature" in averages:
        value = averages["temperature"]
        target = f"thermostat {run.temperature:g} K" if run.temperature else ""
        found.append(Fact("temperature", with_error(value["mean"], value["error"], 1), "K", target))
    sigma = analysis.get("uncertainty")
    if sigma:
        found.append(Fact("σ of a force", f"{sigma['sigma_F']:.3g}", "kJ/mol/nm", f"{sigma['members']} members"))
    speed = rows.get("speed_ns/day", np.empty(0))
    speed = speed[np.isfinite(speed)] if speed.dtype.kind == "f" else np.empty(0)
    if len(speed):
        found.append(Fact("speed", f"{np.median(speed):.3g}", "ns/day", f"platform {record.get('platform')}"))
    frames = (analysis.get("trajectory") or {}).get("frames")
    if frames:
        flagged = len(read_table(run.path / "flagged.csv").get("time_ps", ()))
        found.append(Fact("frames", f"{frames:,}", "", f"{flagged} flagged" if flagged else "none flagged"))
    return found


def make_sections(run: RunDirectory, analysis: dict[str, Any]) -> list[Section]:
    """Return the sections that have something in them, in the order of the page."""
    sections = [
        Section("structure", "The structure", short="Structure", viewer=True,
                text="Drag to turn it. The region is drawn as balls and sticks, what is around it as thin sticks; "
                "frames are superposed on the region."),
        _ran(run),
        _preflight(run),
        _boundary(run, analysis),
        Section("energies", "Energies and drift", short="Energies", figures=energy_figures(run, analysis),
                tables=_energy_tables(analysis)),
        Section("temperature", "Temperature and density", short="Temperature",
                figures=temperature_figures(run, analysis), text=_volume(run)),
        Section("shape", "Structure over time", short="Shape", figures=structure_figures(run, analysis),
                tables=_averages(analysis), text="Computed by MDTraj from the frames of the production."),
        _neural(run, analysis),
        Section("environment", "Region and environment", short="Environment",
                figures=interaction_figures(run, analysis), tables=_ledger(analysis)),
        Section("twin", "Beside its classical twin", figures=twin_figures(run, analysis), tables=_twin(analysis)),
        Section("performance", "Performance", figures=performance_figures(run, analysis)),
        _rest(run, analysis),
    ]  # fmt: skip
    return [part for part in sections if part.figures or part.tables or part.blocks or part.viewer]


def _pairs(title: str, rows: Sequence[tuple[str, Any]], note: str = "") -> list[Table]:
    kept = [(name, _text(value)) for name, value in rows if value not in (None, "", [], {})]
    return [Table(title, (), kept, note)] if kept else []


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _ran(run: RunDirectory) -> Section:
    record = run.record
    card = record.get("card") or {}
    region = record.get("region") or {}
    step = record.get("timestep")
    pressure = record.get("pressure_bar")
    general = _pairs("Run", [
        ("started", moment(record.get("started"))), ("finished", moment(record.get("finished"))),
        ("took", duration(record.get("started"), record.get("finished"))), ("command", command(record.get("command"))),
        ("platform", record.get("platform")), ("particles", record.get("particles")),
        ("ensemble", record.get("ensemble")),
        ("integrator", integrator(record.get("integrator") or {})),
        ("temperature", None if run.temperature is None else f"{run.temperature:g} K"),
        ("pressure", None if pressure is None else f"{pressure:g} bar"),
        ("time step", None if step is None else f"{1000 * float(step):g} fs"),
        ("stages", [f"{stage.get('name')} {stage.get('steps'):,} steps" for stage in record.get("stages") or ()
                    if isinstance(stage, dict) and stage.get("steps") is not None]),
    ])  # fmt: skip
    potential = _pairs("Potential", [
        ("name", card.get("name")), ("version", card.get("version")), ("description", card.get("description")),
        ("level of theory", card.get("level_of_theory")), ("trained on", card.get("trained_on")),
        ("elements", card.get("elements")), ("members", card.get("committee_size")),
        ("cutoff", None if card.get("cutoff") is None else length(card["cutoff"], card.get("length_unit"))),
        ("format", card.get("format")), ("precision", card.get("dtype")), ("license", card.get("license")),
        ("references", card.get("references")), ("SHA-256 of its file", record.get("model_sha256")),
    ])  # fmt: skip
    atoms = _pairs("Region", [
        ("selection", region.get("selection")), ("formula", formula(region.get("formula"))),
        ("atoms", len(region.get("atoms") or ()) or None),
        ("cut bonds", len(record.get("links") or ()) if region.get("atoms") else None),
    ])  # fmt: skip
    versions = _pairs(
        "Versions", list({"openmm_nn": record.get("openmm_nn"), **(record.get("versions") or {})}.items())
    )
    run_file = run.text("run.yaml")
    return Section("ran", "What ran", tables=[*general, *versions, *potential, *atoms],
                   blocks=[("Run file", run_file)] if run_file else [])  # fmt: skip


_VERDICTS = {"fail": "failed", "warn": "with a warning", "pass": "passed", "skipped": "skipped"}


_SIGNS = {"short_range_wall": "≥", "largest_stable_step": "≥", "stretch_frequency": "≈"}
"""How what was found is compared with its limit, where more is not worse."""


def _preflight(run: RunDirectory) -> Section:
    report = run.json("preflight.json") or {}
    rows = []
    for check in report.get("checks") or []:
        value, unit = check.get("value"), str(check.get("unit") or "")
        shown = "" if value is None else f"{number(value)} {unit}".strip()
        sign = _SIGNS.get(str(check["name"]), "≤")
        limit = "" if check.get("limit") is None else f"{sign} {number(check['limit'])} {unit}".strip()
        rows.append((str(check["name"]).replace("_", " "), str(check["verdict"]), shown, limit,
                     str(check.get("advice") or "")))  # fmt: skip
    tables = [Table("", ("check", "verdict", "found", "limit", "what it means"), rows, verdicts=True)] if rows else []
    counts = Counter(row[1] for row in rows)
    summary = ", ".join(f"{counts[verdict]} {word}" for verdict, word in _VERDICTS.items() if counts[verdict])
    text = f"What was asked of the potential before the first step: {summary}."
    return Section("preflight", "Preflight", text, tables=tables)


def _boundary(run: RunDirectory, analysis: dict[str, Any]) -> Section:
    text = run.record.get("boundary_report")
    tables = []
    cuts = run.record.get("boundary") or []
    if cuts:
        rows = [
            (" – ".join(map(str, cut.get("names") or (cut.get("inside"), cut.get("outside")))), str(cut.get("bond")),
             "" if cut.get("length_nm") is None else f"{cut['length_nm']:.4f}", str(cut.get("link_rule")),
             f"{cut['link_distance_nm']:.4f}" if cut.get("link_distance_nm") is not None else "")
            for cut in cuts
        ]  # fmt: skip
        header = ("cut bond, region first", "kind", "length / nm", "link rule", "link distance / nm")
        tables.append(Table("Cut bonds", header, rows))
    measured = (analysis.get("boundary") or {}).get("rows") or []
    if measured:
        factor = {"rad": (180 / np.pi, "°"), "nm": (1.0, "nm")}
        lines: list[tuple[str, ...]] = []
        for row in measured:
            scale, unit = factor[row["unit"]]
            lines.append(
                (row["name"], row["kind"], f"{scale * row['mean']:.4g} {unit}", f"{scale * row['std']:.2g} {unit}")
            )
        tables.append(Table("In the run", ("atoms", "what", "mean", "standard deviation"), lines))
    blocks = [("Boundary report: terms removed and kept, charges", str(text))] if text else []
    says = "Bonds between the region and the rest are closed by a hydrogen inside the potential." if cuts else ""
    return Section("boundary", "The boundary", says, boundary_figures(run, analysis), tables, blocks, short="Boundary")


def _energy_tables(analysis: dict[str, Any]) -> list[Table]:
    rows = []
    for stage, result in (analysis.get("energies") or {}).items():
        drift = result.get("drift")
        if drift:
            rows.append((stage, with_error(drift["slope"], drift["error"]), f"{drift['significance']:+.1f}",
                         f"{drift['std']:.3g}", f"{drift['duration']:.3g}",
                         f"{drift['inefficiency']:.1f}"))  # fmt: skip
    header = ("stage", "slope / kJ/mol/ps", "in standard errors", "scatter / kJ/mol", "length / ps",
              "rows for an independent one")  # fmt: skip
    note = ("A line through the total energy. The error allows for the memory of what the line leaves; beyond three "
            "standard errors it is not chance.")  # fmt: skip
    return [Table("Drift of the total energy", header, rows, note)] if rows else []


_OBSERVED = {
    "rmsd_nm": ("RMSD of heavy atoms to the first frame", "nm"),
    "rg_nm": ("radius of gyration", "nm"),
    "sasa_nm2": ("surface that water can touch", "nm²"),
    "hydrogen_bonds_within": ("hydrogen bonds within the region", ""),
    "hydrogen_bonds_given": ("hydrogen bonds given to the surroundings", ""),
    "hydrogen_bonds_accepted": ("hydrogen bonds accepted from the surroundings", ""),
    "dssp_helix": ("residues in helices", "share"),
    "dssp_strand": ("residues in strands", "share"),
    "dssp_coil": ("residues in neither", "share"),
}


def _averages(analysis: dict[str, Any]) -> list[Table]:
    found = (analysis.get("structure") or {}).get("averages") or {}
    rows = [
        (label, f"{with_error(row['mean'], row['error'])} {unit}".strip(), f"{row['std']:.2g}",
         f"{row['independent']:.0f} of {row['frames']}")
        for name, (label, unit) in _OBSERVED.items()
        if (row := found.get(name)) and row["std"] > 0
    ]  # fmt: skip
    header = ("observable", "mean", "standard deviation", "independent frames")
    return [Table("Averages", header, rows, "With standard errors that allow for correlation in time.")] if rows else []


def _volume(run: RunDirectory) -> str:
    rows = production(timeline(run)[0])
    volume, density = rows.get("volume_nm3", np.empty(0)), rows.get("density_g/mL", np.empty(0))
    if not len(volume) or not np.isfinite(volume).all() or np.ptp(volume) > 1e-6 * volume[0]:
        return ""
    text = f"The volume was kept at {volume[0]:.4g} nm³"
    return f"{text}, a density of {density[0]:.3g} g/mL." if len(density) and np.isfinite(density[0]) else f"{text}."


def _neural(run: RunDirectory, analysis: dict[str, Any]) -> Section:
    figures = uncertainty_figures(run, analysis)
    table = read_table(run.path / "flagged.csv")
    rows = []
    force = table.get("sigma_F_max_kJ/mol/nm", table.get("sigma_F_max", np.empty(0)))
    for index in np.argsort(force)[::-1][:8]:
        rows.append((f"{table['time_ps'][index]:.4g} ps", str(table.get("stage", ["produce"] * len(force))[index]),
                     f"{force[index]:.4g}", str(int(table["atom"][index]))))  # fmt: skip
    tables = []
    if rows:
        header = ("time", "stage", "largest σ of a force / kJ/mol/nm", "atom")
        note = f"{len(force)} frames were flagged; all are in flagged.xtc."
        tables.append(Table("Flagged frames with the largest σ", header, rows, note))
    return Section("uncertainty", "What the committee does not know", figures=figures, tables=tables, short="Committee")


def _ledger(analysis: dict[str, Any]) -> list[Table]:
    part = analysis.get("ledger")
    if not part:
        return []
    names = {"EE": "environment with itself", "RE": "pairs across the boundary", "link": "bonded terms across the cut",
             "RR classical": "the region's own classical energy", "RR removed": "the same, left out by the hybrid",
             "images": "region with its periodic images", "dispersion": "long-range corrections", "implicit solvent":
             "implicit solvent", "NN": "the potential", "bias": "biases", "restraints": "restraints",
             "other": "other forces"}  # fmt: skip
    rows = [
        (name, names.get(name, ""), f"{mean:,.2f}".replace("-", "−"))
        for name, mean in part["means"].items()
        if mean != 0.0
    ]
    note = (
        f"The terms are computed one by one, and miss OpenMM's total by {part['largest_residual']:.2g} kJ/mol at most."
    )
    return [Table("Ledger, mean over the frames", ("term", "what it holds", "kJ/mol"), rows, note)]


def _twin(analysis: dict[str, Any]) -> list[Table]:
    part = analysis.get("twin")
    tables = []
    if part:
        rows = [(name.removesuffix("_nm").replace("_", " "), f"{row['first']['mean']:.4g}",
                 f"{row['second']['mean']:.4g}", with_error(row["difference"], row["error"]),
                 f"{row['significance']:+.1f}") for name, row in part["differences"].items()]  # fmt: skip
        rows += [(f"{name}: divergence", "", "", f"{value:.3f} of 0.693", "") for name, value in
                 part["dihedrals"].items()]  # fmt: skip
        header = ("observable", "this run", "twin", "difference", "in standard errors")
        tables.append(Table("Averages in both runs", header, rows, "Lengths in nm, areas in nm²."))
    weights = analysis.get("reweighting")
    if weights:
        tables += _pairs("The twin's frames, reweighted to this run's energy", [
            ("effective frames", f"{weights['effective_size']:.1f}"),
            ("share of all", f"{100 * weights['efficiency']:.1f} %"),
            ("free energy difference", f"{with_error(weights['free_energy'], weights['free_energy_error'])} kJ/mol"),
        ], "Under some tens of effective frames, reweighted averages are not to be believed.")  # fmt: skip
    return tables


def _rest(run: RunDirectory, analysis: dict[str, Any]) -> Section:
    rows = [(str(row["what"]).replace("_", " "), str(row["why"])) for row in analysis.get("not_computed") or ()]
    tables = [Table("Not computed", ("part", "why"), rows)] if rows else []
    events = run.events()[-20:]
    if events:
        told = [(f"{event.get('stage')}, {event.get('time_ps')} ps", str(event.get("guard")), str(event.get("action")),
                 str(event.get("message"))) for event in events]  # fmt: skip
        tables.append(Table("What guards said", ("when", "guard", "then", "message"), told))
    return Section("rest", "The rest", tables=tables)
