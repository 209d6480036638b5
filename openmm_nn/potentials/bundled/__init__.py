"""The potential that ships with the package; PROVENANCE.md beside this file says where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

__all__ = ["BUNDLED", "BUNDLED_FOLDER", "bundled_path"]

BUNDLED_FOLDER = Path(__file__).resolve().parent

BUNDLED: Mapping[str, Path] = MappingProxyType({"openmm-nn/hcno-1": BUNDLED_FOLDER / "hcno-1.pt"})
"""Names of the bundled potentials, each with the path of its file."""


def bundled_path(name: str) -> Path | None:
    """Find the file of a bundled potential.

    Parameters
    ----------
    name
        Such as ``"openmm-nn/hcno-1"``.

    Returns
    -------
    Path or None
        None if no bundled potential has that name.

    Examples
    --------
    >>> from openmm_nn.potentials.bundled import bundled_path
    >>> bundled_path("openmm-nn/hcno-1").name
    'hcno-1.pt'
    """
    return BUNDLED.get(name)
