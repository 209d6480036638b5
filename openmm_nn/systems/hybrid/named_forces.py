"""Forces and constraints by the names that a user gives them: as objects, indices, names or pairs of atoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import openmm

from ... import errors
from .bond_graph import pair
from .nonbonded import force_label

Pair = tuple[int, int]


@dataclass(frozen=True)
class Named:
    """The forces and constraints that an argument names.

    Parameters
    ----------
    forces : frozenset of int
        Indices of forces of the System.
    constraints : frozenset of (int, int)
        Atoms of constraints, ascending.
    """

    forces: frozenset[int] = frozenset()
    constraints: frozenset[Pair] = frozenset()


def name_biases(system: openmm.System, keep: Any, ignore_forces: Any) -> tuple[Named, Named]:
    """Find what the user calls biases, and what force field.

    Parameters
    ----------
    system : openmm.System
    keep, ignore_forces : one or several of openmm.Force, int, str, (int, int)
        Forces of the System, their indices, names or classes; and constraints, by their two atoms.

    Returns
    -------
    keep, force_field : Named

    Raises
    ------
    ParameterError
        If there is no such force or constraint, a class in `keep` has several forces, or a force is named in
        both.
    """
    named = resolve_names(system, "keep", keep), resolve_names(system, "ignore_forces", ignore_forces)
    _check_names(system, *named)
    return named


def resolve_names(system: openmm.System, argument: str, items: Any) -> Named:
    """Find what `keep` or `ignore_forces` names.

    Parameters
    ----------
    system : openmm.System
    argument : str
        The name of the argument.
    items : one or several of openmm.Force, int, str, (int, int)

    Returns
    -------
    Named
    """
    forces = system.getForces()
    constraints = {pair(*system.getConstraintParameters(i)[:2]) for i in range(system.getNumConstraints())}
    known = ", ".join(f"{i}: {force_label(force)}" for i, force in enumerate(forces))
    allowed = f"forces of the System, their indices or names ({known}), and constraints by their two atoms (i, j)"
    found: set[int] = set()
    pairs: set[Pair] = set()
    for item in [items] if isinstance(items, (str, int, openmm.Force)) else list(items):
        if isinstance(item, (tuple, list)) and len(item) == 2:
            atoms = pair(int(item[0]), int(item[1]))
            if atoms not in constraints:
                raise errors.ParameterError(argument, f"{item!r}", allowed, "name the two atoms of a constraint")
            pairs.add(atoms)
            continue
        matches = _matches(forces, item)
        if not matches:
            raise errors.ParameterError(argument, f"{item!r}", allowed, "name one of these")
        named_so = all(forces[index].getName() == item != type(forces[index]).__name__ for index in matches)
        if argument == "keep" and len(matches) > 1 and not named_so:
            raise errors.ParameterError(
                argument,
                f"{item!r}, which fits the forces {', '.join(map(str, matches))}",
                "a name that belongs to biases alone",
                f"give the index of the bias, such as keep=({matches[-1]},), or the Force object",
            )
        found.update(matches)
    return Named(frozenset(found), frozenset(pairs))


def _matches(forces: list[openmm.Force], item: object) -> list[int]:
    if isinstance(item, openmm.Force):
        return [index for index, force in enumerate(forces) if int(force.this) == int(item.this)]
    if isinstance(item, str):
        return [index for index, force in enumerate(forces) if item in (force.getName(), type(force).__name__)]
    if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < len(forces):
        return [item]
    return []


def _check_names(system: openmm.System, keep: Named, field_: Named) -> None:
    """Refuse what is named as both bias and force field."""
    both = keep.forces & field_.forces
    if both:
        raise errors.ParameterError(
            "keep",
            f"{force_label(system.getForce(min(both)))}, which ignore_forces names too",
            "each force in one of the two: keep for a bias, which stays, ignore_forces for force field",
            "take it out of one of them",
        )


def handle(system: openmm.System, index: int) -> str:
    """Name a force as an argument may: by its own name if no other force has it, else by its index."""
    force = system.getForce(index)
    names = [other.getName() for other in system.getForces()]
    clear = force.getName() not in ("", type(force).__name__) and names.count(force.getName()) == 1
    return repr(force.getName()) if clear else str(index)
