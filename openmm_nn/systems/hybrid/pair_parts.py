"""Nonbonded forces taken apart: environment with itself, pairs across the boundary, images of the region."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import openmm
from openmm import unit

from .nonbonded import EWALD_METHODS, PERIODIC_METHODS


@dataclass(frozen=True)
class Part:
    """Forces whose energy counts towards terms of the ledger.

    Parameters
    ----------
    forces : list of openmm.Force
    rows : list of (str, float)
        Terms, and the factor by which the energy counts.
    """

    forces: list[openmm.Force]
    rows: list[tuple[str, float]]


def nonbonded_parts(force: openmm.Force, inside: Collection[int], parameters: Mapping[str, float]) -> list[Part]:
    """Take a nonbonded force apart.

    Parameters
    ----------
    force : openmm.NonbondedForce or openmm.CustomNonbondedForce
        In a NonbondedForce the pairs of the region are exceptions of zero.
    inside : collection of int
        The region.
    parameters : mapping of str to float
        Values of the Context's parameters.

    Returns
    -------
    list of Part
    """
    if isinstance(force, openmm.CustomNonbondedForce):
        return _custom_parts(force, set(inside))
    fixed = without_offsets(force, parameters)
    return [
        *_coulomb_parts(fixed, set(inside)),
        *_van_der_waals_parts(fixed, set(inside)),
        *_dispersion_parts(force),
    ]


def _values(force: openmm.NonbondedForce, index: int) -> tuple[float, float, float]:
    charge, sigma, epsilon = (
        float(value.value_in_unit_system(unit.md_unit_system)) for value in force.getParticleParameters(index)
    )
    return charge, sigma, epsilon


def _exception(force: openmm.NonbondedForce, index: int) -> tuple[int, int, float, float, float]:
    first, second, *quantities = force.getExceptionParameters(index)
    product, sigma, epsilon = (float(value.value_in_unit_system(unit.md_unit_system)) for value in quantities)
    return first, second, product, sigma, epsilon


def without_offsets(force: openmm.NonbondedForce, parameters: Mapping[str, float]) -> openmm.NonbondedForce:
    """Copy a force with its offsets at the given parameters made part of its constants."""
    fixed = copy.deepcopy(force)
    for index in range(force.getNumParticleParameterOffsets()):
        name, particle, *slopes = force.getParticleParameterOffset(index)
        values = _values(fixed, particle)
        fixed.setParticleParameters(particle, *(v + parameters[name] * s for v, s in zip(values, slopes, strict=True)))
        fixed.setParticleParameterOffset(index, name, particle, 0.0, 0.0, 0.0)
    for index in range(force.getNumExceptionParameterOffsets()):
        name, exception, *slopes = force.getExceptionParameterOffset(index)
        first, second, *constants = _exception(fixed, exception)
        new = (v + parameters[name] * s for v, s in zip(constants, slopes, strict=True))
        fixed.setExceptionParameters(exception, first, second, *new)
        fixed.setExceptionParameterOffset(index, name, exception, 0.0, 0.0, 0.0)
    return fixed


def _scaled(
    force: openmm.NonbondedForce, inside: set[int], charges: tuple[float, float], wells: tuple[float, float]
) -> openmm.NonbondedForce:
    """Copy a force with charges and well depths of region and environment scaled, those of pairs by the product."""
    new = copy.deepcopy(force)
    for index in range(force.getNumParticles()):
        side = 0 if index in inside else 1
        charge, sigma, epsilon = _values(force, index)
        new.setParticleParameters(index, charge * charges[side], sigma, epsilon * wells[side])
    for index in range(force.getNumExceptions()):
        first, second, product, sigma, epsilon = _exception(force, index)
        sides = [0 if atom in inside else 1 for atom in (first, second)]
        product *= charges[sides[0]] * charges[sides[1]]
        epsilon *= wells[sides[0]] * wells[sides[1]]
        new.setExceptionParameters(index, first, second, product, sigma, epsilon)
    new.setUseDispersionCorrection(False)
    return new


def _coulomb_parts(force: openmm.NonbondedForce, inside: set[int]) -> list[Part]:
    if all(_values(force, index)[0] == 0 for index in range(force.getNumParticles())):
        return []
    none = (0.0, 0.0)
    return [
        Part([_scaled(force, inside, (0.0, 1.0), none)], [("EE", 1.0)]),
        Part([_scaled(force, inside, (1.0, 1.0), none)], [("RE", 0.5)]),
        Part([_scaled(force, inside, (-1.0, 1.0), none)], [("RE", -0.5)]),
        Part([_scaled(force, inside, (1.0, 0.0), none)], [("images", 1.0)]),
    ]


def _van_der_waals_parts(force: openmm.NonbondedForce, inside: set[int]) -> list[Part]:
    none = (0.0, 0.0)
    grid = force.getNonbondedMethod() == openmm.NonbondedForce.LJPME
    variants = {name: _scaled(force, inside, none, wells) for name, wells in
                (("all", (1.0, 1.0)), ("EE", (0.0, 1.0)), ("images", (1.0, 0.0)))}  # fmt: skip
    if grid:
        return [
            Part([variants["EE"]], [("EE", 1.0), ("RE", -1.0)]),
            Part([variants["images"]], [("images", 1.0), ("RE", -1.0)]),
            Part([variants["all"]], [("RE", 1.0)]),
        ]
    for variant in variants.values():
        if variant.getNonbondedMethod() in EWALD_METHODS:
            variant.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    return [Part([variants["EE"]], [("EE", 1.0)]), Part(_pairs_across(force, inside), [("RE", 1.0)])]


def _dispersion_parts(force: openmm.NonbondedForce) -> list[Part]:
    """Evaluate a force with and without its correction; its offsets stay, for which OpenMM has a rule of its own."""
    method = force.getNonbondedMethod()
    if (
        not force.getUseDispersionCorrection()
        or method not in PERIODIC_METHODS
        or method == openmm.NonbondedForce.LJPME
    ):
        return []
    parts = []
    for factor in (1.0, -1.0):
        new = copy.deepcopy(force)
        new.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
        new.setUseDispersionCorrection(factor > 0)
        parts.append(Part([new], [("dispersion", factor)]))
    return parts


def _pairs_across(force: openmm.NonbondedForce, inside: set[int]) -> list[openmm.Force]:
    """Write the Lennard-Jones pairs across the boundary as sums, and those of its exceptions as bonds."""
    lennard_jones = "4*epsilon*((sigma/r)^12-(sigma/r)^6)"
    mixing = "sigma=0.5*(sigma1+sigma2); epsilon=sqrt(epsilon1*epsilon2)"
    pairs = openmm.CustomNonbondedForce(f"{lennard_jones}; {mixing}")
    bonds = openmm.CustomBondForce(lennard_jones)
    for name in ("sigma", "epsilon"):
        pairs.addPerParticleParameter(name)
        bonds.addPerBondParameter(name)
    number = force.getNumParticles()
    for index in range(number):
        pairs.addParticle(_values(force, index)[1:])
    for index in range(force.getNumExceptions()):
        first, second, _, sigma, epsilon = _exception(force, index)
        if (first in inside) != (second in inside):
            pairs.addExclusion(first, second)
            if epsilon != 0:
                bonds.addBond(first, second, [sigma, epsilon])
    pairs.addInteractionGroup(inside, set(range(number)) - inside)
    periodic = force.getNonbondedMethod() in PERIODIC_METHODS
    if force.getNonbondedMethod() != openmm.NonbondedForce.NoCutoff:
        kind = openmm.CustomNonbondedForce
        pairs.setNonbondedMethod(kind.CutoffPeriodic if periodic else kind.CutoffNonPeriodic)
        pairs.setCutoffDistance(force.getCutoffDistance())
        pairs.setUseSwitchingFunction(force.getUseSwitchingFunction())
        pairs.setSwitchingDistance(force.getSwitchingDistance())
    bonds.setUsesPeriodicBoundaryConditions(force.getExceptionsUsePeriodicBoundaryConditions())
    return [pairs, bonds]


def _custom_parts(force: openmm.CustomNonbondedForce, inside: set[int]) -> list[Part]:
    outside = set(range(force.getNumParticles())) - inside
    parts = [
        Part([_grouped(force, outside, outside)], [("EE", 1.0)]),
        Part([_grouped(force, inside, outside)], [("RE", 1.0)]),
    ]
    if force.getUseLongRangeCorrection() and force.usesPeriodicBoundaryConditions():
        plain: Any = copy.deepcopy(force)
        plain.setUseLongRangeCorrection(False)
        parts += [Part([copy.deepcopy(force)], [("dispersion", 1.0)]), Part([plain], [("dispersion", -1.0)])]
    return [part for part in parts if part.forces != [None]]


def _grouped(force: openmm.CustomNonbondedForce, one: set[int], other: set[int]) -> Any:
    """Copy a force with its pairs restricted to those from one set to the other; None if there are none."""
    new = copy.deepcopy(force)
    new.setUseLongRangeCorrection(False)
    wanted: list[tuple[set[int], set[int]]] = []
    count = force.getNumInteractionGroups()
    for index in range(count):
        first, second = map(set, force.getInteractionGroupParameters(index))
        wanted.append((first & one, second & other))
        if one != other:
            # OpenMM counts a pair once for each group, so those that the line above has are left out of its reverse.
            wanted.append((first & other - second, second & one))
            wanted.append((first & other & second, second & one - first))
    if count == 0:
        wanted.append((one, other))
    wanted = [sets for sets in wanted if sets[0] and sets[1]]
    if not wanted:
        return None
    for index in range(count):
        new.setInteractionGroupParameters(index, *(wanted[index] if index < len(wanted) else (set(), set())))
    for sets in wanted[count:]:
        new.addInteractionGroup(*sets)
    return new
