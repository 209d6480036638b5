"""The arguments of ``create_force``, checked one by one before anything is made."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError, ParticleError, warn
from ..model.card import ModelCard
from ..model.card_values import element_symbol
from ..selection import as_indices, plain_values, select_atoms
from .module_runner import PRECISIONS

if TYPE_CHECKING:
    from openmm.app import Topology

__all__ = [
    "LINK_RULES",
    "PROPERTIES",
    "Link",
    "check_bonds",
    "check_charge",
    "check_elements",
    "check_group",
    "check_links",
    "check_multiplicity",
    "check_numbers",
    "check_periodic",
    "check_properties",
    "check_region",
]

PROPERTIES = ("device", "precision", "threads", "concurrent", "cuda_graphs", "geometry")
LINK_RULES = ("fixed", "ratio")


@dataclass(frozen=True)
class Link:
    """A hydrogen that caps a cut bond, inside the force. It is checked when a force is made with it.

    Parameters
    ----------
    inside
        Index of the bond's atom Q in the region.
    outside
        Index of the bond's atom M in the environment.
    rule
        ``"fixed"``: at a fixed distance from Q, along the bond; ``"ratio"``: at a fixed fraction of the bond.
    value
        The distance in nm, or the fraction.

    Examples
    --------
    >>> from openmm_nn import Link
    >>> Link(4, 6, "fixed", 0.109)
    Link(inside=4, outside=6, rule='fixed', value=0.109)
    """

    inside: int
    outside: int
    rule: str = "fixed"
    value: float = 0.0


def _index(argument: str, value: Any) -> int:
    try:
        index = operator.index(value)
    except TypeError as error:
        raise ParticleError(
            argument, repr(value), "particle indices (integers)", "give indices that start at 0"
        ) from error
    if index < 0:
        raise ParticleError(argument, str(index), "indices 0 and above", "count particles from 0")
    return index


def check_region(region: Any, topology: Topology | None) -> tuple[int, ...] | None:
    """Return the indices of the region, each once and in range; None for all particles."""
    if region is None:
        return None
    if topology is not None:
        return select_atoms(topology, region)
    if isinstance(region, str):
        raise ParticleError("region", repr(region), "particle indices, without a topology", "give topology=")
    listed = plain_values(region, "region")
    if any(isinstance(atom, bool) for atom in listed):
        raise ParticleError("region", "truth values", "particle indices, without a topology", "give topology=")
    indices = tuple(as_indices(listed, "region"))
    if not indices:
        raise ParticleError("region", "an empty list", "at least one index", "leave region out to take all particles")
    repeated = sorted({index for index in indices if indices.count(index) > 1}) if _repeats(indices) else []
    if repeated:
        raise ParticleError("region", f"repeated {_short(repeated)}", "every index once", "remove what is listed twice")
    return indices


def _repeats(indices: Sequence[int]) -> bool:
    return len(set(indices)) != len(indices)


def _short(values: Sequence[object], most: int = 5) -> str:
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(map(str, values[:most])) + more


def check_numbers(
    card: ModelCard,
    particles: tuple[int, ...] | None,
    atomic_numbers: Iterable[int] | None,
    topology: Topology | None,
) -> tuple[int, ...]:
    """Return the atomic numbers of the region, from the argument or the topology; empty if they are not needed."""
    needed = "atomic_numbers" in card.inputs or card.elements is not None or bool(card.energy_offset)
    count = len(particles) if particles is not None else None if topology is None else topology.getNumAtoms()
    if atomic_numbers is not None:
        numbers = tuple(_number(value) for value in atomic_numbers)
        if count is not None and len(numbers) != count:
            raise ParticleError(
                "atomic_numbers", f"{len(numbers)} of them", f"{count}, one for every atom",
                        "give them in the order of the region"
            )  # fmt: skip
    elif not needed:
        return ()
    elif topology is None:
        raise ParticleError(
            "atomic_numbers", "none, and no topology", f"one for every atom, since {card.name!r} needs them",
                    "give topology= or atomic_numbers="
        )  # fmt: skip
    else:
        numbers = _topology_numbers(topology, particles)
    check_elements(card, numbers, particles)
    return numbers


def _number(value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError as error:
        raise ParticleError(
            "atomic_numbers", repr(value), "integers, 1 or more", "give atomic numbers, such as 6 for carbon"
        ) from error
    if number < 1:
        raise ParticleError("atomic_numbers", str(number), "1 or more", "leave virtual sites out")
    return number


def _topology_numbers(topology: Topology, particles: tuple[int, ...] | None) -> tuple[int, ...]:
    listed = list(topology.atoms())
    chosen = listed if particles is None else [listed[index] for index in particles]
    missing = [f"{atom.name} (index {atom.index})" for atom in chosen if atom.element is None]
    if missing:
        raise ParticleError(
            "topology", f"atoms without an element: {_short(missing)}", "an element for every atom",
                    "give atomic_numbers=, and leave virtual sites out of the region"
        )  # fmt: skip
    return tuple(int(atom.element.atomic_number) for atom in chosen)


def check_elements(card: ModelCard, numbers: Sequence[int], particles: Sequence[int] | None = None) -> None:
    """Check that a potential knows all elements.

    Parameters
    ----------
    card
        The card.
    numbers
        Atomic numbers.
    particles
        Indices of the atoms, for the message.

    Raises
    ------
    ParticleError
        If it does not.
    """
    if card.elements is None:
        return
    unknown = [
        f"{element_symbol(number)} (atom {index if particles is None else particles[index]})"
        for index, number in enumerate(numbers)
        if element_symbol(number) not in card.elements
    ]
    if unknown:
        raise ParticleError(
            "region", f"elements {_short(unknown)}", f"{', '.join(card.elements)}, which {card.name!r} knows",
                    "choose other atoms or another potential"
        )  # fmt: skip


def check_links(links: tuple[Link, ...], particles: tuple[int, ...] | None, count: int | None) -> tuple[Link, ...]:
    """Return the links, each from an atom of the region to one outside, and every bond once."""
    inside = None if particles is None else frozenset(particles)
    links = tuple(_check_link(link) for link in links)
    for link in links:
        if inside is None:
            raise ParticleError(
                "links", repr(link), "none, where the potential describes all particles", "give region="
            )
        if link.inside not in inside:
            raise ParticleError(
                "links", f"inside atom {link.inside}", "an atom of the region", "swap or correct its atoms"
            )
        if link.outside in inside or (count is not None and link.outside >= count):
            raise ParticleError(
                "links",
                f"outside atom {link.outside}",
                "an atom of the System outside the region",
                "correct the link",
            )
    if len({(link.inside, link.outside) for link in links}) != len(links):
        raise ParticleError("links", "a bond that is cut twice", "every bond once", "remove the second link")
    return links


def _check_link(link: Any) -> Link:
    """Check what can be said of a link without its region."""
    value: Any = getattr(link, "value", None)
    if not isinstance(link, Link):
        raise ParticleError("links", repr(link), "Link objects", "make them with openmm_nn.Link(...)")
    if link.rule not in LINK_RULES:
        raise ParameterError("Link.rule", repr(link.rule), "'fixed', 'ratio'", "choose one of these")
    if not isinstance(value, int | float) or not 0.0 < value < math.inf:
        raise ParameterError(
            "Link.value", repr(link.value), "a positive distance in nm or fraction of the bond",
                    "give about 0.109 nm for a hydrogen on carbon"
        )  # fmt: skip
    return dataclasses.replace(
        link,
        inside=_index("Link.inside", link.inside),
        outside=_index("Link.outside", link.outside),
        value=float(value),
    )


def check_bonds(
    bonds: Iterable[tuple[int, int]] | None,
    topology: Topology | None,
    particles: tuple[int, ...] | None,
    count: int | None,
) -> tuple[tuple[int, int], ...]:
    """Return the bonds with both ends in the region."""
    if bonds is not None:
        pairs = []
        for bond in bonds:
            pair = tuple(_index("bonds", atom) for atom in bond)
            if len(pair) != 2 or pair[0] == pair[1]:
                raise ParticleError("bonds", repr(bond), "pairs of different atoms", "correct this bond")
            pairs.append((pair[0], pair[1]))
    elif topology is not None:
        pairs = [(bond[0].index, bond[1].index) for bond in topology.bonds()]
        count = topology.getNumAtoms()
    else:
        return ()
    if particles is None:
        if count is not None and any(max(pair) >= count for pair in pairs):
            raise ParticleError("bonds", f"atom {max(map(max, pairs))}", f"0 to {count - 1}", "correct the bonds")
        return tuple(pairs)
    inside = frozenset(particles)
    return tuple(pair for pair in pairs if pair[0] in inside and pair[1] in inside)


def check_periodic(card: ModelCard, periodic: bool | None, *, whole: bool, topology: Topology | None) -> bool:
    """Return whether the model is given the box, by the argument or the card's rule."""
    if periodic is None:
        boxed = whole and topology is not None and topology.getPeriodicBoxVectors() is not None
        return card.periodic == "always" or (card.periodic == "optional" and boxed)
    if not isinstance(periodic, bool):
        raise ParameterError("periodic", repr(periodic), "True, False, None", "choose one of these")
    wrong = {"never": True, "always": False}.get(card.periodic)
    if periodic is wrong:
        raise ParameterError(
            "periodic", str(periodic), f"{not periodic}: the card of {card.name!r} says {card.periodic!r}",
                    "leave periodic out, or use another potential"
        )  # fmt: skip
    return periodic


def _whole_number(argument: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError as error:
        raise ParameterError(argument, repr(value), "an integer", "round it") from error


def check_charge(card: ModelCard, charge: int) -> int:
    """Return the charge; where the potential is not told of it, a warning says so."""
    value = _whole_number("charge", charge)
    if value != 0 and not card.supports_charge:
        warn(_not_told(card, "charge", f"{value:+d} e"))
    return value


def _not_told(card: ModelCard, what: str, value: str) -> str:
    trained = f" (its card: {card.trained_on})" if card.trained_on else ""
    return (
        f"{what}: {value} was given, but the potential {card.name!r} is not told the {what}: it gives the energy of "
        f"what it was trained on{trained}. Use a potential that takes {what!r} unless this one was trained for it."
    )


def check_multiplicity(card: ModelCard, multiplicity: int) -> int:
    """Return the spin multiplicity, likewise."""
    value = _whole_number("multiplicity", multiplicity)
    if value < 1:
        raise ParameterError("multiplicity", str(value), "1 or more (2S + 1)", "give 1 for a closed shell")
    if value != 1 and not card.supports_spin:
        warn(_not_told(card, "multiplicity", str(value)))
    return value


def check_group(force_group: int) -> int:
    """Return the force group."""
    value = _whole_number("force_group", force_group)
    if not 0 <= value <= 31:
        raise ParameterError("force_group", str(value), "0 to 31", "choose a group in this range")
    return value


def check_properties(properties: Mapping[str, Any] | None, device: str | None) -> dict[str, str]:
    """Return the properties as text, with the potential's device as a default."""
    checked = {} if device is None else {"device": device}
    for name, value in (properties or {}).items():
        if name not in PROPERTIES:
            raise ParameterError("properties", repr(name), ", ".join(PROPERTIES), "correct the name")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if name == "precision" and text not in PRECISIONS:
            raise ParameterError(
                "properties['precision']", repr(value), ", ".join(PRECISIONS), "leave it out to follow the card"
            )
        if name in ("concurrent", "cuda_graphs") and text not in ("true", "false"):
            raise ParameterError(f"properties[{name!r}]", repr(value), "'true', 'false'", "choose one of these")
        if name == "threads" and not (text.isdecimal()):
            raise ParameterError(
                "properties['threads']", repr(value), "0 (torch's own number) or more", "give an integer"
            )
        checked[name] = text
    return checked
