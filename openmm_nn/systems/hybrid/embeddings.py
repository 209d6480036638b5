"""How the environment acts on the region: embeddings, as objects that own their options.

`openmm_nn.Mechanical` is one. Another package registers a class that follows the protocol `Embedding`, whose options
all have defaults, under the entry point group ``openmm_nn.embeddings``::

    [project.entry-points."openmm_nn.embeddings"]
    mechanical = "openmm_nn.systems.hybrid.mechanical_embedding:Mechanical"

`create_hybrid_system` then takes its name, or an object of the class. The embedding that ships with the package is
found without the entry point as well. Nothing is imported before a name is asked for.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

import openmm
from openmm import app

from ... import errors
from .bond_graph import BondGraph
from .bonded import TermCount
from .region import Region

GROUP = "openmm_nn.embeddings"
_BUILT_IN = {"mechanical": "openmm_nn.systems.hybrid.mechanical_embedding:Mechanical"}


@dataclass(frozen=True)
class EmbeddingRequest:
    """What every embedding is asked to build; what belongs to one of them alone is an option of its object.

    Parameters
    ----------
    topology : openmm.app.Topology
    system : openmm.System
        The classical System, which stays as it is.
    potential : Potential or openmmml.MLPotential
    graph : BondGraph
        The bonds of the System.
    region : Region
        With a link atom for each cut bond; its cuts have been checked.
    ignored : frozenset of int
        Indices of forces to leave as they are: biases and restraints among them.
    interpolate : str
        Name of the Context parameter by which the hybrid is interpolated; empty for none.
    remove_constraints : bool
    charge, multiplicity : int
        Of the region.
    scale : tuple of (str, float), optional
        Name and default value of a Context parameter that multiplies the potential's energy.
    parameters : mapping of str to float, optional
        Default values of the potential's global parameters, in place of the card's.
    force_group : int
        Of the potential's force.
    properties : mapping of str to str, optional
        Of the potential's force.
    kept_constraints : frozenset of (int, int)
        Constraints within the region that stay, as the user's own.
    """

    topology: app.Topology
    system: openmm.System
    potential: Any
    graph: BondGraph
    region: Region
    ignored: frozenset[int]
    interpolate: str
    remove_constraints: bool
    charge: int
    multiplicity: int
    scale: tuple[str, float] | None
    parameters: Mapping[str, float] | None
    force_group: int
    properties: Mapping[str, str] | None
    kept_constraints: frozenset[tuple[int, int]] = frozenset()


ROLES = ("classical", "ignored", "own", "scheme", "potential")
"""What a force of a hybrid is: what is left of a classical one; one that was ignored; E_MM(R) with a factor; a charge
scheme; the potential."""


@dataclass(frozen=True)
class Embedded:
    """What an embedding built.

    Parameters
    ----------
    system : openmm.System
        The complete hybrid, with the same particles as the classical System, the potential's force included.
    roles : tuple of str
        One of `ROLES` for each force of the System: by it, not by their names, forces are told apart.
    bonded_rule : str
        Which of the region's bonded terms the potential replaces, one of `bonded.BONDED_RULES`.
    charge_scheme : str
        How the region sees the charges at cut bonds, one of `charges.CHARGE_SCHEMES`.
    replaces_images : bool
        The potential takes the place of the region's periodic images.
    subtracted : bool
        Whether RegionForce subtracts the region's pairs, instead of exceptions that take them out.
    charges_from : tuple of int
        Atoms whose charges a charge scheme was made from.
    terms : tuple of TermCount
        Bonded terms that touch the region, and how many each rule removes.
    constraints_removed : int
    """

    system: openmm.System
    roles: tuple[str, ...]
    bonded_rule: str
    charge_scheme: str = "none"
    replaces_images: bool = False
    subtracted: bool = False
    charges_from: tuple[int, ...] = ()
    terms: tuple[TermCount, ...] = ()
    constraints_removed: int = 0


@runtime_checkable
class Embedding(Protocol):
    """A way to embed the region: an object whose attributes are its options."""

    @property
    def name(self) -> str:
        """Name of the embedding, such as ``"mechanical"``."""

    def embed(self, request: EmbeddingRequest) -> Embedded:
        """Build the hybrid System.

        Parameters
        ----------
        request : EmbeddingRequest

        Returns
        -------
        Embedded
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


def find_embedding(embedding: str | Embedding, **options: Any) -> Embedding:
    """Return an embedding: the object that is given, or one of a name.

    Parameters
    ----------
    embedding : str or Embedding
    options
        Options of the embedding that has this name.

    Returns
    -------
    Embedding

    Raises
    ------
    ParameterError
        If there is none of that name, it cannot be imported, or it has no such option.
    TypeError
        If an entry point is not what the protocol says.

    Examples
    --------
    >>> from openmm_nn.systems.hybrid.embeddings import find_embedding
    >>> find_embedding("mechanical", bonded_rule="gromacs")
    Mechanical(bonded_rule='gromacs', charge_scheme='none', long_range=None, periodic=False, subtract_region=None)
    """
    if not isinstance(embedding, str):
        return _checked(embedding)
    made = _load(embedding)
    known = list(inspect.signature(made).parameters) if callable(made) else []
    unknown = [name for name in options if name not in known]
    if unknown:
        raise errors.ParameterError(
            unknown[0],
            f"{options[unknown[0]]!r} with embedding={embedding!r}",
            f"its options: {', '.join(known) or 'none'}",
            "leave it out, or choose another embedding",
        )
    found = made(**options) if callable(made) else made
    if not isinstance(found, Embedding):
        raise TypeError(
            f"entry point {embedding!r} of {GROUP}: got {type(found).__name__}; allowed is a class, or an object, with "
            "name and embed() (openmm_nn.systems.hybrid.embeddings.Embedding). Correct the package that registers it."
        )
    return found


def _checked(embedding: object) -> Embedding:
    if inspect.isclass(embedding) or not isinstance(embedding, Embedding):
        raise errors.ParameterError(
            "embedding",
            f"{embedding!r}",
            f"{', '.join(map(repr, embedding_names()))}, or an object such as Mechanical()",
            "give a name, or make an object with Mechanical(...)",
        )
    return embedding


def _load(name: str) -> Any:
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
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise errors.ParameterError(
            "embedding",
            f"{name!r}, whose {targets[name]} cannot be imported ({error})",
            "embeddings whose package works",
            "correct or reinstall that package",
        ) from error


def _targets() -> dict[str, str]:
    registered = {point.name: point.value for point in entry_points(group=GROUP)}
    return {**registered, **_BUILT_IN}
