"""From a model, its card and atoms to a force: the native NeuralForce, or the engine on OpenMM's PythonForce."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .. import native
from ..errors import NativeExtensionError, ParameterError, UnsupportedError, warn
from ..geometry import topology_box
from ..model.card import ModelCard
from ..model.card_values import energy_offset
from .force_arguments import (
    Link,
    check_bonds,
    check_charge,
    check_group,
    check_links,
    check_multiplicity,
    check_numbers,
    check_periodic,
    check_properties,
    check_region,
)

if TYPE_CHECKING:
    from openmm.app import Topology

    from .module_runner import ModuleRunner

__all__ = ["Link", "ModelSource", "create_force"]

logger = logging.getLogger(__name__)

ENGINE_VARIABLE = "OPENMM_NN_ENGINE"

_warned = False


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


@runtime_checkable
class ChosenRegion(Protocol):
    """What a force takes from an `openmm_nn.Region`, which is made where the force field is known."""

    indices: tuple[int, ...]
    bonds: tuple[tuple[int, int], ...]

    @property
    def links(self) -> tuple[Link, ...]:
        """The link atoms of its cut bonds."""


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
    region: Any = None,
    atomic_numbers: Iterable[int] | None = None,
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
    region
        What `openmm_nn.select_region` returns, with its links and bonds; indices, in the order in which the model sees
        them; with a topology also a selection or a mask. None for all particles of the System.
    atomic_numbers
        (N,), of the region in its order, in place of the topology's elements.
    links
        Hydrogens that cap cut bonds; those of the region if it has some.
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
        ``device``, ``precision``, ``threads``, ``concurrent``, ``cuda_graphs``, ``geometry``.
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
    if isinstance(region, ChosenRegion):
        links, bonds = tuple(links) or region.links, region.bonds if bonds is None else bonds
        region = region.indices
    particles = check_region(region, topology)
    numbers = check_numbers(card, particles, atomic_numbers, topology)
    boxed = check_periodic(card, periodic, whole=region is None, topology=topology)
    if boxed and topology is not None:
        topology_box(topology)
    checked_links = check_links(tuple(links), particles, None if topology is None else topology.getNumAtoms())
    request = _Request(
        particles=particles or (),
        numbers=numbers,
        links=checked_links,
        bonds=check_bonds(bonds, topology, particles, len(numbers) or None),
        periodic=boxed,
        charge=check_charge(card, charge),
        multiplicity=check_multiplicity(card, multiplicity),
        force_group=check_group(force_group),
        properties=check_properties(properties, source.device),
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
        raise ParameterError(f"environment variable {ENGINE_VARIABLE}", repr(choice), "'native', 'python'", "unset it")
    if choice == "python":
        return None
    if native.available():
        return native.load()
    if choice == "native":
        raise NativeExtensionError(
            f"environment variable {ENGINE_VARIABLE}", f"'native', but {native.reason()}",
                    "a native extension that fits", "python -m openmm_nn.native.build"
        )  # fmt: skip
    if not _warned:
        _warned = True
        warn(
            f"The native extension of openmm_nn is not used: {native.reason()}. The slower engine on OpenMM's "
            "PythonForce takes over; its forces cannot be copied or written to XML and have no parameter derivatives. "
            "To fix: python -m openmm_nn.native.build",
            RuntimeWarning,
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
    force.setParticles(list(request.particles))
    force.setAtomicNumbers(list(request.numbers))
    for link in request.links:
        force.addLink(link.inside, link.outside, link.rule, link.value)
    _apply_card(force, card)
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


def _apply_card(force: Any, card: ModelCard) -> None:
    """Tell a native force what its engine must know of the card."""
    force.setSignature(
        list(card.inputs),
        list(card.outputs),
        card.dtype,
        card.length_factor,
        card.energy_factor,
        card.cutoff_nm,
        card.frame == "invariant",
        card.committee_size,
        card.long_range is True,
    )
    force.setEnergyOffset(energy_offset(card, force.getAtomicNumbers(), force.getNumLinks()))


def replace_model(force: Any, model: bytes, card: str) -> None:
    """Replace the model of a native force; what the card says of units, cutoff and outputs goes along.

    Parameters
    ----------
    force
        A NeuralForce.
    model
        Bytes of a TorchScript file, or of a compiled package that is trusted.
    card
        Its card, as JSON.

    Raises
    ------
    CardError
        If the text is no card.
    ParameterError
        If the parameters of the new model are not those of the force.
    """
    new = ModelCard.from_json(card)
    known = {force.getGlobalParameterName(index) for index in range(force.getNumGlobalParameters())}
    known -= {force.getScaleParameter()}
    if set(new.parameters) != known:
        raise ParameterError(
            "card", f"the parameters {sorted(new.parameters)}", f"those of this force, {sorted(known)}",
                    "make a new force from the new model"
        )  # fmt: skip
    force._setModel(model, new.to_json())
    _apply_card(force, new)


def _make_python(source: ModelSource, request: _Request) -> Any:
    from .python_force import PythonEngine, PythonNeuralForce

    properties = request.properties
    if properties.get("cuda_graphs", "false") != "false":
        raise UnsupportedError(
            "properties['cuda_graphs']", "'true' on the engine of PythonForce", "'false'",
                    "leave it out, or build the native extension with python -m openmm_nn.native.build"
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
