"""What is measured: peptides in water, DHFR, a guest in CB7, or a PDB file; and its classical System."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from ..errors import MissingDependencyError, ParameterError
from ..geometry import WholeMaker, cluster_error, topology_box
from ..selection import select_atoms
from ..units import in_nanometers
from .helix import solvated_helix

__all__ = ["BOXED", "EXAMPLE", "SYSTEMS", "Subject", "classical_system", "find_subject", "nearest_atoms", "needs_box"]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "data" / "alanine-dipeptide-explicit.pdb"
_PEPTIDE = "resname ACE ALA NME"
_FORCE_FIELD = ("amber14-all.xml", "amber14/tip3p.xml")

# Files of openmmtools' data, and the region: all of these are neutral and of H, C, N and O, as the bundled potential
# and ANI-2x want. DHFR's file has no ligand: the region is Ala6 to Leu8 with the amides at both ends, at the site of
# the ligands. Cut through CA-C, where a hydrogen closes it, it has 51 atoms, as many as folic acid. In the other, the
# guest is bicyclo[2.2.2]octane-1,4-dimethanol, 30 atoms; the host around it stays classical.
_AMBER = {
    "dhfr": ("dhfr/JAC", "(resid 4 and name C O) or resid 5 to 7 or (resid 8 and not name C O)"),
    "cb7": ("cb7-b2/complex-explicit", "resname B2"),
}
BOXED = ("helix", *_AMBER)  # which come with their water
SYSTEMS = ("peptide", *BOXED)


@dataclass(frozen=True)
class Subject:
    """A structure in a periodic box, what of it the potential describes, and how its classical System is made.

    Parameters
    ----------
    name
        Of the system or of its file.
    topology, positions
        All atoms.
    region
        MDTraj selection.
    make
        Makes the classical System, PME at 1 nm and no constraints but those of rigid water, which its argument asks
        for.
    """

    name: str
    topology: app.Topology
    positions: Any
    region: str
    make: Callable[[bool], openmm.System]


def find_subject(structure: str | Path, region: str | None = None, waters: int | None = None) -> Subject:
    """Read what is to be measured.

    Parameters
    ----------
    structure
        ``"peptide"``, ``"helix"``, ``"dhfr"``, ``"cb7"``, or a PDB file of a region in a periodic box of water, for
        Amber14 with TIP3P. The helix is fourteen alanines with caps, 152 atoms.
    region
        MDTraj selection; by default the system's own, and the examples' peptide in a file.
    waters
        How many the region is solvated in again; None to take the box as it is. Not for systems of Amber files.

    Returns
    -------
    Subject

    Raises
    ------
    ParameterError
        If there is no such system or file, or if it cannot be solvated again.
    MissingDependencyError
        If openmmtools is not installed, which has the files of two systems.

    Examples
    --------
    >>> from openmm_nn.bench import find_subject
    >>> subject = find_subject("peptide")
    >>> subject.make(True).getNumParticles()
    2269
    """
    if waters is not None and structure in BOXED:
        raise ParameterError(
            "waters", f"{waters} for the system {structure!r}", "a number for peptide or a PDB file",
                    "leave it out: the others have their water"
        )  # fmt: skip
    if structure in _AMBER:
        return _amber(str(structure), region)
    region = region or _PEPTIDE
    if structure == "helix":
        topology, positions = solvated_helix(app.ForceField(*_FORCE_FIELD))
        return Subject(
            "helix", topology, positions, region, lambda rigid: classical_system(topology, rigid_water=rigid)
        )
    path = EXAMPLE if structure == "peptide" else Path(structure)
    if not path.is_file():
        raise ParameterError(
            "structure", f"no file {path}", f"a PDB file of a molecule in water, or {', '.join(SYSTEMS)}",
                    "give another; the peptide's file is in a checkout of the repository"
        )  # fmt: skip
    pdb = app.PDBFile(str(path))
    topology, positions = pdb.topology, pdb.positions
    if waters is not None:
        chosen = set(select_atoms(topology, region, argument="region"))
        modeller = app.Modeller(topology, positions)
        modeller.delete([atom for atom in topology.atoms() if atom.index not in chosen])
        modeller.addSolvent(app.ForceField(*_FORCE_FIELD), numAdded=waters)
        topology, positions = modeller.topology, modeller.positions
    return Subject(path.name, topology, positions, region, lambda rigid: classical_system(topology, rigid_water=rigid))


def _amber(name: str, region: str | None) -> Subject:
    spec = importlib.util.find_spec("openmmtools")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "system", f"{name!r}, and no openmmtools, which has its files", "openmmtools 0.27",
                    "pip install --no-deps openmmtools (of which only the data are read)"
        )  # fmt: skip
    stem, own = _AMBER[name]
    path = Path(spec.submodule_search_locations[0]) / "data" / stem
    coordinates = app.AmberInpcrdFile(str(path.with_suffix(".inpcrd")))
    prmtop = app.AmberPrmtopFile(str(path.with_suffix(".prmtop")), periodicBoxVectors=coordinates.boxVectors)

    def make(rigid_water: bool) -> openmm.System:
        system: openmm.System = prmtop.createSystem(**_settings(rigid_water))
        return system

    return Subject(name, prmtop.topology, coordinates.positions, region or own, make)


def classical_system(topology: app.Topology, *, rigid_water: bool = True) -> openmm.System:
    """Make the classical System of a PDB file: Amber14 and TIP3P with PME at 1 nm.

    Parameters
    ----------
    topology
        Of the structure.
    rigid_water
        Whether water is.

    Returns
    -------
    openmm.System
    """
    system: openmm.System = app.ForceField(*_FORCE_FIELD).createSystem(topology, **_settings(rigid_water))
    return system


def _settings(rigid_water: bool) -> dict[str, Any]:
    return {
        "nonbondedMethod": app.PME,
        "nonbondedCutoff": 1 * unit.nanometer,
        "constraints": None,
        "rigidWater": rigid_water,
    }


def needs_box(subject: Subject, region: str | Iterable[int]) -> bool:
    """Return whether a region reaches over more than half of the box, so that its potential must be given the box.

    Parameters
    ----------
    subject
        The structure.
    region
        MDTraj selection, or indices.

    Returns
    -------
    bool
        What ``periodic`` of a hybrid has to be.
    """
    box = topology_box(subject.topology)
    if box is None:
        return False
    places = {atom: place for place, atom in enumerate(select_atoms(subject.topology, region, argument="region"))}
    pairs = [(a.index, b.index) for a, b in subject.topology.bonds()]
    bonds = [(places[first], places[second]) for first, second in pairs if first in places and second in places]
    positions = in_nanometers(subject.positions)[list(places)]
    whole, _ = WholeMaker(len(places), bonds).apply(positions, box)
    return cluster_error(whole, bonds, box, str) is not None


def nearest_atoms(topology: app.Topology, positions: Any, region: str, size: int) -> list[int]:
    """Return the atoms of a region and of the molecules nearest to it, about `size` of them.

    Parameters
    ----------
    topology
        Of the structure.
    positions : Quantity
        (N,3).
    region
        MDTraj selection of the first atoms.
    size
        How many atoms at most; the region stays whole, and so do the molecules, which are of one residue each. One that
        is too large is left out: around the guest in CB7 there is water first, and the host from 156 atoms on.

    Returns
    -------
    list of int
        Indices.
    """
    chosen = list(select_atoms(topology, region, argument="region"))
    x = np.asarray(positions.value_in_unit(unit.nanometer))
    inside = set(chosen)
    bonds = [(first.residue.index, second.residue.index) for first, second in topology.bonds()]
    chained = {index for pair in bonds if pair[0] != pair[1] for index in pair}
    molecules = [
        indices
        for residue in topology.residues()
        if residue.index not in chained and not inside.intersection(indices := [atom.index for atom in residue.atoms()])
    ]
    center = x[chosen].mean(axis=0)
    molecules.sort(key=lambda indices: float(np.linalg.norm(x[indices[0]] - center)))
    for indices in molecules:
        if len(chosen) + len(indices) <= size:
            chosen += indices
    return chosen
