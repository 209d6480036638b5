"""How the time of a hybrid step grows: with the environment, with the region, with the committee."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmm import app, unit

from .. import native
from ..hybrid import create_hybrid_system
from ..loading import load_potential
from .systems import classical_system, make_context, minimised, nearest_atoms, read_structure

__all__ = ["ScalingRow", "measure_environment", "measure_region", "scaling_table"]


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
    work
        Counted a step: atoms, edges, bytes.
    """

    atoms: int
    region: int
    setup: float
    classical: tuple[float, float, float]
    hybrid: tuple[float, float, float]
    model: float
    work: dict[str, float]


def measure_environment(
    structure: str | Path,
    region: str = "resname ACE ALA NME",
    *,
    waters: Iterable[int] = (700, 3300, 10000),
    potential: str = "openmm-nn/hcno-1",
    rounds: int = 5,
    steps: int = 10,
    platform_name: str = "CPU",
) -> list[ScalingRow]:
    """Measure a region in more and more water.

    Parameters
    ----------
    structure
        A PDB file with the region.
    region
        MDTraj selection.
    waters
        Numbers of waters that the region is solvated in.
    potential
        Name or path.
    rounds, steps
        How many rounds, and steps in each.
    platform_name
        OpenMM platform.

    Returns
    -------
    list of ScalingRow
        One for each number of waters.
    """
    rows = []
    for number in waters:
        topology, positions = read_structure(structure, region, number)
        rows.append(_measure(topology, positions, region, potential, rounds, steps, platform_name))
    return rows


def measure_region(
    structure: str | Path,
    region: str = "resname ACE ALA NME",
    *,
    sizes: Iterable[int] = (22, 82, 202, 622),
    potential: str = "openmm-nn/hcno-1",
    rounds: int = 5,
    steps: int = 10,
    platform_name: str = "CPU",
) -> list[ScalingRow]:
    """Measure a region that takes in more and more of the molecules around it.

    Parameters
    ----------
    structure
        A PDB file of the region in water.
    region
        MDTraj selection of what is always inside.
    sizes
        Numbers of atoms, about: molecules stay whole.
    potential, rounds, steps, platform_name
        As in `measure_environment`.

    Returns
    -------
    list of ScalingRow
        One for each size.
    """
    topology, positions = read_structure(structure, region, None)
    rows = []
    for size in sizes:
        atoms = nearest_atoms(topology, positions, region, size)
        rows.append(_measure(topology, positions, atoms, potential, rounds, steps, platform_name))
    return rows


def _measure(
    topology: app.Topology,
    positions: Any,
    region: str | list[int],
    potential: str,
    rounds: int,
    steps: int,
    platform_name: str,
) -> ScalingRow:
    classical = classical_system(topology)
    plain = make_context(classical, positions, platform_name)
    start = minimised(plain, iterations=30)
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # advice on the time step
        hybrid = create_hybrid_system(topology, classical, load_potential(potential), region, charge=0)
    mixed = make_context(hybrid.system, start, platform_name)
    setup = time.perf_counter() - begin
    force = next(iter(native.neural_forces(hybrid.system).values()))
    for context in (plain, mixed):
        context.setPositions(start)
        context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
        context.getIntegrator().step(3)
    before = force.getStatistics(mixed)
    times: dict[str, list[float]] = {"classical": [], "hybrid": []}
    for _ in range(rounds):
        for name, context in (("classical", plain), ("hybrid", mixed)):
            begin = time.perf_counter()
            context.getIntegrator().step(steps)
            times[name].append(1000.0 * (time.perf_counter() - begin) / steps)
    after = force.getStatistics(mixed)
    evaluations = after["evaluations"] - before["evaluations"]
    return ScalingRow(
        atoms=topology.getNumAtoms(),
        region=len(hybrid.region.atoms),
        setup=setup,
        classical=_summary(times["classical"]),
        hybrid=_summary(times["hybrid"]),
        model=(after["nanoseconds"] - before["nanoseconds"]) / evaluations / 1e6,
        work={name: (after[name] - before[name]) / evaluations for name in ("atoms", "edges", "bytes")},
    )


def _summary(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def scaling_table(rows: Sequence[ScalingRow]) -> str:
    """Write rows as text.

    Parameters
    ----------
    rows
        From `measure_environment` or `measure_region`.

    Returns
    -------
    str
        A table; times in ms a step, set-up in s.
    """
    lines = [
        f"{'atoms':>8} {'region':>7} {'set-up':>7} {'classical':>10} {'hybrid':>8} {'(min':>7} {'max)':>7} "
        f"{'neural part':>12} {'edges':>8} {'bytes':>9}"
    ]
    for row in rows:
        lines.append(
            f"{row.atoms:8d} {row.region:7d} {row.setup:7.2f} {row.classical[0]:10.2f} {row.hybrid[0]:8.2f} "
            f"{row.hybrid[1]:7.2f} {row.hybrid[2]:7.2f} {row.model:12.2f} {row.work['edges']:8.0f} "
            f"{row.work['bytes']:9.0f}"
        )
    return "\n".join(lines)
