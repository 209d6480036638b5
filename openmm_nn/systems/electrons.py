"""Charge and electrons of what a potential describes: what the bonds imply, and what contradicts them."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ParameterError, warn
from ..model.card import ModelCard
from ..model.card_values import METALS, element_symbol
from .formal_charges import formal_charges

if TYPE_CHECKING:
    from openmm.app import Topology

__all__ = ["Molecules", "sees_elements", "settle_charge"]

_UNEQUAL = 0.1  # e: a formal charge farther from the classical sum is worth a warning, where the bonds say nothing
_NEUTRAL = 0.01  # e: sums of a force field's charges are whole numbers to this
_MOST_NAMES = 5


def sees_elements(card: ModelCard) -> bool:
    """Tell whether a potential distinguishes elements; others describe beads, springs and the like."""
    return "atomic_numbers" in card.inputs or card.elements is not None


@dataclass(frozen=True)
class Molecules:
    """Atoms with their bonds, as a potential sees them.

    Parameters
    ----------
    numbers
        (N,) atomic numbers.
    bonds
        Pairs of indices below N.
    labels
        (N,) names of the atoms, for messages.
    charges
        (N,) formal charges in e that the bonds imply; None where they do not say it.
    """

    numbers: tuple[int, ...]
    bonds: tuple[tuple[int, int], ...]
    labels: tuple[str, ...]
    charges: tuple[int | None, ...]

    @classmethod
    def of(
        cls,
        numbers: Sequence[int],
        bonds: Iterable[tuple[int, int]],
        labels: Sequence[str],
        stated: Sequence[int | None] | None = None,
    ) -> Molecules:
        """Find the formal charges."""
        pairs = tuple(bonds)
        return cls(tuple(numbers), pairs, tuple(labels), formal_charges(numbers, pairs, stated))

    @classmethod
    def of_topology(cls, topology: Topology, atoms: Sequence[int] | None = None) -> Molecules:
        """Read the atoms of a topology, or some of them, with a hydrogen on every bond to the others.

        Parameters
        ----------
        topology
            With bonds.
        atoms
            Indices of the atoms; None for all.

        Returns
        -------
        Molecules
            The atoms in their order, then the hydrogens.
        """
        listed = list(topology.atoms())
        place = {atom: index for index, atom in enumerate(range(len(listed)) if atoms is None else atoms)}
        numbers = [0 if listed[i].element is None else int(listed[i].element.atomic_number) for i in place]
        labels = [f"{listed[i].residue.name}{listed[i].residue.id}:{listed[i].name} (atom {i})" for i in place]
        stated = [listed[i].formalCharge for i in place]
        bonds = []
        for bond in topology.bonds():
            ends = [place[atom.index] for atom in (bond[0], bond[1]) if atom.index in place]
            if len(ends) == 1 and all(atom.element is not None for atom in (bond[0], bond[1])):
                ends.append(len(numbers))
                numbers.append(1)
                labels.append("a link atom")
                stated.append(None)
            if len(ends) == 2:
                bonds.append((ends[0], ends[1]))
        return cls.of(numbers, bonds, labels, stated)

    @property
    def charge(self) -> int | None:
        """Charge in e of all atoms together; None if the bonds do not say it, and for metals."""
        if not self.counts_electrons:
            return None
        known = [charge for charge in self.charges if charge is not None]
        return sum(known) if len(known) == len(self.charges) else None

    @property
    def formula(self) -> str:
        """Hill formula."""
        counts = Counter(element_symbol(number) for number in self.numbers)
        first = [symbol for symbol in ("C", "H") if "C" in counts and symbol in counts]
        order = [*first, *sorted(set(counts) - set(first))]
        return "".join(f"{symbol}{counts[symbol] if counts[symbol] > 1 else ''}" for symbol in order)

    @property
    def ions(self) -> tuple[str, ...]:
        """Names of charged atoms with bonds; an anion's charge can be on any of several alike atoms."""
        bonded = {atom for bond in self.bonds for atom in bond}
        return tuple(
            f"{self.labels[atom]} {charge:+d}" for atom, charge in enumerate(self.charges) if charge and atom in bonded
        )

    @property
    def counts_electrons(self) -> bool:
        """Whether the number of electrons says something: not for metals, whose electrons pair as they like."""
        metals = [atom for atom, number in enumerate(self.numbers) if number in METALS]
        return len(metals) < len(self.numbers) and not any(self.charges[atom] is None for atom in metals)


def settle_charge(
    molecules: Molecules,
    charge: int | None,
    multiplicity: int,
    *,
    classical: float | None = None,
    told: bool = True,
    counted: bool = True,
) -> int:
    """Settle the charge that a potential describes, and check it and the multiplicity against the electrons.

    Parameters
    ----------
    molecules
        What it describes, with link atoms.
    charge
        What was given; None to guess it.
    multiplicity
        Spin multiplicity, 2S + 1.
    classical
        Sum of the classical charges, e.
    told
        Whether the potential is told the charge.
    counted
        Whether a number of electrons that cannot be is an error: not for what is blind to elements, such as springs.

    Returns
    -------
    int
        The charge in e: what was given; or what the bonds imply, by a whole classical sum where two charges have the
        same bonds; or the classical sum, rounded; or zero. Where a guess is not certain there is a warning.

    Raises
    ------
    ParameterError
        If the charge is no integer, or no multiplicity like the one given exists for the number of electrons.
    """
    implied = molecules.charge
    if charge is None:
        settled = implied if implied is not None else round(classical or 0.0)
        if (
            classical is not None
            and implied is not None
            and _is_whole(classical)
            and (settled - round(classical)) % 2 == 0
        ):
            settled = round(classical)  # two closed shells have these bonds, and the force field knows which
        _warn_of_guess(settled, implied, classical, molecules)
    else:
        try:
            settled = operator.index(charge)
        except TypeError as error:
            if charge != int(charge):
                raise ParameterError(
                    "charge", f"{charge!r}", "integers, in elementary charges", "give the formal charge"
                ) from error
            settled = int(charge)
    if counted:
        _check_electrons(molecules, settled, multiplicity)
    if charge is not None:
        _warn_of_contradiction(settled, implied, classical, molecules)
    elif not told and settled == 0 and molecules.ions:
        warn(
            f"charge: the bonds imply charged groups ({_listed(molecules.ions)}) that add up to zero, and the "
            "potential is not told of any charge. Check that it was trained on such groups; {charge} says that it was.",
            options={"charge": 0},
        )
    return settled


def _warn_of_guess(guess: int, implied: int | None, classical: float | None, molecules: Molecules) -> None:
    if implied is not None:
        if guess == implied == 0:
            return
        why = f"the bonds ({_listed(molecules.ions)})" if molecules.ions else "the bonds"
        also = "" if classical is None else f"; the classical charges add up to {classical:+.4f} e"
        warn(
            f"charge: not given; {guess:+d} e was guessed from {why}{also}. Give {{charge}} if that is right.",
            options={"charge": guess},
        )
    elif classical is not None and abs(classical) > _NEUTRAL:
        warn(
            f"charge: not given; {guess:+d} e was guessed from the sum of the classical charges, {classical:+.4f} e. "
            "Give {charge} if that is right.",
            options={"charge": guess},
        )


def _warn_of_contradiction(charge: int, implied: int | None, classical: float | None, molecules: Molecules) -> None:
    if classical is not None and _is_whole(classical) and round(classical) == charge:
        return
    if implied is not None and implied != charge:
        groups = f" ({_listed(molecules.ions)})" if molecules.ions else ""
        warn(
            f"charge: {charge:+d} e was given, but the bonds of {molecules.formula} imply {implied:+d} e{groups}. "
            "Check which is right."
        )
    elif classical is not None and abs(classical - charge) > (
        _UNEQUAL if implied is None or _is_whole(classical) else 0.5
    ):
        warn(
            f"charge: {charge:+d} e was given, but the classical charges add up to {classical:+.4f} e. Check which is "
            "right."
        )


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < _NEUTRAL


def _check_electrons(molecules: Molecules, charge: int, multiplicity: int) -> None:
    """Refuse a number of electrons that cannot have the multiplicity: an even number has 1, 3, ..., an odd one 2, 4."""
    electrons = sum(molecules.numbers) - charge
    if (electrons + multiplicity) % 2 == 1 or not molecules.counts_electrons or 0 in molecules.numbers:
        return
    implied = molecules.charge
    remedies = []
    options = {"multiplicity": 2 if multiplicity == 1 else multiplicity - 1}
    if implied is not None and (sum(molecules.numbers) - implied + multiplicity) % 2 == 1:
        groups = f" ({_listed(molecules.ions)})" if molecules.ions else ""
        options["charge"] = implied
        remedies.append(f"give {{charge}}, which the bonds imply{groups}")
    elif implied is None:
        remedies.append("give the charge of the ion")
    remedies.append("give {multiplicity} for a radical" if multiplicity == 1 else "give {multiplicity}")
    remedies.append("look for a hydrogen that is missing or too many")
    raise ParameterError(
        "charge",
        f"{charge:+d} e with multiplicity {multiplicity} for {molecules.formula}, which then has {electrons} electrons",
        f"an {'even' if multiplicity % 2 else 'odd'} number of electrons with multiplicity {multiplicity}",
        ", or ".join(remedies),
        options,
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
