"""Bonds of terminal atoms, hydrogens and carbonyl oxygens above all, for multiple time stepping.

The potential and the force field see their stretches differently.
"""

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

_HEAVY = 0.6
"""Times that for a terminal atom that is no hydrogen: its bond is stiffer."""

_SAMPLES = 12
"""Bonds of a kind that are measured at most."""

Stretch = tuple[int, int, tuple[float, ...]]
"""An atom, the terminal one bonded to it, and r0 in nm with the derivatives g, k, c, d of the energy at r0: kJ/mol over
powers of nm."""


def measure_stretches(
    system: openmm.System,
    positions: NDArray[np.float64],
    group: int,
    bonds: Sequence[tuple[int, int]],
    numbers: Sequence[int],
    neighbours: Sequence[Set[int]],
) -> list[Stretch]:
    """Measure what a force group adds to the stretches of terminal atoms, from its forces along the bonds.

    Parameters
    ----------
    system
        With the force group.
    positions
        (N,3) nm, near a minimum.
    group
        Of the forces.
    bonds
        Pairs of atoms; those of which not exactly one has a single neighbour are left out.
    numbers, neighbours
        Of all atoms, and the atoms that they are bonded to.

    Returns
    -------
    list of Stretch
        One for each bond of a terminal atom.  Bonds of a kind, which is both elements and the numbers of neighbours and
        of hydrogens of the other atom, share the mean of some of them: surroundings change in the course of a run.
    """
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    box = np.array([vector.value_in_unit(unit.nanometer) for vector in system.getDefaultPeriodicBoxVectors()])
    periodic = system.usesPeriodicBoundaryConditions()
    x = np.zeros((system.getNumParticles(), 3))
    x[: len(positions)] = positions

    kinds: dict[tuple[int, int, int, int], list[tuple[int, int, NDArray[np.float64]]]] = {}
    for pair in bonds:
        ends = [atom for atom in pair if len(neighbours[atom]) == 1]
        if len(ends) != 1:
            continue
        end = ends[0]
        inner = pair[0] if pair[1] == end else pair[1]
        vector = x[end] - x[inner]
        if periodic:
            vector = minimum_image(vector, box)
        others = neighbours[inner]
        kind = (numbers[end], numbers[inner], len(others), sum(numbers[atom] == 1 for atom in others))
        kinds.setdefault(kind, []).append((inner, end, vector))

    def slope(atom: int, vector: NDArray[np.float64], length: float) -> float:
        moved = x.copy()
        along = vector / np.linalg.norm(vector)
        moved[atom] += along * length - vector
        context.setPositions(moved)
        context.computeVirtualSites()
        forces = context.getState(forces=True, groups={group}).getForces(asNumpy=True)
        return -float(forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer)[atom] @ along)

    found: list[Stretch] = []
    for (number, *_), rows in kinds.items():
        middle = float(np.mean([np.linalg.norm(vector) for _, _, vector in rows]))
        chosen = rows[:: math.ceil(len(rows) / _SAMPLES)]
        shifts = _DISPLACEMENTS * (1.0 if number == 1 else _HEAVY)
        slopes = np.mean([[slope(atom, v, middle + d) for d in shifts] for _, atom, v in chosen], axis=0)
        fitted = np.polynomial.polynomial.polyfit(shifts, slopes, 3)
        if fitted[3] <= 0.0:  # without an end, far from r0
            fitted = np.append(np.polynomial.polynomial.polyfit(shifts, slopes, 1), (0.0, 0.0))
        parameters = (middle, *map(float, fitted * (1.0, 1.0, 2.0, 6.0)))
        found += [(inner, end, parameters) for inner, end, _ in rows]
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
    for inner, end, parameters in stretches:
        force.addBond(inner, end, parameters)
    force.setUsesPeriodicBoundaryConditions(periodic)
    force.setName("stretches")
    return force
