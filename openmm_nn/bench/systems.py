"""What the measurements run: structures, classical Systems and Contexts, and a word on where they ran."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

__all__ = [
    "classical_system",
    "make_context",
    "minimised",
    "nearest_atoms",
    "read_structure",
    "versions",
    "where",
]

_FORCE_FIELD = ("amber14-all.xml", "amber14/tip3p.xml")
_TIME_STEP = 0.5 * unit.femtosecond
_PACKAGES = ("openmm-nn", "torch", "openmm", "openmmml", "torchani")


def read_structure(structure: str | Path, region: str, waters: int | None) -> tuple[app.Topology, Any]:
    """Read a PDB file, and solvate the region again if a number of waters is given.

    Parameters
    ----------
    structure
        A PDB file of a region in a periodic box of water.
    region
        MDTraj selection.
    waters
        How many; None to take the file as it is.

    Returns
    -------
    topology : openmm.app.Topology
    positions : Quantity
        (N,3).
    """
    pdb = app.PDBFile(str(structure))
    if waters is None:
        return pdb.topology, pdb.positions
    import mdtraj

    chosen = set(mdtraj.Topology.from_openmm(pdb.topology).select(region).tolist())
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.delete([atom for atom in pdb.topology.atoms() if atom.index not in chosen])
    modeller.addSolvent(app.ForceField(*_FORCE_FIELD), numAdded=waters)
    return modeller.topology, modeller.positions


def nearest_atoms(topology: app.Topology, positions: Any, region: str, size: int) -> list[int]:
    """Return the atoms of a region and of the residues nearest to it, about `size` of them.

    Parameters
    ----------
    topology
        Of the structure.
    positions : Quantity
        (N,3).
    region
        MDTraj selection of the first atoms.
    size
        How many atoms at most; residues stay whole.

    Returns
    -------
    list of int
        Indices.
    """
    import mdtraj

    chosen = mdtraj.Topology.from_openmm(topology).select(region).tolist()
    x = np.asarray(positions.value_in_unit(unit.nanometer))
    inside = set(chosen)
    residues = [[atom.index for atom in residue.atoms()] for residue in topology.residues()]
    others = [indices for indices in residues if not inside.intersection(indices)]
    center = x[chosen].mean(axis=0)
    others.sort(key=lambda indices: float(np.linalg.norm(x[indices[0]] - center)))
    for indices in others:
        if len(chosen) + len(indices) > size:
            break
        chosen += indices
    return [int(index) for index in chosen]


def classical_system(topology: app.Topology, *, rigid_water: bool = True) -> openmm.System:
    """Make the classical System: Amber14 and TIP3P with PME at 1 nm.

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
    system: openmm.System = app.ForceField(*_FORCE_FIELD).createSystem(
        topology, nonbondedMethod=app.PME, nonbondedCutoff=1 * unit.nanometer, constraints=None, rigidWater=rigid_water
    )
    return system


def make_context(system: openmm.System, positions: Any, platform_name: str) -> openmm.Context:
    """Make a Context with a Langevin integrator at 300 K and 0.5 fs.

    Parameters
    ----------
    system
        Any.
    positions : Quantity
        (N,3).
    platform_name
        OpenMM's platform.

    Returns
    -------
    openmm.Context
    """
    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, _TIME_STEP)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform_name))
    context.setPositions(positions)
    return context


def minimised(context: openmm.Context, iterations: int = 100) -> Any:
    """Minimise, and return the positions.

    Parameters
    ----------
    context
        Any.
    iterations
        At most.

    Returns
    -------
    Quantity
        (N,3).
    """
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=iterations)
    return context.getState(positions=True).getPositions(asNumpy=True)


def versions() -> str:
    """Return the versions of what takes part, as far as it is installed."""
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def where(platform_name: str) -> dict[str, str]:
    """Say where a measurement was made.

    Parameters
    ----------
    platform_name
        OpenMM's platform.

    Returns
    -------
    dict
        Platform, versions and machine.
    """
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    if platform_name == "CUDA":
        import torch

        machine += f", {torch.cuda.get_device_name()}"
    return {"platform": platform_name, "versions": versions(), "machine": machine}
