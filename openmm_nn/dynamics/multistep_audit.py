"""An audit of multiple time stepping: what a larger outer step costs in truth, and gains in time."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from ..errors import EvaluationError, ParameterError
from ..model.card_values import element_symbol
from ..platforms import PlatformLike, find_platform
from ..systems.hybrid import HybridSystem
from ..units import thermal_energy
from .multistep import microcanonical_integrator, multistep_integrator, multistep_system

__all__ = ["MultistepAudit", "MultistepRow", "audit_multistep"]

_FRAMES = 200
_BLOCKS = 8
_COUNTS = (16, 8, 4, 2)
_ALLOWED_Z = 4.0
_ROUNDS, _ROUND = 7, 0.06
_DAY = 86400.0


@dataclass(frozen=True)
class MultistepRow:
    """What one outer step gives.

    Parameters
    ----------
    outer
        fs; for the reference, its only step.
    levels
        The steps of the potential, the nonbonded and the bonded terms in fs.
    speed
        ns/day on this machine: the median of seven rounds of 60 fs in which all runs take turns.
    gain
        Speed over that of the reference.
    temperatures
        K, by group of degrees of freedom.
    drift, drift_error
        Slope of the total energy without a thermostat, and its standard error, kJ/mol per ps and degree of freedom;
        ``nan`` if that run went astray, of a resonance that the friction of the other damps.
    worst
        The observable that is farthest from the reference, and by how many standard errors.
    z
        That number.
    verdict
        ``reference``, ``sound``, ``biased`` or ``unstable``.
    observables
        Mean and standard error of every observable: K, kJ/mol, nm, nm^2 and cosines.
    """

    outer: float
    levels: tuple[float, float, float]
    speed: float
    gain: float
    temperatures: dict[str, float]
    drift: float
    drift_error: float
    worst: str
    z: float
    verdict: str
    observables: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class MultistepAudit:
    """Rows of an audit, the reference first, and the recommended outer step.

    Parameters
    ----------
    rows
        One for each outer step.
    recommended
        The largest outer step in fs whose observables and temperatures agree with the reference; ``None`` if none does.
    picoseconds
        Length of each run.
    replicas
        Runs of each step.
    """

    rows: tuple[MultistepRow, ...]
    recommended: float | None
    picoseconds: float
    replicas: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the audit as plain data."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the audit as a table."""
        names = list(self.rows[0].temperatures)
        head = ["steps [fs]", "ns/day", "gain", *(f"T {name} [K]" for name in names), "drift [kJ/mol/ps/dof]"]
        head += ["worst observable", "z", "verdict"]
        table = [head]
        for row in self.rows:
            steps = "/".join(f"{level:g}" for level in row.levels)
            table.append(
                [steps, f"{row.speed:.3g}", f"{row.gain:.2f}"]
                + [f"{row.temperatures[name]:.1f}" for name in names]
                + [
                    f"{row.drift:+.1e} ± {row.drift_error:.0e}" if math.isfinite(row.drift) else "lost",
                    row.worst,
                    f"{row.z:.1f}",
                    row.verdict,
                ]
            )
        widths = [max(len(line[column]) for line in table) for column in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
        advice = "none of these steps" if self.recommended is None else f"{self.recommended:g} fs"
        times = f"{self.replicas} times " if self.replicas > 1 else "runs of "
        return "\n".join([*lines, f"recommended outer step: {advice} ({times}{self.picoseconds:g} ps)"])

    def __str__(self) -> str:
        return self.to_text()


@dataclass
class _Run:
    context: openmm.Context
    levels: tuple[float, float, float]
    series: dict[str, list[NDArray[np.float64]]]
    slope: tuple[float, float] = (math.nan, math.nan)


def audit_multistep(
    hybrid: HybridSystem,
    positions: Any,
    *,
    outer: Iterable[float] = (0.002, 0.003, 0.004, 0.006),
    medium: float = 0.003,
    fast: float = 0.001,
    reference: float | Sequence[float] = 0.001,
    match: bool = True,
    duration: float = 2.0,
    equilibration: float = 0.5,
    temperature: float = 300.0,
    friction: float = 1.0,
    platform: PlatformLike = "CPU",
    properties: Mapping[str, str] | None = None,
    seed: int = 1,
    replicas: int = 1,
) -> MultistepAudit:
    """Compare multiple time stepping with the single-step run of the same hybrid.

    Each outer step runs from the same equilibrated states, with a Langevin thermostat for observables and without one
    for the drift of the energy.  Bond lengths, angles and torsions of the region, the potential energy's parts and the
    temperatures of groups of degrees of freedom are compared with those of the reference, in standard errors from block
    averages and, of several replicas, from their scatter too, which is what shows how well a slow torsion is known.  A
    short audit finds gross errors only; let it run for as long as the answer matters.

    Parameters
    ----------
    hybrid
        See `multistep_system`.
    positions
        (N, 3), nm or a Quantity; they are minimised first.
    outer
        Steps of the potential in ps.
    medium, fast
        Steps of nonbonded and bonded terms in ps.  Where `medium` does not divide an outer step, the largest divisor of
        it that is a multiple of `fast` and no larger than `medium` is taken.
    reference
        Step of the single-step run in ps, or several: the first is what all others are compared with, and each has a
        row. With ``(0.001, 0.0005)`` the second row shows the errors of the reference itself, beside which those of
        multiple steps may be judged.
    match
        Whether `multistep_system` is given the minimised positions, to match the stretches of terminal atoms.
    duration, equilibration
        ps.
    temperature
        K.
    friction
        1/ps.
    platform
        An OpenMM platform, or its name.
    properties
        Of the platform.
    seed
        Of velocities and thermostats.
    replicas
        How many runs of each step, each equilibrated from velocities of its own.  The drift is that of the first.

    Returns
    -------
    MultistepAudit

    Raises
    ------
    ParameterError
        If there is no outer step, or a time is not positive.
    EvaluationError
        If the reference itself is unstable.
    UnsupportedError
        As `multistep_system`.

    Examples
    --------
    ::

        audit = audit_multistep(hybrid, pdb.positions, outer=(0.002, 0.004, 0.006), duration=10.0, replicas=4)
        print(audit)
    """
    steps = [float(step) for step in outer]
    if not steps:
        raise ParameterError(
            "outer",
            "no step",
            "one or more, in ps",
            "give (0.002, 0.004) for 2 and 4 fs",
        )
    single_steps = [float(step) for step in (reference if isinstance(reference, Sequence) else [reference])]
    times = [("duration", duration), ("equilibration", equilibration)]
    for name, value in [*times, *(("reference", step) for step in single_steps or [0.0])]:
        if not value > 0:
            raise ParameterError(
                f"{name}",
                f"{value!r}",
                "a positive time in ps",
                "give 2.0 for 2 ps",
            )
    if replicas < 1:
        raise ParameterError(
            "replicas",
            f"{replicas!r}",
            "1 and more",
            "give 4 for four runs of each step",
        )
    chosen = find_platform(platform)
    given = dict(properties or {})

    def context_of(system: openmm.System, integrator: openmm.Integrator, number: int = seed) -> openmm.Context:
        if hasattr(integrator, "setRandomNumberSeed"):
            integrator.setRandomNumberSeed(number)
        return openmm.Context(system, integrator, chosen, given)

    start = context_of(hybrid.system, openmm.LangevinMiddleIntegrator(temperature, 10.0, single_steps[0]))
    start.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(start, 10.0, 200)
    minimised = start.getState(positions=True)
    split = multistep_system(hybrid, minimised.getPositions(asNumpy=True) if match else None)
    geometry = _Geometry(hybrid)
    states = []
    for number in range(seed, seed + replicas):
        start.setState(minimised)
        start.setVelocitiesToTemperature(temperature, number)
        start.getIntegrator().step(max(1, round(equilibration / single_steps[0])))
        states.append(start.getState(positions=True, velocities=True))

    def observe(
        system: openmm.System, make: Callable[[], openmm.Integrator], levels: tuple[float, float, float]
    ) -> _Run:
        contexts = []
        series: dict[str, list[NDArray[np.float64]]] = {}
        every, count = _frames(duration, levels[0])
        for number, state in enumerate(states, seed):
            integrator = make()
            context = context_of(system, integrator, number)
            contexts.append(context)
            context.setState(state)
            samples: dict[str, list[float]] = {}
            for _ in range(count):
                integrator.step(every)
                for name, value in geometry.sample(context).items():
                    samples.setdefault(name, []).append(value)
            for name, values in samples.items():
                series.setdefault(name, []).append(np.array(values))
        return _Run(contexts[0], levels, series)

    def drift(system: openmm.System, integrator: openmm.Integrator, step: float) -> tuple[float, float]:
        context = context_of(system, integrator)
        context.setState(states[0])
        every, count = _frames(duration, step)
        times, totals = [], []
        for number in range(count):
            integrator.step(every)
            now = context.getState(energy=True)
            total = now.getPotentialEnergy() + now.getKineticEnergy()
            times.append(number * every * step)
            totals.append(total.value_in_unit(unit.kilojoule_per_mole))
        return _slope(np.array(times), np.array(totals) / geometry.number)

    def single(step: float) -> _Run:
        run = observe(hybrid.system, partial(openmm.LangevinMiddleIntegrator, temperature, friction, step), (step,) * 3)
        run.slope = drift(hybrid.system, openmm.VerletIntegrator(step), step)
        return run

    try:
        singles = [single(step) for step in single_steps]
    except openmm.OpenMMException as error:
        raise EvaluationError(
            "reference",
            f"the single-step run at {single_steps[0] * 1000:g} fs failed ({error})",
            "a step at which the hybrid itself is stable",
            "take a smaller one",
        ) from error
    runs: list[_Run | None] = []
    every_level = [(step, _divisor(step, medium, fast), fast) for step in steps]
    for levels in every_level:
        slow, middle, quick = levels
        several = partial(multistep_integrator, temperature, friction, slow=slow, medium=middle, fast=quick)
        try:
            run = observe(split, several, levels)
        except openmm.OpenMMException:
            runs.append(None)
            continue
        with contextlib.suppress(openmm.OpenMMException):  # a resonance that friction damps
            run.slope = drift(split, microcanonical_integrator(*levels), levels[0])
        finite = (np.isfinite(values).all() for replicated in run.series.values() for values in replicated)
        runs.append(run if all(finite) else None)
    base = singles[0]
    first, *others = _paces([*singles, *(run for run in runs if run)])
    paces = iter(others)
    rows = [_row(run, base, first if run is base else next(paces), first, geometry) for run in singles]
    several_rows = [
        _row(run, base, next(paces), first, geometry) if run else _unstable(levels, geometry)
        for levels, run in zip(every_level, runs, strict=True)
    ]
    sound = [row.outer for row in several_rows if row.verdict == "sound"]
    return MultistepAudit((*rows, *several_rows), max(sound) if sound else None, duration, replicas)


def _paces(runs: Sequence[_Run]) -> list[float]:
    """Measure simulated picoseconds in a second: medians of rounds in which the runs take turns."""
    paces: list[list[float]] = [[] for _ in runs]
    for _ in range(_ROUNDS):
        for run, found in zip(runs, paces, strict=True):
            steps = max(1, round(_ROUND / run.levels[0]))
            begin = time.perf_counter()
            try:
                run.context.getIntegrator().step(steps)
            except openmm.OpenMMException:
                continue  # it was to go astray sooner or later; its observables have the last word
            found.append(steps * run.levels[0] / (time.perf_counter() - begin))
    return [float(np.median(found)) if found else 0.0 for found in paces]


def _frames(duration: float, step: float) -> tuple[int, int]:
    """Return how many steps a frame takes, and how many frames there are: enough of them for blocks."""
    every = max(1, round(duration / step / _FRAMES))
    return every, max(2 * _BLOCKS, round(duration / step / every))


def _divisor(step: float, medium: float, fast: float) -> float:
    """Return the largest multiple of `fast` that divides `step` and is not above `medium`."""
    whole = round(step / fast)
    for count in range(min(round(medium / fast), whole), 0, -1):
        if whole % count == 0:
            return count * fast
    return fast


def _unstable(levels: tuple[float, float, float], geometry: _Geometry) -> MultistepRow:
    lost = dict.fromkeys(geometry.groups, math.nan)
    return MultistepRow(
        1000 * levels[0], _femtoseconds(levels), 0.0, 0.0, lost, math.nan, math.nan, "none", math.inf, "unstable", {}
    )


def _row(run: _Run, reference: _Run, pace: float, reference_pace: float, geometry: _Geometry) -> MultistepRow:
    observables = {name: _estimate(values) for name, values in run.series.items()}
    scores = {name: _z(values, reference.series[name]) for name, values in run.series.items()}
    worst = max(scores, key=lambda name: scores[name])
    verdict = "reference" if run is reference else "sound" if scores[worst] <= _ALLOWED_Z else "biased"
    return MultistepRow(
        outer=1000 * run.levels[0],
        levels=_femtoseconds(run.levels),
        speed=pace * _DAY / 1000.0,
        gain=pace / reference_pace,
        temperatures={name: observables[f"T {name}"][0] for name in geometry.groups},
        drift=run.slope[0],
        drift_error=run.slope[1],
        worst=worst,
        z=scores[worst],
        verdict=verdict,
        observables=observables,
    )


def _femtoseconds(levels: tuple[float, float, float]) -> tuple[float, float, float]:
    slow, medium, fast = (1000 * level for level in levels)
    return slow, medium, fast


def _blocks(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean and its standard error: the largest of those that blocks of several lengths give.

    What changes slowly has the larger ones from long blocks; two halves that differ are the least that a drift tells.
    """
    errors = []
    for count in _COUNTS:
        means = np.array([block.mean() for block in np.array_split(values, count)])
        errors.append(float(means.std(ddof=1) / math.sqrt(count)))
    return float(values.mean()), max(errors)


def _estimate(replicas: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Return the mean of runs of one length and its standard error: from their blocks or their scatter, the larger."""
    means, errors = np.array([_blocks(values) for values in replicas]).T
    count = len(means)
    scatter = float(means.std(ddof=1) / math.sqrt(count)) if count > 1 else 0.0
    return float(means.mean()), max(float(np.linalg.norm(errors)) / count, scatter)


def _z(run: Sequence[NDArray[np.float64]], reference: Sequence[NDArray[np.float64]]) -> float:
    if run is reference:
        return 0.0
    (mean, error), (mean0, error0) = _estimate(run), _estimate(reference)
    spread = math.hypot(error, error0)
    return abs(mean - mean0) / spread if spread > 0 else 0.0 if mean == mean0 else math.inf


def _slope(times: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean of the slopes of blocks, and its standard error."""
    slopes = [
        np.polyfit(times[part], values[part], 1)[0] for part in np.array_split(np.arange(len(times)), _BLOCKS // 2)
    ]
    return float(np.polyfit(times, values, 1)[0]), float(np.std(slopes, ddof=1) / math.sqrt(len(slopes)))


class _Geometry:
    """Observables of a state: temperatures by group, energies, and internal coordinates of the region by kind."""

    def __init__(self, hybrid: HybridSystem) -> None:
        system, source = hybrid.system, hybrid.record
        numbers, region = source.graph.numbers, hybrid.region.indices
        self.masses = np.array(
            [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(system.getNumParticles())]
        )
        inside = np.zeros(len(self.masses), bool)
        inside[list(region)] = True
        elements = [element_symbol(number) for number in numbers]
        hydrogen = np.array([number == 1 for number in numbers])
        groups = {
            "region H": inside & hydrogen,
            "region heavy": inside & ~hydrogen,
            "environment": ~inside & (self.masses > 0),
        }
        self.groups = {name: mask for name, mask in groups.items() if mask.any()}
        constrained = np.zeros(len(self.masses))
        for index in range(system.getNumConstraints()):
            first, second, _ = system.getConstraintParameters(index)
            constrained[[first, second]] += 0.5
        self.freedom = {name: float(3 * mask.sum() - constrained[mask].sum()) for name, mask in self.groups.items()}
        self.number = sum(self.freedom.values())
        bonds = list(source.graph.inner_bonds(region))
        self.bonds: dict[str, list[tuple[int, int]]] = {}
        for a, b in bonds:
            self.bonds.setdefault("-".join(sorted((str(elements[a]), str(elements[b])))), []).append((a, b))
        neighbours = source.graph.neighbours
        self.angles: dict[str, list[tuple[int, int, int]]] = {}
        self.torsions: dict[str, list[tuple[int, int, int, int]]] = {}
        within = set(region)
        for b in region:
            ends = sorted(neighbours[b] & within)
            for i, a in enumerate(ends):
                for c in ends[i + 1 :]:
                    first, last = sorted((str(elements[a]), str(elements[c])))
                    self.angles.setdefault(f"{first}-{elements[b]}-{last}", []).append((a, b, c))
        for b, c in bonds:
            for a in sorted(neighbours[b] & within - {c}):
                for d in sorted(neighbours[c] & within - {b, a}):
                    kind = "-".join(str(elements[i]) for i in (a, b, c, d))
                    if "H" not in kind.split("-"):
                        self.torsions.setdefault(kind, []).append((a, b, c, d))

    def sample(self, context: openmm.Context) -> dict[str, float]:
        """Return the value of every observable."""
        state = context.getState(positions=True, velocities=True, energy=True)
        x = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        v = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
        kinetic = (self.masses[:, None] * v**2).sum(1)
        found = {
            f"T {name}": float(kinetic[mask].sum() / self.freedom[name]) / thermal_energy(1.0)
            for name, mask in self.groups.items()
        }
        found["potential energy"] = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        for kind, pairs in self.bonds.items():
            a, b = np.array(pairs).T
            lengths = np.linalg.norm(x[a] - x[b], axis=1)
            found[f"length {kind}"], found[f"length {kind} squared"] = float(lengths.mean()), float((lengths**2).mean())
        for kind, triples in self.angles.items():
            a, b, c = np.array(triples).T
            u, w = x[a] - x[b], x[c] - x[b]
            found[f"cos {kind}"] = float(
                ((u * w).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(w, axis=1)).mean()
            )
        for kind, quads in self.torsions.items():
            a, b, c, d = np.array(quads).T
            n, m = np.cross(x[b] - x[a], x[c] - x[b]), np.cross(x[c] - x[b], x[d] - x[c])
            found[f"cos {kind}"] = float(
                ((n * m).sum(1) / np.linalg.norm(n, axis=1) / np.linalg.norm(m, axis=1)).mean()
            )
        return found
