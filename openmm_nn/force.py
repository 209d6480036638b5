"""From a model, its card and atoms to a force: the native NeuralForce, or the engine on OpenMM's PythonForce."""

from __future__ import annotations

import logging
import math
import operator
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import native
from .card import ModelCard
from .errors import NativeExtensionError, ParameterError, ParticleError, UnsupportedError, message
from .evaluate import element_symbol, energy_offset
from .runner import PRECISIONS

if TYPE_CHECKING:
    from openmm.app import Topology

    from .runner import ModuleRunner

__all__ = ["Link", "ModelSource", "create_force"]

logger = logging.getLogger(__name__)

ENGINE_VARIABLE = "OPENMM_NN_ENGINE"
PROPERTIES = ("device", "precision", "threads", "cuda_graphs")
LINK_RULES = ("fixed", "ratio")

_warned = False


@dataclass(frozen=True)
class Link:
    """A hydrogen that caps a cut bond, inside the force.

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

    Raises
    ------
    ParticleError
        If the atoms are the same or negative.
    ParameterError
        If rule or value are not allowed.

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

    def __post_init__(self) -> None:
        for name in ("inside", "outside"):
            object.__setattr__(self, name, _index(f"Link.{name}", getattr(self, name)))
        if self.inside == self.outside:
            raise ParticleError(
                message("Link.outside", str(self.outside), "another atom than inside", "give the atoms of the cut bond")
            )
        if self.rule not in LINK_RULES:
            raise ParameterError(message("Link.rule", repr(self.rule), "'fixed', 'ratio'", "choose one of these"))
        if not 0.0 < self.value < math.inf:
            raise ParameterError(
                message("Link.value", repr(self.value), "a positive distance in nm or fraction of the bond",
                        "give about 0.109 nm for a hydrogen on carbon")
            )  # fmt: skip


@dataclass(frozen=True)
class ModelSource:
    """What a force is made from.

    Parameters
    ----------
    card
        The card.
    data
        Bytes of the model's file; None for something that lives in this process only.
    sha256
        Their hash; empty for a callable.
    make_runner
        Makes a Python runner for a device and a precision.
    device
        Default device; None for that of the Context.
    """

    card: ModelCard
    data: bytes | None
    sha256: str
    make_runner: Callable[[str, str], ModuleRunner]
    device: str | None = None


@dataclass(frozen=True)
class _Request:
    """The arguments of create_force, checked."""

    particles: tuple[int, ...]
    numbers: tuple[int, ...]
    links: tuple[Link, ...]
    bonds: tuple[tuple[int, int], ...]
    periodic: bool
    charge: int
    multiplicity: int
    force_group: int
    properties: Mapping[str, str]
    scale: tuple[str, float] | None


def create_force(
    source: ModelSource,
    *,
    topology: Topology | None = None,
    atomic_numbers: Iterable[int] | None = None,
    atoms: Iterable[int] | None = None,
    links: Iterable[Link] = (),
    bonds: Iterable[tuple[int, int]] | None = None,
    periodic: bool | None = None,
    charge: int = 0,
    multiplicity: int = 1,
    force_group: int = 0,
    properties: Mapping[str, str] | None = None,
    scale: tuple[str, float] | None = None,
) -> Any:
    """Make a force from a model.

    Parameters
    ----------
    source
        The model.
    topology
        Where elements and bonds come from.
    atomic_numbers
        (N,), of `atoms` in their order, in place of the topology's elements.
    atoms
        Indices of the region, in the order in which the model sees them; None for all particles of the System.
    links
        Hydrogens that cap cut bonds.
    bonds
        Pairs of indices of the System; those with both ends in the region count. By default the topology's.
    periodic
        Whether the model is given the box. By default as the card says; where it leaves the choice, True if the
        potential describes everything and the topology has a box.
    charge, multiplicity
        Of the region with its link atoms.
    force_group
        0 to 31.
    properties
        ``device``, ``precision``, ``threads``, ``cuda_graphs``.
    scale
        Name and default value of a Context parameter that multiplies the energy.

    Returns
    -------
    NeuralForce
        The native force, or a PythonNeuralForce where the native extension is missing.

    Raises
    ------
    ParticleError
        If atoms, elements, links or bonds are wrong.
    ParameterError
        If an option has a value that is not allowed.
    """
    card = source.card
    particles = _check_atoms(atoms, topology)
    numbers = _check_numbers(card, particles, atomic_numbers, topology)
    checked_links = _check_links(tuple(links), particles, None if topology is None else topology.getNumAtoms())
    request = _Request(
        particles=particles or (),
        numbers=numbers,
        links=checked_links,
        bonds=_check_bonds(bonds, topology, particles, len(numbers) or None),
        periodic=_check_periodic(card, periodic, whole=atoms is None, topology=topology),
        charge=_check_charge(card, charge),
        multiplicity=_check_multiplicity(card, multiplicity),
        force_group=_check_group(force_group),
        properties=_check_properties(properties, source.device),
        scale=scale,
    )
    module = _native_module()
    force = _make_python(source, request) if module is None else _make_native(module, source, request)
    force.setForceGroup(request.force_group)
    return force


def _native_module() -> Any | None:
    """Return the wrapper of the native extension, or None where the other engine is to be used."""
    global _warned
    choice = os.environ.get(ENGINE_VARIABLE, "")
    if choice not in ("", "native", "python"):
        raise ParameterError(
            message(f"environment variable {ENGINE_VARIABLE}", repr(choice), "'native', 'python'", "unset it")
        )
    if choice == "python":
        return None
    if native.available():
        return native.load()
    if choice == "native":
        raise NativeExtensionError(
            message(f"environment variable {ENGINE_VARIABLE}", f"'native', but {native.reason()}",
                    "a native extension that fits", "python -m openmm_nn.native.build")
        )  # fmt: skip
    if not _warned:
        _warned = True
        warnings.warn(
            f"The native extension of openmm_nn is not used: {native.reason()}. The slower engine on OpenMM's PythonForce "
            "takes over; its forces cannot be copied or written to XML and have no parameter derivatives. "
            "To fix: python -m openmm_nn.native.build",
            RuntimeWarning,
            stacklevel=4,
        )
    return None


def _make_native(module: Any, source: ModelSource, request: _Request) -> Any:
    card = source.card
    if source.data is None:
        device = request.properties.get("device", "cpu")
        runner = source.make_runner(device, request.properties.get("precision", "model"))
        force = module.NeuralForce.fromCallable(runner, card.to_json())
    else:
        force = module.NeuralForce(source.data, card.to_json())
    force.setSignature(
        list(card.inputs),
        list(card.outputs),
        card.dtype,
        card.length_factor,
        card.energy_factor,
        card.cutoff_nm,
        card.frame == "invariant",
        card.committee_size,
    )
    force.setEnergyOffset(energy_offset(card, request.numbers, len(request.links)))
    force.setParticles(list(request.particles))
    force.setAtomicNumbers(list(request.numbers))
    for link in request.links:
        force.addLink(link.inside, link.outside, link.rule, link.value)
    for first, second in request.bonds:
        force.addBond(first, second)
    for link in request.links:
        force.addBond(link.inside, link.outside)
    force.setCharge(request.charge)
    force.setMultiplicity(request.multiplicity)
    force.setUsesPeriodicBoundaryConditions(request.periodic)
    for name, default in card.parameters.items():
        force.addGlobalParameter(name, default)
    if request.scale is not None:
        force.setScaleParameter(*request.scale)
    for name, value in request.properties.items():
        force.setProperty(name, value)
    force.setName("NeuralForce")
    return force


def _make_python(source: ModelSource, request: _Request) -> Any:
    from .python_force import PythonEngine, PythonNeuralForce

    properties = request.properties
    if properties.get("cuda_graphs", "false") != "false":
        raise UnsupportedError(
            message("properties['cuda_graphs']", "'true' on the engine of PythonForce", "'false'",
                    "leave it out, or build the native extension with python -m openmm_nn.native.build")
        )  # fmt: skip
    return PythonNeuralForce(
        PythonEngine(
            card=source.card,
            data=source.data,
            sha256=source.sha256,
            make_runner=lambda: source.make_runner(
                properties.get("device", "cpu"), properties.get("precision", "model")
            ),
            particles=request.particles,
            atomic_numbers=request.numbers,
            links=tuple((link.inside, link.outside, link.rule, link.value) for link in request.links),
            bonds=request.bonds,
            periodic=request.periodic,
            charge=request.charge,
            multiplicity=request.multiplicity,
            scale=request.scale,
            threads=int(properties.get("threads", "0")),
        )
    )


def _index(argument: str, value: Any) -> int:
    try:
        index = operator.index(value)
    except TypeError as error:
        raise ParticleError(
            message(argument, repr(value), "particle indices (integers)", "give indices that start at 0")
        ) from error
    if index < 0:
        raise ParticleError(message(argument, str(index), "indices 0 and above", "count particles from 0"))
    return index


def _check_atoms(atoms: Iterable[int] | None, topology: Topology | None) -> tuple[int, ...] | None:
    if atoms is None:
        return None
    if isinstance(atoms, str):
        raise ParticleError(
            message("atoms", repr(atoms), "particle indices", "use add_neural_force, which understands selections")
        )
    listed = list(atoms)
    if any(type(atom).__name__ in ("bool", "bool_") for atom in listed):
        raise ParticleError(
            message("atoms", "truth values", "particle indices", "use add_neural_force, which understands masks")
        )
    indices = tuple(_index("atoms", atom) for atom in listed)
    if not indices:
        raise ParticleError(
            message("atoms", "an empty list", "at least one index", "leave atoms out to take all particles")
        )
    repeated = sorted({index for index in indices if indices.count(index) > 1}) if _repeats(indices) else []
    if repeated:
        raise ParticleError(
            message("atoms", f"repeated {_short(repeated)}", "every index once", "remove what is listed twice")
        )
    if topology is not None and max(indices) >= topology.getNumAtoms():
        raise ParticleError(
            message("atoms", str(max(indices)), f"0 to {topology.getNumAtoms() - 1}, the atoms of the topology",
                    "correct the indices or the topology")
        )  # fmt: skip
    return indices


def _repeats(indices: Sequence[int]) -> bool:
    return len(set(indices)) != len(indices)


def _short(values: Sequence[object], most: int = 5) -> str:
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(map(str, values[:most])) + more


def _check_numbers(
    card: ModelCard,
    particles: tuple[int, ...] | None,
    atomic_numbers: Iterable[int] | None,
    topology: Topology | None,
) -> tuple[int, ...]:
    needed = "atomic_numbers" in card.inputs or card.elements is not None or bool(card.energy_offset)
    count = len(particles) if particles is not None else None if topology is None else topology.getNumAtoms()
    if atomic_numbers is not None:
        numbers = tuple(_number(value) for value in atomic_numbers)
        if count is not None and len(numbers) != count:
            raise ParticleError(
                message("atomic_numbers", f"{len(numbers)} of them", f"{count}, one for every atom",
                        "give them in the order of atoms")
            )  # fmt: skip
    elif not needed:
        return ()
    elif topology is None:
        raise ParticleError(
            message("atomic_numbers", "none, and no topology", f"one for every atom, since {card.name!r} needs them",
                    "give topology= or atomic_numbers=")
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
            message("atomic_numbers", repr(value), "integers, 1 or more", "give atomic numbers, such as 6 for carbon")
        ) from error
    if number < 1:
        raise ParticleError(message("atomic_numbers", str(number), "1 or more", "leave virtual sites out"))
    return number


def _topology_numbers(topology: Topology, particles: tuple[int, ...] | None) -> tuple[int, ...]:
    listed = list(topology.atoms())
    chosen = listed if particles is None else [listed[index] for index in particles]
    missing = [f"{atom.name} (index {atom.index})" for atom in chosen if atom.element is None]
    if missing:
        raise ParticleError(
            message("topology", f"atoms without an element: {_short(missing)}", "an element for every atom",
                    "give atomic_numbers=, and leave virtual sites out of atoms")
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
            message("atoms", f"elements {_short(unknown)}", f"{', '.join(card.elements)}, which {card.name!r} knows",
                    "choose other atoms or another potential")
        )  # fmt: skip


def _check_links(links: tuple[Link, ...], particles: tuple[int, ...] | None, count: int | None) -> tuple[Link, ...]:
    inside = None if particles is None else frozenset(particles)
    for link in links:
        if not isinstance(link, Link):
            raise ParticleError(message("links", repr(link), "Link objects", "make them with openmm_nn.Link(...)"))
        if inside is None:
            raise ParticleError(
                message("links", repr(link), "none, where the potential describes all particles", "give atoms=")
            )
        if link.inside not in inside:
            raise ParticleError(
                message("links", f"inside atom {link.inside}", "an atom of the region", "swap or correct its atoms")
            )
        if link.outside in inside or (count is not None and link.outside >= count):
            raise ParticleError(
                message("links", f"outside atom {link.outside}", "an atom outside the region", "correct the link")
            )
    if _repeats([hash((link.inside, link.outside)) for link in links]):
        raise ParticleError(message("links", "a bond that is cut twice", "every bond once", "remove the second link"))
    return links


def _check_bonds(
    bonds: Iterable[tuple[int, int]] | None,
    topology: Topology | None,
    particles: tuple[int, ...] | None,
    count: int | None,
) -> tuple[tuple[int, int], ...]:
    if bonds is not None:
        pairs = []
        for bond in bonds:
            pair = tuple(_index("bonds", atom) for atom in bond)
            if len(pair) != 2 or pair[0] == pair[1]:
                raise ParticleError(message("bonds", repr(bond), "pairs of different atoms", "correct this bond"))
            pairs.append((pair[0], pair[1]))
    elif topology is not None:
        pairs = [(bond[0].index, bond[1].index) for bond in topology.bonds()]
        count = topology.getNumAtoms()
    else:
        return ()
    if particles is None:
        if count is not None and any(max(pair) >= count for pair in pairs):
            raise ParticleError(
                message("bonds", f"atom {max(map(max, pairs))}", f"0 to {count - 1}", "correct the bonds")
            )
        return tuple(pairs)
    inside = frozenset(particles)
    return tuple(pair for pair in pairs if pair[0] in inside and pair[1] in inside)


def _check_periodic(card: ModelCard, periodic: bool | None, *, whole: bool, topology: Topology | None) -> bool:
    if periodic is None:
        boxed = whole and topology is not None and topology.getPeriodicBoxVectors() is not None
        return card.periodic == "always" or (card.periodic == "optional" and boxed)
    if not isinstance(periodic, bool):
        raise ParameterError(message("periodic", repr(periodic), "True, False, None", "choose one of these"))
    wrong = {"never": True, "always": False}.get(card.periodic)
    if periodic is wrong:
        raise ParameterError(
            message("periodic", str(periodic), f"{not periodic}: the card of {card.name!r} says {card.periodic!r}",
                    "leave periodic out, or use another potential")
        )  # fmt: skip
    return periodic


def _whole_number(argument: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError as error:
        raise ParameterError(message(argument, repr(value), "an integer", "round it")) from error


def _check_charge(card: ModelCard, charge: int) -> int:
    value = _whole_number("charge", charge)
    if value != 0 and not card.supports_charge:
        raise ParameterError(
            message("charge", str(value), f"0: {card.name!r} is not told the charge",
                    "use a potential that takes 'charge', or charge=0 if this one was trained for it")
        )  # fmt: skip
    return value


def _check_multiplicity(card: ModelCard, multiplicity: int) -> int:
    value = _whole_number("multiplicity", multiplicity)
    if value < 1:
        raise ParameterError(message("multiplicity", str(value), "1 or more (2S + 1)", "give 1 for a closed shell"))
    if value != 1 and not card.supports_spin:
        raise ParameterError(
            message("multiplicity", str(value), f"1: {card.name!r} is not told the spin",
                    "use a potential that takes 'multiplicity'")
        )  # fmt: skip
    return value


def _check_group(force_group: int) -> int:
    value = _whole_number("force_group", force_group)
    if not 0 <= value <= 31:
        raise ParameterError(message("force_group", str(value), "0 to 31", "choose a group in this range"))
    return value


def _check_properties(properties: Mapping[str, str] | None, device: str | None) -> dict[str, str]:
    checked = {} if device is None else {"device": device}
    for name, value in (properties or {}).items():
        if name not in PROPERTIES:
            raise ParameterError(message("properties", repr(name), ", ".join(PROPERTIES), "correct the name"))
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if name == "precision" and text not in PRECISIONS:
            raise ParameterError(
                message(
                    "properties['precision']", repr(value), ", ".join(PRECISIONS), "leave it out to follow the card"
                )
            )
        if name == "cuda_graphs" and text not in ("true", "false"):
            raise ParameterError(
                message("properties['cuda_graphs']", repr(value), "'true', 'false'", "choose one of these")
            )
        if name == "threads" and not (text.isdecimal()):
            raise ParameterError(
                message("properties['threads']", repr(value), "0 (torch's own number) or more", "give an integer")
            )
        checked[name] = text
    return checked
