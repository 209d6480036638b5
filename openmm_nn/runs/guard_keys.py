"""The guards that a run file asks for."""

from __future__ import annotations

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
    keys, temperature = runfile.guards, runfile.dynamics.temperature
    found: list[tuple[Guard, str]] = [(FiniteGuard(labels), keys.finite.action)]
    jump = keys.energy_jump.max or usual_jump(temperature or _DEFAULT_TEMPERATURE, measure.degrees)
    found.append((EnergyJumpGuard(jump), keys.energy_jump.action))
    if keys.force.max is not None:
        found.append((ForceGuard(keys.force.max, region or None, labels), keys.force.action))
    atoms = region or range(topology.getNumAtoms())
    found.append((BondGuard(topology, atoms, low=keys.bonds.min, high=keys.bonds.max), keys.bonds.action))
    hot = keys.temperature
    if hot.max is not None:
        found.append((TemperatureGuard(hot.max, hot.max), hot.action))
    elif temperature is not None:
        found.append((TemperatureGuard.around(temperature, measure.degrees, measure.region_degrees), hot.action))
    spread = keys.uncertainty
    if spread is not None and spread.limited:
        guard = UncertaintyGuard(max_energy=spread.max_energy, max_force=spread.max_force, labels=labels)
        found.append((guard, spread.action))
    return [(guard, action) for guard, action in found if action != "off"]
