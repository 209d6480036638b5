"""The examination of a potential before a run."""

from __future__ import annotations

from ..disk import write_atomically
from ..errors import RunError
from .directory import RunDirectory
from .preparation import Prepared
from .runfile import RunFile
from .schema import Region

__all__ = ["examine"]

_TEMPERATURE = 300.0  # K, where a run names none


def examine(runfile: RunFile, prepared: Prepared, place: RunDirectory) -> list[str]:
    """Examine the potential at the region's own positions, with its link atoms, and write preflight.json.

    Parameters
    ----------
    runfile
        With the conditions of the run.
    prepared
        With a potential.
    place
        Where the report goes.

    Returns
    -------
    list of str
        What was found that is worth a warning.

    Raises
    ------
    RunError
        If a check fails.
    """
    if prepared.potential is None:
        return []
    from ..checks import preflight

    hybrid = prepared.hybrid
    periodic = hybrid is None and prepared.system.usesPeriodicBoundaryConditions()
    told = None if hybrid is None else hybrid.boundary_report()
    region = runfile.region or Region()
    report = preflight(
        prepared.topology,
        prepared.potential,
        prepared.positions,
        None if hybrid is None else hybrid.region,
        box=prepared.topology.getPeriodicBoxVectors() if periodic else None,
        charge=region.charge if told is None else told.charge,
        multiplicity=region.multiplicity,
        parameters=runfile.potential.parameters if runfile.potential is not None else None,
        timestep=runfile.dynamics.timestep,
        temperature=runfile.dynamics.temperature or _TEMPERATURE,
    )
    write_atomically(place.preflight, report.to_json() + "\n")
    failed = [check for check in report.checks if check.verdict == "fail"]
    if failed:
        found = "; ".join(f"{check.name} ({check.advice or 'no advice'})" for check in failed)
        raise RunError(
            "preflight", f"checks that failed: {found}", "a potential that passes",
                    f"look at {place.preflight}; to run in spite of it, write `preflight: false` in "
                    f"{place.runfile} and `openmm-nn continue {place.path}`"
        )  # fmt: skip
    return [f"preflight, {check.name}: {check.advice}" for check in report.checks if check.verdict == "warn"]
