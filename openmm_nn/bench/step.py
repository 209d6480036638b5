"""Time of a hybrid step: the classical step alone, the bare model, the hybrid, and openmm-ml on the same System."""

from __future__ import annotations

import copy
import importlib.util
import os
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

from .. import native
from ..hybrid import HybridSystem, create_hybrid_system
from ..loading import load_potential
from ..potential import Potential
from ..runner import quiet_torchscript
from .systems import classical_system, make_context, minimised, read_structure, where

__all__ = ["StepResult", "measure_step"]

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
    cuda_graphs: bool = False,
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
    cuda_graphs
        Whether the hybrid's model, and the bare one, are recorded as a CUDA graph and replayed.
    peers
        Whether openmm-ml is measured too, if it is installed and the potential is one of ANI-2x, and openmm-torch, if
        it is installed: `openmmtorch` can be imported and its kernels have been loaded.

    Returns
    -------
    StepResult
        ``classical``, ``model``, ``classical + model`` (both in one loop), ``hybrid``, ``openmm-ml``, ``openmm-torch``.

    Examples
    --------
    >>> from openmm_nn.bench import measure_step
    >>> result = measure_step("alanine-dipeptide-explicit.pdb")  # doctest: +SKIP
    >>> result.ratio("hybrid", "classical + model")  # doctest: +SKIP
    """
    topology, positions = read_structure(structure, region, waters)
    classical = classical_system(topology)
    loaded = load_potential(potential)
    properties = {"threads": str(threads)} if threads else {}
    if cuda_graphs:
        properties["cuda_graphs"] = "true"
    hybrid = create_hybrid_system(topology, classical, loaded, region, charge=0, properties=properties)
    contexts = {"classical": make_context(classical, positions, platform_name)}
    start = minimised(contexts["classical"])
    contexts["hybrid"] = make_context(hybrid.system, start, platform_name)
    device = "cuda" if platform_name == "CUDA" else "cpu"
    model = _bare_model(loaded, hybrid.region.atoms, topology, start, threads or 1, device, cuda_graphs)

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
    if peers and (mixed := mixed_system(potential, topology, classical, hybrid.region.atoms, device)) is not None:
        contexts["openmm-ml"] = make_context(mixed, start, platform_name)
        contenders["openmm-ml"] = lambda: contexts["openmm-ml"].getIntegrator().step(1)
    if peers and (torchforce := _torchforce_system(loaded, hybrid, topology)) is not None:
        contexts["openmm-torch"] = make_context(torchforce, start, platform_name)
        contenders["openmm-torch"] = lambda: contexts["openmm-torch"].getIntegrator().step(1)
    for name, context in contexts.items():
        context.setPositions(start)
        context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
        for _ in range(_WARM_UP):
            contenders[name]()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            _wait(contexts, device)
            begin = time.perf_counter()
            for _ in range(steps):
                contender()
            _wait(contexts, device)
            times[name].append(1000.0 * (time.perf_counter() - begin) / steps)
    setting = {
        "structure": Path(structure).name,
        "atoms": str(topology.getNumAtoms()),
        "region": f"{len(hybrid.region.atoms)} atoms ({region})",
        "potential": potential,
        "threads of torch": str(threads or "default"),
        "CUDA graphs": str(cuda_graphs).lower(),
        "rounds": f"{rounds} of {steps} steps",
        **where(platform_name),
    }
    return StepResult(times=times, work=_work(hybrid.system, contexts["hybrid"]), setting=setting)


def _wait(contexts: Mapping[str, openmm.Context], device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device == "cpu":
        return
    import torch

    for context in contexts.values():
        context.getState(velocities=True)
    torch.cuda.synchronize()


def _bare_model(
    potential: Potential, atoms: Any, topology: app.Topology, positions: Any, threads: int, device: str, replay: bool
) -> Callable[[], None]:
    """Return a function that evaluates the frozen module and its gradient, with all inputs made beforehand."""
    import torch
    import vesin

    card = potential.card
    dtype = torch.float64 if card.dtype == "float64" else torch.float32
    with quiet_torchscript():
        module = copy.deepcopy(potential.module).eval().to(dtype).to(device)
        elements = [atom.element.atomic_number for atom in topology.atoms()]
        numbers = torch.tensor([elements[index] for index in atoms])
        for hook in ("specialize", *(["make_static"] if replay else [])):
            if hasattr(module, hook):
                getattr(module, hook)(numbers.to(device))
        module = torch.jit.freeze(module)
    x = positions[list(atoms)].value_in_unit(unit.nanometer) / card.length_factor
    x -= x.mean(axis=0)
    values: dict[str, Any] = {
        "positions": torch.tensor(x, dtype=dtype),
        "atomic_numbers": numbers,
        "charge": torch.tensor(0.0, dtype=dtype),
        "multiplicity": torch.tensor(1.0, dtype=dtype),
        "box": torch.zeros(3, 3, dtype=dtype),
    }
    if card.uses_edges:
        # A graph that is replayed has all pairs, whose number does not change.
        reach = 1000.0 if replay else card.cutoff
        i, j = vesin.NeighborList(cutoff=reach, full_list=True).compute(
            points=x, box=np.eye(3), periodic=False, quantities="ij"
        )
        values["edge_index"] = torch.tensor(np.stack([i, j]).astype(np.int64))
        values["edge_shifts"] = torch.zeros(len(i), 3, dtype=dtype)
    values.update({name: torch.tensor(value, dtype=dtype) for name, value in card.parameters.items()})
    values = {name: value.to(device) for name, value in values.items()}

    def evaluate() -> None:
        if device == "cpu":
            torch.set_num_threads(threads)
        moving = values["positions"].clone().requires_grad_(True)
        output = module(*(moving if name == "positions" else values[name] for name in card.inputs))
        energy = output[0] if isinstance(output, tuple) else output
        if not card.returns_forces:
            torch.autograd.grad(energy.sum(), moving)

    for _ in range(_WARM_UP):
        evaluate()
    if not replay:
        return evaluate
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        evaluate()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            evaluate()

    def replay_it(inputs: dict[str, Any] = values) -> None:  # which the recording refers to by their addresses
        graph.replay()

    return replay_it


def mixed_system(
    potential: str,
    topology: app.Topology,
    classical: openmm.System,
    atoms: Any,
    device: str = "cpu",
    *,
    interpolate: bool = False,
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
                topology, classical, [int(index) for index in atoms], interpolate=interpolate, device=device, **options
            )
            return mixed
        finally:
            if before:
                os.environ["TORCHANI_DATA_DIR"] = before


def _torchforce_system(potential: Potential, hybrid: HybridSystem, topology: app.Topology) -> openmm.System | None:
    """Return the hybrid with openmm-torch's TorchForce in the place of ours, or None."""
    if importlib.util.find_spec("openmmtorch") is None:
        return None
    import openmmtorch

    made = potential.to_torchforce(topology=topology, atoms=hybrid.region.atoms, periodic=False)
    system = copy.deepcopy(hybrid.system)
    (index,) = native.neural_forces(system)
    system.removeForce(index)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        path.write_bytes(made.data or b"")
        system.addForce(openmmtorch.TorchForce(str(path)))
    return system


def _work(system: openmm.System, context: openmm.Context) -> dict[str, float]:
    for force in native.neural_forces(system).values():
        counts = force.getStatistics(context)
        return {name: counts[name] / counts["evaluations"] for name in ("atoms", "edges", "bytes")}
    return {}
