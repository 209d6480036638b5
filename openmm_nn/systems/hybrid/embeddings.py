"""How the environment acts on the region: embeddings, found by name.

An embedding registers an object that follows the protocol `Embedding` under the entry point group
``openmm_nn.embeddings``::

    [project.entry-points."openmm_nn.embeddings"]
    mechanical = "openmm_nn.systems.hybrid.mechanical_embedding:EMBEDDING"

Those that ship with the package are found without the entry points as well. Nothing is imported before a name is asked
for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

import openmm
from openmm import app

from ... import errors
from ...engine.force import Link
from .mechanical import Remainder
from .region import BondGraph, Region

GROUP = "openmm_nn.embeddings"
_BUILT_IN = {"mechanical": "openmm_nn.systems.hybrid.mechanical_embedding:EMBEDDING"}


@dataclass(frozen=True)
class EmbeddingRequest:
    """What an embedding is asked to build; every argument has been checked.

    Parameters
    ----------
    topology : openmm.app.Topology
    system : openmm.System
        The classical System, which stays as it is.
    potential : Potential or openmmml.MLPotential
    graph : BondGraph
        The bonds of the System.
    region : Region
    links : tuple of Link
        One for each cut bond.
    bonded_rule : str
        One of `bonded.BONDED_RULES`.
    ignored : frozenset of int
        Indices of forces to leave as they are.
    scheme : tuple of openmm.Force
        Forces of the charge scheme, to be added.
    interpolate : str
        Name of the Context parameter by which the hybrid is interpolated; empty for none.
    remove_constraints : bool
    subtract_region : bool
        Subtract the region's pairs by RegionForce instead of making exceptions.
    replaces_images : bool
        The potential takes the place of the region's periodic images.
    uses_box : bool
        Give the potential the box.
    charge, multiplicity : int
        Of the region.
    force_group : int
        Of the potential's force.
    properties : mapping of str to str, optional
        Of the potential's force.
    """

    topology: app.Topology
    system: openmm.System
    potential: Any
    graph: BondGraph
    region: Region
    links: tuple[Link, ...]
    bonded_rule: str
    ignored: frozenset[int]
    scheme: tuple[openmm.Force, ...]
    interpolate: str
    remove_constraints: bool
    subtract_region: bool
    replaces_images: bool
    uses_box: bool
    charge: int
    multiplicity: int
    force_group: int
    properties: Mapping[str, str] | None


@runtime_checkable
class Embedding(Protocol):
    """A way to embed the region, as an object (``EMBEDDING``) in a module of its own."""

    @property
    def name(self) -> str:
        """Name of the embedding, such as ``"mechanical"``."""

    def embed(self, request: EmbeddingRequest) -> Remainder:
        """Build the hybrid System.

        Parameters
        ----------
        request : EmbeddingRequest

        Returns
        -------
        Remainder
            The complete hybrid, with the same particles as the classical System, the potential's force included.
        """


def embedding_names() -> tuple[str, ...]:
    """Return the names of all embeddings that are installed, in alphabetical order.

    Examples
    --------
    >>> from openmm_nn.systems.hybrid.embeddings import embedding_names
    >>> "mechanical" in embedding_names()
    True
    """
    return tuple(sorted(_targets()))


def find_embedding(name: str) -> Embedding:
    """Look an embedding up by its name.

    Parameters
    ----------
    name : str

    Returns
    -------
    Embedding

    Raises
    ------
    ParameterError
        If there is none of that name, or it cannot be imported.
    TypeError
        If an entry point is not what the protocol says.

    Examples
    --------
    >>> from openmm_nn.systems.hybrid.embeddings import find_embedding
    >>> find_embedding("mechanical").name
    'mechanical'
    """
    targets = _targets()
    if name not in targets:
        raise errors.ParameterError(
            "embedding",
            f"{name!r}",
            f"{', '.join(map(repr, sorted(targets)))}",
            f"choose one of these, or install the package that brings it (entry points in the group {GROUP})",
        )
    module, _, attribute = targets[name].partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise errors.ParameterError(
            "embedding",
            f"{name!r}, whose {targets[name]} cannot be imported ({error})",
            "embeddings whose package works",
            "correct or reinstall that package",
        ) from error
    if not isinstance(found, Embedding):
        raise TypeError(
            f"entry point {name!r} of {GROUP}: got {type(found).__name__}; allowed is an object with name and embed() "
            f"(openmm_nn.systems.hybrid.embeddings.Embedding). Correct the package that registers {targets[name]}."
        )
    return found


def _targets() -> dict[str, str]:
    registered = {point.name: point.value for point in entry_points(group=GROUP)}
    return {**registered, **_BUILT_IN}
