"""Small systems of the tests."""

import pathlib
from collections.abc import Sequence

import numpy as np
import openmm as mm
from numpy.typing import ArrayLike
from openmm import app, unit

BOXES = {
    "rectangular": np.diag([2.0, 2.2, 2.4]),
    "triclinic": np.array([[2.2, 0.0, 0.0], [0.9, 2.0, 0.0], [-0.8, 0.7, 1.9]]),
}
MASSES = {1: 1.008, 6: 12.011, 7: 14.007, 8: 15.999}

# Two molecules as bonded atoms: a bent chain H-O-C-N-H and a chain O-C-H, close to one another.
MOLECULE_NUMBERS = [1, 8, 6, 7, 1, 8, 6, 1]
MOLECULE_BONDS = [(0, 1), (1, 2), (2, 3), (3, 4), (5, 6), (6, 7)]
MOLECULE_POSITIONS = np.array(
    [
        [0.10, 0.12, 0.05],
        [0.19, 0.15, 0.07],
        [0.27, 0.05, 0.13],
        [0.40, 0.09, 0.16],
        [0.46, 0.02, 0.21],
        [0.20, 0.38, 0.20],
        [0.31, 0.44, 0.22],
        [0.33, 0.53, 0.17],
    ]
)


def bare_system(count: int, *, box: ArrayLike | None = None, mass: float = 12.0) -> mm.System:
    """A System of `count` free particles."""
    system = mm.System()
    for _ in range(count):
        system.addParticle(mass)
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*(mm.Vec3(*row) for row in np.asarray(box, dtype=float).tolist()))
    return system


def make_periodic(system: mm.System) -> mm.NonbondedForce:
    """Make a System use periodic boundary conditions, by a NonbondedForce that contributes nothing (group 31)."""
    force = mm.NonbondedForce()
    for _ in range(system.getNumParticles()):
        force.addParticle(0.0, 0.3, 0.0)
    force.setNonbondedMethod(mm.NonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(0.6)
    force.setUseDispersionCorrection(False)
    force.setForceGroup(31)
    system.addForce(force)
    return force


class Region:
    """Two molecules scattered in the index order of a larger System.

    Attributes
    ----------
    count : int
        Particles of the System.
    atoms : list of int
        Of the region, in the order of `MOLECULE_NUMBERS`.
    numbers : list of int
        Atomic numbers of the region.
    bonds : list of (int, int)
        Of the region, in indices of the System.
    positions : ndarray (count, 3)
        nm; the region is whole and its molecules neighbours.
    """

    def __init__(self, seed: int = 3) -> None:
        self.count = 14
        self.atoms = [11, 2, 7, 4, 9, 0, 13, 5]
        self.numbers = list(MOLECULE_NUMBERS)
        self.bonds = [(self.atoms[i], self.atoms[j]) for i, j in MOLECULE_BONDS]
        self.positions = np.random.default_rng(seed).uniform(0.0, 1.9, (self.count, 3))
        self.positions[self.atoms] = MOLECULE_POSITIONS

    def system(self, box: ArrayLike | None = None) -> mm.System:
        """The System, with periodic boundary conditions if there is a box."""
        system = bare_system(self.count, box=box)
        if box is not None:
            make_periodic(system)
        return system

    def expand(self, forces: ArrayLike) -> np.ndarray:
        """Forces of the region (8, 3) as forces of the System (14, 3)."""
        everything = np.zeros((self.count, 3))
        everything[self.atoms] = forces
        return everything


def random_cluster(numbers: Sequence[int], seed: int, *, closest: float = 0.12, radius: float = 0.35) -> np.ndarray:
    """Positions (N, 3) in nm at random in a ball, no two closer than `closest`."""
    rng = np.random.default_rng(seed)
    points: list[np.ndarray] = []
    while len(points) < len(numbers):
        candidate = rng.uniform(-radius, radius, 3)
        if np.linalg.norm(candidate) < radius and all(np.linalg.norm(candidate - p) > closest for p in points):
            points.append(candidate)
    return np.array(points)


def random_lattice(count: int, box: ArrayLike, seed: int) -> np.ndarray:
    """Lattice vectors (count, 3) at random, up to two boxes away."""
    return np.random.default_rng(seed).integers(-2, 3, (count, 3)) @ np.asarray(box)


def peptide_pdb(shared: pathlib.Path) -> app.PDBFile:
    """Alanine dipeptide in 749 waters."""
    return app.PDBFile(str(shared / "structures" / "alanine-dipeptide-explicit.pdb"))


def peptide_atoms(topology: app.Topology) -> list[int]:
    """The 22 atoms of the peptide."""
    return [atom.index for atom in topology.atoms() if atom.residue.name in ("ACE", "ALA", "NME")]


def cut_to_waters(pdb: app.PDBFile, waters: int) -> app.Modeller:
    """The peptide with the `waters` molecules nearest to it, in the same box."""
    modeller = app.Modeller(pdb.topology, pdb.positions)
    x = np.asarray(pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    middle = x[peptide_atoms(pdb.topology)].mean(axis=0)
    residues = [r for r in modeller.topology.residues() if r.name == "HOH"]
    residues.sort(key=lambda r: float(np.linalg.norm(x[next(r.atoms()).index] - middle)))
    modeller.delete(residues[waters:])
    return modeller


def amber_system(
    topology: app.Topology,
    water: str = "amber14/tip3p.xml",
    *,
    method: object = app.PME,
    cutoff: float = 0.9,
) -> mm.System:
    """Amber14 for the peptide, a water model, rigid water, no other constraints."""
    field = app.ForceField("amber14-all.xml", water)
    return field.createSystem(
        topology, nonbondedMethod=method, nonbondedCutoff=cutoff * unit.nanometer, constraints=None, rigidWater=True
    )
