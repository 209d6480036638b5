"""What a hybrid costs beyond its potential: interpolation, and regions of thousands of atoms, against openmm-ml."""

from __future__ import annotations

import gc
import importlib.util
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from ..platforms import PlatformLike
from ..potentials.loading import load_potential
from ..potentials.potential import Potential
from ..systems.hybrid import create_hybrid_system
from .contexts import make_context, minimised, where
from .peers import mixed_system
from .step import StepResult
from .subjects import find_subject

__all__ = ["SetupResult", "measure_interpolation", "measure_large_region", "measure_setup"]

_WARM_UP = 20


@dataclass(frozen=True)
class SetupResult:
    """What it costs to make hybrids of growing regions.

    Parameters
    ----------
    atoms
        Atoms of each region.
    seconds
        By contender, of each region: time to make the System; the shortest of all repetitions.
    megabytes
        By contender, of each region: resident memory that the System and a Context of it take.
    setting
        What was measured, and on what.
    """

    atoms: list[int]
    seconds: Mapping[str, list[float]]
    megabytes: Mapping[str, list[float]]
    setting: Mapping[str, str] = field(default_factory=dict)


def measure_interpolation(
    structure: str | Path,
    region: str = "resname ACE ALA NME",
    *,
    potential: str = "ani2x/0",
    rounds: int = 15,
    steps: int = 40,
    platform: PlatformLike = "CPU",
    peers: bool = True,
) -> StepResult:
    """Measure a step that interpolates at lambda = 1 against the same hybrid without interpolation.

    Parameters
    ----------
    structure
        ``"peptide"``, or a PDB file of a molecule in a periodic box of water, for Amber14 with TIP3P.
    region
        MDTraj selection of the molecule that the potential describes.
    potential
        What `openmm_nn.load_potential` takes; with openmm-ml for ``ani2x`` and its members only.
    rounds
        Rounds, in each of which every contender runs.
    steps
        Steps of each contender in a round.
    platform
        An OpenMM platform, or its name.
    peers
        Whether openmm-ml is measured too, with ``interpolate=True``, if it is installed.

    Returns
    -------
    StepResult
        With ``classical``, ``hybrid``, ``interpolated``, ``openmm-ml interpolated``.
    """
    subject = find_subject(structure)
    classical = subject.make(False)
    loaded = load_potential(potential)
    plain = create_hybrid_system(subject.topology, classical, loaded, region, charge=0)
    systems = {
        "classical": classical,
        "hybrid": plain.system,
        "interpolated": create_hybrid_system(
            subject.topology, classical, loaded, region, charge=0, interpolate=True
        ).system,
    }
    if peers and (mixed := mixed_system(potential, subject.topology, classical, plain.region.atoms, interpolate=True)):
        systems["openmm-ml interpolated"] = mixed
    times = _race(systems, subject.positions, rounds, steps, platform)
    setting = {
        "structure": f"{subject.name}, {subject.topology.getNumAtoms()} atoms",
        "region": f"{len(plain.region.atoms)} atoms ({region}), lambda_interpolate = 1",
        "potential": potential,
        **where(platform),
        "rounds": f"{rounds} of {steps} steps",
    }
    return StepResult(times=times, work={}, setting=setting)


def measure_large_region(
    structure: str | Path,
    atoms: int = 2200,
    *,
    rounds: int = 7,
    steps: int = 8,
    platform: PlatformLike = "CPU",
    peers: bool = True,
) -> StepResult:
    """Measure the classical step of a hybrid with a large region, its potential apart.

    The potential is zero everywhere, so that what is left is the classical remainder.

    Parameters
    ----------
    structure
        ``"peptide"``, or a PDB file in a periodic box of water, for Amber14 with TIP3P.
    atoms
        Size of the region: the first atoms of the file, filled up to whole residues.
    rounds
        Rounds, in each of which every contender runs.
    steps
        Steps of each contender in a round.
    platform
        An OpenMM platform, or its name.
    peers
        Whether openmm-ml is measured too, if it is installed.

    Returns
    -------
    StepResult
        With ``classical``, ``hybrid``, ``openmm-ml``.
    """
    subject = find_subject(structure)
    classical = subject.make(False)
    chosen = _first_residues(subject.topology, atoms)
    systems = {"classical": classical, "hybrid": _ours(subject.topology, classical, chosen)}
    if peers and importlib.util.find_spec("openmmml") is not None:
        systems["openmm-ml"] = _theirs(subject.topology, classical, chosen)
    times = _race(systems, subject.positions, rounds, steps, platform)
    setting = {
        "structure": f"{subject.name}, {subject.topology.getNumAtoms()} atoms",
        "region": f"{len(chosen)} atoms",
        "potential": "zero",
        **where(platform),
        "rounds": f"{rounds} of {steps} steps",
    }
    return StepResult(times=times, work={}, setting=setting)


def measure_setup(
    structure: str | Path,
    sizes: tuple[int, ...] = (22, 550, 1100, 2200),
    *,
    repetitions: int = 2,
    platform: PlatformLike = "CPU",
    peers: bool = True,
) -> SetupResult:
    """Measure what it costs to make a hybrid, for regions of growing size.

    Parameters
    ----------
    structure
        ``"peptide"``, or a PDB file in a periodic box of water, for Amber14 with TIP3P.
    sizes
        Atoms of the regions: the first of the file, filled up to whole residues.
    repetitions
        How often each is made; the shortest time counts.
    platform
        An OpenMM platform, or its name.
    peers
        Whether openmm-ml is measured too, if it is installed.

    Returns
    -------
    SetupResult
        With ``hybrid`` and ``openmm-ml``.
    """
    subject = find_subject(structure)
    classical = subject.make(False)
    makers: dict[str, Callable[[app.Topology, openmm.System, list[int]], openmm.System]] = {"hybrid": _ours}
    if peers and importlib.util.find_spec("openmmml") is not None:
        makers["openmm-ml"] = _theirs
    regions = [_first_residues(subject.topology, size) for size in sizes]
    for maker in makers.values():
        maker(subject.topology, classical, regions[0])
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    megabytes: dict[str, list[float]] = {name: [] for name in makers}
    for region in regions:
        for name, maker in makers.items():
            times = []
            for _ in range(repetitions):
                begin = time.perf_counter()
                maker(subject.topology, classical, region)
                times.append(time.perf_counter() - begin)
            seconds[name].append(min(times))
            before = _resident()
            system = maker(subject.topology, classical, region)
            context = make_context(system, subject.positions, platform)
            context.getState(forces=True)
            megabytes[name].append(_resident() - before)
            del context, system
    setting = {
        "structure": f"{subject.name}, {subject.topology.getNumAtoms()} atoms",
        "potential": "zero",
        **where(platform),
    }
    return SetupResult([len(region) for region in regions], seconds, megabytes, setting)


def _first_residues(topology: app.Topology, atoms: int) -> list[int]:
    chosen: list[int] = []
    for residue in topology.residues():
        if len(chosen) >= atoms:
            break
        chosen += [atom.index for atom in residue.atoms()]
    return chosen


def _zero() -> Potential:
    def nothing(positions: Any) -> tuple[Any, Any]:
        return positions.new_zeros(()), positions.new_zeros(positions.shape)

    from ..model.card import ModelCard

    return load_potential(
        nothing,
        card=ModelCard(
            name="nothing",
            format="callable",
            inputs=("positions",),
            outputs=("energy", "forces"),
            dtype="float64",
            frame="absolute",
            long_range=False,
        ),
    )


def _ours(topology: app.Topology, classical: openmm.System, atoms: list[int]) -> openmm.System:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return create_hybrid_system(topology, classical, _zero(), atoms, charge=0).system


def _theirs(topology: app.Topology, classical: openmm.System, atoms: list[int]) -> openmm.System:
    import openmmml
    from openmmml.mlpotential import MLPotentialImpl, MLPotentialImplFactory

    class Nothing(MLPotentialImpl):  # type: ignore[misc]
        def addForces(self, topology: Any, system: Any, atoms: Any, forceGroup: Any, **args: Any) -> None:
            """Add no force."""

        def getMLLongRange(self) -> bool:
            return False

    class Factory(MLPotentialImplFactory):  # type: ignore[misc]
        def createImpl(self, name: str, **args: Any) -> Nothing:
            return Nothing()

    openmmml.MLPotential.registerImplFactory("openmm-nn bench: nothing", Factory())
    potential = openmmml.MLPotential("openmm-nn bench: nothing")
    mixed: openmm.System = potential.createMixedSystem(topology, classical, atoms, interpolate=False)
    return mixed


def _race(
    systems: Mapping[str, openmm.System], positions: Any, rounds: int, steps: int, platform: str
) -> dict[str, list[float]]:
    """Run all Systems in turn, from the same minimised positions: milliseconds a step, a number a round."""
    contexts = {}
    start: Any = None
    for name, system in systems.items():
        contexts[name] = make_context(system, positions if start is None else start, platform)
        if start is None:
            start = minimised(contexts[name])
    for context in contexts.values():
        context.setPositions(start)
        context.setVelocitiesToTemperature(10 * unit.kelvin, 1)
        context.getIntegrator().step(min(_WARM_UP, 2 * steps))
    times: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(rounds):
        for name, context in contexts.items():
            begin = time.perf_counter()
            context.getIntegrator().step(steps)
            times[name].append(1000.0 * (time.perf_counter() - begin) / steps)
    return times


def _resident() -> float:
    """Resident memory of the process in MB; zero where the system does not tell."""
    gc.collect()
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return float(np.round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1))
