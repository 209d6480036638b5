"""The hybrid by other means: openmm-ml's mixed System, and openmm-torch's forces in the place of ours."""

from __future__ import annotations

import copy
import importlib.util
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import openmm
from openmm import app

from .. import native
from ..engine.force_arguments import Link
from ..model.torchscript import quiet_torchscript
from ..potentials.potential import Potential
from ..systems.hybrid import HybridSystem

__all__ = ["PEERS", "add_sites", "mixed_system", "torch_systems"]

PEERS = ("openmm-ml", "TorchForce", "PythonTorchForce")


def mixed_system(
    potential: str,
    topology: app.Topology,
    classical: openmm.System,
    atoms: Any,
    device: str = "cpu",
    *,
    interpolate: bool = False,
) -> openmm.System | None:
    """Make the mixed System of openmm-ml for the same potential.

    Parameters
    ----------
    potential
        ``ani2x`` or one of its members.
    topology
        Of the classical System.
    classical
        The classical System.
    atoms
        Of the region.
    device
        Of torch.
    interpolate
        Whether it can go to the classical System.

    Returns
    -------
    openmm.System or None
        With a virtual site more for every bond that the region cuts; None without openmm-ml, or for another potential.
    """
    if importlib.util.find_spec("openmmml") is None or not potential.startswith("ani2x"):
        return None
    import openmmml

    member = potential.partition("/")[2]
    options = {"modelIndex": int(member)} if member else {}
    before = os.environ.get("TORCHANI_DATA_DIR")
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if before and Path(before).is_dir():
            # torchani makes directories beside its weights.
            shutil.copytree(before, temporary, dirs_exist_ok=True, copy_function=shutil.copyfile)
            os.chmod(temporary, 0o755)
            for directory, names, _ in os.walk(temporary):
                for name in names:
                    os.chmod(Path(directory) / name, 0o755)
            os.environ["TORCHANI_DATA_DIR"] = temporary
        try:
            mixed: openmm.System = openmmml.MLPotential("ani2x").createMixedSystem(
                topology, classical, [int(index) for index in atoms], interpolate=interpolate, device=device, **options
            )
            return mixed
        finally:
            if before:
                os.environ["TORCHANI_DATA_DIR"] = before


def torch_systems(potential: Potential, hybrid: HybridSystem) -> dict[str, openmm.System]:
    """Make the hybrid with the forces of openmm-torch in the place of ours.

    Parameters
    ----------
    potential
        Of the hybrid.
    hybrid
        With the native force.

    Returns
    -------
    dict
        Systems by ``TorchForce`` and ``PythonTorchForce``, as far as openmm-torch is installed and has them; with a
        virtual site more for every link atom.
    """
    if importlib.util.find_spec("openmmtorch") is None:
        return {}
    import openmmtorch
    import torch

    rest = copy.deepcopy(hybrid.system)
    (index,) = native.neural_forces(rest)
    rest.removeForce(index)
    atoms = [*hybrid.region.atoms, *add_sites(rest, hybrid.links)]
    numbers = [*hybrid.region.atomic_numbers, *(1 for _ in hybrid.links)]
    systems = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        path.write_bytes(potential.to_torchforce(atomic_numbers=numbers, region=atoms, periodic=False).data or b"")
        systems["TorchForce"] = copy.deepcopy(rest)
        systems["TorchForce"].addForce(openmmtorch.TorchForce(str(path)))
    if hasattr(openmmtorch, "PythonTorchForce"):  # from openmm-torch 1.5 on
        # It takes the region's positions alone, and wants the forces too. TorchForce freezes its module; so do we.
        alone = potential.to_torchforce(atomic_numbers=numbers, periodic=False)
        with quiet_torchscript():
            module: Any = torch.jit.freeze(copy.deepcopy(alone.module).eval())

        def compute(state: Any, positions: Any) -> tuple[Any, Any]:
            moving = positions.detach().requires_grad_(True)
            result = module(moving)
            if isinstance(result, tuple):
                return result
            (gradient,) = torch.autograd.grad(result, moving)
            return result, -gradient

        systems["PythonTorchForce"] = copy.deepcopy(rest)
        systems["PythonTorchForce"].addForce(openmmtorch.PythonTorchForce(compute, {}, atoms))
    return systems


def add_sites(system: openmm.System, links: Iterable[Link]) -> list[int]:
    """Add a virtual site where each link atom is, for a force that has no link atoms of its own.

    Parameters
    ----------
    system
        Changed; its only nonbonded force is a NonbondedForce, in which the sites do not interact.
    links
        At fixed distances.

    Returns
    -------
    list of int
        Indices of the sites.
    """
    sites = []
    for link in links:
        sites.append(system.addParticle(0.0))
        place = openmm.LocalCoordinatesSite(
            [link.inside, link.outside], [1.0, 0.0], [-1.0, 1.0], [0.0, 0.0], [link.value, 0.0, 0.0]
        )
        system.setVirtualSite(sites[-1], place)
        for force in system.getForces():
            if isinstance(force, openmm.NonbondedForce):
                force.addParticle(0.0, 1.0, 0.0)
    return sites
