"""Foreign models: one family a file, each an object that follows the protocol `Format`.

A family registers under the entry point group ``openmm_nn.formats``::

    [project.entry-points."openmm_nn.formats"]
    torchani = "openmm_nn.potentials.formats.torchani:FORMAT"

The families that ship with the package are found without the entry points as well, so that a source tree that is not
installed has them. Nothing is imported before a name or a file is asked for.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from ...model.card import ModelCard

__all__ = ["Format", "ObjectFormat", "find_format", "find_object_format", "formats", "unavailable_formats"]

logger = logging.getLogger(__name__)

GROUP = "openmm_nn.formats"
_FAMILIES = (
    "torchani", "sevennet", "mace", "nequip", "metatomic", "aimnet2", "torchmdnet", "ase", "openmmml", "deepmd",
)  # fmt: skip
_BUILT_IN = {name: f"openmm_nn.potentials.formats.{name}:FORMAT" for name in _FAMILIES}


@runtime_checkable
class Format(Protocol):
    """A family of foreign models, as an object (``FORMAT``) in a module that imports its library lazily."""

    @property
    def name(self) -> str:
        """Name of the family, such as ``"torchani"``."""

    def names(self) -> Mapping[str, str]:
        """Return the names that ``load_potential`` takes, such as ``"ani2x/0"``, each with a short description."""

    def missing(self) -> str:
        """Return what is missing to load the names, with the command that installs it; empty if nothing is.

        A file may need less: `load` raises MissingDependencyError, with the command, if what it needs is not there.
        """

    def accepts(self, source: str) -> bool:
        """Say whether a name or a path is of this family; asked of names first, then of paths that exist."""

    def load(self, source: str, *, device: str | None, trust: bool) -> tuple[Any, ModelCard]:
        """Make the canonical module of a name or a path.

        Parameters
        ----------
        source
            What `accepts` said yes to.
        device
            Where the module is put; None for the CPU.
        trust
            Whether code inside the file may run while it is read (a pickled checkpoint).

        Returns
        -------
        module : torch.nn.Module, torch.jit.ScriptModule or bytes
            A module takes and returns tensors as its card says. One that can be scripted (card.format
            ``"torchscript"``) runs natively; it is not frozen. Bytes are a compiled package that describes itself, see
            `openmm_nn.model.package`.
        card : ModelCard
            Its card.

        Raises
        ------
        MissingDependencyError
            If a package is missing; the message has the command that installs it.
        ModelError
            If the file is not what the family writes.
        """


@runtime_checkable
class ObjectFormat(Protocol):
    """What a family adds to `Format` if it takes objects of this process too, such as a calculator."""

    def accepts_object(self, source: object) -> bool:
        """Say whether an object is of this family, without importing the library that it would come from."""

    def load_object(self, source: object, *, card: ModelCard | None) -> tuple[Any, ModelCard]:
        """Make a callable, or a canonical module, of an object.

        Parameters
        ----------
        source
            What `accepts_object` said yes to.
        card
            What the user says of it, in place of what can be found out.

        Returns
        -------
        module : callable, torch.nn.Module or torch.jit.ScriptModule
            Takes and returns tensors as its card says.
        card : ModelCard
            Its card; that of the user if there is one and it fits.
        """


def formats() -> dict[str, Format]:
    """Return the families that can be imported.

    Returns
    -------
    dict
        Family objects by name.

    Raises
    ------
    TypeError
        If an entry point is not what the protocol says.

    Examples
    --------
    >>> from openmm_nn.potentials.formats import formats
    >>> sorted(formats()) == sorted(set(formats()))
    True
    """
    return {name: value for name, value in _all().items() if isinstance(value, Format)}


def unavailable_formats() -> dict[str, str]:
    """Return the families that could not be imported, each with the reason.

    Returns
    -------
    dict
        Reasons by name.

    Examples
    --------
    >>> from openmm_nn.potentials.formats import unavailable_formats
    >>> isinstance(unavailable_formats(), dict)
    True
    """
    return {name: value for name, value in _all().items() if isinstance(value, str)}


def find_format(source: str) -> Format | None:
    """Return the family that accepts a name or a path, or None.

    Parameters
    ----------
    source
        What the user gave to ``load_potential``.

    Returns
    -------
    Format or None
        The first family that accepts it.

    Examples
    --------
    >>> from openmm_nn.potentials.formats import find_format
    >>> find_format("no such potential") is None
    True
    """
    for value in formats().values():
        if value.accepts(source):
            return value
    return None


def find_object_format(source: object) -> ObjectFormat | None:
    """Return the family that takes an object, or None.

    Parameters
    ----------
    source
        What the user gave to ``load_potential``.

    Returns
    -------
    ObjectFormat or None
        The first family that accepts it.

    Examples
    --------
    >>> from openmm_nn.potentials.formats import find_object_format
    >>> find_object_format(object()) is None
    True
    """
    for value in formats().values():
        if isinstance(value, ObjectFormat) and value.accepts_object(source):
            return value
    return None


def _all() -> dict[str, Format | str]:
    """Every registered family, or the reason why it cannot be had."""
    targets = dict(_BUILT_IN)
    targets.update({point.name: point.value for point in entry_points(group=GROUP)})
    found: dict[str, Format | str] = {}
    for name, target in targets.items():
        module, _, attribute = target.partition(":")
        try:
            value = getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            found[name] = f"{target} cannot be imported: {error}"
            logger.debug("format %s: %s", name, found[name])
            continue
        if not isinstance(value, Format):
            raise TypeError(
                f"entry point {name!r} of {GROUP}: got {type(value).__name__}; allowed: an object with name, names(), "
                "missing(), accepts() and load() (openmm_nn.potentials.formats.Format). To fix: correct the package "
                f"that registers {target}."
            )
        found[name] = value
    return found
