"""The measurements as text: medians with the fastest and the slowest round, counted work, ratios."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from .committee_cost import CommitteeResult
from .model_cost import ModelResult
from .peers import PEERS
from .scaling import ScalingRow
from .setup_cost import SetupResult
from .step import StepResult

__all__ = ["committee_table", "hybrid_table", "model_table", "scaling_table", "step_table"]


def step_table(result: StepResult) -> str:
    """Write what a step costs.

    Parameters
    ----------
    result
        From `measure_step`.

    Returns
    -------
    str
        A table of medians and spreads, the counted work, the ratios, and how far the peers' forces are from ours.
    """
    lines = [*_setting(result.setting), "", *_times(result.times), ""]
    overhead = result.median("hybrid") - result.median("classical + model")
    lines.append(f"hybrid / (classical + model in one loop): {result.ratio('hybrid', 'classical + model'):.3f}")
    lines.append(f"overhead over that loop: {overhead:+.3f} ms")
    for peer in PEERS:
        if peer in result.times:
            lines.append(
                f"hybrid / {peer}: {result.ratio('hybrid', peer):.3f} "
                f"(forces within {result.differences[peer]:.1e} kJ/mol/nm of the hybrid's)"
            )
    if result.work:
        lines.append("work of the neural part a step: " + ", ".join(f"{v:g} {k}" for k, v in result.work.items()))
    return "\n".join(lines)


def hybrid_table(result: StepResult | SetupResult) -> str:
    """Write what a hybrid costs.

    Parameters
    ----------
    result
        From `measure_interpolation`, `measure_large_region` or `measure_setup`.

    Returns
    -------
    str
        A table, and for steps the ratios.
    """
    lines = [*_setting(result.setting), ""]
    if isinstance(result, SetupResult):
        names = list(result.seconds)
        lines.append(f"{'atoms':>6}  " + "".join(f"{name + ', s':>16}{name + ', MB':>16}" for name in names))
        for row, atoms in enumerate(result.atoms):
            cells = "".join(f"{result.seconds[name][row]:16.3f}{result.megabytes[name][row]:16.0f}" for name in names)
            lines.append(f"{atoms:6d}  {cells}")
        return "\n".join(lines)
    ratios = (("interpolated", "hybrid"), ("interpolated", "openmm-ml interpolated"), ("hybrid", "openmm-ml"))
    known = [(one, other) for one, other in ratios if {one, other} <= set(result.times)]
    lines += [*_times(result.times), ""]
    return "\n".join([*lines, *(f"{one} / {other}: {result.ratio(one, other):.3f}" for one, other in known)])


def model_table(result: ModelResult) -> str:
    """Write what an evaluation costs, TorchScript and compiled.

    Parameters
    ----------
    result
        From `measure_model`.

    Returns
    -------
    str
        Medians and ratios.
    """
    lines = [*_setting(result.setting), ""]
    lines.append(f"{'atoms':>6} {'edges':>7} {'.pt ms':>9} {'.pt2 ms':>9} {'ratio':>7}   difference of E, F")
    for atoms, times in result.times.items():
        scripted, compiled = (statistics.median(times[name]) for name in (".pt", ".pt2"))
        energy, forces = result.differences[atoms]
        lines.append(
            f"{atoms:6} {result.edges[atoms]:7} {scripted:9.3f} {compiled:9.3f} {result.ratio(atoms):7.3f}   "
            f"{energy:.1e} kJ/mol, {forces:.1e} kJ/mol/nm"
        )
    return "\n".join(lines)


def scaling_table(rows: Sequence[ScalingRow]) -> str:
    """Write how a step grows.

    Parameters
    ----------
    rows
        From `measure_environment` or `measure_region`.

    Returns
    -------
    str
        A table; times in ms a step, set-up in s.
    """
    lines = [
        f"{'atoms':>8} {'region':>7} {'set-up':>7} {'classical':>10} {'hybrid':>8} {'(min':>7} {'max)':>7} "
        f"{'neural part':>12} {'alone':>7} {'edges':>8} {'bytes':>9}"
    ]
    for row in rows:
        lines.append(
            f"{row.atoms:8d} {row.region:7d} {row.setup:7.2f} {row.classical[0]:10.2f} {row.hybrid[0]:8.2f} "
            f"{row.hybrid[1]:7.2f} {row.hybrid[2]:7.2f} {row.model:12.2f} {row.alone:7.2f} {row.work['edges']:8.0f} "
            f"{row.work['bytes']:9.0f}"
        )
    return "\n".join(lines)


def committee_table(result: CommitteeResult) -> str:
    """Write what the members of a committee cost.

    Parameters
    ----------
    result
        From `measure_committee`.

    Returns
    -------
    str
        Medians, spreads, and multiples of one member.
    """
    lines = [*_setting(result.setting), ""]
    names = f"{'median':>9} {'min':>9} {'max':>9} {'evaluations':>12} {'of one':>8}"
    lines.append(f"{'members':>7}  {'':10} {names}   ms for energy and forces")
    rows = sorted((size, name) for name, sizes in result.times.items() for size in sizes)
    for size, name in rows:
        values = result.times[name][size]
        lines.append(
            f"{size:7}  {name:10} {statistics.median(values):9.3f} {min(values):9.3f} {max(values):9.3f} "
            f"{result.evaluations[name][size]:12g} {result.ratio(name, size):8.2f}"
        )
    lines.append("")
    for name, (energy, forces) in result.differences.items():
        lines.append(f"{name}: {energy:.1e} kJ/mol and {forces:.1e} kJ/mol/nm from the mean of the members apart")
    return "\n".join(lines)


def _setting(setting: Mapping[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in setting.items()]


def _times(times: Mapping[str, list[float]]) -> list[str]:
    lines = [f"{'':22} {'median':>9} {'min':>9} {'max':>9}   ms a step"]
    for name, values in times.items():
        lines.append(f"{name:22} {statistics.median(values):9.3f} {min(values):9.3f} {max(values):9.3f}")
    return lines
