"""Time of an evaluation: a potential as TorchScript and the same one compiled, for a small and a larger region."""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..platforms import PlatformLike, find_platform
from ..potentials.export import export_potential
from ..potentials.loading import load_potential
from ..potentials.potential import Potential
from .contexts import region_context, where
from .subjects import find_subject, nearest_atoms

__all__ = ["ModelResult", "compile_bundled", "measure_model"]

_ROOT = Path(__file__).resolve().parents[2]
_WARM_UP = 20


@dataclass(frozen=True)
class ModelResult:
    """Times of an evaluation of energy and forces, from interleaved rounds.

    Parameters
    ----------
    times
        Milliseconds an evaluation, by number of atoms, then by contender: ``.pt``, ``.pt2``; one number a round.
    differences
        By number of atoms: of the energy in kJ/mol, and the largest of the forces in kJ/mol/nm.
    edges
        By number of atoms.
    setting
        What was measured, and on what.
    """

    times: Mapping[int, Mapping[str, list[float]]]
    differences: Mapping[int, tuple[float, float]]
    edges: Mapping[int, int]
    setting: Mapping[str, str] = field(default_factory=dict)

    def ratio(self, atoms: int) -> float:
        """Return the time of the compiled model relative to TorchScript's, the median over the rounds.

        Parameters
        ----------
        atoms
            A key of `times`.

        Returns
        -------
        float
            Less than 1 if the compiled model is faster.
        """
        rounds = zip(self.times[atoms][".pt2"], self.times[atoms][".pt"], strict=True)
        return float(statistics.median(compiled / scripted for compiled, scripted in rounds))


def compile_bundled(
    path: str | Path, *, portable: bool = False, dtype: str = "float32", device: str = "cpu"
) -> Potential:
    """Compile the bundled potential from its source, which a checkout of the repository has.

    Parameters
    ----------
    path
        The ``.pt2`` file to write.
    portable
        Whether it must run on every processor of this kind.
    dtype
        ``float32``, or ``float64`` where rounding matters.
    device
        ``cpu`` or ``cuda``.

    Returns
    -------
    Potential
        The compiled one.

    Raises
    ------
    FileNotFoundError
        If this is not a checkout.

    Examples
    --------
    >>> from openmm_nn.bench.model_cost import compile_bundled
    >>> potential = compile_bundled("hcno-1.pt2")  # doctest: +SKIP
    """
    from ..potentials.bundled import BUNDLED

    source = _ROOT / "training" / "model.py"
    if not source.is_file():
        raise FileNotFoundError(f"{source}: the source of the network is in a checkout of the repository only")
    if str(_ROOT) not in sys.path:
        sys.path.append(str(_ROOT))
    import importlib

    import torch

    network: Any = importlib.import_module("training.model")
    name = "openmm-nn/hcno-1"
    card = dataclasses.replace(load_potential(name).card, dtype=dtype)
    module = network.Folded(network.read(BUNDLED[name])).to(getattr(torch, dtype))
    return export_potential(module, path, card, format="aotinductor", portable=portable, device=device)


def measure_model(
    structure: str | Path,
    *,
    scripted: str = "openmm-nn/hcno-1",
    package: str | Path | None = None,
    region: str | None = None,
    sizes: Sequence[int] = (22, 200),
    rounds: int = 15,
    threads: int = 0,
    portable: bool = False,
    platform: PlatformLike = "Reference",
) -> ModelResult:
    """Measure the time of an evaluation of energy and forces by the native force.

    Parameters
    ----------
    structure
        ``"peptide"`` or ``"cb7"``, or a PDB file.
    scripted
        The potential as TorchScript.
    package
        The same one compiled; None to compile the bundled potential from its source.
    region
        MDTraj selection of the first atoms of every region; the molecules nearest to it follow. By default the system's
        own.
    sizes
        Numbers of atoms, about: molecules stay whole.
    rounds
        Of ten evaluations of each contender in turn, so that a machine whose speed drifts slows both.
    threads
        Threads of torch; 0 for the default of the engine, which is 1 below 100 atoms.
    portable
        Whether the bundled potential is compiled for every processor of this kind.
    platform
        ``Reference``, or ``CUDA``: there the potential is compiled for the GPU, and evaluations are recorded.

    Returns
    -------
    ModelResult
        The times.

    Examples
    --------
    >>> from openmm_nn.bench import measure_model
    >>> measure_model("alanine-dipeptide-explicit.pdb").ratio(22)  # doctest: +SKIP
    """
    subject = find_subject(structure, region)
    on_gpu = find_platform(platform).getName() == "CUDA"
    with tempfile.TemporaryDirectory() as folder:
        compiled = (
            compile_bundled(Path(folder) / "bundled.pt2", portable=portable, device="cuda" if on_gpu else "cpu")
            if package is None
            else load_potential(package)
        )
    contenders = {".pt": load_potential(scripted), ".pt2": compiled}
    times: dict[int, dict[str, list[float]]] = {}
    differences: dict[int, tuple[float, float]] = {}
    edges: dict[int, int] = {}
    for size in sizes:
        atoms = nearest_atoms(subject.topology, subject.positions, subject.region, size)
        contexts = {
            name: region_context(
                potential,
                subject.topology,
                subject.positions,
                atoms,
                threads=threads,
                platform=platform,
                cuda_graphs=on_gpu,
            )
            for name, potential in contenders.items()
        }
        states = [context.getState(energy=True, forces=True) for context, _ in contexts.values()]
        energies = [state.getPotentialEnergy()._value for state in states]
        forces = [state.getForces(asNumpy=True)._value for state in states]
        count = len(atoms)
        differences[count] = (abs(energies[1] - energies[0]), float(np.abs(forces[1] - forces[0]).max()))
        context, force = contexts[".pt2"]
        statistics_ = force.getStatistics(context)
        edges[count] = statistics_["edges"] // statistics_["evaluations"]
        times[count] = {name: [] for name in contexts}
        for round_ in range(-1, rounds):
            for name, (context, _) in contexts.items():
                begin = time.perf_counter()
                for _ in range(_WARM_UP if round_ < 0 else 10):
                    context.getState(energy=True, forces=True)
                if round_ >= 0:
                    times[count][name].append(100.0 * (time.perf_counter() - begin))
    setting = {
        "system": subject.name,
        "potential": scripted,
        "compiled for": "this GPU" if on_gpu else "every processor of this kind" if portable else "this processor",
        "threads of torch": str(threads or "default of the engine"),
        "rounds": f"{rounds} of 10 evaluations",
        **where(platform),
    }
    return ModelResult(times=times, differences=differences, edges=edges, setting=setting)
