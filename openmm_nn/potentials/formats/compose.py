"""What canonical modules around foreign ones have in common."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from openmm.app.element import Element

from ...errors import ModelError
from ...model.card_values import element_symbol

__all__ = ["atomic_number", "dtype_of", "element_types", "is_element", "is_installed", "species_table"]

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
    >>> from openmm_nn.potentials.formats.compose import atomic_number
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
    >>> from openmm_nn.potentials.formats.compose import species_table
    >>> species_table(["H", "O"])[8]
    1
    """
    table = [-1] * (_LARGEST + 1)
    for species, symbol in enumerate(symbols):
        table[atomic_number(symbol)] = species
    return table


def dtype_of(module: Any) -> str:
    """Return the dtype of a module's floating-point parameters and buffers.

    Parameters
    ----------
    module : torch.nn.Module
        Not frozen.

    Returns
    -------
    str
        ``float64`` if any is, else ``float32``.

    Examples
    --------
    >>> import torch
    >>> from openmm_nn.potentials.formats.compose import dtype_of
    >>> dtype_of(torch.nn.Linear(2, 1))
    'float32'
    """
    import torch

    found = {tensor.dtype for tensor in (*module.parameters(), *module.buffers())}
    return "float64" if torch.float64 in found else "float32"


def is_element(symbol: str) -> bool:
    """Return whether a text is the symbol of an element.

    Parameters
    ----------
    symbol
        Such as ``"Cl"``.

    Returns
    -------
    bool
        Whether it is.

    Examples
    --------
    >>> from openmm_nn.potentials.formats.compose import is_element
    >>> is_element("Cl"), is_element("water_O")
    (True, False)
    """
    try:
        return bool(Element.getBySymbol(symbol).symbol == symbol)
    except KeyError:
        return False


def element_types(names: Iterable[str], path: Path, remedy: str) -> tuple[str, ...]:
    """Return the names of a model's types, if they are elements.

    Parameters
    ----------
    names
        Of the types, in order.
    path
        Of the file, for the message.
    remedy
        What to do where they are not.

    Returns
    -------
    tuple of str
        Element symbols; of an isotope that of its element.

    Raises
    ------
    ModelError
        If a name is no element's symbol, or two are of one element.
    """
    names = tuple(names)
    strange = [name for name in names if not is_element(name)]
    if strange:
        raise ModelError(f"file {path}", f"types named {', '.join(strange)}", "element symbols", remedy)
    symbols = tuple(element_symbol(atomic_number(name)) for name in names)
    if len(set(symbols)) < len(symbols):
        raise ModelError(f"file {path}", f"the types {', '.join(names)}", "one type for each element", remedy)
    return symbols


def is_installed(package: str) -> bool:
    """Return whether a package can be imported; a folder of that name beside a script is none.

    Parameters
    ----------
    package
        Name of the package.

    Returns
    -------
    bool
        Whether it is there.

    Examples
    --------
    >>> from openmm_nn.potentials.formats.compose import is_installed
    >>> is_installed("openmm"), is_installed("no_such_package")
    (True, False)
    """
    try:
        found = importlib.util.find_spec(package)
    except ValueError:  # set aside by someone
        return False
    return found is not None and found.origin is not None
