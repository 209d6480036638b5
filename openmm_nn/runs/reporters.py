"""What a run writes while it goes on: the log, trajectories, deviations, frames for labelling, events."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from openmm import unit

from ..disk import disk_errors
from ..dynamics.guards import Event
from ..dynamics.samples import Sample
from ..errors import RunError
from .directory import AppendFile, RunDirectory

__all__ = ["LOG_COLUMNS", "EventFile", "FlaggedFrames", "Log", "SpreadFile", "Trajectory"]

LOG_COLUMNS = (
    "stage",
    "step",
    "time_ps",
    "potential_kJ/mol",
    "kinetic_kJ/mol",
    "total_kJ/mol",
    "temperature_K",
    "volume_nm3",
    "density_g/mL",
    "speed_ns/day",
    "elapsed_s",
)
"""Columns of log.csv."""

SPREAD_COLUMNS = ("stage", "step", "time_ps", "sigma_E_kJ/mol", "sigma_F_max_kJ/mol/nm", "atom")
"""Columns of uncertainty.csv."""

FLAGGED_COLUMNS = ("stage", "step", "time_ps", "sigma_E_kJ/mol", "sigma_F_max_kJ/mol/nm", "atom")
"""Columns of flagged.csv, a line for each frame of flagged.xtc."""

_DENSITY = float((1.0 * unit.dalton / unit.nanometer**3).value_in_unit(unit.gram / unit.item / unit.milliliter))
# An XTC frame: numbers of atoms and step, time and box, then coordinates, packed if there are more than nine atoms.
_XTC_HEAD = 56
_XTC_SMALL = 9
_XTC_PACKED = 92


class Log:
    """log.csv.

    Parameters
    ----------
    directory
        Of the run.
    mass
        Of the System, dalton, for the density.
    """

    def __init__(self, directory: RunDirectory, mass: float) -> None:
        self.file = AppendFile(directory.log, ",".join(LOG_COLUMNS))
        self._mass = mass

    def write(self, sample: Sample, *, speed: float | None, elapsed: float) -> None:
        """Add a line.

        Parameters
        ----------
        sample
            What happened.
        speed
            ns/day; None if it is not known yet.
        elapsed
            Seconds since the stage began.
        """
        self.row(
            sample.stage,
            sample.step,
            f"{sample.time:.6f}",
            f"{sample.potential:.6f}",
            f"{sample.kinetic:.6f}",
            f"{sample.total:.6f}",
            f"{sample.temperature:.4f}",
            "" if sample.volume is None else f"{sample.volume:.6f}",
            "" if sample.volume is None else f"{self._mass / sample.volume * _DENSITY:.6f}",
            "" if speed is None else f"{speed:.4g}",
            f"{elapsed:.3f}",
        )

    def minimised(self, iteration: int, potential: float, elapsed: float) -> None:
        """Add a line of the minimisation: iteration and potential energy [kJ/mol]."""
        self.row("minimise", iteration, "", f"{potential:.6f}", "", "", "", "", "", "", f"{elapsed:.3f}")

    def row(self, *cells: object) -> None:
        """Add a line of cells."""
        self.file.append(",".join(map(str, cells)) + "\n")


class SpreadFile:
    """uncertainty.csv.

    Parameters
    ----------
    directory
        Of the run.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self.file = AppendFile(directory.uncertainty, ",".join(SPREAD_COLUMNS))

    def write(self, sample: Sample) -> None:
        """Add a line for a sample that has a deviation."""
        self.file.append(_spread_row(sample))


class EventFile:
    """guards.jsonl.

    Parameters
    ----------
    directory
        Of the run.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self.file = AppendFile(directory.guards)

    def write(self, event: Event) -> None:
        """Add a line."""
        values = dataclasses.asdict(event)
        renamed = {("time_ps" if key == "time" else key): value for key, value in values.items()}
        if not math.isfinite(event.value):
            renamed["value"] = None
        self.file.append(json.dumps(renamed, ensure_ascii=False) + "\n")


class Trajectory:
    """An XTC file that MDTraj reads, one frame at a time, each complete.

    Parameters
    ----------
    path
        Of the file; what is there is kept.
    atoms
        Indices of the atoms that are written; None for all.
    frames
        Frames that are in it already.
    """

    def __init__(self, path: Path, atoms: tuple[int, ...] | None = None, frames: int = 0) -> None:
        self.path = path
        self.frames = frames
        self._atoms = None if atoms is None else np.array(atoms, dtype=np.int64)
        self.file = AppendFile(path)

    def write(self, positions: NDArray[np.float64], box: NDArray[np.float64] | None, time: float, step: int) -> None:
        """Add a frame.

        Parameters
        ----------
        positions
            (N,3), nm.
        box
            (3,3), nm, or None.
        time
            ps.
        step
            Number of the step.

        Raises
        ------
        RunError
            If the disk refuses.
        """
        from openmm.app.internal.xtc_utils import xtc_write_frame

        chosen = positions if self._atoms is None else positions[self._atoms]
        vectors = np.zeros((3, 3)) if box is None else box
        before = self.file.size
        with disk_errors(self.path):
            xtc_write_frame(
                os.fsencode(self.path),
                np.ascontiguousarray(chosen, dtype=np.float32),
                np.ascontiguousarray(vectors, dtype=np.float32),
                np.float32(time),
                np.int32(min(step, 2**31 - 1)),
            )
        # The writer below does not say when the disk is full.
        written = self.file.size - before
        expected = _frame_size(self.path, before, len(chosen))
        if written != expected:
            raise RunError(
                str(self.path), f"{written} bytes of a frame where {expected or 'more'} belong: "
                        "no space left on the disk", "a disk that takes it",
                        "free some space, then go on from the last checkpoint with "
                        f"`openmm-nn continue {self.path.parent}`"
            )  # fmt: skip
        self.frames += 1


class FlaggedFrames:
    """flagged.xtc and flagged.csv: frames that are worth a label.

    Parameters
    ----------
    directory
        Of the run.
    energy, force
        Thresholds of sigma_E [kJ/mol] and sigma_F [kJ/mol/nm]; None for no threshold.
    """

    def __init__(self, directory: RunDirectory, energy: float | None, force: float | None) -> None:
        self._energy, self._force = energy, force
        self.table = AppendFile(directory.flagged_table, ",".join(FLAGGED_COLUMNS))
        self.trajectory = Trajectory(directory.flagged)

    def wants(self, sample: Sample) -> bool:
        """Return whether a sample is over a threshold."""
        spread = sample.spread
        if spread is None:
            return False
        over = [(spread.energy, self._energy), (spread.force, self._force)]
        return any(limit is not None and not value <= limit for value, limit in over)

    def write(self, sample: Sample, positions: NDArray[np.float64]) -> None:
        """Keep a frame, with positions (N,3) in nm as a trajectory has them."""
        self.trajectory.write(positions, sample.box, sample.time, sample.step)
        self.table.append(_spread_row(sample))


def _spread_row(sample: Sample) -> str:
    if sample.spread is None:
        raise RunError("sample", "one without a deviation", "one of a committee", "compute it first")
    spread = sample.spread
    return f"{sample.stage},{sample.step},{sample.time:.6f},{spread.energy:.6f},{spread.force:.6f},{spread.atom}\n"


def _frame_size(path: Path, start: int, atoms: int) -> int | None:
    """Return the size that the frame at a place of an XTC file says it has; None if it does not get so far."""
    if atoms <= _XTC_SMALL:
        return _XTC_HEAD + 12 * atoms
    with path.open("rb") as file:
        file.seek(start + _XTC_PACKED - 4)
        data = file.read(4)
    if len(data) < 4:
        return None
    packed = int(struct.unpack(">i", data)[0])
    return _XTC_PACKED + (packed + 3) // 4 * 4
