"""The guards that a run file asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openmm import app

from ..dynamics.guards import (
    BondGuard,
    EnergyJumpGuard,
    FiniteGuard,
    ForceGuard,
    Guard,
    TemperatureGuard,
    UncertaintyGuard,
    usual_jump,
)
from ..dynamics.samples import Measure

if TYPE_CHECKING:
    from .runfile import RunFile


__all__ = ["make_guards"]

_DEFAULT_TEMPERATURE = 300.0  # K: sets the scale of a jump where no temperature is asked for


def make_guards(
    runfile: RunFile, topology: app.Topology, region: tuple[int, ...], measure: Measure
) -> list[tuple[Guard, str]]:
    """Make the guards that a run file asks for.

    Parameters
    ----------
    runfile
        With its limits; those that are left out follow from temperature and size.
    topology
        Whose bonds are watched.
    region
        Atoms whose bonds are watched; all without a region.
    measure
        Knows the degrees of freedom.

    Returns
    -------
    list of tuple of Guard and str
        Each with its action, ``stop`` or ``record``.
    """
    labels = [f"{atom.residue.name}{atom.residue.id}:{atom.name}" for atom in topology.atoms()]
    temperature = runfile.temperature
    found: list[tuple[Guard, str]] = [(FiniteGuard(labels), runfile.guard("finite").action)]
    jump = runfile.guard("energy_jump")
    usual = usual_jump(temperature or _DEFAULT_TEMPERATURE, measure.degrees)
    found.append((EnergyJumpGuard(jump.limits.get("max", usual)), jump.action))
    force = runfile.guard("force")
    if force.limits:
        found.append((ForceGuard(force.limits["max"], region or None, labels), force.action))
    bonds = runfile.guard("bonds")
    atoms = region or range(topology.getNumAtoms())
    found.append((BondGuard(topology, atoms, low=bonds.limits["min"], high=bonds.limits["max"]), bonds.action))
    hot = runfile.guard("temperature")
    if "max" in hot.limits:
        found.append((TemperatureGuard(hot.limits["max"], hot.limits["max"]), hot.action))
    elif temperature is not None:
        found.append((TemperatureGuard.around(temperature, measure.degrees, measure.region_degrees), hot.action))
    spread = runfile.guard("uncertainty")
    if spread.limits:
        guard = UncertaintyGuard(
            max_energy=spread.limits.get("max_energy"), max_force=spread.limits.get("max_force"), labels=labels
        )
        found.append((guard, spread.action))
    return [(guard, action) for guard, action in found if action != "off"]
