"""Short simulations at constant energy, in OpenMM: drift, and the largest time step that holds.

The structure's fragment (one whole molecule where the structure is large) runs on the Reference platform, without
constraints, from its relaxed geometry.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import openmm
from openmm import unit

from ..units import GAS_CONSTANT
from .fragments import mass_of
from .plausibility import relax
from .preflight_report import Check
from .registry import register
from .subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Trace", "constant_energy"]

_STEPS = 600
_SAMPLES = 50
_DRIFT_FAIL, _DRIFT_WARN = 0.1, 0.02
"""kJ/mol/ps for one atom; a drift of 0.1 heats by 4 K a ps."""

_TRIED = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004)
_SHORTER = (0.00025, 0.0001)
"""ps; the second is tried, from its longest, if the first of the first does not hold."""

_TRIED_TIME = 0.1
"""ps: ten periods of the fastest vibration of a molecule."""


@dataclasses.dataclass(frozen=True)
class Trace:
    """The total energy of a simulation at constant energy.

    Parameters
    ----------
    times
        ps.
    totals
        kJ/mol; ends where a value was not finite.
    broken
        Why the simulation ended early; empty if it did not.
    """

    times: Array
    totals: Array
    broken: str


class _Exploded(Exception):
    """Atoms are where no molecule reaches."""


def constant_energy(subject: Subject, timestep: float, steps: int, samples: int) -> Trace:
    """Run the fragment at constant energy.

    Parameters
    ----------
    subject
        Potential and structure.
    timestep
        ps.
    steps
        How many.
    samples
        How often the energy is read.

    Returns
    -------
    Trace
        The total energy.
    """
    fragment = subject.fragment
    external = subject.feels_origin or subject.box is not None
    whole = len(fragment.numbers) == len(subject.numbers)
    start = subject.positions if external and whole else _start(subject)
    periodic = subject.card.periodic == "always"
    system = openmm.System()
    for number in fragment.numbers:
        system.addParticle(mass_of(number))
    if periodic:
        box = subject.box if subject.box is not None and whole else subject.large_box(start)
        system.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*row) for row in np.asarray(box).tolist()))
    source = subject.potential
    force = source.create_force(
        atomic_numbers=fragment.numbers,
        periodic=periodic,
        charge=subject.charge,
        multiplicity=subject.multiplicity,
    )
    system.addForce(force)
    integrator = openmm.VerletIntegrator(timestep)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    for name, value in subject.parameters.items():
        context.setParameter(name, value)
    context.setPositions(start)
    context.setVelocitiesToTemperature(subject.temperature, subject.seed + 1)
    every = max(1, steps // samples)
    extent = 100.0 + 10.0 * float(np.ptp(start, axis=0).max())
    times, totals, broken = [], [], ""
    try:
        for k in range(steps // every + 1):
            state = context.getState(energy=True)
            energy = state.getPotentialEnergy() + state.getKineticEnergy()
            total = float(energy.value_in_unit(unit.kilojoule_per_mole))
            if not np.isfinite(total):
                broken = "the energy was no longer a number"
                break
            times.append(k * every * timestep)
            totals.append(total)
            for _ in range(every):
                integrator.step(1)
                # A look before the next evaluation: what explodes must not reach a neighbour list.
                x = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
                if not np.ptp(x, axis=0).max() < extent:
                    raise _Exploded
    except _Exploded:
        broken = "the molecule exploded"
    except openmm.OpenMMException as error:
        broken = str(error)
    subject.evaluations += len(times) * every
    return Trace(np.array(times), np.array(totals), broken)


def _start(subject: Subject) -> Array:
    relaxed = relax(subject)
    return relaxed.positions if relaxed.scale is not None and relaxed.intact else subject.fragment.positions


@register("nve_drift")
def nve_drift(subject: Subject) -> Check:
    """Measure the drift of the total energy in a short simulation at constant energy."""
    name, unit_name = "nve_drift", "kJ/mol/ps/atom"
    atoms = len(subject.fragment.numbers)
    steps = subject.steps or max(200, min(_STEPS, _STEPS * 100 // max(atoms, 100)))
    trace = constant_energy(subject, subject.timestep, steps, _SAMPLES)
    femtoseconds = 1000.0 * subject.timestep
    if trace.broken or len(trace.times) < 10:
        text = (
            f"The simulation at constant energy ended after {len(trace.times)} samples: {trace.broken}. Use a shorter "
            "time step than "
            f"{femtoseconds:g} fs, see largest_stable_step; if that does not help, forces are wrong."
        )
        return Check(name, None, unit_name, "fail", text, {"timestep_ps": subject.timestep})
    slope, error = _slope(trace)
    drift, error = slope / atoms, error / atoms
    spread = float(np.std(trace.totals))
    details = {
        "standard_error": error,
        "spread_kJ_mol": spread,
        "timestep_ps": subject.timestep,
        "steps": steps,
        "temperature_K": subject.temperature,
        "length_ps": float(trace.times[-1]),
    }
    significant = abs(drift) > 3.0 * error
    kinetic = 1.5 * atoms * GAS_CONSTANT * subject.temperature
    if (significant and abs(drift) > _DRIFT_FAIL) or spread > 0.5 * kinetic:
        text = (
            f"The total energy drifts by {drift:+.3g} kJ/mol/ps for one atom ({_kelvin(drift):+.2g} K/ps) at a "
            "time step "
            f"of {femtoseconds:g} fs: the forces are not the gradient of the energy, the energy jumps, or the step is "
            "too long. See the checks of the gradient, cutoff_smoothness and largest_stable_step."
        )
        return Check(name, drift, unit_name, "fail", text, details, limit=_DRIFT_FAIL)
    if significant and abs(drift) > _DRIFT_WARN:
        text = (
            f"The total energy drifts by {drift:+.2g} kJ/mol/ps for one atom ({_kelvin(drift):+.2g} K/ps) in a "
            "short run. "
            "Make a longer one at half the step: if the drift stays, it is the potential's."
        )
        return Check(name, drift, unit_name, "warn", text, details, limit=_DRIFT_WARN)
    text = f"Within {trace.times[-1]:.2g} ps the total energy stays where it is, and swings by {spread:.2g} kJ/mol."
    return Check(name, drift, unit_name, "pass", text, details, limit=_DRIFT_FAIL)


def _kelvin(drift: float) -> float:
    # Half of the energy goes to the kinetic part: 3 k of heat capacity for an atom.
    return drift / (3.0 * GAS_CONSTANT)


def _slope(trace: Trace) -> tuple[float, float]:
    """Return the slope in kJ/mol/ps and its standard error, by leaving out a tenth of the run at a time."""
    times, totals = trace.times, trace.totals
    slope = float(np.polyfit(times, totals, 1)[0])
    blocks = np.array_split(np.arange(len(times)), 10)
    parts = [float(np.polyfit(np.delete(times, b), np.delete(totals, b), 1)[0]) for b in blocks]
    count = len(parts)
    variance = (count - 1) / count * float(np.sum((np.array(parts) - np.mean(parts)) ** 2))
    return slope, float(np.sqrt(variance))


@register("largest_stable_step")
def largest_stable_step(subject: Subject) -> Check:
    """Run at longer and longer time steps, until the total energy no longer holds."""
    name, unit_name = "largest_stable_step", "fs"
    atoms = len(subject.fragment.numbers)
    kinetic = 1.5 * atoms * GAS_CONSTANT * subject.temperature
    largest = 0.0
    swings: dict[str, float | None] = {}

    def holds(step: float) -> bool:
        trace = constant_energy(subject, step, max(20, round(_TRIED_TIME / step)), 20)
        swing = float(np.ptp(trace.totals)) if not trace.broken and len(trace.totals) > 1 else float("inf")
        swings[f"{1000 * step:g} fs"] = swing / kinetic
        return swing <= 0.5 * kinetic

    for step in _TRIED:
        if not holds(step):
            break
        largest = step
    if largest == 0.0:
        largest = next((step for step in _SHORTER if holds(step)), 0.0)
    value, asked = 1000.0 * largest, 1000.0 * subject.timestep
    details = {"swing_over_kinetic_energy": swings, "temperature_K": subject.temperature}
    if largest == 0.0 or subject.timestep > largest:
        held = f"The longest step that held is {value:g} fs" if largest else f"Not even {1000 * _SHORTER[-1]:g} fs held"
        text = (
            f"{held}, without constraints or heavier hydrogens, and {asked:g} fs was asked for. Use a shorter step; if "
            "the longest is below half a femtosecond, something in the potential is stiffer than any bond: see "
            "stretch_frequency."
        )
        return Check(name, value, unit_name, "fail", text, details, limit=asked)
    if subject.timestep > 0.7 * largest:
        text = (
            f"The longest step that held for {_TRIED_TIME:g} ps is {value:g} fs, and {asked:g} fs is close to "
            "it. Use at "
            "most half of the longest."
        )
        return Check(name, value, unit_name, "warn", text, details, limit=asked)
    text = f"Steps up to {value:g} fs hold for {_TRIED_TIME:g} ps without constraints; use half of that or less."
    return Check(name, value, unit_name, "pass", text, details, limit=asked)
