"""What members of a committee cost: one after another, as a list in one force, and batched in one network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openmm

from ..platforms import PlatformLike
from ..potentials.loading import load_potential
from ..selection import select_atoms
from .contexts import region_context, where
from .subjects import find_subject

__all__ = ["CommitteeResult", "measure_committee"]

_WARM_UP = 10
_MEMBERS = tuple(f"ani2x/{index}" for index in range(8))


@dataclass(frozen=True)
class CommitteeResult:
    """Times of an evaluation of energy and forces, from interleaved rounds.

    Parameters
    ----------
    times
        Milliseconds, by contender, then by number of members; one number a round. The contenders: ``apart``, a force a
        member, one evaluated after another; ``list``, one force with a list of members; ``batched``, one force with the
        committee's own file or name, which has all members at once.
    evaluations
        Counted: how often forces are evaluated for one such number.
    differences
        By contender, of all members: of the energy from the mean of those apart, in kJ/mol, and the largest of the
        forces, in kJ/mol/nm.
    setting
        What was measured, and on what.
    """

    times: Mapping[str, Mapping[int, list[float]]]
    evaluations: Mapping[str, Mapping[int, float]]
    differences: Mapping[str, tuple[float, float]]
    setting: Mapping[str, str] = field(default_factory=dict)

    def ratio(self, name: str, members: int) -> float:
        """Return the time of a contender relative to that of one member, the median over the rounds.

        Parameters
        ----------
        name
            A key of `times`.
        members
            How many.

        Returns
        -------
        float
            As many as there are members, if nothing is gained.
        """
        rounds = zip(self.times[name][members], self.times["apart"][1], strict=True)
        return float(statistics.median(own / one for own, one in rounds))


def measure_committee(
    structure: str | Path = "peptide",
    region: str | None = None,
    *,
    committee: str | Path | None = "ani2x",
    members: Sequence[str | Path] = _MEMBERS,
    sizes: Sequence[int] = (2, 4, 8),
    rounds: int = 15,
    evaluations: int = 10,
    threads: int = 0,
    platform: PlatformLike = "CPU",
) -> CommitteeResult:
    """Measure the time of an evaluation by one and by several members of a committee, of a region alone.

    Parameters
    ----------
    structure
        ``"peptide"`` or ``"cb7"``, or a PDB file.
    region
        MDTraj selection of whole molecules; by default the system's own.
    committee
        A potential that has all members; None to leave it out.
    members
        The members, each a potential.
    sizes
        How many of them; one is always measured, and so are all.
    rounds, evaluations
        How many rounds, and evaluations of each contender in a round.
    threads
        Threads of torch; 0 for the default of the engine.
    platform
        An OpenMM platform, or its name.

    Returns
    -------
    CommitteeResult

    Examples
    --------
    >>> from openmm_nn.bench import measure_committee
    >>> measure_committee().ratio("batched", 8)  # doctest: +SKIP
    """
    subject = find_subject(structure, region)
    atoms = select_atoms(subject.topology, subject.region, argument="region")

    def contexts_of(*potentials: Any) -> list[tuple[openmm.Context, Any]]:
        return [
            region_context(potential, subject.topology, subject.positions, atoms, threads=threads, platform=platform)
            for potential in potentials
        ]

    loaded = [load_potential(member) for member in members]
    apart = contexts_of(*loaded)
    count = len(loaded)
    counts = sorted({size for size in sizes if 1 < size < count} | {count})
    contenders: dict[tuple[str, int], list[tuple[openmm.Context, Any]]] = {("apart", 1): apart[:1]}
    for size in counts:
        contenders["apart", size] = apart[:size]
        contenders["list", size] = contexts_of(load_potential(loaded[:size]))
    if committee is not None:
        contenders["batched", count] = contexts_of(load_potential(committee))
    results = {name: _mean(contenders[name, count]) for name in dict.fromkeys(name for name, _ in contenders)}
    energy, forces = results.pop("apart")
    times: dict[str, dict[int, list[float]]] = {}
    counted: dict[str, dict[int, float]] = {}
    for (name, size), contexts in contenders.items():
        times.setdefault(name, {})[size] = []
        for _ in range(_WARM_UP):
            _evaluate(contexts)
        before = _evaluations(contexts)
        _evaluate(contexts)
        counted.setdefault(name, {})[size] = _evaluations(contexts) - before
    for _ in range(rounds):
        for (name, size), contexts in contenders.items():
            begin = time.perf_counter()
            for _ in range(evaluations):
                _evaluate(contexts)
            times[name][size].append(1000.0 * (time.perf_counter() - begin) / evaluations)
    setting = {
        "system": subject.name,
        "region": f"{len(atoms)} atoms ({subject.region}), alone",
        "members": f"{members[0]} to {members[-1]}",
        "batched": str(committee),
        "threads of torch": str(threads or "default of the engine"),
        "rounds": f"{rounds} of {evaluations} evaluations",
        **where(platform),
    }
    differences = {
        name: (abs(own - energy), float(np.abs(theirs - forces).max())) for name, (own, theirs) in results.items()
    }
    return CommitteeResult(times=times, evaluations=counted, differences=differences, setting=setting)


def _evaluate(contexts: Sequence[tuple[openmm.Context, Any]]) -> list[tuple[float, Any]]:
    states = [context.getState(energy=True, forces=True) for context, _ in contexts]
    return [(state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value) for state in states]


def _mean(contexts: Sequence[tuple[openmm.Context, Any]]) -> tuple[float, Any]:
    energies, forces = zip(*_evaluate(contexts), strict=True)
    return float(np.mean(energies)), np.mean(forces, axis=0)


def _evaluations(contexts: Sequence[tuple[openmm.Context, Any]]) -> float:
    return float(sum(force.getStatistics(context)["evaluations"] for context, force in contexts))
