"""record.json: what ran."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import platform as machine
import sys
from typing import Any

import openmm

from .._version import __version__
from ..model.card_values import element_symbol
from ..systems.hybrid import HybridSystem
from .preparation import Prepared
from .runfile import RunFile

__all__ = ["check_unchanged", "make_record", "now", "versions"]

_PACKAGES = ("openmm", "torch", "numpy", "mdtraj")


def now() -> str:
    """Return the time, to the second, with its zone."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Return the versions of what a run depends on."""
    found = {"openmm_nn": __version__, "python": machine.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


# What makes the System and its dynamics; a run that has begun cannot have others.
_FIXED = (
    "structure",
    "forcefield",
    "potential",
    "region",
    "uncertainty.bias",
    "reporters.atoms",
    "dynamics.ensemble",
    "dynamics.integrator",
    "dynamics.temperature",
    "dynamics.friction",
    "dynamics.timestep",
    "dynamics.pressure",
    "dynamics.barostat_every",
)


def _fixed(runfile: RunFile) -> dict[str, str]:
    """Return a hash of every part that cannot change."""
    values = {key: json.dumps(runfile.document.values.get(key), sort_keys=True) for key in _FIXED}
    return {key: hashlib.sha256(text.encode()).hexdigest()[:16] for key, text in values.items()}


def check_unchanged(runfile: RunFile, record: dict[str, Any]) -> None:
    """Refuse to go on with a run file that would make another System.

    Parameters
    ----------
    runfile
        As it is in the run directory now.
    record
        Of the run.

    Raises
    ------
    RunFileError
        If a part was changed that has no effect any more, or that would not fit what was run.
    """
    before = record.get("fixed", {})
    for key in _FIXED:
        if key in before and _fixed(runfile)[key] != before[key]:
            raise runfile.error(
                key, got="something else than when the run began",
                allowed="changes of guards, of intervals, of the platform and of the length of the production",
                remedy="restore it, or begin a new run in another directory",
            )  # fmt: skip


def make_record(
    runfile: RunFile, prepared: Prepared, platform: openmm.Platform, properties: dict[str, str], stages: list[str]
) -> dict[str, Any]:
    """Make the record of a run that is about to begin.

    Parameters
    ----------
    runfile, prepared
        What was asked for, and what was made of it.
    platform, properties
        Of OpenMM.
    stages
        That will run.

    Returns
    -------
    dict
        What record.json holds.
    """
    potential, hybrid = prepared.potential, prepared.hybrid
    atoms = list(prepared.topology.atoms())
    chosen = [atoms[index].element for index in prepared.region]
    elements = [element_symbol(element.atomic_number) if element else "" for element in chosen]
    return {
        "openmm_nn": __version__,
        "versions": versions(),
        "title": runfile.title,
        "platform": platform.getName(),
        "platform_properties": properties,
        "card": None if potential is None else json.loads(potential.card.to_json()),
        "model_sha256": None if potential is None else potential.sha256,
        "potential": None if runfile.potential is None else runfile.potential.name,
        "folder": str(runfile.folder.resolve()),
        "fixed": _fixed(runfile),
        "run_file_sha256": hashlib.sha256(runfile.text.encode()).hexdigest(),
        "started": now(),
        "command": " ".join(sys.argv),
        "particles": prepared.system.getNumParticles(),
        "region": {
            "atoms": list(prepared.region),
            "elements": elements,
            "formula": _formula(elements, hybrid),
            "selection": None if runfile.region is None else runfile.region.select,
        },
        "links": []
        if hybrid is None
        else [
            {"inside": link.inside, "outside": link.outside, "rule": link.rule, "value": link.value}
            for link in hybrid.links
        ],
        "boundary_report": None if hybrid is None else str(hybrid.boundary_report()),
        "boundary": _boundary_rows(hybrid),
        "warnings": list(prepared.warnings),
        "integrator": {
            "name": runfile.dynamics.method,
            "friction_1/ps": runfile.dynamics.friction,
            "seed": runfile.dynamics.seed,
        },
        "ensemble": runfile.dynamics.ensemble,
        "temperature": runfile.dynamics.temperature,
        "pressure_bar": runfile.dynamics.pressure,
        "timestep": runfile.dynamics.timestep,
        "stages": [{"name": name, "steps": steps} for name, steps in runfile.stages.items() if name in stages],
        "status": "running",
        "reason": None,
    }


def _formula(elements: list[str], hybrid: HybridSystem | None) -> str:
    if hybrid is not None:
        return hybrid.region.formula
    from ..systems.hybrid.region import hill_formula

    return hill_formula(elements)


def _boundary_rows(hybrid: HybridSystem | None) -> list[dict[str, Any]] | None:
    if hybrid is None:
        return None
    return [
        {
            "inside": cut.inside,
            "outside": cut.outside,
            "names": list(cut.names),
            "bond": cut.kind.kind,
            "length_nm": cut.length,
            "link_rule": cut.link.rule,
            "link_distance_nm": cut.distance,
        }
        for cut in hybrid.boundary_report().cuts
    ]
