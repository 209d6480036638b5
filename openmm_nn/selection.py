"""Atoms of a topology by an MDTraj selection, by indices, or by a mask."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .errors import MissingDependencyError, ParticleError

if TYPE_CHECKING:
    from openmm.app import Topology

__all__ = ["as_indices", "plain_values", "select_atoms"]

_LANGUAGE = "MDTraj's selection language, such as 'resname LIG', 'resSeq 45 to 48', 'chainid 0' or 'index 0 to 21'"
_NAMES = {"resname", "resn", "name", "segment_id", "segname", "type", "element", "symbol", "code", "rescode", "resc"}
_NUMBERS = {"resSeq", "residue", "resid", "resi", "index", "chainid", "mass", "n_bonds"}
_COMPARISONS = {"==", "!=", "<", "<=", ">", ">=", "eq", "ne", "lt", "le", "gt", "ge", "=~"}
_OPERATORS = _COMPARISONS | {"and", "or", "not", "&&", "||", "&", "|", "!"}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CODE = 1e-4  # residues with insertion codes lie between two numbers, in the order of their letters
_LONG = 160
_MANY = 12


def select_atoms(topology: Topology, atoms: Any, *, argument: str = "region") -> tuple[int, ...]:
    """Return the indices of the atoms that are meant.

    Parameters
    ----------
    topology
        The topology.
    atoms
        An MDTraj selection, in which ``resSeq 60A`` is the residue with that insertion code and ``resSeq 60`` the one
        without; indices in any order (an iterator is read once); one truth value for every atom, of any library; or
        atoms, residues or chains of the topology.
    argument
        Name of the argument, for messages.

    Returns
    -------
    tuple of int
        In the order given; ascending for selections, masks and sets.

    Raises
    ------
    ParticleError
        If the selection is not understood or empty, an index is repeated or out of range, or a mask has another length
        or is made of the numbers 0 and 1.
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
    indices = _by_mdtraj(topology, atoms, argument) if by_text else _by_values(topology, atoms, argument)
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
            argument, f"the selection {selection!r}", "indices, as MDTraj is not installed", "pip install mdtraj"
        ) from error
    converted = mdtraj.Topology.from_openmm(topology)
    for residue, number in zip(converted.residues, _residue_numbers(topology).values(), strict=True):
        residue.resSeq = number
    text = _spell(topology, selection, argument)
    try:
        return [int(index) for index in converted.select(text)]
    except (ValueError, SyntaxError, AttributeError, TypeError, NameError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        found = re.search(r"found .*\Z", reason)
        # What the parser expected can fill a page.
        reason = reason if len(reason) <= _LONG else (found[0] if found else reason[:_LONG])
        raise ParticleError(
            argument,
            f"{selection!r}, which MDTraj does not understand ({reason})",
            _LANGUAGE,
            f"MDTraj's documentation has the selection language{_residue_names(topology)}",
        ) from error


def _residue_numbers(topology: Topology) -> dict[tuple[str, str], float]:
    """Return a number for every residue, by its id and index, that keeps insertion codes apart: 60A is 60.0001.

    A residue whose id is no number gets one that nobody asks for; MDTraj would give it its index.
    """
    numbers = {}
    for residue in topology.residues():
        code = str(residue.insertionCode or "").strip()
        number = float(residue.id) if re.fullmatch(r"\s*-?\d+\s*", str(residue.id)) else -1e9
        numbers[str(residue.id).strip() + code, str(residue.index)] = number + _CODE * (ord(code[0]) if code else 0)
    return numbers


def _spell(topology: Topology, selection: str, argument: str) -> str:
    """Write a selection so that MDTraj understands names that begin with a digit and residues with insertion codes.

    MDTraj reads ``60A`` as the two words 60 and A, and ``4XX`` as 4 and XX.
    """
    keyword = ""
    words = re.split(r"""('[^']*'|"[^"]*"|[^\s()'"]+)""", selection)
    for place, word in enumerate(words):
        bare = word.strip("'\"")
        if word in _NAMES or word in _NUMBERS:
            keyword = word
        elif word in _OPERATORS or "(" in word or ")" in word:
            keyword = keyword if word in _COMPARISONS else ""
        elif keyword in _NAMES and re.fullmatch(r"\d\w*", word):
            words[place] = f"'{word}'"
        elif keyword in ("resSeq", "residue") and re.fullmatch(r"-?\d+[A-Za-z]", bare):
            words[place] = repr(_coded_number(topology, bare, argument))
        elif keyword in _NUMBERS and re.search("[A-Za-z]", bare) and bare != "to":
            raise _no_number(topology, selection, keyword, bare, argument)
    return "".join(words)


def _coded_number(topology: Topology, name: str, argument: str) -> float:
    """Return the number that stands for a residue with an insertion code."""
    numbers = _residue_numbers(topology)
    for (known, _), number in numbers.items():
        if known == name:
            return number
    alike = list(dict.fromkeys(known for known, _ in numbers if known.rstrip(_LETTERS) == name.rstrip(_LETTERS)))
    raise ParticleError(
        argument,
        f"residue {name}, which the topology does not have",
        f"residues that it has, such as {', '.join(alike) or next(iter(numbers))[0]}",
        "correct the number or the insertion code",
    )


def _no_number(topology: Topology, selection: str, keyword: str, word: str, argument: str) -> ParticleError:
    chain = next((chain for chain in topology.chains() if chain.id == word), None)
    remedy = f"write a number after {keyword}, or compare a name with resname, name or element"
    if keyword == "chainid" and chain is not None:
        remedy = f"write chainid {chain.index}, which is the chain with the id {word!r}: chainid counts chains from 0"
    return ParticleError(argument, f"{selection!r}, with {word} after {keyword}", f"numbers after {keyword}", remedy)


def _residue_names(topology: Topology) -> str:
    """List the residues that a selection could name."""
    names = list(dict.fromkeys(residue.name for residue in topology.residues()))
    more = "" if len(names) <= _MANY else f" and {len(names) - _MANY} more"
    return f"; the residues here are {', '.join(names[:_MANY])}{more}" if names else ""


def _by_values(topology: Topology, atoms: Any, argument: str) -> list[int]:
    """Read indices, a mask, or objects of a topology."""
    count = topology.getNumAtoms()
    if _is_part(atoms):
        return _indices_of(topology, [atoms], argument)
    values = plain_values(atoms, argument)
    if values and all(_is_part(value) for value in values):
        return _indices_of(topology, values, argument)
    if values and all(isinstance(value, bool) for value in values):
        if len(values) != count:
            raise ParticleError(
                argument,
                f"a mask of {len(values)} values",
                f"{count}, one for every atom of the topology",
                "make the mask for this topology, or give indices",
            )
        return [index for index, value in enumerate(values) if value]
    indices = as_indices(values, argument)
    if len(indices) > len(set(indices)) and set(indices) <= {0, 1}:
        raise ParticleError(
            argument,
            f"{len(indices)} numbers that are all 0 or 1",
            "every index once, or a mask of truth values",
            "if it is a mask, convert it to bool, as in numpy.asarray(mask, dtype=bool)",
        )
    return indices


def plain_values(atoms: Any, argument: str) -> list[Any]:
    """Return what a sequence, an iterator or a one-dimensional array of any library holds, as Python's own values.

    Parameters
    ----------
    atoms
        An iterable; a set is sorted.
    argument
        Name of the argument, for messages.

    Returns
    -------
    list
        Numbers and truth values of NumPy, torch and pandas are Python's own.

    Raises
    ------
    ParticleError
        If it is none, or an array with more than one dimension.
    """
    allowed = "a selection, indices or a mask of truth values, in one dimension"
    shape = getattr(atoms, "shape", None)
    if shape is not None and len(shape) != 1:
        raise ParticleError(
            argument, f"an array of shape {tuple(shape)}", allowed, "give one row or column of it, with array.ravel()"
        )
    if hasattr(atoms, "tolist"):
        return list(atoms.tolist())
    if isinstance(atoms, bytes | bytearray | dict) or not isinstance(atoms, Iterable):
        raise ParticleError(argument, f"a {type(atoms).__name__}", allowed, "for one atom give [index]")
    values = sorted(atoms) if isinstance(atoms, set | frozenset) else list(atoms)
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """Convert a number or truth value of NumPy or torch."""
    return value.tolist() if getattr(value, "shape", None) == () and hasattr(value, "tolist") else value


def as_indices(values: list[Any], argument: str) -> list[int]:
    """Return values that are integers.

    Parameters
    ----------
    values
        From `plain_values`.
    argument
        Name of the argument, for messages.

    Returns
    -------
    list of int
        The same values.

    Raises
    ------
    ParticleError
        If one is no integer, or is negative.
    """
    for value in values:
        if isinstance(value, bool):
            raise ParticleError(
                argument, "truth values among indices", "indices alone, or a mask alone", "give one of the two"
            )
        if isinstance(value, float):
            raise ParticleError(argument, f"the number {value!r}", "integers", "convert with array.astype(int)")
        try:
            index = operator.index(value)
        except TypeError as error:
            raise ParticleError(
                argument,
                f"{value!r:.60} ({type(value).__name__}) among the values",
                "integer indices, truth values, or atoms and residues of the topology",
                "give one of these",
            ) from error
        if index < 0:
            raise ParticleError(argument, f"index {index}", "0 and above", "count atoms from the first, which is 0")
    return [operator.index(value) for value in values]


def _is_part(value: Any) -> bool:
    """Tell whether a value is an atom, a residue or a chain of an OpenMM or MDTraj topology."""
    return type(value).__name__ in ("Atom", "Residue", "Chain") and hasattr(value, "index")


def _indices_of(topology: Topology, parts: list[Any], argument: str) -> list[int]:
    """Return the indices of atoms, and of the atoms of residues and chains, of this topology or a copy of it."""
    here = list(topology.atoms())
    indices = []
    for part in parts:
        inner = getattr(part, "atoms", None)
        for atom in [part] if inner is None else inner() if callable(inner) else inner:
            own = here[atom.index] if atom.index < len(here) else None
            if own is None or (own.name, own.residue.name) != (atom.name, atom.residue.name):
                raise ParticleError(
                    argument,
                    f"{atom} of another topology",
                    "atoms of the topology that is given",
                    "take them from that topology: indices change when atoms are added or removed",
                )
            indices.append(int(atom.index))
    return indices
