"""The protocol: minimise, equilibrate, produce, in a directory from which a run that died goes on."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openmm
from openmm import app

from ..disk import write_atomically
from ..errors import OpenMMNNError, RunError
from ..potentials.loading import trust_hash
from .checkpoints import Point, load_point, restore, trim
from .directory import RunDirectory
from .driver import Dynamics, Stopped
from .examine import examine
from .preparation import choose_platform, make_integrator, prepare
from .progress import Progress, ProgressCallback
from .record import check_unchanged, make_record, now
from .runfile import RunFile

__all__ = ["RunResult", "continue_run", "run"]

_LARGEST_PDB = 99_999


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Parameters
    ----------
    directory
        Where everything is.
    status
        ``finished`` or ``stopped``.
    reason
        Why it was stopped, and what to look at.
    warnings
        What was said on the way.
    """

    directory: Path
    status: str
    reason: str | None
    warnings: tuple[str, ...]


def run(runfile: RunFile | str | Path, directory: str | Path, *, progress: ProgressCallback | None = None) -> RunResult:
    """Run a run file in a new directory.

    Parameters
    ----------
    runfile
        A `RunFile`, or the path of one.
    directory
        New or empty.
    progress
        Called with a `Progress` now and then.

    Returns
    -------
    RunResult
        Whether it finished, or was stopped by a guard, and why.

    Raises
    ------
    RunFileError
        If the run file cannot be run.
    RunError
        If the directory holds something else, or the disk refuses; what was run until the last checkpoint is kept.

    Examples
    --------
    >>> from openmm_nn.runs import run
    >>> result = run("run.yaml", "output")  # doctest: +SKIP
    """
    chosen = runfile if isinstance(runfile, RunFile) else RunFile.load(runfile)
    place = RunDirectory(directory)
    place.create()
    place.lock()
    try:
        # The record comes first: with the run file there, the run can go on.
        place.write_record({"folder": str(chosen.folder.resolve()), "status": "running", "started": now()})
        write_atomically(place.runfile, chosen.text)
        with _ending(place):
            return _start(chosen, place, progress)
    finally:
        place.unlock()


def continue_run(
    directory: str | Path, *, length: str | None = None, progress: ProgressCallback | None = None
) -> RunResult:
    """Go on with a run from its last checkpoint.

    What was written after the checkpoint is cut off and written again. The run file in the directory is read again, so
    that guards and the length of the production can be changed in it; the System and the model stay what they were.

    Parameters
    ----------
    directory
        Of the run.
    length
        A new length of the production, such as ``"2 ns"``, which is written into run.yaml there.
    progress
        Called with a `Progress` now and then.

    Returns
    -------
    RunResult
        Whether it finished, or was stopped by a guard, and why.

    Raises
    ------
    RunError
        If there is no run, or what it left is incomplete.
    RunFileError
        If the run file there is wrong.

    Examples
    --------
    >>> from openmm_nn.runs import continue_run
    >>> result = continue_run("output", length="20 ps")  # doctest: +SKIP
    """
    place = RunDirectory(directory)
    if not place.runfile.is_file():
        raise RunError(
            "directory", f"{str(directory)!r}, which holds no run", "a directory with run.yaml",
                    f"start one with `openmm-nn run RUN.yaml --output {directory}`"
        )  # fmt: skip
    place.lock()
    try:
        record = place.read_record()
        folder = record.get("folder", str(place.path))
        chosen = RunFile.load(place.runfile, folder=folder)
        if length is not None:
            chosen = chosen.with_length(length)
            _check_length(chosen, load_point(place))
            write_atomically(place.runfile, chosen.text)
        with _ending(place):
            found = load_point(place)
            if found is None or not place.topology.exists():
                place.clear()
                return _start(chosen, place, progress)
            point, where = found
            check_unchanged(chosen, record)
            place.update_record(status="running", reason=None)
            parts = _rebuild(chosen, place, record)
            dynamics = _dynamics(chosen, place, *parts, progress)
            exact = restore(dynamics.context, point, where)
            trim(place, point)
            if not exact:
                note = (
                    f"continued in {point.stage} at step {point.step} on another platform or version: not bit for bit"
                )
                place.update_record(warnings=[*record.get("warnings", []), note])
            return _finish(dynamics, place, point.stage, dynamics.resume(point))
    finally:
        place.unlock()


def _check_length(runfile: RunFile, found: tuple[Point, Path] | None) -> None:
    """Refuse a production that is shorter than what was run of it."""
    point = None if found is None else found[0]
    if point is not None and point.stage == "produce" and point.step > runfile.stages["produce"]:
        done = f"{point.step * runfile.dynamics.timestep:g} ps"
        raise runfile.error("produce.length", allowed=f"at least the {done} that were run",
                            remedy="give the length of the whole production")  # fmt: skip


@contextmanager
def _ending(place: RunDirectory) -> Iterator[None]:
    """Note in the record how a run ended that did not finish."""
    try:
        yield
    except OpenMMNNError as error:
        _note(place, str(error))
        raise
    except KeyboardInterrupt:
        _note(place, "interrupted from the keyboard")
        raise


def _note(place: RunDirectory, reason: str) -> None:
    """Write why a run ended; where the disk refuses, the error that is on its way says more."""
    try:
        place.update_record(status="stopped", reason=reason)
    except RunError:
        return


def _tell(progress: ProgressCallback | None, value: Progress) -> None:
    if progress is not None:
        progress(value)


def _start(runfile: RunFile, place: RunDirectory, progress: ProgressCallback | None) -> RunResult:
    """Begin at the beginning."""
    _tell(progress, Progress("prepare"))
    platform, properties = choose_platform(runfile)
    prepared = prepare(runfile)
    planned = {"minimise": runfile.minimise.iterations, **runfile.stages}
    stages = [name for name, steps in planned.items() if steps]
    record = make_record(runfile, prepared, platform, properties, stages)
    _write_structure(place, prepared.topology, prepared.positions)
    _write_model(place, prepared.potential, prepared.system, record)
    place.write_record(record)
    for text in record["warnings"]:
        _tell(progress, Progress("prepare", note=text))
    if runfile.preflight and prepared.potential is not None:
        _tell(progress, Progress("preflight"))
        found = examine(runfile, prepared, place)
        record["warnings"] += found
        place.write_record(record)
        for text in found:
            _tell(progress, Progress("preflight", note=text))
    dynamics = _dynamics(runfile, place, prepared.topology, prepared.system, prepared.region, progress)
    dynamics.hybrid = prepared.hybrid
    dynamics.context.setPositions(prepared.positions)
    for name, value in (runfile.potential.parameters if runfile.potential is not None else {}).items():
        dynamics.context.setParameter(name, value)
    box = prepared.topology.getPeriodicBoxVectors()
    if box is not None and prepared.system.usesPeriodicBoundaryConditions():
        dynamics.context.setPeriodicBoxVectors(*box)
    stage = "equilibrate" if "equilibrate" in stages else "produce"
    try:
        dynamics.minimise()
        dynamics.begin(stage, velocities=True)
    except Stopped as stopped:
        return _stopped(place, stopped)
    return _finish(dynamics, place, stage, 0)


def _finish(dynamics: Dynamics, place: RunDirectory, stage: str, step: int) -> RunResult:
    """Run what is left."""
    try:
        if stage == "equilibrate":
            dynamics.run("equilibrate", step)
            dynamics.write_pdb(place.path / "equilibrated.pdb")
            dynamics.begin("produce", velocities=False)
            step = 0
        dynamics.run("produce", step)
    except Stopped as stopped:
        return _stopped(place, stopped)
    finally:
        dynamics.close()
    place.update_record(status="finished", reason=None, finished=now())
    dynamics.tell_finished()
    return RunResult(place.path, "finished", None, tuple(place.read_record().get("warnings", ())))


def _stopped(place: RunDirectory, stopped: Stopped) -> RunResult:
    reason = stopped.event.message
    place.update_record(status="stopped", reason=reason)
    return RunResult(place.path, "stopped", reason, tuple(place.read_record().get("warnings", ())))


def _write_structure(place: RunDirectory, topology: app.Topology, positions: Any) -> None:
    large = topology.getNumAtoms() > _LARGEST_PDB
    buffer = io.StringIO()
    writer = app.PDBxFile if large else app.PDBFile
    writer.writeFile(topology, positions, buffer, keepIds=True)
    write_atomically(place.path / ("topology.cif" if large else "topology.pdb"), buffer.getvalue())


def _write_model(place: RunDirectory, potential: Any, system: openmm.System, record: dict[str, Any]) -> None:
    """Write the model and the System, so that what ran can be run again."""
    if potential is not None and potential.data is not None:
        suffix = ".pt2" if potential.card.format == "aotinductor" else ".pt"
        write_atomically(place.path / f"model{suffix}", potential.data)
    elif potential is not None:
        record["warnings"].append(
            f"the potential {potential.card.name!r} lives in its own package: neither the model nor system.xml is kept "
            "here, and the run goes on only where that package is installed"
        )
        return
    try:
        text = openmm.XmlSerializer.serialize(system)
    except (openmm.OpenMMException, OpenMMNNError) as error:
        record["warnings"].append(f"system.xml is not kept: {error}")
        return
    write_atomically(place.system, text)


def _rebuild(
    runfile: RunFile, place: RunDirectory, record: dict[str, Any]
) -> tuple[app.Topology, openmm.System, tuple[int, ...]]:
    """Make topology and System of a run again: from its directory, or where the System could not be kept, anew."""
    if not place.system.exists():
        prepared = prepare(runfile)
        if prepared.potential is not None and prepared.potential.sha256 != record.get("model_sha256"):
            raise runfile.error("potential.name", got="another model than the run began with",
                                allowed="the same", remedy="restore the old file, or run anew")  # fmt: skip
        return prepared.topology, prepared.system, prepared.region
    if runfile.potential is not None and runfile.potential.trust and record.get("model_sha256"):
        trust_hash(str(record["model_sha256"]))
    reading = app.PDBxFile if place.topology.suffix == ".cif" else app.PDBFile
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        topology = reading(str(place.topology)).topology
    try:
        system = openmm.XmlSerializer.deserialize(place.system.read_text())
    except openmm.OpenMMException as error:
        raise RunError(
            str(place.system), f"what cannot be read ({error})", "the System of the run",
                    "get it from a copy, or run again in a new directory"
        ) from error  # fmt: skip
    return topology, system, tuple(record.get("region", {}).get("atoms", ()))


def _dynamics(
    runfile: RunFile,
    place: RunDirectory,
    topology: app.Topology,
    system: openmm.System,
    region: tuple[int, ...],
    progress: ProgressCallback | None,
) -> Dynamics:
    platform, properties = choose_platform(runfile)
    try:
        context = openmm.Context(system, make_integrator(runfile), platform, properties)
    except openmm.OpenMMException as error:
        raise RunError(
            "dynamics.platform", f"{platform.getName()}, on which no Context can be made ({error})",
                    "a platform that works here", "look at `openmm-nn doctor`; platform: CPU works everywhere"
        ) from error  # fmt: skip
    return Dynamics(runfile, place, topology, system, context, region, progress)
