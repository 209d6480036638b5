"""Time of a hybrid step: the classical step alone, the bare model, the hybrid, and peers on the same System."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import unit

from .. import native
from ..engine.package_runner import PackageRunner
from ..errors import ParameterError
from ..model.torchscript import quiet_torchscript
from ..platforms import PlatformLike, find_platform
from ..potentials.loading import load_potential
from ..potentials.potential import Potential
from ..systems.hybrid import HybridSystem, Mechanical, create_hybrid_system
from .contexts import make_context, minimised, place, where
from .peers import mixed_system, torch_systems
from .subjects import find_subject, needs_box

__all__ = ["StepResult", "measure_step", "region_coordinates"]

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
    differences
        By peer: the largest difference of its forces from the hybrid's, before the first step; kJ/mol/nm.
    """

    times: Mapping[str, list[float]]
    work: Mapping[str, float]
    setting: Mapping[str, str] = field(default_factory=dict)
    differences: Mapping[str, float] = field(default_factory=dict)

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
    region: str | None = None,
    *,
    potential: str = "ani2x/0",
    waters: int | None = None,
    rounds: int = 15,
    steps: int = 40,
    threads: int = 0,
    platform: PlatformLike = "CPU",
    cuda_graphs: bool = False,
    peers: bool = True,
) -> StepResult:
    """Measure the time of a step.

    Every round runs a few steps of each contender in turn, so that a machine whose speed drifts slows all of them.

    Parameters
    ----------
    structure
        ``"peptide"``, ``"dhfr"`` or ``"cb7"``, see `openmm_nn.bench.find_subject`, or a PDB file of a region in a
        periodic box of water.
    region
        MDTraj selection; by default the system's own.
    potential
        Name or path.
    waters
        Number of waters that the region is solvated in again; None to take the box as it is.
    rounds, steps
        How many rounds, and steps of each contender in a round.
    threads
        Threads of torch; 0 for the engine's default.
    platform
        An OpenMM platform, or its name.
    cuda_graphs
        Whether the hybrid's model, and the bare one, are recorded as a CUDA graph and replayed.
    peers
        Whether openmm-ml is measured too, if it is installed and the potential is one of ANI-2x, and openmm-torch, if
        it is installed: `openmmtorch` can be imported and its kernels have been loaded.

    Returns
    -------
    StepResult
        ``classical``, ``model``, ``classical + model`` (both in one loop), ``hybrid``, ``openmm-ml``, ``TorchForce``,
        ``PythonTorchForce``. The model, and every peer, has the hybrid's link atoms.

    Examples
    --------
    >>> from openmm_nn.bench import measure_step
    >>> result = measure_step("alanine-dipeptide-explicit.pdb")  # doctest: +SKIP
    >>> result.ratio("hybrid", "classical + model")  # doctest: +SKIP
    """
    subject = find_subject(structure, region, waters)
    classical = subject.make(True)
    loaded = load_potential(potential)
    if cuda_graphs and loaded.card.format == "aotinductor":
        raise ParameterError(
            "cuda_graphs", f"True for {loaded.card.name!r}, compiled, whose code Python cannot record alone",
                    "potentials of TorchScript", "measure it with bench model --platform CUDA"
        )  # fmt: skip
    properties = {"threads": str(threads)} if threads else {}
    if cuda_graphs:
        properties["cuda_graphs"] = "true"
    embedding = Mechanical(periodic=needs_box(subject, subject.region))
    hybrid = create_hybrid_system(
        subject.topology, classical, loaded, subject.region, embedding=embedding, charge=0, properties=properties
    )
    device = "cuda" if find_platform(platform).getName() == "CUDA" else "cpu"
    contexts = {"classical": make_context(classical, subject.positions, platform)}
    start = minimised(contexts["classical"])
    contexts["hybrid"] = make_context(hybrid.system, start, platform)
    model = _bare_model(loaded, hybrid, start, threads or 1, device, cuda_graphs)
    if peers:
        mixed = mixed_system(potential, subject.topology, classical, hybrid.region.atoms, device)
        others = {"openmm-ml": mixed} if mixed is not None else {}
        others.update(torch_systems(loaded, hybrid))
        contexts.update({name: make_context(system, start, platform) for name, system in others.items()})
    differences = _differences(contexts, len(start))

    def step_of(context: openmm.Context) -> Callable[[], None]:
        integrator = context.getIntegrator()
        return lambda: integrator.step(1)

    def both() -> None:
        contenders["classical"]()
        model()

    contenders: dict[str, Callable[[], None]] = {"classical": step_of(contexts["classical"]), "model": model}
    contenders["classical + model"] = both
    contenders.update({name: step_of(context) for name, context in contexts.items() if name not in contenders})
    for name, context in contexts.items():
        place(context, start)
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
    links = f" and {len(hybrid.links)} link atoms" if hybrid.links else ""
    setting = {
        "system": subject.name,
        "atoms": str(subject.topology.getNumAtoms()),
        "region": f"{len(hybrid.region.atoms)} atoms{links} ({subject.region})",
        "potential": potential,
        "threads of torch": str(threads or "default"),
        "CUDA graphs": str(cuda_graphs).lower(),
        "rounds": f"{rounds} of {steps} steps",
        **where(platform),
    }
    work = _work(hybrid.system, contexts["hybrid"])
    return StepResult(times=times, work=work, setting=setting, differences=differences)


def _differences(contexts: Mapping[str, openmm.Context], atoms: int) -> dict[str, float]:
    """Compare the forces of the peers with those of the hybrid, at the same positions."""
    forces = {
        name: context.getState(forces=True).getForces(asNumpy=True)._value[:atoms]
        for name, context in contexts.items()
        if name != "classical"
    }
    own = forces.pop("hybrid")
    return {name: float(np.abs(theirs - own).max()) for name, theirs in forces.items()}


def _wait(contexts: Mapping[str, openmm.Context], device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device == "cpu":
        return
    import torch

    for context in contexts.values():
        context.getState(velocities=True)
    torch.cuda.synchronize()


def _bare_model(
    potential: Potential, hybrid: HybridSystem, positions: Any, threads: int, device: str, replay: bool
) -> Callable[[], None]:
    """Return a function that evaluates energy and forces, and nothing else, with all inputs made beforehand."""
    import torch
    import vesin

    card = potential.card
    dtype = torch.float64 if card.dtype == "float64" else torch.float32
    numbers = torch.tensor([*hybrid.region.atomic_numbers, *(1 for _ in hybrid.links)])
    run = _function(potential, numbers.to(device), dtype, replay)
    x = region_coordinates(hybrid, positions.value_in_unit(unit.nanometer)) / card.length_factor
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
        run([values[name] for name in card.inputs])

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


def _function(potential: Potential, numbers: Any, dtype: Any, replay: bool) -> Callable[[list[Any]], Any]:
    """Return compiled code, or the frozen module and its gradient, as a function of the inputs."""
    import torch

    card = potential.card
    runner = potential.runner(str(numbers.device)) if card.format == "aotinductor" else None
    if isinstance(runner, PackageRunner):
        return runner.run
    with quiet_torchscript():
        module = copy.deepcopy(potential.module).eval().to(dtype).to(numbers.device)
        for hook in ("specialize", *(["make_static"] if replay else [])):
            if hasattr(module, hook):
                getattr(module, hook)(numbers)
        module = torch.jit.freeze(module)
    place = card.inputs.index("positions")

    def evaluate(inputs: list[Any]) -> None:
        moving = inputs[place] = inputs[place].clone().requires_grad_(True)
        output = module(*inputs)
        energy = output[0] if isinstance(output, tuple) else output
        if not card.returns_forces:
            torch.autograd.grad(energy.sum(), moving)

    return evaluate


def region_coordinates(hybrid: HybridSystem, x: Any) -> Any:
    """Return the positions of the region and of its link atoms, which lie along the cut bonds.

    Parameters
    ----------
    hybrid
        Its region, and links at fixed distances.
    x : array
        (N,3), of all atoms, in nm.

    Returns
    -------
    array
        (n,3), in nm: the region's atoms, then the link atoms.
    """
    links = []
    for link in hybrid.links:
        bond = x[link.outside] - x[link.inside]
        links.append(x[link.inside] + link.value * bond / np.linalg.norm(bond))
    return np.array([*x[list(hybrid.region.atoms)], *links])


def _work(system: openmm.System, context: openmm.Context) -> dict[str, float]:
    for force in native.neural_forces(system).values():
        counts = force.getStatistics(context)
        return {name: counts[name] / counts["evaluations"] for name in ("atoms", "edges", "bytes")}
    return {}
