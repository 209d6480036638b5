"""Classical Systems for the tests, each from a ForceField, with their regions."""

import dataclasses
import functools
import importlib.util
import pathlib

import mdtraj
import numpy as np
import openmm as mm
import pytest
from openmm import app, unit

import openmm_nn
from tests import SHARED

STRUCTURE = SHARED / "structures" / "alanine-dipeptide-explicit.pdb"

_OF_THE_REGION = ("expand", "link", "link_distances", "allow_cuts")
_OF_THE_EMBEDDING = ("bonded_rule", "charge_scheme", "long_range", "periodic", "subtract_region")


def make_hybrid(
    topology: app.Topology, system: mm.System, potential: object, region: object, **options: object
) -> openmm_nn.HybridSystem:
    """A hybrid from options in one list: those of select_region and of Mechanical are passed on to them."""
    chosen = {name: options.pop(name) for name in _OF_THE_REGION if name in options}
    embedding = {name: options.pop(name) for name in _OF_THE_EMBEDDING if name in options}
    if chosen:
        region = openmm_nn.select_region(topology, system, region, **chosen)
    if embedding:
        options["embedding"] = openmm_nn.Mechanical(**embedding)
    return openmm_nn.create_hybrid_system(topology, system, potential, region, **options)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A classical System, its topology and positions (N, 3) in nm."""

    topology: app.Topology
    system: mm.System
    positions: np.ndarray


def nanometres(positions: unit.Quantity) -> np.ndarray:
    """Positions (N, 3) in nm."""
    return np.array(positions.value_in_unit(unit.nanometer), dtype=float)


def select(case: Case, selection: str) -> list[int]:
    """Atoms of an MDTraj selection."""
    return [int(index) for index in mdtraj.Topology.from_openmm(case.topology).select(selection)]


@functools.cache
def _structure() -> app.PDBFile:
    if not STRUCTURE.is_file():
        pytest.skip(f"{STRUCTURE} is absent: it holds the peptide in water")
    return app.PDBFile(str(STRUCTURE))


@functools.cache
def droplet(waters: int) -> tuple[app.Topology, np.ndarray]:
    """The dipeptide and its nearest waters, in a box as large as the first one's."""
    pdb = _structure()
    positions = nanometres(pdb.positions)
    peptide = positions[:22].mean(axis=0)
    residues = [residue for residue in pdb.topology.residues() if residue.name == "HOH"]
    far = sorted(residues, key=lambda r: np.linalg.norm(positions[next(r.atoms()).index] - peptide))[waters:]
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.delete(far)
    return modeller.topology, nanometres(modeller.positions)


@functools.cache
def peptide_in_water(field: str = "amber14", method: str = "PME", waters: int = 749, **options: object) -> Case:
    """The alanine dipeptide in water.

    Parameters
    ----------
    field : {"amber14", "tip4pew", "obc2", "gbn2"}
    method : str
        Name of a method in `openmm.app`.
    waters : int
        How many of the nearest are kept.
    options
        Of `ForceField.createSystem`.
    """
    files = {
        "amber14": ("amber14-all.xml", "amber14/tip3p.xml"),
        "tip4pew": ("amber14-all.xml", "amber14/tip4pew.xml"),
        "obc2": ("amber14-all.xml", "amber14/tip3p.xml", "implicit/obc2.xml"),
        "gbn2": ("amber14-all.xml", "amber14/tip3p.xml", "implicit/gbn2.xml"),
    }[field]
    force_field = app.ForceField(*files)
    topology, positions = (
        droplet(waters) if waters != 749 else (_structure().topology, nanometres(_structure().positions))
    )
    if field == "tip4pew":
        modeller = app.Modeller(topology, positions * unit.nanometer)
        modeller.addExtraParticles(force_field)
        topology, positions = modeller.topology, nanometres(modeller.positions)
    settings: dict[str, object] = {"nonbondedCutoff": 0.9 * unit.nanometer} if method != "NoCutoff" else {}
    if "switchDistance" in options:
        options["switchDistance"] = options["switchDistance"] * unit.nanometer if options["switchDistance"] else None
    system = force_field.createSystem(topology, nonbondedMethod=getattr(app, method), **settings, **options)
    return Case(topology, system, positions)


@functools.cache
def villin(field: str = "amber14", method: str = "PME", waters: int = 100, **options: object) -> Case:
    """The villin headpiece of OpenMM's own data, charged ends, two chlorides and its nearest waters.

    Parameters
    ----------
    field : {"amber14", "charmm36"}
    method : str
        Name of a method in `openmm.app`.
    waters : int
        How many of the nearest are kept.
    options
        Of `ForceField.createSystem`.
    """
    pdb = app.PDBFile(str(pathlib.Path(app.__file__).parent / "data" / "test.pdb"))
    positions = nanometres(pdb.positions)
    protein = positions[[atom.index for atom in pdb.topology.atoms() if atom.residue.name not in ("HOH", "Cl")]]
    residues = [residue for residue in pdb.topology.residues() if residue.name == "HOH"]
    near = sorted(residues, key=lambda r: np.linalg.norm(protein - positions[next(r.atoms()).index], axis=1).min())
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.delete(near[waters:])
    files = {
        "amber14": ("amber14-all.xml", "amber14/tip3p.xml"),
        "charmm36": ("charmm36.xml", "charmm36/water.xml"),
    }[field]
    settings: dict[str, object] = {"nonbondedCutoff": 0.9 * unit.nanometer} if method != "NoCutoff" else {}
    system = app.ForceField(*files).createSystem(
        modeller.topology, nonbondedMethod=getattr(app, method), **settings, **options
    )
    return Case(modeller.topology, system, nanometres(modeller.positions))


# Cut bonds: CA-CB; and CA-C of residue 8 with CA-C of residue 10.
SIDE_CHAIN = "resid 5 and not (name N H CA HA C O)"
BACKBONE = "(resid 7 and name C O) or resid 8 or (resid 9 and not name C O)"


@functools.cache
def lysozyme(solvent: str) -> tuple[Case, app.AmberPrmtopFile, list[int]]:
    """Toluene in T4 lysozyme L99A in implicit solvent, the ligand's own parameter file, and the ligand's atoms."""
    spec = importlib.util.find_spec("openmmtools")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(
            "openmmtools is not installed: its data folder holds T4 lysozyme (pip install --no-deps openmmtools)"
        )
    folder = pathlib.Path(spec.submodule_search_locations[0]) / "data" / "T4-lysozyme-L99A-implicit"
    complex_ = app.AmberPrmtopFile(str(folder / "complex.prmtop"))
    system = complex_.createSystem(implicitSolvent=getattr(app, solvent), constraints=None)
    positions = nanometres(app.AmberInpcrdFile(str(folder / "complex-minimized.crd")).positions)
    ligand = app.AmberPrmtopFile(str(folder / "ligand.prmtop"))
    number = ligand.topology.getNumAtoms()
    atoms = [atom.index for atom in complex_.topology.atoms()][-number:]
    return Case(complex_.topology, system, positions), ligand, atoms
