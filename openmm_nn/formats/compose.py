"""What canonical modules around foreign ones have in common."""

from __future__ import annotations

from collections.abc import Sequence

from openmm.app.element import Element

__all__ = ["atomic_number", "species_table"]

_LARGEST = 118


def atomic_number(symbol: str) -> int:
    """Return the atomic number of an element.

    Parameters
    ----------
    symbol
        Such as ``"Cl"``.

    Returns
    -------
    int
        The number.

    Examples
    --------
    >>> from openmm_nn.formats.compose import atomic_number
    >>> atomic_number("Cl")
    17
    """
    return int(Element.getBySymbol(symbol).atomic_number)


def species_table(symbols: Sequence[str]) -> list[int]:
    """Return the species of every atomic number, for models that number their elements themselves.

    Parameters
    ----------
    symbols
        Element symbols in the order of the species.

    Returns
    -------
    list of int
        (119,): the species of an atomic number; -1, which no table has, for elements that the model does not know.

    Examples
    --------
    >>> from openmm_nn.formats.compose import species_table
    >>> species_table(["H", "O"])[8]
    1
    """
    table = [-1] * (_LARGEST + 1)
    for species, symbol in enumerate(symbols):
        table[atomic_number(symbol)] = species
    return table
