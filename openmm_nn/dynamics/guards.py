"""Guards: what must not happen while a potential runs, and what is said when it does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from openmm import app

from ..errors import ParameterError
from ..geometry import minimum_image
from ..systems.hybrid.radii import covalent_radius
from ..units import GAS_CONSTANT
from .samples import Sample

__all__ = [
    "BondGuard",
    "EnergyJumpGuard",
    "Event",
    "FiniteGuard",
    "ForceGuard",
    "Guard",
    "TemperatureGuard",
    "UncertaintyGuard",
    "usual_fluctuation",
    "usual_jump",
    "usual_limit",
]

_DEVIATIONS = 10.0  # a limit so many standard deviations away is never met by chance


@dataclass(frozen=True)
class Event:
    """What a guard found.

    Parameters
    ----------
    guard
        Its name.
    stage, step, time
        When; ps.
    value
        What was found, in the unit that `message` names; NaN if it is no number.
    allowed
        What is allowed, in words.
    atoms
        Those to look at, System indices.
    message
        What happened and what to look at.
    action
        ``stop`` or ``record``.
    """

    guard: str
    stage: str
    step: int
    time: float
    value: float
    allowed: str
    atoms: tuple[int, ...]
    message: str
    action: str = "stop"


@runtime_checkable
class Guard(Protocol):
    """Anything that looks at samples, one after another."""

    @property
    def name(self) -> str:
        """Of the guard."""

    def check(self, sample: Sample) -> Event | None:
        """Look at a sample; return what is wrong with it, or None."""


def _event(name: str, sample: Sample, value: float, allowed: str, atoms: Iterable[int], text: str) -> Event:
    where = f"{sample.stage}, step {sample.step} ({sample.time:.4g} ps)"
    return Event(
        name, sample.stage, sample.step, sample.time, value, allowed, tuple(atoms), f"{text} in {where}; {allowed}."
    )


def _with_advice(event: Event, advice: str) -> Event:
    return replace(event, message=f"{event.message} Look at {advice}.")


class FiniteGuard:
    """Numbers that are not finite.

    Parameters
    ----------
    labels
        Names of the atoms, for the message.
    """

    name = "finite"

    def __init__(self, labels: Sequence[str] = ()) -> None:
        self.labels = labels

    def __repr__(self) -> str:
        return "FiniteGuard()"

    def check(self, sample: Sample) -> Event | None:
        """Look at energies, positions and velocities."""
        bad = ~(np.isfinite(sample.positions) & np.isfinite(sample.velocities)).all(axis=1)
        energies = np.isfinite([sample.potential, sample.kinetic]).all()
        if energies and not bad.any():
            return None
        atoms = np.flatnonzero(bad)[:10].tolist()
        where = f"on {_names(atoms, self.labels)}" if atoms else "in the energy"
        event = _event(self.name, sample, float("nan"), "all numbers must be finite", atoms,
                       f"a number that is not finite {where}")  # fmt: skip
        return _with_advice(
            event,
            f"offending.pdb{', at the atoms named' if atoms else ''}: are two atoms too close? A shorter time step, a "
            "longer minimisation, or a potential that knows this chemistry helps",
        )


class EnergyJumpGuard:
    """A jump of the total energy between two checks.

    Parameters
    ----------
    allowed
        Largest jump, kJ/mol.

    Examples
    --------
    >>> from openmm_nn.dynamics.guards import EnergyJumpGuard
    >>> EnergyJumpGuard(100.0).name
    'energy_jump'
    """

    name = "energy_jump"

    def __init__(self, allowed: float) -> None:
        self.allowed = _positive("allowed", allowed)
        self.previous: tuple[str, float] | None = None

    def __repr__(self) -> str:
        return f"EnergyJumpGuard({self.allowed:g} kJ/mol)"

    def check(self, sample: Sample) -> Event | None:
        """Compare the total energy with that of the last sample."""
        before, self.previous = self.previous, (sample.stage, sample.total)
        if before is None or before[0] != sample.stage or abs(sample.total - before[1]) <= self.allowed:
            return None
        jump = sample.total - before[1]
        event = _event(self.name, sample, jump, f"allowed is {self.allowed:.4g} kJ/mol", (),
                       f"the total energy jumped by {jump:+.4g} kJ/mol from one check to the next")  # fmt: skip
        return _with_advice(event, "offending.pdb, the time step, and sigma if the potential is a committee")


class ForceGuard:
    """A force outside its range.

    Parameters
    ----------
    allowed
        Largest force on an atom, kJ/mol/nm.
    region
        Atoms that are watched: a `Region`, or indices; None for all.
    labels
        Names of all atoms, for the message.

    Examples
    --------
    >>> from openmm_nn.dynamics.guards import ForceGuard
    >>> ForceGuard(1e5).name
    'force'
    """

    name = "force"

    def __init__(self, allowed: float, region: Iterable[int] | None = None, labels: Sequence[str] = ()) -> None:
        self.allowed = _positive("allowed", allowed)
        self.atoms = None if region is None else np.array(sorted(region), dtype=np.int64)
        self.labels = labels

    def __repr__(self) -> str:
        return f"ForceGuard({self.allowed:g} kJ/mol/nm on {'all' if self.atoms is None else len(self.atoms)} atoms)"

    def check(self, sample: Sample) -> Event | None:
        """Measure every force, on samples that have them."""
        if sample.forces is None:
            return None
        sizes = np.linalg.norm(sample.forces if self.atoms is None else sample.forces[self.atoms], axis=1)
        worst = int(np.argmax(sizes))
        if sizes[worst] <= self.allowed:
            return None
        atom = worst if self.atoms is None else int(self.atoms[worst])
        event = _event(self.name, sample, float(sizes[worst]), f"allowed is {self.allowed:.4g} kJ/mol/nm", (atom,),
                       f"the force on {_names((atom,), self.labels)} is {sizes[worst]:.4g} kJ/mol/nm")  # fmt: skip
        return _with_advice(
            event,
            "offending.pdb: is that atom too close to another? A longer minimisation, a shorter time step, or a "
            "potential that knows this chemistry helps",
        )


class BondGuard:
    """A bond whose length leaves its range.

    Parameters
    ----------
    topology
        Whose bonds are watched: those with an atom in the region.
    region
        A `Region`, or indices of atoms.
    low, high
        Of the range, as multiples of the sum of the covalent radii.

    Raises
    ------
    ParameterError
        If the range is empty.
    """

    name = "bonds"

    def __init__(self, topology: app.Topology, region: Iterable[int], *, low: float = 0.6, high: float = 1.6) -> None:
        if not 0.0 <= low < high:
            raise ParameterError("low, high", f"{low}, {high}", "0 ≤ low < high", "common are 0.6 and 1.6")
        inside = set(region)
        pairs, sums = [], []
        for first, second in topology.bonds():
            if first.element is None or second.element is None or not {first.index, second.index} & inside:
                continue
            pairs.append((min(first.index, second.index), max(first.index, second.index)))
            sums.append(covalent_radius(first.element.atomic_number) + covalent_radius(second.element.atomic_number))
        self.labels = [f"{atom.residue.name}{atom.residue.id}:{atom.name}" for atom in topology.atoms()]
        self.pairs = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        self.sums: NDArray[np.float64] = np.array(sums)
        self.low, self.high = low, high

    def __repr__(self) -> str:
        return f"BondGuard({len(self.pairs)} bonds)"

    def check(self, sample: Sample) -> Event | None:
        """Measure every bond, at minimum image."""
        if not len(self.pairs):
            return None
        vectors = sample.positions[self.pairs[:, 0]] - sample.positions[self.pairs[:, 1]]
        if sample.box is not None:
            vectors = minimum_image(vectors, sample.box)
        lengths = np.linalg.norm(vectors, axis=1)
        ratio = lengths / self.sums
        wrong = np.flatnonzero((ratio < self.low) | (ratio > self.high))
        if not len(wrong):
            return None
        worst = int(wrong[np.argmax(np.abs(np.log(np.maximum(ratio[wrong], 1e-6))))])
        i, j = self.pairs[worst].tolist()
        what = "short" if ratio[worst] < self.low else "long"
        low, high = self.low * self.sums[worst], self.high * self.sums[worst]
        more = f" ({len(wrong) - 1} more)" if len(wrong) > 1 else ""
        event = _event(
            self.name,
            sample,
            float(lengths[worst]),
            f"allowed are {low:.3f} to {high:.3f} nm",
            (i, j),
            f"the bond {_names((i, j), self.labels)}{more} is too {what}, {lengths[worst]:.3f} nm",
        )
        if sample.stage == "minimise":
            return _with_advice(
                event,
                "offending.pdb and last_good.xml: the minimiser's first step is long, and where it ended the potential "
                "finds low what is no molecule. Relax the structure with the force field alone before, or leave "
                "the minimisation out (`minimise.iterations: 0`) if it has been relaxed",
            )
        return _with_advice(
            event,
            "offending.pdb: has a bond broken? If reactions are what you want, set `guards.bonds.action: record`; "
            "otherwise the time step is too long or the potential does not know this chemistry",
        )


class TemperatureGuard:
    """Temperature run-away, of the System or of the region, which a bath of water would hide.

    Parameters
    ----------
    allowed
        Largest temperature of the System, K.
    region_allowed
        Largest temperature of the region, K; None not to look at it.
    """

    name = "temperature"

    def __init__(self, allowed: float, region_allowed: float | None = None) -> None:
        self.allowed = _positive("allowed", allowed)
        self.region_allowed = region_allowed

    @classmethod
    def around(cls, temperature: float, degrees: int, region_degrees: int = 0) -> TemperatureGuard:
        """Make a guard whose limits chance does not reach: half more, and at least ten standard deviations.

        Parameters
        ----------
        temperature
            Asked for, K.
        degrees, region_degrees
            Degrees of freedom of the System and of the region.
        """
        region = usual_limit(temperature, region_degrees) if region_degrees > 0 else None
        return cls(usual_limit(temperature, degrees), region)

    def __repr__(self) -> str:
        return f"TemperatureGuard({self.allowed:g} K)"

    def check(self, sample: Sample) -> Event | None:
        """Compare the temperatures with their limits."""
        found = [("the System", sample.temperature, self.allowed)]
        if self.region_allowed is not None and sample.region_temperature is not None:
            found.insert(0, ("the region", sample.region_temperature, self.region_allowed))
        for what, value, allowed in found:
            if value > allowed:
                event = _event(self.name, sample, value, f"allowed is {allowed:.4g} K", (),
                               f"the temperature of {what} ran away to {value:.4g} K")  # fmt: skip
                return _with_advice(
                    event, "the time step (0.5 fs or less where hydrogens move freely), the minimisation, and log.csv"
                )
        return None


class UncertaintyGuard:
    """Deviation of a committee over a threshold, on samples that have it.

    Parameters
    ----------
    max_energy
        Largest sigma_E, kJ/mol; None not to look at it.
    max_force
        Largest sigma_F of an atom, kJ/mol/nm; None not to look at it.
    labels
        Names of the atoms, for the message.

    Raises
    ------
    ParameterError
        If there is no threshold.
    """

    name = "uncertainty"

    def __init__(
        self, *, max_energy: float | None = None, max_force: float | None = None, labels: Sequence[str] = ()
    ) -> None:
        if max_energy is None and max_force is None:
            raise ParameterError("max_energy, max_force", "None", "one of them or both", "give a threshold")
        self.max_energy, self.max_force, self.labels = max_energy, max_force, labels

    def __repr__(self) -> str:
        return f"UncertaintyGuard(max_energy={self.max_energy}, max_force={self.max_force})"

    def check(self, sample: Sample) -> Event | None:
        """Compare the deviation with its thresholds."""
        spread = sample.spread
        if spread is None:
            return None
        if self.max_force is not None and not spread.force <= self.max_force:
            where = _names((spread.atom,), self.labels)
            text = f"sigma_F of {where}, where the committee disagrees, is {spread.force:.4g} kJ/mol/nm"
            event = _event(self.name, sample, spread.force, f"allowed is {self.max_force:.4g} kJ/mol/nm",
                           (spread.atom,), text)  # fmt: skip
        elif self.max_energy is not None and not spread.energy <= self.max_energy:
            event = _event(self.name, sample, spread.energy, f"allowed is {self.max_energy:.4g} kJ/mol",
                           (spread.atom,), f"sigma_E of the committee is {spread.energy:.4g} kJ/mol")  # fmt: skip
        else:
            return None
        return _with_advice(
            event,
            "offending.pdb: is this chemistry in the card's trained_on? Such frames are worth a label for the next "
            "training",
        )


def usual_fluctuation(temperature: float, degrees: int) -> float:
    """Return the standard deviation of the total energy of so many harmonic degrees of freedom, kJ/mol.

    Parameters
    ----------
    temperature
        K.
    degrees
        Degrees of freedom.

    Returns
    -------
    float
        RT times the square root of their number: half of the variance is kinetic.
    """
    return GAS_CONSTANT * temperature * float(np.sqrt(degrees))


def usual_limit(temperature: float, degrees: int) -> float:
    """Return a temperature that chance does not reach, K."""
    return temperature * (1.0 + max(0.5, _DEVIATIONS * float(np.sqrt(2.0 / degrees))))


def usual_jump(temperature: float, degrees: int) -> float:
    """Return a jump of the total energy that chance does not reach, kJ/mol."""
    return _DEVIATIONS * usual_fluctuation(temperature, degrees)


def _names(atoms: Iterable[int], labels: Sequence[str]) -> str:
    texts = [f"{labels[atom]} (atom {atom})" if atom < len(labels) else f"atom {atom}" for atom in atoms]
    return " - ".join(texts)


def _positive(name: str, value: float) -> float:
    if not value > 0.0:
        raise ParameterError(name, repr(value), "a number above zero", "give the largest value that is right")
    return float(value)
