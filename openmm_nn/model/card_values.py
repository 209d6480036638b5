"""Values that a card implies for given atoms: symbols, energy offsets, parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from openmm.app.element import Element

from ..errors import ParameterError
from .card import ModelCard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.module_runner import RunnerResult

    Array = NDArray[np.float64]
    Runner = Callable[[Mapping[str, Any], bool, Sequence[str], bool], RunnerResult]


__all__ = ["METALS", "element_symbol", "energy_offset", "potential_parameters"]

METALS = frozenset({3, 4, 11, 12, 13, *range(19, 32), *range(37, 52), *range(55, 85), *range(87, 119)})
"""Atomic numbers of metals, whose electrons and bonds the rules of molecules do not count."""


def element_symbol(number: int) -> str:
    """Return the symbol of an element.

    Parameters
    ----------
    number
        Atomic number.

    Returns
    -------
    str
        The symbol; ``"Z=<number>"`` for numbers of no element.

    Examples
    --------
    >>> from openmm_nn.model.card_values import element_symbol
    >>> element_symbol(6)
    'C'
    """
    try:
        return str(Element.getByAtomicNumber(int(number)).symbol)
    except KeyError:
        return f"Z={number}"


def energy_offset(card: ModelCard, atomic_numbers: Sequence[int], links: int = 0) -> float:
    """Return the sum of the card's offsets over atoms.

    Parameters
    ----------
    card
        The card.
    atomic_numbers
        Of the region.
    links
        Number of link atoms, which are hydrogens.

    Returns
    -------
    float
        kJ/mol.

    Examples
    --------
    >>> from openmm_nn.model.card import ModelCard
    >>> from openmm_nn.model.card_values import energy_offset
    >>> energy_offset(ModelCard.torchforce(), [1, 8, 1])
    0.0
    """
    if not card.energy_offset:
        return 0.0
    symbols = [element_symbol(number) for number in atomic_numbers] + ["H"] * links
    return card.energy_factor * sum(card.energy_offset.get(symbol, 0.0) for symbol in symbols)


def potential_parameters(card: ModelCard, given: Mapping[str, float] | None) -> dict[str, float]:
    """Return the values of all parameters of a potential.

    Parameters
    ----------
    card
        The card, with the defaults.
    given
        Values that replace defaults.

    Returns
    -------
    dict
        A value for every parameter.

    Raises
    ------
    ParameterError
        If the potential has no such parameter.

    Examples
    --------
    >>> from openmm_nn.model.card import ModelCard
    >>> from openmm_nn.model.card_values import potential_parameters
    >>> potential_parameters(ModelCard.torchforce(parameters={"k": 1.0}), {"k": 2.0})
    {'k': 2.0}
    """
    values = dict(card.parameters)
    for name, value in (given or {}).items():
        if name not in values:
            allowed = ", ".join(values) or f"none: the potential {card.name!r} has no parameters"
            raise ParameterError("parameters", repr(name), allowed, "remove it or correct its name")
        values[name] = float(value)
    return values
