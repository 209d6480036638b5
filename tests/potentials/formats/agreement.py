"""Foreign potentials in OpenMM against their own library: energies per atom in eV, forces in eV/Å."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm as mm
from ase import Atoms
from openmm import unit

from openmm_nn import Potential, units
from tests.samples import bare_system

__all__ = ["Agreement", "Record", "compare_with_ase"]

EV = units.ENERGY_UNITS["eV"]


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far a Context is from the library's own calculator.

    Attributes
    ----------
    energy : float
        Largest difference of the energies, eV an atom.
    force : float
        Largest difference of a force component, eV/Å.
    largest_force : float
        Largest force component of the library, eV/Å: what the difference is a part of.
    atoms : int
    """

    energy: float
    force: float
    largest_force: float
    atoms: int

    def check(self, energy: float = 1e-5, force: float = 1e-4) -> None:
        """Both differences are within what is allowed, and the forces are worth comparing."""
        assert self.energy <= energy, self
        assert self.force <= force, self
        assert self.largest_force > 10.0 * force, self


Record = Callable[[Agreement], Agreement]
"""The fixture `record`: keeps a measured agreement under the test's name, and hands it back."""


def compare_with_ase(
    potential: Potential,
    calculator: Any,
    positions: np.ndarray,
    numbers: list[int],
    box: np.ndarray | None = None,
    *,
    platform: str = "CPU",
    charge: int = 0,
    multiplicity: int = 1,
    precision: str = "model",
) -> Agreement:
    """Energy and forces of a Context with the native force, and of an ASE calculator at the same geometry (nm)."""
    system = bare_system(len(numbers), box=box)
    force = potential.create_force(
        atomic_numbers=numbers,
        periodic=None if potential.card.periodic == "never" else box is not None,
        charge=charge,
        multiplicity=multiplicity,
        properties={"precision": precision},
    )
    system.addForce(force)
    options = {"Threads": "1"} if platform == "CPU" else {}
    context = mm.Context(system, mm.VerletIntegrator(0.0005), mm.Platform.getPlatformByName(platform), options)
    context.setPositions(positions)
    state = context.getState(getEnergy=True, getForces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoules_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoules_per_mole / unit.nanometer)
    atoms = Atoms(numbers=numbers, positions=10.0 * positions)
    if box is not None:
        atoms.set_cell(10.0 * box)
        atoms.set_pbc(True)
    atoms.info.update(charge=charge, spin=multiplicity)
    atoms.calc = calculator
    reference = atoms.get_potential_energy()
    wanted = atoms.get_forces()
    return Agreement(
        energy=float(abs(energy / EV - reference) / len(numbers)),
        force=float(np.abs(forces / EV / 10.0 - wanted).max()),
        largest_force=float(np.abs(wanted).max()),
        atoms=len(numbers),
    )
