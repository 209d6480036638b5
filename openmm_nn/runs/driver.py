"""Dynamics: one Context driven through the stages of a run, with everything that watches and writes."""

from __future__ import annotations

import dataclasses
import io
import logging
import math
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import openmm
from openmm import app, unit
from scipy.spatial import KDTree

from ..disk import write_atomically
from ..dynamics.committee_spread import find_committee, measure_spread
from ..dynamics.evidence import positions_of, write_evidence
from ..dynamics.guards import Event
from ..dynamics.samples import Measure, Sample, Spread
from ..dynamics.watch import Watch
from ..errors import RunError
from ..systems.hybrid import HybridSystem
from ..systems.hybrid.classical import warn_of
from .checkpoints import Point, save_point
from .directory import APPENDED, RunDirectory
from .guard_keys import make_guards
from .preparation import trajectory_atoms
from .progress import Progress, ProgressCallback
from .reporters import EventFile, FlaggedFrames, Log, SpreadFile, Trajectory
from .runfile import RunFile

__all__ = ["Dynamics", "Intervals", "Stopped"]

logger = logging.getLogger(__name__)

_SECONDS_PER_DAY = float((1.0 * unit.day).value_in_unit(unit.second))
_NS_PER_PS = float((1.0 * unit.picosecond).value_in_unit(unit.nanosecond))


class Stopped(Exception):
    """A guard stopped the run; the event says why."""

    def __init__(self, event: Event) -> None:
        super().__init__(event.message)
        self.event = event


@dataclasses.dataclass(frozen=True)
class Intervals:
    """Steps between things that happen; 0: never."""

    log: int
    trajectory: int
    checkpoint: int
    check: int
    spread: int

    @classmethod
    def of(cls, runfile: RunFile, committee: bool) -> Intervals:
        """Take what a run file gives; the rest follows from the length of the production."""
        steps, reporters = runfile.steps(runfile.produce.length), runfile.reporters
        every = None if runfile.uncertainty is None else runfile.uncertainty.every
        log = runfile.steps(reporters.log) or min(max(100, steps // 10_000), max(steps, 1))
        return cls(
            log=log,
            trajectory=runfile.steps(reporters.trajectory) or min(max(200, steps // 5_000), max(steps, 1)),
            checkpoint=runfile.steps(reporters.checkpoint) or max(2000, steps // 1_000),
            check=runfile.steps(runfile.guards.check) or 20,
            spread=(runfile.steps(every) or log) if committee else 0,
        )

    def next(self, step: int, steps: int) -> int:
        """Return the next step at which something happens."""
        every = (self.log, self.trajectory, self.checkpoint, self.check, self.spread)
        return min(steps, *((step // interval + 1) * interval for interval in every if interval))


class Dynamics:
    """A Context of a run, its files and its guards.

    Parameters
    ----------
    runfile
        What was asked for.
    place
        Where it is written.
    topology, system, context
        Of OpenMM.
    region
        Atoms that the potential describes.
    progress
        Called now and then.
    """

    def __init__(
        self,
        runfile: RunFile,
        place: RunDirectory,
        topology: app.Topology,
        system: openmm.System,
        context: openmm.Context,
        region: tuple[int, ...],
        progress: ProgressCallback | None,
    ) -> None:
        self.runfile, self.place, self.topology, self.system, self.context = runfile, place, topology, system, context
        self.timestep = runfile.dynamics.timestep  # ps
        self.measure = Measure(system, region if 0 < len(region) < system.getNumParticles() else ())
        self.committee = find_committee(system)
        self._check_committee()
        self.intervals = Intervals.of(runfile, self.committee is not None)
        self.watch = Watch(make_guards(runfile, topology, region, self.measure))
        self._progress = progress
        self._atoms = trajectory_atoms(runfile, topology)
        self._log: Log | None = None
        self._last_good: Any = None
        self._elapsed = 0.0
        self._clock = (time.perf_counter(), 0)
        self._spread: Spread | None = None
        self.hybrid: HybridSystem | None = None  # whose parameters are compared at checkpoints, where it is known

    def _check_committee(self) -> None:
        """Refuse to leave out in silence what was asked for."""
        guard = self.runfile.guards.uncertainty
        if self.committee is not None or not (self.runfile.uncertainty or (guard and guard.limited)):
            return
        key = "uncertainty" if self.runfile.uncertainty else "guards"
        raise self.runfile.error(
            key, got="a committee whose deviation cannot be read: its force is not the native one",
            allowed="the native extension, and one committee in the System",
            remedy="`openmm-nn build` makes the extension; or remove what asks for the deviation",
        )  # fmt: skip

    # -- files ------------------------------------------------------------------------------------------------------

    def _open(self, frames: int = 0) -> None:
        """Open the files that grow."""
        if self._log is not None:
            return
        self._log = Log(self.place, float(self.measure.masses.sum()))
        self._events = EventFile(self.place)
        self._trajectory = Trajectory(self.place.trajectory, self._atoms, frames)
        self._files = [self._log.file, self._events.file, self._trajectory.file]
        self._spreads: SpreadFile | None = None
        self._flagged: FlaggedFrames | None = None
        if self.committee is not None:
            self._spreads = SpreadFile(self.place)
            self._files.append(self._spreads.file)
            asked = self.runfile.uncertainty
            if asked is not None and (asked.flag_energy is not None or asked.flag_force is not None):
                self._flagged = FlaggedFrames(self.place, asked.flag_energy, asked.flag_force)
                self._files += [self._flagged.table, self._flagged.trajectory.file]
        if self._atoms is not None and not self.place.trajectory_topology.exists():
            self._write_subset(self._atoms)

    def _write_subset(self, atoms: tuple[int, ...]) -> None:
        positions = self.context.getState(positions=True).getPositions()
        modeller = app.Modeller(self.topology, positions)
        inside = set(atoms)
        modeller.delete([atom for atom in self.topology.atoms() if atom.index not in inside])
        buffer = io.StringIO()
        app.PDBFile.writeFile(modeller.topology, modeller.positions, buffer, keepIds=True)
        write_atomically(self.place.trajectory_topology, buffer.getvalue())

    def close(self) -> None:
        """Close the files."""
        if self._log is not None:
            for file in self._files:
                file.close()

    def write_pdb(self, path: Path) -> None:
        """Write the present structure."""
        self._write_positions(path, self._wrapped())

    def _write_positions(self, path: Path, state: Any) -> None:
        if self.measure.periodic:
            self.topology.setPeriodicBoxVectors(state.getPeriodicBoxVectors())
        buffer = io.StringIO()
        app.PDBFile.writeFile(self.topology, state.getPositions(), buffer, keepIds=True)
        write_atomically(path, buffer.getvalue())

    def _wrapped(self) -> Any:
        """Return positions with every molecule in the box, as trajectories have them."""
        return self.context.getState(positions=True, enforcePeriodicBox=self.measure.periodic)

    # -- stages -----------------------------------------------------------------------------------------------------

    def minimise(self) -> None:
        """Minimise, and write minimised.pdb.

        Raises
        ------
        Stopped
            If the energy is not finite, or a bond of the region is not one any more.
        """
        self._open()
        asked = self.runfile.minimise
        if asked.iterations:
            started = time.perf_counter()
            before = self._evaluate("minimise", 0)
            self._lines().minimised(0, before.potential, 0.0)
            reporter = _Iterations(self._progress)
            try:
                openmm.LocalEnergyMinimizer.minimize(self.context, asked.tolerance, asked.iterations, reporter)
            except openmm.OpenMMException as error:
                self._failed("minimise", reporter.count, error)
            good = self._last_good
            after = self._evaluate("minimise", reporter.count)
            self._lines().minimised(reporter.count, after.potential, time.perf_counter() - started)
            event = self.watch.structure(after)
            if event is not None and event.action == "stop":
                self._last_good = good
            self._consider(event, after)
        self.write_pdb(self.place.path / "minimised.pdb")

    def _evaluate(self, stage: str, step: int) -> Sample:
        """Evaluate the present state, and let the guards of numbers look at it."""
        try:
            state = self._state()
        except openmm.OpenMMException as error:
            self._failed(stage, step, error)
        sample = self.measure.sample(state, stage, step, 0.0)
        self._consider(self.watch.first(sample), sample)
        self._last_good = state
        return sample

    def _lines(self) -> Log:
        if self._log is None:
            raise RunError("log", "a log that is not open", "an open one", "begin a stage first")
        return self._log

    def _state(self) -> Any:
        return self.context.getState(positions=True, velocities=True, energy=True, forces=self.watch.wants_forces)

    def begin(self, stage: str, *, velocities: bool) -> None:
        """Begin a stage: the clock at zero, and a checkpoint from which it can be begun again.

        Parameters
        ----------
        stage
            ``equilibrate`` or ``produce``.
        velocities
            Whether to draw them for the temperature.
        """
        self._open()
        asked = self.runfile.dynamics
        if velocities and asked.temperature is not None:
            arguments = (asked.seed,) if asked.seed else ()
            try:
                self.context.setVelocitiesToTemperature(asked.temperature * unit.kelvin, *arguments)
            except openmm.OpenMMException as error:  # it evaluates the forces
                self._failed(stage, 0, error)
        self.context.setTime(0.0)
        self.context.setStepCount(0)
        self.watch.begin()
        self._elapsed = 0.0
        self._save(stage, 0)

    def resume(self, point: Point) -> int:
        """Take up a stage at a checkpoint that the Context has been given.

        Returns
        -------
        int
            The step.
        """
        self._open(point.frames)
        self._elapsed = point.elapsed
        self.watch.restore(point.guards)
        return point.step

    def run(self, stage: str, step: int) -> None:
        """Run a stage to its end.

        Parameters
        ----------
        stage
            ``equilibrate`` or ``produce``.
        step
            Where to begin.

        Raises
        ------
        Stopped
            If a guard stops it.
        RunError
            If the disk refuses, or OpenMM fails.
        """
        steps = self.runfile.stages[stage]
        self._clock = (time.perf_counter(), step)
        if step == 0:
            try:
                sample = self._sample(stage, 0)
            except openmm.OpenMMException as error:
                self._failed(stage, 0, error)
            self._look(stage, 0, steps, sample)
        while step < steps:
            following = self.intervals.next(step, steps)
            try:
                self.context.getIntegrator().step(following - step)
                step = following
                sample = self._sample(stage, step)
            except openmm.OpenMMException as error:
                self._failed(stage, step, error)
            self._look(stage, step, steps, sample)
            if step % self.intervals.checkpoint == 0 or step == steps:
                self._save(stage, step)

    def _due(self, interval: int, step: int) -> bool:
        return interval > 0 and step % interval == 0

    def _sample(self, stage: str, step: int) -> Sample:
        spread = None
        if self.committee is not None and self._due(self.intervals.spread, step):
            spread = self._spread = measure_spread(self.committee, self.context)
        state = self._state()
        sample = self.measure.sample(state, stage, step, step * self.timestep, spread)
        self._pending = state
        return sample

    def _look(self, stage: str, step: int, steps: int, sample: Sample) -> None:
        """Let everything that watches and writes have a sample."""
        for event in self.watch.check(sample):
            self._consider(event, sample)
        self._last_good = self._pending
        elapsed = self._seconds()
        if self._due(self.intervals.log, step):
            self._lines().write(sample, speed=self._speed(step), elapsed=elapsed)
        wrapped = None
        if stage == "produce" and step and self._due(self.intervals.trajectory, step):
            wrapped = positions_of(self._wrapped())
            self._trajectory.write(wrapped, sample.box, sample.time, step)
        if sample.spread is not None and self._spreads is not None:
            self._spreads.write(sample)
            if self._flagged is not None and self._flagged.wants(sample):
                self._flagged.write(sample, positions_of(self._wrapped()) if wrapped is None else wrapped)
        speed = self._speed(step)
        left = None if not speed else (steps - step) * self.timestep * _NS_PER_PS / speed * _SECONDS_PER_DAY
        self._tell(
            Progress(
                stage, step, steps, speed, left, sample.potential, sample.temperature, sample.spread or self._spread
            )
        )

    def _tell(self, progress: Progress) -> None:
        if self._progress is not None:
            self._progress(progress)

    def tell_finished(self) -> None:
        """Say that the run is at its end."""
        self._tell(Progress("finished"))

    def _seconds(self) -> float:
        return self._elapsed + time.perf_counter() - self._clock[0]

    def _speed(self, step: int) -> float | None:
        """Return ns/day since this process began with the stage."""
        started, first = self._clock
        seconds = time.perf_counter() - started
        if step <= first or seconds <= 0.0:
            return None
        return (step - first) * self.timestep * _NS_PER_PS / seconds * _SECONDS_PER_DAY

    # -- what goes wrong --------------------------------------------------------------------------------------------

    def _consider(self, event: Event | None, sample: Sample) -> None:
        """Record an event; stop if that is what it is for."""
        if event is None:
            return
        self._events.write(event)
        logger.info("%s", event.message)
        if event.action == "stop":
            self._stop(event, sample.positions)
        self._tell(Progress(event.stage, event.step, note=event.message))

    def _failed(self, stage: str, step: int, error: openmm.OpenMMException) -> NoReturn:
        """OpenMM or the engine gave up in the middle of a step."""
        text = " ".join(str(error).split())
        numbers = any(word in text.lower() for word in ("nan", "finite", "infinite", "too close"))
        positions = positions_of(self.context.getState(positions=True))
        bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
        if not numbers and not len(bad):
            raise RunError(
                f"{stage}, after step {step}", f"an error of OpenMM: {text}", "steps without errors",
                        f"look at what it names; `openmm-nn continue {self.place.path}` goes on from a checkpoint"
            ) from error  # fmt: skip
        if self._last_good is None and not len(bad) and len(positions) > 1:
            atoms, story = self._first_evaluation(stage, positions)
        else:
            before = positions if self._last_good is None else positions_of(self._last_good)
            moved = np.linalg.norm(positions - before, axis=1)
            atoms = bad[:10].tolist() or [int(atom) for atom in np.argsort(-moved)[:3]]
            story = (
                f"It happened in {stage}, in the steps after {step} ({step * self.timestep:.4g} ps). Since the "
                f"last check these atoms moved most: {', '.join(map(self._label, atoms))}. Look at them in "
                "offending.pdb: are two atoms too close? A shorter time step, a longer minimisation, or a potential "
                "that knows this chemistry helps."
            )
        event = Event(
            "finite", stage, step, step * self.timestep, math.nan, "all numbers must be finite", tuple(atoms),
            f"{text.rstrip('.')}. {story}",
        )  # fmt: skip
        self._events.write(event)
        self._stop(event, positions)

    def _first_evaluation(self, stage: str, positions: np.ndarray) -> tuple[list[int], str]:
        """Tell of a structure that cannot be evaluated: which atoms are closest, and that there is no earlier state."""
        distance, other = KDTree(positions).query(positions, k=2)
        atom = int(np.argmin(distance[:, 1]))
        atoms = [atom, next(int(index) for index in other[atom] if index != atom)]
        story = (
            f"It happened in {stage} at the first evaluation, so that no state before it is good. The closest atoms "
            f"are {' and '.join(map(self._label, atoms))}, {distance[atom, 1]:.4f} nm apart; offending.pdb has the "
            "structure. Correct it if they are too close, relax it with a force field alone, or use a potential that "
            "knows this chemistry."
        )
        return atoms, story

    def _label(self, index: int) -> str:
        atom = next(atom for atom in self.topology.atoms() if atom.index == index)
        return f"{atom.residue.name}{atom.residue.id}:{atom.name} (atom {index})"

    def _stop(self, event: Event, positions: np.ndarray) -> NoReturn:
        """Write the offending frame and the last good state, and stop."""
        write_evidence(self.place.path, self.topology, positions, self._last_good)
        self.close()
        raise Stopped(event)

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def _save(self, stage: str, step: int) -> None:
        if self.hybrid is not None:
            warn_of(self.hybrid.changes())
        for file in self._files:
            file.sync()
        sizes = {
            name: (self.place.path / name).stat().st_size for name in APPENDED if (self.place.path / name).exists()
        }
        save_point(
            self.place,
            self.context,
            Point(
                stage=stage,
                step=step,
                frames=self._trajectory.frames,
                elapsed=self._seconds() if step else 0.0,
                sizes=sizes,
                guards=self.watch.state(),
                platform=self.context.getPlatform().getName(),
                hashes={},
            ),
        )


class _Iterations(openmm.MinimizationReporter):  # type: ignore[misc]
    """Counts the iterations of a minimisation; with constraints there are more than were asked for."""

    def __init__(self, progress: ProgressCallback | None) -> None:
        super().__init__()
        self.count = 0
        self._progress = progress

    def report(self, iteration: int, x: Any, grad: Any, args: Any) -> bool:
        self.count += 1
        if self._progress is not None:
            self._progress(Progress("minimise", self.count, potential=args["system energy"]))
        return False
