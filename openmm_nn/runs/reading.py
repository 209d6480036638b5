"""Reading the directory of a run, finished or not."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm

from ..errors import ParameterError

if TYPE_CHECKING:
    import mdtraj
    from numpy.typing import NDArray

__all__ = ["RunDirectory", "Table", "Trajectory", "read_table", "write_table"]

Table = dict[str, "NDArray[Any]"]
"""Columns by name: float64 with NaN for empty cells, or text."""


@dataclass(frozen=True)
class Trajectory:
    """Frames of a run.

    Parameters
    ----------
    frames
        mdtraj.Trajectory.
    complete
        Whether all particles of the System are in it.
    region
        Positions of the region's atoms among those of the trajectory, as far as they are in it.
    atoms
        System index of each atom of the trajectory; empty if it cannot be told.
    stride
        One frame in so many was read.
    total
        Frames in the file.
    truncated
        Why reading ended before the file did; empty if it did not.
    """

    frames: mdtraj.Trajectory
    complete: bool
    region: tuple[int, ...]
    atoms: tuple[int, ...]
    stride: int
    total: int
    truncated: str


def read_table(path: Path) -> Table:
    r"""Read columns from a CSV file; a last line that was cut off in writing is left out.

    Parameters
    ----------
    path
        A file with a header; a missing or empty file gives no columns.

    Returns
    -------
    Table
        Columns of numbers as float64, others as text.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from openmm_nn.runs.reading import read_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "log.csv")
    ...     _ = path.write_text("stage,step\nproduce,10\nprod")
    ...     read_table(path)["step"]
    array([10.])
    """
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.reader(file))
    if len(rows) < 2:
        return {}
    header, body = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    return {name: _column([row[index] for row in body]) for index, name in enumerate(header)}


def _column(cells: list[str]) -> NDArray[Any]:
    try:
        return np.array([float(cell) if cell.strip() else np.nan for cell in cells], dtype=np.float64)
    except ValueError:
        return np.array(cells, dtype=str)


def write_table(path: Path, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> None:
    """Write columns of one length to a CSV file, numbers with seven digits and NaN as nothing.

    Parameters
    ----------
    path
        The file; its folder is made.
    columns
        By name.
    """

    def cell(value: Any) -> str:
        if isinstance(value, float | np.floating):
            return "" if np.isnan(value) else f"{value:.7g}"
        return str(value)

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([cell(value) for value in row] for row in zip(*columns.values(), strict=True))


class RunDirectory:
    """The directory that a run wrote, as far as it came.

    Parameters
    ----------
    path
        The directory.

    Raises
    ------
    ParameterError
        If it is no directory of a run: it has no ``record.json`` that can be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from openmm_nn.runs import RunDirectory
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "record.json").write_text('{"status": "running"}')
    ...     RunDirectory(folder).status
    'running'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        file = self.path / "record.json"
        try:
            self.record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(self.record, dict):
                raise ValueError("it holds no object")
        except (OSError, ValueError) as error:
            raise ParameterError(
                "directory", f"{str(path)!r}, whose record.json cannot be read ({error})",
                        "the directory that a run wrote", "give the folder that was named when the run was started"
            ) from error  # fmt: skip

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"

    @property
    def status(self) -> str:
        """``running``, ``finished`` or ``stopped``; ``unknown`` if the record does not say."""
        return str(self.record.get("status") or "unknown")

    @property
    def region(self) -> tuple[int, ...]:
        """System indices of the region's atoms; empty for a classical run."""
        return tuple(int(atom) for atom in (self.record.get("region") or {}).get("atoms") or ())

    @property
    def temperature(self) -> float | None:
        """Of the thermostat, K."""
        value = self.record.get("temperature")
        return None if value is None else float(value)

    @property
    def links(self) -> tuple[tuple[int, int], ...]:
        """The cut bonds: the atom in the region first."""
        links = self.record.get("links") or ()
        return tuple((int(row["inside"]), int(row["outside"])) if isinstance(row, dict) else (int(row[0]), int(row[1]))
                     for row in links)  # fmt: skip

    def text(self, name: str) -> str | None:
        """Return the text of a file; None if it is not there."""
        file = self.path / name
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None

    def json(self, name: str) -> Any:
        """Return what a JSON file holds; None if it is not there or was cut off."""
        text = self.text(name)
        try:
            return None if text is None else json.loads(text)
        except ValueError:
            return None

    def stages(self, name: str = "log.csv") -> dict[str, Table]:
        """Return a table over time, split by stage, in the order in which they ran."""
        table = read_table(self.path / name)
        if "stage" not in table:
            return {"": table} if table else {}
        names = list(dict.fromkeys(table["stage"].tolist()))
        return {
            stage: {key: column[table["stage"] == stage] for key, column in table.items() if key != "stage"}
            for stage in names
        }

    def events(self) -> list[dict[str, Any]]:
        """Return what guards said, in order; a line that was cut off is left out."""
        found = []
        for line in (self.text("guards.jsonl") or "").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                found.append(event)
        return found

    def topology_file(self, stem: str = "topology") -> Path | None:
        """Return the file of a structure, PDB or PDBx; None if there is none."""
        return next((file for suffix in (".pdb", ".cif") if (file := self.path / f"{stem}{suffix}").is_file()), None)

    def system(self) -> openmm.System | None:
        """Read the System that ran; None if it was not written."""
        text = self.text("system.xml")
        return None if text is None else openmm.XmlSerializer.deserialize(text)

    def trajectory(self, frames: int) -> Trajectory | None:
        """Read the frames of the production, evenly spaced.

        Parameters
        ----------
        frames
            At most so many.

        Returns
        -------
        Trajectory or None
            None if there is no frame yet.
        """
        import mdtraj

        file = self.path / "trajectory.xtc"
        whole, part = self.topology_file(), self.topology_file("trajectory")
        source = part or whole
        if source is None or not file.is_file() or file.stat().st_size == 0:
            return None
        topology = mdtraj.load_topology(str(source))
        with mdtraj.open(str(file)) as opened:
            total = len(opened)
        if total == 0:
            return None
        stride = max(1, -(-total // frames))
        truncated = ""
        try:
            traj = mdtraj.load(str(file), top=topology, stride=stride)
        except (OSError, RuntimeError, ValueError) as error:
            truncated = str(error)
            traj = _readable(file, topology, stride)
        if traj is None:
            return None
        indices = self._indices(topology, part, whole)
        places = {atom: place for place, atom in enumerate(indices)}
        region = tuple(places[atom] for atom in self.region if atom in places)
        return Trajectory(traj, part is None, region, tuple(indices), stride, total, truncated)

    def _indices(self, topology: mdtraj.Topology, part: Path | None, whole: Path | None) -> list[int]:
        """System indices of the trajectory's atoms."""
        stated = self.record.get("trajectory_atoms")
        if part is None:
            return list(range(topology.n_atoms))
        if isinstance(stated, list) and len(stated) == topology.n_atoms:
            return [int(atom) for atom in stated]
        if whole is None:
            return []
        import mdtraj

        # Chains, residues and names tell which atoms were kept, in the order in which they were.
        def key(atom: Any) -> tuple[Any, ...]:
            return atom.residue.chain.chain_id, atom.residue.resSeq, atom.residue.name, atom.name

        known: dict[tuple[Any, ...], list[int]] = {}
        for atom in mdtraj.load_topology(str(whole)).atoms:
            known.setdefault(key(atom), []).append(atom.index)
        found: list[int] = []
        for atom in topology.atoms:
            candidates = [index for index in known.get(key(atom), ()) if not found or index > found[-1]]
            if not candidates:
                return []
            found.append(candidates[0])
        return found


def _readable(file: Path, topology: mdtraj.Topology, stride: int) -> Any:
    """Read the frames before the place where a file was cut off; None if there is none."""
    import mdtraj

    found = []
    try:
        for chunk in mdtraj.iterload(str(file), top=topology, chunk=1, stride=1):
            found.append(chunk)
    except (OSError, RuntimeError, ValueError):
        pass  # the end that can be read
    return mdtraj.join(found[::stride], check_topology=False) if found else None
