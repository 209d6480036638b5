"""Points from which a run goes on: written whole or not at all, and the files cut back to them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openmm

from ..disk import disk_errors, sync_folder
from ..errors import RunError
from .directory import APPENDED, RunDirectory

__all__ = ["Point", "load_point", "restore", "save_point", "trim"]

logger = logging.getLogger(__name__)

_STATE, _BINARY, _POINT = "state.xml", "state.chk", "point.json"


@dataclass(frozen=True)
class Point:
    """Where a run stands.

    Parameters
    ----------
    stage
        ``equilibrate`` or ``produce``.
    step
        Within the stage.
    frames
        In trajectory.xtc.
    elapsed
        Seconds that the stage has run, over all processes.
    sizes
        Bytes of every file that grows.
    guards
        What the guards remember from one check to the next.
    platform
        That wrote it: a binary checkpoint belongs to one platform.
    hashes
        sha256 of the files of the point.
    """

    stage: str
    step: int
    frames: int
    elapsed: float
    sizes: Mapping[str, int]
    guards: Mapping[str, Any]
    platform: str
    hashes: Mapping[str, str]


def save_point(directory: RunDirectory, context: openmm.Context, point: Point) -> None:
    """Write a checkpoint next to the old one, then put it in its place.

    The files that grow must be on the disk already.

    Parameters
    ----------
    directory
        Of the run.
    context
        Whose state it is.
    point
        Where the run stands; its hashes are filled in.

    Raises
    ------
    RunError
        If the disk refuses; the old checkpoint is still there then.
    """
    new = directory.path / "checkpoint.new"
    old = directory.path / "checkpoint.old"
    state = context.getState(positions=True, velocities=True, parameters=True, integratorParameters=True)
    contents = {_STATE: openmm.XmlSerializer.serialize(state).encode(), _BINARY: context.createCheckpoint()}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    contents[_POINT] = json.dumps({**asdict(point), "hashes": hashes}, indent=1).encode()
    try:
        with disk_errors(directory.checkpoint):
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            for name, data in contents.items():
                with (new / name).open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            sync_folder(new)
    except RunError:
        shutil.rmtree(new, ignore_errors=True)
        raise
    with disk_errors(directory.checkpoint):
        # A directory cannot be renamed over another: for a moment the point is only under the name of the new one,
        # which is complete, and load_point knows.
        shutil.rmtree(old, ignore_errors=True)
        if directory.checkpoint.exists():
            directory.checkpoint.rename(old)
        new.rename(directory.checkpoint)
        sync_folder(directory.path)
    shutil.rmtree(old, ignore_errors=True)


def load_point(directory: RunDirectory) -> tuple[Point, Path] | None:
    """Find the newest checkpoint that is complete.

    Parameters
    ----------
    directory
        Of the run.

    Returns
    -------
    tuple of Point and Path, or None
        The point and its folder; None if there is none.

    Raises
    ------
    RunError
        If there are checkpoints, but none is complete.
    """
    names = ("checkpoint", "checkpoint.new", "checkpoint.old")
    reasons = []
    for name in names:
        folder = directory.path / name
        if not folder.is_dir():
            continue
        try:
            values = json.loads((folder / _POINT).read_bytes())
            point = Point(**values)
            for file, digest in point.hashes.items():
                if hashlib.sha256((folder / file).read_bytes()).hexdigest() != digest:
                    raise ValueError(f"{file} is damaged")
        except (OSError, ValueError, TypeError) as error:
            reasons.append(f"{name}: {error}")
            # What was not finished when a process died says nothing.
            if name == "checkpoint.new":
                reasons.pop()
            continue
        return point, _settle(directory, folder)
    if reasons:
        raise RunError(
            "checkpoint", f"none that is complete ({'; '.join(reasons)})", "a complete one",
                    "get the folder from a copy, or run again in a new directory"
        )  # fmt: skip
    return None


def _settle(directory: RunDirectory, folder: Path) -> Path:
    """Give the point that was found the name that the next one replaces."""
    if folder == directory.checkpoint:
        return folder
    with disk_errors(directory.checkpoint):
        shutil.rmtree(directory.checkpoint, ignore_errors=True)
        folder.rename(directory.checkpoint)
        sync_folder(directory.path)
    return directory.checkpoint


def restore(context: openmm.Context, point: Point, folder: Path) -> bool:
    """Give a Context the state of a checkpoint.

    Parameters
    ----------
    context
        Of the same System and integrator.
    point
        From `load_point`.
    folder
        Of the point.

    Returns
    -------
    bool
        Whether the state is exact, random numbers included. Otherwise (on another platform or version) positions,
        velocities, box and parameters are, and a run with a thermostat goes on statistically the same.
    """
    if context.getPlatform().getName() == point.platform:
        try:
            context.loadCheckpoint((folder / _BINARY).read_bytes())
        except openmm.OpenMMException as error:
            logger.warning("the binary checkpoint cannot be used (%s): state.xml is read instead", error)
        else:
            return True
    context.setState(openmm.XmlSerializer.deserialize((folder / _STATE).read_text()))
    return False


def trim(directory: RunDirectory, point: Point) -> dict[str, int]:
    """Cut the files that grow back to a point: what was written after it would be written again.

    Parameters
    ----------
    directory
        Of the run.
    point
        From `load_point`.

    Returns
    -------
    dict
        Bytes that were cut off, by file.

    Raises
    ------
    RunError
        If a file is shorter than it was.
    """
    cut: dict[str, int] = {}
    for name in APPENDED:
        path = directory.path / name
        size = point.sizes.get(name, 0)
        have = path.stat().st_size if path.exists() else 0
        if have < size:
            raise RunError(
                str(path), f"{have} bytes, fewer than at the last checkpoint", f"at least {size}",
                        "get the file from a copy, or run again in a new directory"
            )  # fmt: skip
        if have > size:
            with disk_errors(path), path.open("r+b") as file:
                file.truncate(size)
                os.fsync(file.fileno())
            cut[name] = have - size
    return cut
