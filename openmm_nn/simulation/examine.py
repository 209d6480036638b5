"""The examination of a potential before a run."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from ..errors import UnsupportedError, message
from ..units import in_nanometers
from .directory import RunDirectory, write_atomically
from .preparation import Prepared

__all__ = ["examine"]


def examine(prepared: Prepared, place: RunDirectory) -> Any | None:
    """Examine the potential at the region's own positions, and write preflight.json.

    Parameters
    ----------
    prepared
        With a potential.
    place
        Where the report goes.

    Returns
    -------
    PreflightReport
        What was found.

    Raises
    ------
    UnsupportedError
        If the region has cut bonds, whose link atoms are not part of the structure.
    """
    if prepared.potential is None:
        return None
    if prepared.hybrid is not None and prepared.hybrid.links:
        raise UnsupportedError(
            message("preflight", f"a region with {len(prepared.hybrid.links)} cut bonds", "regions of whole molecules",
                    "remove `preflight: true`, or examine a whole molecule with `openmm-nn preflight`")
        )  # fmt: skip
    preflight = importlib.import_module("openmm_nn.preflight").preflight
    atoms = list(prepared.topology.atoms())
    numbers = [atoms[index].element.atomic_number for index in prepared.region]
    positions = np.asarray(in_nanometers(prepared.positions))[list(prepared.region)]
    report = preflight(prepared.potential, numbers, positions)
    write_atomically(place.preflight, report.to_json())
    return report
