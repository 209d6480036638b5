"""Sample: what is known of a run at one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from ..units import GAS_CONSTANT

__all__ = ["Measure", "Sample", "Spread"]


@dataclass(frozen=True)
class Spread:
    """Deviation of the members of a committee.

    Parameters
    ----------
    energy
        sigma_E, the sample standard deviation of the members' energies, kJ/mol.
    force
        The largest sigma_F, kJ/mol/nm.
    atom
        System index of the atom that it is on.
    """

    energy: float
    force: float
    atom: int


@dataclass(frozen=True)
class Sample:
    """What guards and reporters are given.

    Parameters
    ----------
    stage
        ``equilibrate``, ``produce``, or what the caller names it.
    step
        Within the stage, from 0.
    time
        Within the stage, ps.
    positions
        (N,3) float64, nm; molecules whole, not wrapped.
    velocities
        (N,3) float64, nm/ps.
    box
        (3,3) float64, nm; None without periodic boundary conditions.
    potential, kinetic
        kJ/mol.
    temperature
        K.
    region_temperature
        Of the region alone, K; None without one.
    spread
        Deviation of a committee, on the steps at which it is computed.
    forces
        (N,3) float64, kJ/mol/nm; None where nobody asked for them.
    """

    stage: str
    step: int
    time: float
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    box: NDArray[np.float64] | None
    potential: float
    kinetic: float
    temperature: float
    region_temperature: float | None = None
    spread: Spread | None = None
    forces: NDArray[np.float64] | None = None

    @property
    def total(self) -> float:
        """Potential and kinetic energy, kJ/mol."""
        return self.potential + self.kinetic

    @property
    def volume(self) -> float | None:
        """Of the box, nm³."""
        return None if self.box is None else float(abs(np.linalg.det(self.box)))


class Measure:
    """Makes samples of the states of a System.

    Parameters
    ----------
    system
        The System.
    region
        Atoms whose temperature is of interest by itself.

    Examples
    --------
    >>> import openmm
    >>> from openmm_nn.dynamics.samples import Measure
    >>> system = openmm.System()
    >>> particles = [system.addParticle(39.9) for _ in range(4)]
    >>> Measure(system).degrees
    12
    """

    def __init__(self, system: openmm.System, region: tuple[int, ...] = ()) -> None:
        masses = [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(system.getNumParticles())]
        self.masses = np.array(masses)
        self.periodic = bool(system.usesPeriodicBoundaryConditions())
        pairs = [system.getConstraintParameters(index)[:2] for index in range(system.getNumConstraints())]
        moving = sum(1 for i, j in pairs if masses[i] > 0 or masses[j] > 0)
        still = any(isinstance(force, openmm.CMMotionRemover) for force in system.getForces())
        self.degrees = max(3 * int((self.masses > 0).sum()) - moving - (3 if still else 0), 1)
        """Degrees of freedom of the System."""
        self.region = np.array(sorted(region), dtype=np.int64)
        inside = set(region)
        own = sum(1 for i, j in pairs if i in inside and j in inside)
        self.region_degrees = 3 * int((self.masses[self.region] > 0).sum()) - own
        """Degrees of freedom of the region; 0 without one."""

    def __repr__(self) -> str:
        return f"Measure({len(self.masses)} particles, {len(self.region)} in the region)"

    def sample(self, state: Any, stage: str, step: int, time: float, spread: Spread | None = None) -> Sample:
        """Make a sample.

        Parameters
        ----------
        state
            An `openmm.State` with positions, velocities and energies, not wrapped; with forces if they are of interest.
        stage, step, time, spread
            See `Sample`.

        Returns
        -------
        Sample
            In nm, ps, kJ/mol and K.
        """
        kinetic = float(state.getKineticEnergy().value_in_unit(unit.kilojoule_per_mole))
        velocities = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
        region = None
        if self.region_degrees > 0:
            own = 0.5 * float((self.masses[self.region, None] * velocities[self.region] ** 2).sum())
            region = 2.0 * own / (self.region_degrees * GAS_CONSTANT)
        forces = None
        if state.getDataTypes() & openmm.State.Forces:
            forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        box = None
        if self.periodic:
            box = np.array(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer))
        return Sample(
            stage=stage,
            step=step,
            time=time,
            positions=state.getPositions(asNumpy=True).value_in_unit(unit.nanometer),
            velocities=velocities,
            box=box,
            potential=float(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)),
            kinetic=kinetic,
            temperature=2.0 * kinetic / (self.degrees * GAS_CONSTANT),
            region_temperature=region,
            spread=spread,
            forces=forces,
        )
