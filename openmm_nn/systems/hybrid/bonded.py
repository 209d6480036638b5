"""Which bonded terms belong to the region, and how they are taken out of a System.

Three rules say which of the terms that touch the region are removed.

``capped``
    What the region would contain if each cut bond ended in a hydrogen (the rule of OpenMM-ML 1.8). R is the region and
    M the environment atoms of cut bonds. A bond goes when both its atoms are in R; an angle when its centre is in R and
    its ends are in R or M; a proper torsion when its two middle atoms are in R; an improper when its centre is in R; a
    CMAP when, in each of its two torsions, the middle atoms are in R and the ends are in R or M. A torsion that is
    neither proper nor improper goes when all its atoms are in R. A term of a CustomCompoundBondForce or
    CustomCentroidBondForce goes when its atoms outside R are leaves, each bonded to one atom of the term, which is in
    R; a term of two atoms is judged as a bond, and one with groups of several atoms by ``all-atoms``.
``all-atoms``
    A term goes when all its atoms are in R.
``gromacs``
    A term of two atoms goes when both are in R; a longer one when all its atoms but one are: two for an angle, three
    for a torsion, and so on.

A Urey-Bradley term is a HarmonicBondForce entry to OpenMM, and judged as a bond. With no cut bond all three rules
agree.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import openmm

BONDED_RULES = ("capped", "all-atoms", "gromacs")

Neighbours = Sequence[Collection[int]]


@dataclass(frozen=True)
class RegionAtoms:
    """What the rules need to know of the region.

    Parameters
    ----------
    inside : frozenset of int
        Atoms of the region.
    capped : frozenset of int
        Those, and the environment atoms bonded to them.
    neighbours : sequence of collections of int
        The bonded atoms of every atom of the System.
    """

    inside: frozenset[int]
    capped: frozenset[int]
    neighbours: Neighbours

    @classmethod
    def of(cls, atoms: Collection[int], neighbours: Neighbours) -> RegionAtoms:
        """From the atoms of the region and the bond graph."""
        inside = frozenset(atoms)
        return cls(inside, inside.union(*(neighbours[atom] for atom in inside)), neighbours)


@dataclass(frozen=True)
class TermCount:
    """Terms of one force that touch the region, and how many of them each rule removes.

    Parameters
    ----------
    force : str
        Name of the force, with its class where they differ.
    touching : int
        Terms with at least one atom in the region.
    removed : dict of str to int
        Number removed, for each of the three rules.
    """

    force: str
    touching: int
    removed: dict[str, int]


# --- reading terms
# -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reader:
    """How one bonded force type is read and written: each is a list of terms that begin with their atoms."""

    count: str
    get: str
    add: str
    shape: str
    atoms: Callable[[Any, list[Any]], tuple[int, ...]]


def _leading(number: int) -> Callable[[Any, list[Any]], tuple[int, ...]]:
    return lambda force, term: tuple(term[:number])


def _centroid_atoms(force: openmm.CustomCentroidBondForce, term: list[Any]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(atom for group in term[0] for atom in force.getGroupParameters(group)[0]))


_BOND = ("getNumBonds", "getBondParameters", "addBond")
_ANGLE = ("getNumAngles", "getAngleParameters", "addAngle")
_TORSION = ("getNumTorsions", "getTorsionParameters", "addTorsion")

_READERS: dict[type[openmm.Force], _Reader] = {
    openmm.HarmonicBondForce: _Reader(*_BOND, "bond", _leading(2)),
    openmm.CustomBondForce: _Reader(*_BOND, "bond", _leading(2)),
    openmm.HarmonicAngleForce: _Reader(*_ANGLE, "angle", _leading(3)),
    openmm.CustomAngleForce: _Reader(*_ANGLE, "angle", _leading(3)),
    openmm.PeriodicTorsionForce: _Reader(*_TORSION, "torsion", _leading(4)),
    openmm.RBTorsionForce: _Reader(*_TORSION, "torsion", _leading(4)),
    openmm.CustomTorsionForce: _Reader(*_TORSION, "torsion", _leading(4)),
    openmm.CMAPTorsionForce: _Reader(*_TORSION, "cmap", lambda force, term: tuple(term[1:9])),
    openmm.CustomCompoundBondForce: _Reader(*_BOND, "compound", lambda force, term: tuple(term[0])),
    openmm.CustomCentroidBondForce: _Reader(*_BOND, "centroid", _centroid_atoms),
}

BONDED_TYPES = tuple(_READERS)


def _reader(force: openmm.Force) -> _Reader:
    return _READERS[type(force)]


def term_shape(force: openmm.Force) -> str:
    """Name the shape of a force's terms: ``bond``, ``angle``, ``torsion``, ``cmap``, ``compound`` or ``centroid``."""
    return _reader(force).shape


def iterate_terms(force: openmm.Force) -> Iterator[tuple[tuple[int, ...], list[Any]]]:
    """Yield the terms of a bonded force: the atoms of each, and its entry as OpenMM's getter returns it."""
    reader = _reader(force)
    get = getattr(force, reader.get)
    for index in range(getattr(force, reader.count)()):
        term = get(index)
        yield reader.atoms(force, term), term


# --- the rules
# -----------------------------------------------------------------------------------------------------------


def _capped_torsion(atoms: tuple[int, ...], region: RegionAtoms) -> bool:
    def bonded(first: int, second: int) -> bool:
        return second in region.neighbours[first]

    a, b, c, d = atoms
    if bonded(a, b) and bonded(b, c) and bonded(c, d):
        return b in region.inside and c in region.inside
    for centre in atoms:
        if all(bonded(centre, other) for other in atoms if other != centre):
            return centre in region.inside
    return region.inside.issuperset(atoms)


def _capped_compound(atoms: tuple[int, ...], region: RegionAtoms) -> bool:
    if len(atoms) < 3:
        return region.inside.issuperset(atoms)
    for atom in atoms:
        if atom in region.inside:
            continue
        partners = [other for other in atoms if other in region.neighbours[atom]]
        if len(partners) != 1 or partners[0] not in region.inside:
            return False
    return not region.inside.isdisjoint(atoms)


def _capped(shape: str, atoms: tuple[int, ...], region: RegionAtoms) -> bool:
    inside, capped = region.inside, region.capped
    if shape == "angle":
        return atoms[1] in inside and atoms[0] in capped and atoms[2] in capped
    if shape == "torsion":
        return _capped_torsion(atoms, region)
    if shape == "cmap":
        middle = (*atoms[1:3], *atoms[5:7])
        return inside.issuperset(middle) and capped.issuperset(atoms)
    if shape == "compound":
        return _capped_compound(atoms, region)
    return inside.issuperset(atoms)


def _removes(rule: str, shape: str, atoms: tuple[int, ...], region: RegionAtoms, *, single: bool = True) -> bool:
    if rule == "capped":
        if shape == "centroid":
            shape = "compound" if single else "all"
        return _capped(shape, atoms, region)
    distinct = set(atoms)
    number = len(distinct & region.inside)
    if rule == "all-atoms" or len(distinct) <= 2 or not single:
        return number == len(distinct)
    return number >= len(distinct) - 1


def _single_groups(force: openmm.Force, term: list[Any]) -> bool:
    if not isinstance(force, openmm.CustomCentroidBondForce):
        return True
    return all(len(force.getGroupParameters(group)[0]) == 1 for group in term[0])


def belongs_to_region(
    force: openmm.Force, atoms: tuple[int, ...], term: list[Any], region: RegionAtoms, rule: str
) -> bool:
    """Whether a rule counts a term among the region's own.

    Parameters
    ----------
    force : openmm.Force
        One of `BONDED_TYPES`.
    atoms : tuple of int
        All atoms of the term.
    term : list
        The entry as OpenMM's getter returns it.
    region : RegionAtoms
    rule : str
        One of `BONDED_RULES`.

    Returns
    -------
    bool
        True if the potential takes the place of the term.
    """
    return _removes(rule, _reader(force).shape, atoms, region, single=_single_groups(force, term))


# --- rewriting
# -----------------------------------------------------------------------------------------------------------


def _copy_custom(source: Any, target: Any) -> None:
    """Parameters, derivatives and tables of a custom force, without its terms."""
    for index in range(source.getNumGlobalParameters()):
        target.addGlobalParameter(source.getGlobalParameterName(index), source.getGlobalParameterDefaultValue(index))
    for index in range(source.getNumEnergyParameterDerivatives()):
        target.addEnergyParameterDerivative(source.getEnergyParameterDerivativeName(index))
    for kind in ("Bond", "Angle", "Torsion"):
        number = getattr(source, f"getNumPer{kind}Parameters", None)
        if number is not None:
            for index in range(number()):
                getattr(target, f"addPer{kind}Parameter")(getattr(source, f"getPer{kind}ParameterName")(index))
    if hasattr(source, "getNumTabulatedFunctions"):
        for index in range(source.getNumTabulatedFunctions()):
            table = copy.deepcopy(source.getTabulatedFunction(index))
            target.addTabulatedFunction(source.getTabulatedFunctionName(index), table)


def empty_like(force: openmm.Force) -> openmm.Force:
    """Make a force of the same kind and settings, with none of its terms."""
    kind: Any = type(force)
    source: Any = force
    if isinstance(force, openmm.CustomCompoundBondForce):
        target = kind(force.getNumParticlesPerBond(), force.getEnergyFunction())
    elif isinstance(force, openmm.CustomCentroidBondForce):
        target = kind(force.getNumGroupsPerBond(), force.getEnergyFunction())
        for index in range(force.getNumGroups()):
            target.addGroup(*force.getGroupParameters(index))
    elif isinstance(force, (openmm.CustomBondForce, openmm.CustomAngleForce, openmm.CustomTorsionForce)):
        target = kind(force.getEnergyFunction())
    else:
        target = kind()
        if isinstance(force, openmm.CMAPTorsionForce):
            for index in range(force.getNumMaps()):
                target.addMap(*force.getMapParameters(index))
    if hasattr(source, "getNumGlobalParameters"):
        _copy_custom(source, target)
    target.setName(source.getName())
    target.setForceGroup(source.getForceGroup())
    target.setUsesPeriodicBoundaryConditions(source.usesPeriodicBoundaryConditions())
    return target


def split_terms(force: openmm.Force, region: RegionAtoms, rule: str, *, keep_inside: bool = False) -> openmm.Force:
    """Copy a bonded force with the region's terms left out, or with nothing else.

    Parameters
    ----------
    force : openmm.Force
        One of `BONDED_TYPES`; it is not changed.
    region : RegionAtoms
    rule : str
        One of `BONDED_RULES`.
    keep_inside : bool
        Keep the region's terms and drop the others, instead of the reverse.

    Returns
    -------
    openmm.Force
        A new force, of the same class, name, group and settings.
    """
    target = empty_like(force)
    add = getattr(target, _reader(force).add)
    for atoms, term in iterate_terms(force):
        inside = not region.inside.isdisjoint(atoms) and belongs_to_region(force, atoms, term, region, rule)
        if inside == keep_inside:
            add(*term)
    return target


def count_terms(force: openmm.Force, region: RegionAtoms, label: str) -> TermCount:
    """How many terms of a bonded force touch the region, and how many each rule removes."""
    touching = 0
    removed = dict.fromkeys(BONDED_RULES, 0)
    for atoms, term in iterate_terms(force):
        if region.inside.isdisjoint(atoms):
            continue
        touching += 1
        for rule in BONDED_RULES:
            removed[rule] += belongs_to_region(force, atoms, term, region, rule)
    return TermCount(label, touching, removed)
