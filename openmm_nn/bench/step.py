"""Time of a hybrid step: the classical step alone, the bare model, the hybrid, and openmm-ml on the same System."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from ..hybrid import create_hybrid_system
from ..loading import load_potential
from ..potential import Potential
from ..runner import quiet_torchscript

__all__ = ["StepResult", "measure_step"]

_FORCE_FIELD = ("amber14-all.xml", "amber14/tip3p.xml")
_TIME_STEP = 0.5 * unit.femtosecond
_WARM_UP = 30


@dataclass(frozen=True)
class StepResult:
    """Times of a step, from interleaved rounds.

    Parameters
    ----------
    times
        Milliseconds a step of every contender, one number a round.
    work
        Counted work of the neural part a step: atoms, edges, bytes.
    setting
        What was measured, and on what.
    """

    times: Mapping[str, list[float]]
    work: Mapping[str, float]
    setting: Mapping[str, str] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """Return the median time of a contender.

        Parameters
        ----------
        name
            A key of `times`.

        Returns
        -------
        float
            Milliseconds a step.
        """
        return statistics.median(self.times[name])

    def ratio(self, name: str, *parts: str) -> float:
        """Return how a contender compares with the sum of others, round by round.

        Parameters
        ----------
        name
            A key of `times`.
        parts
            Keys of `times`, whose times are added.

        Returns
        -------
        float
            The median over the rounds.
        """
        sums = [sum(values) for values in zip(*(self.times[part] for part in parts), strict=True)]
        return float(statistics.median(own / total for own, total in zip(self.times[name], sums, strict=True)))


def measure_step(
    structure: str | Path,
    region: str = "resname ACE ALA NME",
    *,
    potential: str = "ani2x/0",
    waters: int | None = None,
    rounds: int = 15,
    steps: int = 40,
    threads: int = 0,
    platform_name: str = "CPU",
    peers: bool = True,
) -> StepResult:
    """Measure the time of a step.

    Every round runs a few steps of each contender in turn, so that a machine whose speed drifts slows all of them.

    Parameters
    ----------
    structure
        A PDB file of a region in a periodic box of water.
    region
        MDTraj selection.
    potential
        Name or path.
    waters
        Number of waters that the region is solvated in again; None to take the file as it is.
    rounds, steps
        How many rounds, and steps of each contender in a round.
    threads
        Threads of torch; 0 for the engine's default.
    platform_name
        OpenMM platform.
    peers
        Whether openmm-ml is measured too, if it is installed and the potential is one of ANI-2x.

    Returns
    -------
    StepResult
        ``classical``, ``model``, ``classical + model`` (both in one loop), ``hybrid``, ``openmm-ml``.

    Examples
    --------
    >>> from openmm_nn.bench import measure_step
    >>> result = measure_step("alanine-dipeptide-explicit.pdb")  # doctest: +SKIP
    >>> result.ratio("hybrid", "classical + model")  # doctest: +SKIP
    """
    topology, positions = _structure(structure, region, waters)
    classical = app.ForceField(*_FORCE_FIELD).createSystem(
        topology, nonbondedMethod=app.PME, nonbondedCutoff=1 * unit.nanometer, constraints=None, rigidWater=True
    )
    loaded = load_potential(potential)
    properties = {"threads": str(threads)} if threads else None
    hybrid = create_hybrid_system(topology, classical, loaded, region, charge=0, properties=properties)
    contexts = {"classical": _context(classical, positions, platform_name)}
    start = _minimised(contexts["classical"])
    contexts["hybrid"] = _context(hybrid.system, start, platform_name)
    model = _bare_model(loaded, hybrid.region.atoms, topology, start, threads or 1)

    def classical_step() -> None:
        contexts["classical"].getIntegrator().step(1)

    def both() -> None:
        classical_step()
        model()

    contenders: dict[str, Callable[[], None]] = {
        "classical": classical_step,
        "model": model,
        "classical + model": both,
        "hybrid": lambda: contexts["hybrid"].getIntegrator().step(1),
    }
    if peers and (mixed := _openmmml(potential, topology, classical, hybrid.region.atoms)) is not None:
        contexts["openmm-ml"] = _context(mixed, start, platform_name)
        contenders["openmm-ml"] = lambda: contexts["openmm-ml"].getIntegrator().step(1)
    for name, context in contexts.items():
        context.setPositions(start)
        context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
        for _ in range(_WARM_UP):
            contenders[name]()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            begin = time.perf_counter()
            for _ in range(steps):
                contender()
            times[name].append(1000.0 * (time.perf_counter() - begin) / steps)
    setting = {
        "structure": Path(structure).name,
        "atoms": str(topology.getNumAtoms()),
        "region": f"{len(hybrid.region.atoms)} atoms ({region})",
        "potential": potential,
        "platform": platform_name,
        "threads of torch": str(threads or "default"),
        "rounds": f"{rounds} of {steps} steps",
        "versions": _versions(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    return StepResult(times=times, work=_work(hybrid.system, contexts["hybrid"]), setting=setting)


def _structure(structure: str | Path, region: str, waters: int | None) -> tuple[app.Topology, Any]:
    pdb = app.PDBFile(str(structure))
    if waters is None:
        return pdb.topology, pdb.positions
    import mdtraj

    chosen = set(mdtraj.Topology.from_openmm(pdb.topology).select(region).tolist())
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.delete([atom for atom in pdb.topology.atoms() if atom.index not in chosen])
    modeller.addSolvent(app.ForceField(*_FORCE_FIELD), numAdded=waters)
    return modeller.topology, modeller.positions


def _context(system: openmm.System, positions: Any, platform_name: str) -> openmm.Context:
    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, _TIME_STEP)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform_name))
    context.setPositions(positions)
    return context


def _minimised(context: openmm.Context) -> Any:
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=100)
    return context.getState(positions=True).getPositions(asNumpy=True)


def _bare_model(
    potential: Potential, atoms: Any, topology: app.Topology, positions: Any, threads: int
) -> Callable[[], None]:
    """Return a function that evaluates the frozen module and its gradient, with all inputs made beforehand."""
    import torch
    import vesin

    card = potential.card
    dtype = torch.float64 if card.dtype == "float64" else torch.float32
    with quiet_torchscript():
        module = potential.module.copy().eval().to(dtype)
        elements = [atom.element.atomic_number for atom in topology.atoms()]
        if hasattr(module, "specialize"):
            module.specialize(torch.tensor([elements[index] for index in atoms]))
        module = torch.jit.freeze(module)
    x = positions[list(atoms)].value_in_unit(unit.nanometer) / card.length_factor
    x -= x.mean(axis=0)
    values: dict[str, Any] = {
        "positions": torch.tensor(x, dtype=dtype),
        "atomic_numbers": torch.tensor([elements[index] for index in atoms]),
        "charge": torch.tensor(0.0, dtype=dtype),
        "multiplicity": torch.tensor(1.0, dtype=dtype),
        "box": torch.zeros(3, 3, dtype=dtype),
    }
    if card.uses_edges:
        i, j = vesin.NeighborList(cutoff=card.cutoff, full_list=True).compute(
            points=x, box=np.eye(3), periodic=False, quantities="ij"
        )
        values["edge_index"] = torch.tensor(np.stack([i, j]).astype(np.int64))
        values["edge_shifts"] = torch.zeros(len(i), 3, dtype=dtype)
    values.update({name: torch.tensor(value, dtype=dtype) for name, value in card.parameters.items()})

    def evaluate() -> None:
        torch.set_num_threads(threads)
        moving = values["positions"].clone().requires_grad_(True)
        output = module(*(moving if name == "positions" else values[name] for name in card.inputs))
        energy = output[0] if isinstance(output, tuple) else output
        if not card.returns_forces:
            torch.autograd.grad(energy.sum(), moving)

    for _ in range(_WARM_UP):
        evaluate()
    return evaluate


def _openmmml(
    potential: str, topology: app.Topology, classical: openmm.System, atoms: Any, *, interpolate: bool = False
) -> openmm.System | None:
    """Return the mixed System of openmm-ml for the same potential, or None."""
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
                topology, classical, [int(index) for index in atoms], interpolate=interpolate, device="cpu", **options
            )
            return mixed
        finally:
            if before:
                os.environ["TORCHANI_DATA_DIR"] = before


def _work(system: openmm.System, context: openmm.Context) -> dict[str, float]:
    from .. import native

    if not native.available():
        return {}
    neural = native.load().NeuralForce
    for index in range(system.getNumForces()):
        if neural.isinstance(system.getForce(index)):
            counts = neural.cast(system.getForce(index)).getStatistics(context)
            evaluations = counts["evaluations"]
            return {name: counts[name] / evaluations for name in ("atoms", "edges", "bytes")}
    return {}


def _versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("openmm-nn", "torch", "openmm", "openmmml", "torchani"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
