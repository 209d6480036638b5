"""The run directory: names of its files, and how they are written so that a run can die at any moment."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import IO, Any

from ..disk import disk_errors, write_atomically
from ..errors import RunError

__all__ = ["APPENDED", "AppendFile", "RunDirectory"]

APPENDED = ("log.csv", "uncertainty.csv", "guards.jsonl", "flagged.csv", "flagged.xtc", "trajectory.xtc")
"""Files that grow while a run goes on, and that are cut back to the last checkpoint when it continues."""


class AppendFile:
    """A file that only grows. What was written is on its way to the disk at once, and there for good after `sync`.

    Parameters
    ----------
    path
        Of the file; made if it does not exist.
    header
        First line of a new file.
    """

    def __init__(self, path: Path, header: str = "") -> None:
        self.path = path
        with disk_errors(path):
            # Unbuffered: a failure belongs to the write that failed, and nothing is written twice when it is closed.
            self._file = path.open("ab", buffering=0)
        if header and not self.size:
            self.append(f"{header}\n")

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.path.stat().st_size

    def append(self, text: str) -> None:
        """Write text at the end.

        Raises
        ------
        RunError
            If the disk refuses; what was written of it stays, and is cut off when the run goes on.
        """
        with disk_errors(self.path):
            data = text.encode()
            while data:
                data = data[self._file.write(data) or 0 :]

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        with disk_errors(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class RunDirectory:
    """A run directory.

    Parameters
    ----------
    path
        Of the directory.

    Examples
    --------
    >>> from openmm_nn.runs.directory import RunDirectory
    >>> RunDirectory("run").log.name
    'log.csv'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.runfile = self.path / "run.yaml"
        self.record_file = self.path / "record.json"
        self.system = self.path / "system.xml"
        self.log = self.path / "log.csv"
        self.uncertainty = self.path / "uncertainty.csv"
        self.guards = self.path / "guards.jsonl"
        self.trajectory = self.path / "trajectory.xtc"
        self.trajectory_topology = self.path / "trajectory.pdb"
        self.flagged = self.path / "flagged.xtc"
        self.flagged_table = self.path / "flagged.csv"
        self.offending = self.path / "offending.pdb"
        self.last_good = self.path / "last_good.xml"
        self.checkpoint = self.path / "checkpoint"
        self.preflight = self.path / "preflight.json"
        self._lock: IO[bytes] | None = None

    @property
    def topology(self) -> Path:
        """The structure as it started: topology.cif if that is there, else topology.pdb."""
        large = self.path / "topology.cif"
        return large if large.exists() else self.path / "topology.pdb"

    def create(self) -> None:
        """Make the directory.

        Raises
        ------
        RunError
            If a run is in it already, or other files are. One that ended before its System was made does not count.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(
                "directory", f"{str(self.path)!r}, which is a file", "a new or empty directory",
                        "give another name with --output"
            )  # fmt: skip
        if self.runfile.exists() and self._began():
            raise RunError(
                "directory", f"{str(self.path)!r}, which holds a run already", "a new or empty directory",
                        f"go on with it by `openmm-nn continue {self.path}`, or give another name with --output"
            )  # fmt: skip
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        others = [entry.name for entry in self.path.iterdir() if entry.name not in (".lock", "record.json", "run.yaml")]
        others = [name for name in others if not name.endswith(".new")]
        if others:
            raise RunError(
                "directory", f"{str(self.path)!r}, which holds other files ({', '.join(sorted(others)[:3])})",
                        "a new or empty directory", "give another name with --output"
            )  # fmt: skip

    def _began(self) -> bool:
        """Whether a run got as far as a System; one that was refused before may simply be run again."""
        return any(path.exists() for path in (self.topology, self.system, self.checkpoint))

    def lock(self) -> None:
        """Keep other processes from running in this directory; the lock ends with the process.

        Raises
        ------
        RunError
            If another process runs in it.
        """
        try:
            import fcntl
        except ImportError:  # not on this system
            return
        path = self.path / ".lock"
        with disk_errors(path):
            self._lock = path.open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise RunError(
                "directory", f"{str(self.path)!r}, in which another process is running", "one run at a time",
                        "wait for it, or end it"
            ) from error  # fmt: skip

    def unlock(self) -> None:
        """Let others run in it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def read_record(self) -> dict[str, Any]:
        """Read record.json; empty if there is none.

        Raises
        ------
        RunError
            If it is damaged.
        """
        if not self.record_file.exists():
            return {}
        try:
            record = json.loads(self.record_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                str(self.record_file), f"what cannot be read ({error})", "the record of a run",
                        "get it from a copy; without it the run cannot go on"
            ) from error  # fmt: skip
        return dict(record)

    def write_record(self, record: dict[str, Any]) -> None:
        """Write record.json."""
        write_atomically(self.record_file, json.dumps(record, indent=2, ensure_ascii=False) + "\n")

    def update_record(self, **changes: Any) -> None:
        """Change some keys of record.json."""
        self.write_record({**self.read_record(), **changes})

    def clear(self) -> None:
        """Remove what a run has written, but for its run file and its record: it begins again."""
        for name in APPENDED:
            (self.path / name).unlink(missing_ok=True)
        for folder in (self.checkpoint, self.path / "checkpoint.new", self.path / "checkpoint.old"):
            shutil.rmtree(folder, ignore_errors=True)
