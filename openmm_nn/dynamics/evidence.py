"""What is kept when a guard stops a simulation: the structure that tripped it, and the last good state."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from ..disk import write_atomically

__all__ = ["positions_of", "write_evidence"]

_PDB_FARTHEST = 900.0  # nm: more has no room in a PDB file


def write_evidence(folder: Path, topology: app.Topology, positions: np.ndarray, good: Any | None) -> None:
    """Write offending.pdb and last_good.xml.

    Parameters
    ----------
    folder
        Where.
    topology : openmm.app.Topology
    positions
        (N,3), nm: of the frame that is wrong.
    good
        The last State that was not; None if there was none.
    """
    if good is not None:
        write_atomically(folder / "last_good.xml", openmm.XmlSerializer.serialize(good))
    finite = np.isfinite(positions)
    if not finite.all():
        # A PDB file has no word for what is no number: these coordinates are where they were last.
        positions = np.where(finite, positions, 0.0 if good is None else positions_of(good))
    positions = np.clip(positions, -_PDB_FARTHEST, _PDB_FARTHEST)
    buffer = io.StringIO()
    app.PDBFile.writeFile(topology, positions * unit.nanometer, buffer, keepIds=True)
    write_atomically(folder / "offending.pdb", buffer.getvalue())


def positions_of(state: Any) -> np.ndarray:
    """Return the positions (N,3) of a State in nm."""
    return np.array(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
