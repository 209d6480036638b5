"""Formal charges of atoms, from which atoms are bonded to which.

A Lewis structure is found for every molecule: the orders of its bonds are those with which the fewest atoms keep a
charge. Bond orders need not be known, hydrogens must be there. Bonds to metals count as contacts of ions.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..model.card_values import METALS

if TYPE_CHECKING:
    from openmm.app import Topology

__all__ = ["formal_charges", "topology_formal_charges"]

_VALENCE = {1: 1, 2: 0, 5: 3, 6: 4, 7: 3, 8: 2, 9: 1, 10: 0, 14: 4, 15: 3, 16: 2, 17: 1, 18: 0, 32: 4, 33: 3, 34: 2,
            35: 1, 36: 0, 52: 2, 53: 1, 54: 0}  # fmt: skip
_CATIONS = {3: 1, 11: 1, 19: 1, 37: 1, 55: 1, 4: 2, 12: 2, 20: 2, 38: 2, 56: 2, 30: 2, 48: 2, 13: 3}
_HYDROGEN, _CARBON, _NITROGEN, _OXYGEN = 1, 6, 7, 8
_SECONDS = 2.0  # for the Lewis structure of one group of conjugated atoms

# What a Lewis structure costs. An electron pair that finds no partner is a negative charge, and none on carbon; one
# bond more than usual is a positive charge; two more make no charge (nitro groups, sulfones, phosphates).
_ALONE = {6: 6.0, 7: 3.2, 14: 6.0, 15: 3.0, 5: 6.0, 32: 6.0, 33: 3.0}
_ONE_MORE = {7: 3.0, 8: 4.0, 15: 2.5, 16: 3.0, 33: 2.5, 34: 3.0}
_TWO_MORE = {7: (1.0, 1), 8: (2.5, 1), 15: (0.4, 1), 16: (0.4, 2), 17: (0.5, 3), 33: (0.4, 1), 34: (0.4, 2),
             35: (0.5, 3), 52: (0.4, 2), 53: (0.5, 3), 54: (0.5, 4)}  # fmt: skip
_ANIONS = {5: (0, 1), 14: (0, 2), 15: (2, 1), 32: (0, 2), 33: (2, 1)}
# Bonds beyond the valence that are none of `_TWO_MORE`'s, and how many of them make a negative charge (BF4-, PF6-).


def topology_formal_charges(topology: Topology) -> tuple[int | None, ...]:
    """Return the formal charge of every atom of a topology.

    What the topology states of every atom of a molecule is taken; the rest follows from the bonds.

    Parameters
    ----------
    topology : openmm.app.Topology
        With its bonds and hydrogens.

    Returns
    -------
    tuple of int or None
        In e, one for each atom; None where the bonds do not say it, see `formal_charges`, and for virtual sites.

    Examples
    --------
    >>> from openmm.app import Element, Topology
    >>> from openmm_nn.systems.formal_charges import topology_formal_charges
    >>> topology = Topology()
    >>> residue = topology.addResidue("OH-", topology.addChain())
    >>> oxygen, hydrogen = (topology.addAtom(name, Element.getBySymbol(name), residue) for name in "OH")
    >>> topology.addBond(oxygen, hydrogen)
    >>> topology_formal_charges(topology)
    (-1, 0)
    """
    atoms = list(topology.atoms())
    numbers = [0 if atom.element is None else int(atom.element.atomic_number) for atom in atoms]
    bonds = [(bond[0].index, bond[1].index) for bond in topology.bonds()]
    return formal_charges(numbers, bonds, [atom.formalCharge for atom in atoms])


def formal_charges(
    numbers: Sequence[int], bonds: Iterable[tuple[int, int]], stated: Sequence[int | None] | None = None
) -> tuple[int | None, ...]:
    """Return the formal charge of every atom, from elements and bonds.

    Parameters
    ----------
    numbers
        (N,) atomic numbers; 0 for what is no atom.
    bonds
        Pairs of bonded atoms. A cut bond counts as what its link atom makes of it: a bond to a hydrogen.
    stated
        (N,) formal charges that a file gives, in e; None where it gives none. They are taken for molecules of which
        every atom has one.

    Returns
    -------
    tuple of int or None
        In e, one for each atom. None for all atoms of a molecule whose Lewis structure leaves a carbon with an electron
        that finds no partner (a radical, a carbanion, a carbocation, or hydrogens that are missing), and for metals
        that have several common charges. Only the sum over a molecule means something: of two alike oxygens of a
        carboxylate one gets the charge. Where two closed shells have the same bonds (a dye and its reduced form, NO2+
        and NO2-), the one with fewer charges is taken, and an anion for oxygen.

    Examples
    --------
    Ammonium, then carbon dioxide:

    >>> from openmm_nn.systems.formal_charges import formal_charges
    >>> formal_charges([7, 1, 1, 1, 1], [(0, 1), (0, 2), (0, 3), (0, 4)])
    (1, 0, 0, 0, 0)
    >>> formal_charges([6, 8, 8], [(0, 1), (0, 2)])
    (0, 0, 0)
    """
    neighbours: list[set[int]] = [set() for _ in numbers]
    for first, second in bonds:
        if first != second and numbers[first] in _VALENCE and numbers[second] in _VALENCE:
            neighbours[first].add(second)
            neighbours[second].add(first)
    charges: list[int | None] = [None] * len(numbers)
    for molecule in _components(neighbours, range(len(numbers))):
        given = None if stated is None else [stated[atom] for atom in molecule]
        if given is not None and all(charge is not None for charge in given):
            found: Sequence[int | None] | None = given
        elif len(molecule) == 1 and numbers[molecule[0]] in METALS:
            found = [_CATIONS.get(numbers[molecule[0]])]
        else:
            found = _molecule_charges([numbers[atom] for atom in molecule], _local(molecule, neighbours))
        for atom, charge in zip(molecule, found or [None] * len(molecule), strict=True):
            charges[atom] = charge
    return tuple(charges)


def _local(molecule: list[int], neighbours: list[set[int]]) -> list[list[int]]:
    place = {atom: index for index, atom in enumerate(molecule)}
    return [[place[other] for other in sorted(neighbours[atom])] for atom in molecule]


def _components(neighbours: Sequence[Iterable[int]], atoms: Iterable[int]) -> list[list[int]]:
    """Return the groups of atoms that `neighbours` connect, each ascending."""
    inside, seen, found = set(atoms), set[int](), []
    for start in sorted(inside):
        if start in seen:
            continue
        seen.add(start)
        group = [start]
        for atom in group:
            fresh = [other for other in neighbours[atom] if other in inside and other not in seen]
            seen.update(fresh)
            group += fresh
        found.append(sorted(group))
    return found


def _molecule_charges(numbers: list[int], neighbours: list[list[int]]) -> list[int] | None:
    """Return the formal charges of the atoms of one molecule; None where there is no Lewis structure."""
    degrees = [len(near) for near in neighbours]
    if any(number not in _VALENCE for number in numbers):
        return None
    most = {_HYDROGEN: (1, 1), _CARBON: (1, 4)}
    for number, degree in zip(numbers, degrees, strict=True):
        least, largest = most.get(number, (0, degree))
        if not least <= degree <= largest:
            return None
    if len(numbers) > 1 and set(numbers) == {_CARBON}:
        return [0] * len(numbers)  # graphite, diamond, fullerenes: their edges are no ions
    free = [_VALENCE[number] - degree for number, degree in zip(numbers, degrees, strict=True)]
    open_atoms = {atom for atom, left in enumerate(free) if left}
    # An atom with an electron pair joins those beside it that lack a partner: amidinium, nitro groups.
    active = open_atoms | {
        atom
        for atom, number in enumerate(numbers)
        if number in _ONE_MORE and any(other in open_atoms for other in neighbours[atom])
    }
    charges = [0] * len(numbers)
    for group in _components(neighbours, active):
        place = {atom: index for index, atom in enumerate(group)}
        edges = tuple((place[i], place[j]) for i in group for j in neighbours[i] if j in place and i < j)
        found = _lewis(
            tuple(numbers[atom] for atom in group),
            tuple(free[atom] for atom in group),
            tuple(_may_have_two_more(atom, numbers, neighbours) for atom in group),
            edges,
        )
        if found is None:
            return None
        for atom, charge in zip(group, found, strict=True):
            charges[atom] = charge
    return charges


def _may_have_two_more(atom: int, numbers: list[int], neighbours: list[list[int]]) -> bool:
    """Tell whether an atom can make two bonds more than usual without a charge, by what is bonded to it."""
    number, near = numbers[atom], neighbours[atom]
    if number == _OXYGEN:
        # Carbon monoxide, ozone, carbonyl oxides.
        return any(
            len(neighbours[other]) == 1 and numbers[other] == (_CARBON if len(near) == 1 else _OXYGEN) for other in near
        )
    if number == _NITROGEN:
        ends = {_CARBON: 1, _NITROGEN: 2, _OXYGEN: 1, 16: 1}
        return any(len(neighbours[other]) <= ends.get(numbers[other], 0) for other in near)
    return number in _TWO_MORE


@functools.lru_cache(maxsize=4096)
def _lewis(
    numbers: tuple[int, ...], free: tuple[int, ...], two_more: tuple[bool, ...], edges: tuple[tuple[int, int], ...]
) -> tuple[int, ...] | None:
    """Find the orders of bonds of connected atoms with which the fewest atoms keep a charge.

    Of atom i, with `free` valences f_i beside its single bonds: the sum of its bonds' orders above one, plus the
    valences a_i left alone, equals f_i + o_i + 2 t_i + n_i, with o_i for one bond more than usual, t_i for two more,
    and n_i for one beyond the valence of boron and its like. The charge is o_i - a_i - n_i.

    Returns
    -------
    tuple of int or None
        Charges; None if carbon is left alone, or nothing was found in time.
    """
    count = len(numbers)
    if not edges and all(left >= 0 for left in free):
        return None if any(n == _CARBON for n in numbers) else tuple(-left for left in free)
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_matrix, eye, hstack

    cost = np.concatenate(
        [
            np.zeros(len(edges)),
            [_ALONE.get(n, 2.0) for n in numbers],
            [_ONE_MORE.get(n, 0.0) + float(n == _NITROGEN and left > 0) for n, left in zip(numbers, free, strict=True)],
            [_TWO_MORE.get(n, (0.0, 0))[0] for n in numbers],
            np.full(count, 2.0),
        ]
    )
    most = np.concatenate(
        [
            np.full(len(edges), 3.0),  # isocyanides and carbon monoxide without charges have four
            [max(left, 0) for left in free],
            [float(n in _ONE_MORE and left <= (1 if n == _NITROGEN else 2))
             for n, left in zip(numbers, free, strict=True)],
            [float(_TWO_MORE[n][1]) if n in _TWO_MORE and allowed else 0.0
             for n, allowed in zip(numbers, two_more, strict=True)],
            [_most_beyond(n, -left) for n, left in zip(numbers, free, strict=True)],
        ]
    )  # fmt: skip
    rows = [atom for edge in edges for atom in edge]
    columns = [index for index in range(len(edges)) for _ in range(2)]
    orders = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, len(edges)))
    one = eye(count)
    equation = hstack([orders, one, -one, -2.0 * one, -one]).tocsr()
    found = milp(cost, integrality=np.ones(len(cost)), bounds=Bounds(0.0, most),
                 constraints=LinearConstraint(equation, np.array(free, float), np.array(free, float)),
                 options={"time_limit": _SECONDS})  # fmt: skip
    if not found.success:
        return None
    alone, more, _, beyond = np.rint(found.x[len(edges) :]).astype(int).reshape(4, count)
    if any(n == _CARBON and left for n, left in zip(numbers, alone, strict=True)):
        return None
    return tuple(int(charge) for charge in more - alone - beyond)


def _most_beyond(number: int, bonds: int) -> float:
    skipped, most = _ANIONS.get(number, (0, 0))
    return float(min(max(bonds - skipped, 0), most))
