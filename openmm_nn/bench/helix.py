"""A helix of alanines with caps, in water: larger than the examples' peptide, and neutral as that is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
from openmm import app, unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["solvated_helix"]

_PHI, _PSI = -60.0, -45.0
_PADDING = 0.8  # nm


def solvated_helix(forcefield: app.ForceField, residues: int = 14) -> tuple[app.Topology, Any]:
    """Build ACE, alanines in an alpha helix, and NME, add hydrogens and a cube of water.

    Parameters
    ----------
    forcefield
        With amino acids and water.
    residues
        Number of alanines; 14 have 152 atoms with the caps.

    Returns
    -------
    topology : openmm.app.Topology
    positions : Quantity
        (N,3).
    """
    topology, positions = _heavy_atoms(residues)
    modeller = app.Modeller(topology, positions)
    modeller.addHydrogens(forcefield, platform=openmm.Platform.getPlatform("Reference"))
    modeller.addSolvent(forcefield, padding=_PADDING * unit.nanometer)
    return modeller.topology, modeller.positions


def _heavy_atoms(residues: int) -> tuple[app.Topology, Any]:
    topology = app.Topology()
    chain = topology.addChain()
    positions: list[Array] = []

    def add(name: str, atoms: dict[str, Array]) -> None:
        residue = topology.addResidue(name, chain)
        for label, position in atoms.items():
            topology.addAtom(label, app.Element.getBySymbol(label[0]), residue)
            positions.append(position)

    before, last = np.zeros(3), np.array([1.525, 0.0, 0.0])
    up = np.array([0.0, 1.0, 0.0])
    add("ACE", {"CH3": before, "C": last, "O": _place(up, before, last, 1.23, 120.1, 0.0)})
    nitrogen = _place(up, before, last, 1.33, 117.2, 180.0)
    for _ in range(residues):
        alpha = _place(before, last, nitrogen, 1.46, 121.7, 180.0)
        carbonyl = _place(last, nitrogen, alpha, 1.525, 111.0, _PHI)
        beta = _place(last, nitrogen, alpha, 1.53, 110.5, _PHI - 122.5)
        oxygen = _place(nitrogen, alpha, carbonyl, 1.23, 120.1, _PSI + 180.0)
        add("ALA", {"N": nitrogen, "CA": alpha, "C": carbonyl, "O": oxygen, "CB": beta})
        before, last, nitrogen = alpha, carbonyl, _place(nitrogen, alpha, carbonyl, 1.33, 117.2, _PSI)
    add("NME", {"N": nitrogen, "C": _place(before, last, nitrogen, 1.46, 121.7, 180.0)})
    topology.createStandardBonds()
    return topology, 0.1 * np.array(positions) * unit.nanometer


def _place(first: Array, second: Array, third: Array, length: float, angle: float, torsion: float) -> Array:
    """Return the place of a fourth atom, angstrom, from its bond, angle and torsion (degrees)."""
    a, t = math.radians(angle), math.radians(torsion)
    along = (third - second) / np.linalg.norm(third - second)
    normal = np.cross(second - first, along)
    normal /= np.linalg.norm(normal)
    place: Array = third + length * (
        math.sin(a) * (math.cos(t) * np.cross(normal, along) + math.sin(t) * normal) - math.cos(a) * along
    )
    return place
