"""Atoms of a topology by an MDTraj selection, by indices, or by a mask."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .errors import MissingDependencyError, ParticleError

if TYPE_CHECKING:
    from openmm.app import Topology

__all__ = ["select_atoms"]

_LANGUAGE = "MDTraj's selection language, such as 'resname LIG', 'resSeq 45 to 48', 'chainid 0' or 'index 0 to 21'"
_LONG = 160
_MANY = 12


def select_atoms(topology: Topology, atoms: Any, *, argument: str = "atoms") -> tuple[int, ...]:
    """Return the indices of the atoms that are meant.

    Parameters
    ----------
    topology
        The topology.
    atoms
        An MDTraj selection, indices in any order (an iterator is read once), or one truth value for every atom.
    argument
        Name of the argument, for messages.

    Returns
    -------
    tuple of int
        In the order given; ascending for selections, masks and sets.

    Raises
    ------
    ParticleError
        If the selection is not understood or empty, an index is repeated or out of range, or a mask has another length.
    MissingDependencyError
        If a selection is given and MDTraj is not installed.

    Examples
    --------
    >>> from openmm.app import Element, Topology
    >>> from openmm_nn.selection import select_atoms
    >>> topology = Topology()
    >>> residue = topology.addResidue("HOH", topology.addChain())
    >>> for name in ("O", "H1", "H2"):
    ...     _ = topology.addAtom(name, Element.getBySymbol(name[0]), residue)
    >>> select_atoms(topology, [False, True, True])
    (1, 2)
    """
    count = topology.getNumAtoms()
    by_text = isinstance(atoms, str)
    indices = _by_mdtraj(topology, atoms, argument) if by_text else _by_values(atoms, count, argument)
    if not indices:
        raise ParticleError(
            argument,
            f"{atoms!r:.60}, which is empty",
            "at least one atom",
            f"check it against the topology{_residue_names(topology)}",
        )
    wrong = [index for index in indices if not 0 <= index < count]
    if wrong:
        raise ParticleError(
            argument, f"index {wrong[0]}", f"0 to {count - 1}, the atoms of the topology", "count from 0"
        )
    if len(set(indices)) != len(indices):
        repeated = next(index for index in indices if indices.count(index) > 1)
        raise ParticleError(argument, f"repeated index {repeated}", "every index once", "remove what is listed twice")
    return tuple(indices)


def _by_mdtraj(topology: Topology, selection: str, argument: str) -> list[int]:
    try:
        import mdtraj
    except ImportError as error:
        raise MissingDependencyError(
            argument, f"the selection {selection!r}", "indices, as MDTraj is not installed",
                    "pip install mdtraj"
        ) from error  # fmt: skip
    try:
        return [int(index) for index in mdtraj.Topology.from_openmm(topology).select(selection)]
    except (ValueError, SyntaxError, AttributeError, TypeError, NameError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        found = re.search(r"found .*\Z", reason)
        # What the parser expected can fill a page.
        reason = reason if len(reason) <= _LONG else (found[0] if found else reason[:_LONG])
        raise ParticleError(
            argument, f"{selection!r}, which MDTraj does not understand ({reason})",
                    _LANGUAGE, f"MDTraj's documentation has the selection language{_residue_names(topology)}"
        ) from error  # fmt: skip


def _residue_names(topology: Topology) -> str:
    """List the residues that a selection could name."""
    names = list(dict.fromkeys(residue.name for residue in topology.residues()))
    more = "" if len(names) <= _MANY else f" and {len(names) - _MANY} more"
    return f"; the residues here are {', '.join(names[:_MANY])}{more}" if names else ""


def _by_values(atoms: Any, count: int, argument: str) -> list[int]:
    if not isinstance(atoms, Iterable):
        raise ParticleError(
            argument, f"a {type(atoms).__name__}", "a selection, indices or a mask", "for one atom give [index]"
        )
    values = sorted(atoms) if isinstance(atoms, set | frozenset) else list(atoms)
    if values and all(type(value).__name__ in ("bool", "bool_") for value in values):
        if len(values) != count:
            raise ParticleError(
                argument, f"a mask of {len(values)} values", f"{count}, one for every atom", "correct its length"
            )
        return [index for index, value in enumerate(values) if value]
    try:
        return [operator.index(value) for value in values]
    except TypeError as error:
        raise ParticleError(
            argument, f"{values!r:.60}", "a selection, integer indices or a mask", "give one of these"
        ) from error
