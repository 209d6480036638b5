"""Mechanical embedding: the environment acts on the region through the classical force field.

E = E_MM(E,E) + E_MM(R,E) + E_NN(R and link atoms), for a region R and its environment E.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import openmm
from openmm import unit

from ... import errors
from .bond_graph import BondGraph, pair
from .bonded import (
    BONDED_TYPES,
    RegionAtoms,
    TermCount,
    count_terms,
    split_terms,
)
from .nonbonded import exclude_pairs, force_label, touches, use_box_for_exceptions, zero_pairs
from .region import Region

_HEAVY_HYDROGEN = 2.0  # dalton; above it hydrogen mass was repartitioned


@dataclass(frozen=True)
class Remainder:
    """A classical System without the region's own energy.

    Parameters
    ----------
    system : openmm.System
        A new System.
    terms : tuple of TermCount
        Bonded terms that touch the region, and how many each rule removes.
    constraints_removed : int
    """

    system: openmm.System
    terms: tuple[TermCount, ...]
    constraints_removed: int


def inner_constraints(system: openmm.System, inside: Collection[int]) -> list[tuple[int, int, int]]:
    """Constraints between two atoms of the region: the index of each, and its atoms."""
    constraints = []
    for index in range(system.getNumConstraints()):
        first, second, _ = system.getConstraintParameters(index)
        if first in inside and second in inside:
            constraints.append((index, first, second))
    return constraints


def check_rigid_water(graph: BondGraph, constraints: list[tuple[int, int, int]]) -> None:
    """Refuse rigid water in the region where its constraints are to be kept.

    Parameters
    ----------
    graph : BondGraph
    constraints : list of (int, int, int)
        From `inner_constraints`.

    Raises
    ------
    UnsupportedError
        If two hydrogens of one molecule of water are constrained to each other and to their oxygen.
    """
    pairs = {pair(first, second) for _, first, second in constraints}
    for first, second in sorted(pairs):
        if graph.numbers[first] == graph.numbers[second] == 1:
            common = graph.neighbours[first] & graph.neighbours[second]
            for oxygen in common:
                if graph.numbers[oxygen] == 8 and {pair(first, oxygen), pair(second, oxygen)} <= pairs:
                    raise errors.UnsupportedError(
                        "remove_constraints",
                        f"False, with the rigid water of {graph.labels[oxygen]} in the region",
                        "True, since a potential needs the internal coordinates of a water free",
                        "use {remove_constraints}, or leave the water out of the region",
                        {"remove_constraints": True},
                    )


def _advise(system: openmm.System, graph: BondGraph, removed: list[tuple[int, int, int]]) -> None:
    hydrogens = {atom for _, *atoms in removed for atom in atoms if graph.numbers[atom] == 1}
    if not hydrogens:
        return
    lightest = min(system.getParticleMass(atom).value_in_unit(unit.dalton) for atom in hydrogens)
    heavy = lightest > _HEAVY_HYDROGEN
    step = "2 fs at most, since its hydrogens have repartitioned mass" if heavy else "1 fs at most, better 0.5 fs"
    remedy = "" if heavy else " For 2 fs make the classical System with {hydrogenMass} or more."
    errors.warn(
        f"{len(removed)} constraints in the region were removed, so that {len(hydrogens)} of its hydrogens vibrate: "
        f"use a time step of {step}.{remedy} To keep them, give {{remove_constraints}}.",
        options={"remove_constraints": False, "hydrogenMass": 3 * unit.amu},
    )


def remove_region(
    system: openmm.System,
    graph: BondGraph,
    region: Region,
    *,
    bonded_rule: str,
    ignored: Collection[int],
    remove_constraints: bool,
    kept_constraints: Collection[tuple[int, int]] = (),
    keep_pairs: bool = False,
) -> Remainder:
    """Copy a classical System without what the potential replaces.

    Parameters
    ----------
    system : openmm.System
        Not changed.
    graph : BondGraph
    region : Region
    bonded_rule : str
        One of `bonded.BONDED_RULES`.
    ignored : collection of int
        Indices of forces to leave alone.
    remove_constraints : bool
        Remove the constraints between two atoms of the region.
    kept_constraints : collection of (int, int)
        Constraints of those that stay, as the user's own.
    keep_pairs : bool
        Leave the region's nonbonded pairs where they are, since another force subtracts them.

    Returns
    -------
    Remainder
    """
    atoms = RegionAtoms.of(region.indices, graph.neighbours)
    forces: list[openmm.Force] = []
    terms: list[TermCount] = []
    for index, force in enumerate(system.getForces()):
        if index not in ignored and type(force) in BONDED_TYPES and touches(force, atoms.inside):
            terms.append(count_terms(force, atoms, force_label(force)))
            forces.append(split_terms(force, atoms, bonded_rule))
            continue
        new = _copy(force, force_label(force))
        if index not in ignored:
            if not keep_pairs:
                _take_pairs_out(new, region.indices)
            elif isinstance(new, openmm.NonbondedForce):
                use_box_for_exceptions(new)
        forces.append(new)

    remainder = _without_forces(system)
    for force in forces:
        remainder.addForce(force)
    inner = inner_constraints(system, atoms.inside) if remove_constraints else []
    removed = [entry for entry in inner if pair(*entry[1:]) not in kept_constraints]
    for index, _, _ in reversed(removed):
        remainder.removeConstraint(index)
    _advise(system, graph, removed)
    return Remainder(remainder, tuple(terms), len(removed))


def _take_pairs_out(force: openmm.Force, atoms: tuple[int, ...]) -> None:
    if isinstance(force, openmm.NonbondedForce):
        zero_pairs(force, atoms)
    elif isinstance(force, openmm.CustomNonbondedForce):
        exclude_pairs(force, atoms)
    elif isinstance(force, openmm.CustomGBForce) and force.getNumExclusions() > 0:
        # Its pair terms ignore exclusions, but the CPU platform wants the same list in every force that has one.
        exclude_pairs(force, atoms)


def _copy(item: Any, name: str) -> Any:
    try:
        return copy.deepcopy(item)
    except openmm.OpenMMException as error:
        raise errors.UnsupportedError(
            "system",
            f"{name}, which cannot be copied ({error})",
            "forces that OpenMM can copy, since the given System stays as it is",
            "take the force out, make the hybrid, and add it to the hybrid's system",
        ) from error


def _without_forces(system: openmm.System) -> openmm.System:
    """Copy a System with particles, virtual sites, constraints and box, but no forces."""
    bare = copy.deepcopy(system)
    for index in reversed(range(bare.getNumForces())):
        bare.removeForce(index)
    return bare
