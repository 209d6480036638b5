"""What a reader should know before anything else, worst first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..runs import RunDirectory
from ..runs.reading import read_table
from .energy_figures import production, timeline
from .figure import with_error

__all__ = ["Notice", "collect_notices"]

_ORDER = {"bad": 0, "warn": 1, "note": 2}
_LIQUID = (0.9, 1.15)  # g/mL: of water and what is dissolved in it
_FEW = 50  # independent frames


@dataclass(frozen=True)
class Notice:
    """Something to know.

    Parameters
    ----------
    level
        ``bad``: do not trust the run before this is understood; ``warn``: look at it; ``note``: good to know.
    title
        A few words.
    text
        What was found, and what to do.
    """

    level: str
    title: str
    text: str


def collect_notices(run: RunDirectory, analysis: dict[str, Any]) -> list[Notice]:
    """Collect the warnings of a run.

    Parameters
    ----------
    run
        The directory.
    analysis
        What analysis.json holds; empty if there is none.

    Returns
    -------
    list of Notice
        Worst first; empty if nothing was found.
    """
    found = [*_status(run), *_guards(run), *_preflight(run), *_said(run), *_energies(run, analysis),
             *_density(run), *_sampling(analysis), *_committee(run), *_ledger(analysis)]  # fmt: skip
    return sorted(found, key=lambda notice: _ORDER[notice.level])


def _status(run: RunDirectory) -> list[Notice]:
    if run.status == "stopped":
        reason = str(run.record.get("reason") or "No reason was recorded.")
        return [Notice("bad", "The run was stopped", reason[:1].upper() + reason[1:])]
    if run.status != "finished":
        rows = production(timeline(run)[0])
        done = f"{rows['t'].max():.4g} ps were logged so far. " if len(rows.get("t", ())) else ""
        text = f"{done}The figures show what was there when this page was made; make it again when the run has ended."
        return [Notice("warn", "The run had not finished", text)]
    return []


def _guards(run: RunDirectory) -> list[Notice]:
    events = [event for event in run.events() if event.get("action") != "stop"]
    notices = []
    for guard, count in Counter(str(event.get("guard")) for event in events).items():
        last = next(event for event in reversed(events) if str(event.get("guard")) == guard)
        times = "once" if count == 1 else f"{count} times"
        text = f"The guard tripped {times}; the last time: {last.get('message')}"
        notices.append(Notice("warn", f"Guard {guard!r}", text))
    return notices


def _preflight(run: RunDirectory) -> list[Notice]:
    checks = (run.json("preflight.json") or {}).get("checks") or []
    if run.record.get("card") and not checks:
        text = ("`openmm-nn preflight`, or `preflight: true` in the run file, examines a potential on the structure "
                "from which a run starts: forces, symmetries, units, smoothness, drift, and whether the members of a "
                "committee agree there.")  # fmt: skip
        return [Notice("note", "The potential was not examined before it ran", text)]
    levels = {"fail": "bad", "warn": "warn"}
    return [
        Notice(levels[check["verdict"]], f"Preflight: {check['name']}", str(check.get("advice") or ""))
        for check in checks
        if check.get("verdict") in levels
    ]


def _said(run: RunDirectory) -> list[Notice]:
    return [Notice("warn", "Said when the run was prepared", str(text)) for text in run.record.get("warnings") or ()]


def _energies(run: RunDirectory, analysis: dict[str, Any]) -> list[Notice]:
    notices = []
    result = (analysis.get("energies") or {}).get("produce") or {}
    drift = result.get("drift")
    if drift and abs(drift["significance"]) > 3:
        slope = f"{with_error(drift['slope'], drift['error'])} kJ/mol/ps"
        if run.record.get("ensemble") == "NVE":
            text = f"The total energy drifts by {slope}. Halve the time step and compare."
            notices.append(Notice("bad", "Energy is not conserved", text))
        else:
            text = f"The total energy still moves by {slope} under the thermostat. Equilibrate longer."
            notices.append(Notice("warn", "The production had not equilibrated", text))
    kelvin = (result.get("averages") or {}).get("temperature")
    target = run.temperature
    if kelvin and target and run.record.get("ensemble") != "NVE":
        off = kelvin["mean"] - target
        if abs(off) > max(3 * kelvin["error"], 0.01 * target):
            text = (f"The mean is {with_error(kelvin['mean'], kelvin['error'])} K, and the thermostat was set to "
                    f"{target:g} K. A shorter time step, or a longer equilibration, brings them together.")  # fmt: skip
            notices.append(Notice("warn", "The temperature is not the thermostat's", text))
    return notices


def _density(run: RunDirectory) -> list[Notice]:
    topology = run.topology_file()
    rows = production(timeline(run)[0])
    if topology is None or "density_g/mL" not in rows:
        return []
    known = rows["density_g/mL"][np.isfinite(rows["density_g/mL"])]
    if not len(known):
        return []
    import mdtraj

    atoms = mdtraj.load_topology(str(topology))
    water = len(atoms.select("water")) / max(1, atoms.n_atoms)
    density = float(np.mean(known[len(known) // 2 :]))
    if water < 0.5 or _LIQUID[0] <= density <= _LIQUID[1]:
        return []
    fix = ("equilibrate longer" if run.record.get("ensemble") == "NPT" else
           "let the force field alone (a run file without `potential` and `region`) equilibrate it at constant "
           "pressure, and begin with that run's equilibrated.pdb")  # fmt: skip
    text = f"{100 * water:.0f} % of the atoms are water, at {density:.2f} g/mL"
    text += ", so that part of the box is empty" if density < _LIQUID[0] else ""
    return [Notice("warn", "The density is not that of a liquid", f"{text}. To fix: {fix}; or make the box anew.")]


def _sampling(analysis: dict[str, Any]) -> list[Notice]:
    rows = (analysis.get("free_energy") or {}).get("residues") or []
    few = [row for row in rows if row["independent_frames"] < _FEW]
    if not few:
        return []
    least = min(few, key=lambda row: row["independent_frames"])
    text = (
        f"The dihedrals of {least['residue']} gave {least['independent_frames']:.0f} independent frames. The free "
        f"energy shows where the run has been; {_FEW} or more would begin to say where the molecule is."
    )
    return [Notice("warn", "Too short for a free energy", text)]


def _committee(run: RunDirectory) -> list[Notice]:
    flagged = len(read_table(run.path / "flagged.csv").get("time_ps", ()))
    seen = sum(len(table["t"]) for table in timeline(run, "uncertainty.csv")[0].values())
    if not flagged:
        return []
    share = f" of {seen} that were looked at" if seen >= flagged else ""
    text = (f"{flagged} frames{share} were over the threshold of σ and are kept in flagged.xtc. Label some of them, or "
            "read the figures of σ to see whether the threshold was sharp.")  # fmt: skip
    return [Notice("warn", "Frames outside of what the committee knows", text)]


def _ledger(analysis: dict[str, Any]) -> list[Notice]:
    residual = (analysis.get("ledger") or {}).get("largest_residual")
    notices = []
    if residual is not None and residual > 0.1:
        text = f"Its terms miss OpenMM's total by up to {residual:.2g} kJ/mol. Compute it on the Reference platform."
        notices.append(Notice("warn", "The ledger does not close", text))
    changed = (analysis.get("ledger") or {}).get("changed")
    if changed:
        text = f"What the hybrid derived from them has the old ones: {'; '.join(changed)}."
        notices.append(Notice("warn", "Classical parameters of the region are not those of the run file", text))
    truncated = (analysis.get("trajectory") or {}).get("truncated")
    if truncated:
        notices.append(
            Notice("warn", "The trajectory ends in the middle of a frame", f"What came before was read ({truncated}).")
        )
    return notices
