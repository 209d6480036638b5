"""What the measurements run in: Contexts, minimised positions, and a word on where they ran."""

from __future__ import annotations

import os
import platform as host
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from ..platforms import PlatformLike, find_platform
from ..potentials.potential import Potential

__all__ = ["make_context", "minimised", "place", "region_context", "versions", "where"]

_TIME_STEP = 0.5 * unit.femtosecond
_PACKAGES = ("openmm-nn", "torch", "openmm", "openmmml", "openmmtorch", "torchani")


def make_context(system: openmm.System, positions: Any, platform: PlatformLike) -> openmm.Context:
    """Make a Context with a Langevin integrator at 300 K and 0.5 fs.

    Parameters
    ----------
    system
        Any.
    positions : Quantity
        (N,3).
    platform
        An OpenMM platform, or its name.

    Returns
    -------
    openmm.Context
    """
    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, _TIME_STEP)
    context = openmm.Context(system, integrator, find_platform(platform))
    place(context, positions)
    return context


def place(context: openmm.Context, positions: Any) -> None:
    """Set positions; virtual sites that a System has beyond them are computed.

    Parameters
    ----------
    context
        Any.
    positions : Quantity
        (N,3), of the first N particles.
    """
    x = np.asarray(positions.value_in_unit(unit.nanometer))
    sites = context.getSystem().getNumParticles() - len(x)
    context.setPositions(np.vstack([x, np.zeros((sites, 3))]))
    if sites:
        context.computeVirtualSites()


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


def region_context(
    potential: Potential,
    topology: app.Topology,
    positions: Any,
    atoms: Sequence[int],
    *,
    threads: int = 0,
    platform: PlatformLike = "Reference",
    cuda_graphs: bool = False,
) -> tuple[openmm.Context, Any]:
    """Make a Context of some atoms alone, as a cluster.

    Parameters
    ----------
    potential
        What describes them.
    topology
        Where their elements come from.
    positions : Quantity
        (N,3), of the whole topology.
    atoms
        Indices.
    threads
        Threads of torch; 0 for the default of the engine.
    platform
        An OpenMM platform, or its name.
    cuda_graphs
        Whether the evaluation is recorded, on CUDA.

    Returns
    -------
    context : openmm.Context
    force : NeuralForce
        Its only force.
    """
    properties = {"threads": str(threads)} if threads else {}
    if cuda_graphs:
        properties["cuda_graphs"] = "true"
    elements = [atom.element.atomic_number for atom in topology.atoms()]
    force: Any = potential.create_force(
        atomic_numbers=[elements[index] for index in atoms],
        periodic=None if potential.card.periodic != "optional" else False,
        properties=properties,
    )
    system = openmm.System()
    for _ in atoms:
        system.addParticle(1.0)
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), find_platform(platform))
    context.setPositions(np.asarray(positions.value_in_unit(unit.nanometer))[list(atoms)])
    return context, force


def versions() -> str:
    """Return the versions of what takes part, as far as it is installed."""
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def where(platform: PlatformLike) -> dict[str, str]:
    """Say where a measurement was made.

    Parameters
    ----------
    platform
        An OpenMM platform, or its name.

    Returns
    -------
    dict
        Platform, versions and machine.
    """
    machine = f"{host.machine()}, {os.cpu_count()} cores"
    if find_platform(platform).getName() == "CUDA":
        import torch

        machine += f", {torch.cuda.get_device_name()}"
    return {"platform": find_platform(platform).getName(), "versions": versions(), "machine": machine}
