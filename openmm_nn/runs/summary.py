"""What a run file would run, in words."""

from __future__ import annotations

from ..dynamics.committee_spread import find_committee
from .driver import Intervals
from .preparation import choose_platform, prepare
from .runfile import RunFile

__all__ = ["summarise"]

_FS_PER_PS = 1000


def summarise(runfile: RunFile) -> str:
    """Make the System of a run file, and say what would run.

    Parameters
    ----------
    runfile
        Checked.

    Returns
    -------
    str
        Some lines.

    Raises
    ------
    RunFileError
        If it cannot be run.
    """
    platform, _ = choose_platform(runfile)
    prepared = prepare(runfile)
    atoms, residues = prepared.topology.getNumAtoms(), prepared.topology.getNumResidues()
    box = prepared.topology.getPeriodicBoxVectors()
    shape = "no box" if box is None else "box " + " × ".join(f"{box[i][i]._value:.3f}" for i in range(3)) + " nm"
    lines = [f"{runfile.document.name} can be run", f"structure    {atoms} atoms in {residues} residues, {shape}"]
    potential = prepared.potential
    if potential is not None:
        members = f", {potential.card.committee_size} members" if potential.card.committee_size > 1 else ""
        lines.append(
            f"potential    {potential.card.name}{members}: {potential.card.level_of_theory or 'no level given'}"
        )
        lines.append(f"region       {len(prepared.region)} of {atoms} atoms")
    intervals = Intervals.of(runfile, find_committee(prepared.system) is not None)
    dynamics = runfile.dynamics
    temperature = "" if dynamics.temperature is None else f", {dynamics.temperature:g} K"
    lines.append(
        f"dynamics     {dynamics.ensemble}, {dynamics.method}{temperature}, "
        f"{dynamics.timestep * _FS_PER_PS:g} fs, on {platform.getName()}"
    )
    for stage, steps in runfile.stages.items():
        if steps:
            lines.append(f"{stage:<12} {steps} steps, {steps * dynamics.timestep:g} ps")
    lines.append(
        f"written      the log every {intervals.log} steps, {runfile.stages['produce'] // intervals.trajectory} frames "
        f"every {intervals.trajectory}, a checkpoint every {intervals.checkpoint}"
    )
    lines += [f"warning      {text}" for text in prepared.warnings]
    if prepared.hybrid is not None:
        lines += ["", str(prepared.hybrid.boundary_report())]
    return "\n".join(lines)
