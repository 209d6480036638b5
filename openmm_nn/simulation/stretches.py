"""Bonds of hydrogen whose stretch the potential and the force field see differently, for multiple time stepping."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

import numpy as np
import openmm
from openmm import unit

from ..geometry import minimum_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Stretch", "measure_stretches", "stretch_force"]

_DISPLACEMENTS = np.linspace(-0.016, 0.02, 7)
"""nm from the mean length: more than five times the thermal amplitude of a stretch of hydrogen at room temperature."""

_SAMPLES = 12
"""Bonds of a kind that are measured at most."""

Stretch = tuple[int, int, tuple[float, ...]]
"""Heavy atom, hydrogen, and r0 in nm with the derivatives g, k, c, d of the energy at r0: kJ/mol over powers of nm."""


def measure_stretches(
    system: openmm.System,
    positions: NDArray[np.float64],
    group: int,
    bonds: Sequence[tuple[int, int]],
    elements: Sequence[str | None],
    neighbours: Sequence[Set[int]],
) -> list[Stretch]:
    """Measure what a force group adds to the stretches of hydrogen, from its forces along the bonds.

    Parameters
    ----------
    system
        With the force group.
    positions
        (N,3) nm, near a minimum.
    group
        Of the forces.
    bonds
        Pairs of atoms; those without a hydrogen, or with two, are left out.
    elements, neighbours
        Of all atoms, and the atoms that they are bonded to.

    Returns
    -------
    list of Stretch
        One for each bond of one hydrogen.  Bonds of a kind, which is the element and the numbers of neighbours and of
        hydrogens of the heavy atom, share the mean of some of them: surroundings change in the course of a run.
    """
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    box = np.array([vector.value_in_unit(unit.nanometer) for vector in system.getDefaultPeriodicBoxVectors()])
    periodic = system.usesPeriodicBoundaryConditions()
    x = np.zeros((system.getNumParticles(), 3))
    x[: len(positions)] = positions

    kinds: dict[tuple[str | None, int, int], list[tuple[int, int, NDArray[np.float64]]]] = {}
    for pair in bonds:
        hydrogens = [atom for atom in pair if elements[atom] == "H"]
        if len(hydrogens) != 1:
            continue
        hydrogen = hydrogens[0]
        heavy = pair[0] if pair[1] == hydrogen else pair[1]
        vector = x[hydrogen] - x[heavy]
        if periodic:
            vector = minimum_image(vector, box)
        others = neighbours[heavy]
        kind = (elements[heavy], len(others), sum(elements[atom] == "H" for atom in others))
        kinds.setdefault(kind, []).append((heavy, hydrogen, vector))

    def slope(atom: int, vector: NDArray[np.float64], length: float) -> float:
        moved = x.copy()
        along = vector / np.linalg.norm(vector)
        moved[atom] += along * length - vector
        context.setPositions(moved)
        forces = context.getState(forces=True, groups={group}).getForces(asNumpy=True)
        return -float(forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer)[atom] @ along)

    found: list[Stretch] = []
    for rows in kinds.values():
        middle = float(np.mean([np.linalg.norm(vector) for _, _, vector in rows]))
        chosen = rows[:: math.ceil(len(rows) / _SAMPLES)]
        slopes = np.mean([[slope(atom, v, middle + d) for d in _DISPLACEMENTS] for _, atom, v in chosen], axis=0)
        fitted = np.polynomial.polynomial.polyfit(_DISPLACEMENTS, slopes, 3)
        if fitted[3] <= 0.0:  # without an end, far from r0
            fitted = np.append(np.polynomial.polynomial.polyfit(_DISPLACEMENTS, slopes, 1), (0.0, 0.0))
        parameters = (middle, *map(float, fitted * (1.0, 1.0, 2.0, 6.0)))
        found += [(heavy, hydrogen, parameters) for heavy, hydrogen, _ in rows]
    return found


def stretch_force(stretches: Sequence[Stretch], sign: float, periodic: bool) -> openmm.CustomBondForce:
    """Write `sign` times the energy of every stretch, a polynomial of r - r0 of degree four, as a force.

    Parameters
    ----------
    stretches
        From `measure_stretches`.
    sign
        Factor.
    periodic
        Whether the nearest image counts.

    Returns
    -------
    openmm.CustomBondForce
    """
    force = openmm.CustomBondForce(f"{sign:g} * x * (g + x * (k / 2 + x * (c / 6 + x * d / 24))); x = r - r0")
    for name in ("r0", "g", "k", "c", "d"):
        force.addPerBondParameter(name)
    for heavy, hydrogen, parameters in stretches:
        force.addBond(heavy, hydrogen, parameters)
    force.setUsesPeriodicBoundaryConditions(periodic)
    force.setName("stretches of hydrogen")
    return force
