"""How the time of a hybrid step grows: with the environment, and with the region."""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from openmm import unit

from .. import native
from ..platforms import PlatformLike
from ..potentials.loading import load_potential
from ..systems.hybrid import Mechanical, create_hybrid_system
from .contexts import make_context, minimised
from .subjects import Subject, find_subject, nearest_atoms, needs_box

__all__ = ["ScalingRow", "measure_environment", "measure_region"]


@dataclass(frozen=True)
class ScalingRow:
    """Times and counted work of one size.

    Parameters
    ----------
    atoms, region
        Of the System, and of the region.
    setup
        Seconds to make the hybrid System and its Context.
    classical, hybrid
        Milliseconds a step: median, smallest and largest of the rounds.
    model
        Milliseconds that the neural part takes in a step of the hybrid, by its own clock: from the gathered positions
        to the forces, beside the classical forces where the platform allows it.
    alone
        The same with the classical forces before or behind it, so that it shares the processor with nothing; what it
        takes longer in a larger System is cold caches.
    work
        Counted a step: atoms, edges, bytes.
    """

    atoms: int
    region: int
    setup: float
    classical: tuple[float, float, float]
    hybrid: tuple[float, float, float]
    model: float
    alone: float
    work: dict[str, float]


def measure_environment(
    structure: str | Path,
    region: str | None = None,
    *,
    waters: Iterable[int] = (700, 3300, 10000),
    potential: str = "openmm-nn/hcno-1",
    rounds: int = 5,
    steps: int = 10,
    platform: PlatformLike = "CPU",
) -> list[ScalingRow]:
    """Measure a region in more and more water.

    Parameters
    ----------
    structure
        ``"peptide"``, or a PDB file with the region.
    region
        MDTraj selection; by default the examples' peptide.
    waters
        Numbers of waters that the region is solvated in.
    potential
        Name or path.
    rounds, steps
        How many rounds, and steps in each.
    platform
        An OpenMM platform, or its name.

    Returns
    -------
    list of ScalingRow
        One for each number of waters.
    """
    rows = []
    for number in waters:
        subject = find_subject(structure, region, number)
        rows.append(_measure(subject, subject.region, potential, rounds, steps, platform))
    return rows


def measure_region(
    structure: str | Path,
    region: str | None = None,
    *,
    sizes: Iterable[int] = (22, 82, 202, 622),
    potential: str = "openmm-nn/hcno-1",
    rounds: int = 5,
    steps: int = 10,
    platform: PlatformLike = "CPU",
) -> list[ScalingRow]:
    """Measure a region that takes in more and more of the molecules around it.

    Parameters
    ----------
    structure
        ``"peptide"``, ``"dhfr"`` or ``"cb7"``, or a PDB file of the region in water.
    region
        MDTraj selection of what is always inside; by default the system's own.
    sizes
        Numbers of atoms, about: molecules stay whole.
    potential, rounds, steps, platform
        As in `measure_environment`.

    Returns
    -------
    list of ScalingRow
        One for each size.
    """
    subject = find_subject(structure, region)
    rows = []
    for size in sizes:
        atoms = nearest_atoms(subject.topology, subject.positions, subject.region, size)
        rows.append(_measure(subject, atoms, potential, rounds, steps, platform))
    return rows


def _measure(
    subject: Subject, region: str | list[int], potential: str, rounds: int, steps: int, platform: str
) -> ScalingRow:
    classical = subject.make(True)
    plain = make_context(classical, subject.positions, platform)
    start = minimised(plain, iterations=30)
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # advice on the time step
        embedding = Mechanical(periodic=needs_box(subject, region))
        hybrid = create_hybrid_system(
            subject.topology, classical, load_potential(potential), region, embedding=embedding, charge=0
        )
    mixed = make_context(hybrid.system, start, platform)
    setup = time.perf_counter() - begin
    apart = copy.deepcopy(hybrid.system)
    for neural in native.neural_forces(apart).values():
        neural.setProperty("concurrent", "false")
    queued = make_context(apart, start, platform)
    clocks = {
        context: next(iter(native.neural_forces(system).values()))
        for context, system in ((mixed, hybrid.system), (queued, apart))
    }
    for context in (plain, mixed, queued):
        context.setPositions(start)
        context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
        context.getIntegrator().step(3)
    before = {context: force.getStatistics(context) for context, force in clocks.items()}
    times: dict[str, list[float]] = {"classical": [], "hybrid": []}
    for _ in range(rounds):
        for name, context in (("classical", plain), ("hybrid", mixed)):
            begin = time.perf_counter()
            context.getIntegrator().step(steps)
            times[name].append(1000.0 * (time.perf_counter() - begin) / steps)
        queued.getIntegrator().step(steps)
    counted = {
        context: {name: value - before[context][name] for name, value in force.getStatistics(context).items()}
        for context, force in clocks.items()
    }
    work = counted[mixed]
    return ScalingRow(
        atoms=subject.topology.getNumAtoms(),
        region=len(hybrid.region.atoms),
        setup=setup,
        classical=_summary(times["classical"]),
        hybrid=_summary(times["hybrid"]),
        model=work["nanoseconds"] / work["evaluations"] / 1e6,
        alone=counted[queued]["nanoseconds"] / counted[queued]["evaluations"] / 1e6,
        work={name: work[name] / work["evaluations"] for name in ("atoms", "edges", "bytes")},
    )


def _summary(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)
