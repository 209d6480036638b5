"""AOTInductor packages (``.pt2``): reading what they say of themselves. Nothing of them runs here."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import CardError, ModelError, UnsupportedError
from .archive import glance, open_archive, rewrite_archive
from .card import CARD_FILE, ModelCard
from .processor import missing_features

__all__ = [
    "CODE_FOLDER",
    "DERIVATIVE_PREFIX",
    "IDENTITY_INPUT",
    "LIBRARY_SUFFIXES",
    "PARALLEL",
    "SERIAL",
    "SPECIES_INPUT",
    "WEIGHTS_INPUT",
    "PackageInfo",
    "check_machine",
    "check_package",
    "describe_package",
    "is_package",
    "read_package",
]

WEIGHTS_INPUT = "member_weights"
"""Input of a committee's graph: the weights (K,) of the members in the energy whose gradient is returned."""

SPECIES_INPUT, IDENTITY_INPUT = "species", "identity"
"""Inputs of another library's graph: in the place of atomic_numbers those of the elements in a list (N,), and a cell
(3,3) of unit length, in which shifts of edges are lengths."""

DERIVATIVE_PREFIX = "derivative:"
"""An output of the graph named ``derivative:p`` is the derivative of that energy by the parameter p."""

SERIAL, PARALLEL = "model", "parallel"
"""Names of the code in a package for one thread, and of that for several."""

CODE_FOLDER, LIBRARY_SUFFIXES = "data/aotinductor/", (".so", ".dylib")
"""Where in a package compiled code lies, and how its files end."""

_DEVICE = "AOTI_DEVICE_KEY"
_DESCRIPTION_LIMIT = 1 << 22


@dataclass(frozen=True)
class PackageInfo:
    """What a package says of itself.

    Parameters
    ----------
    card
        The card inside; None for a package that was not written by ``export_potential``.
    inputs, outputs
        Of the compiled graph, in order; empty if it does not say.
    dtype
        ``float32`` or ``float64``; empty if it does not say.
    device, machine
        What it was compiled for, such as ``cpu`` and ``x86_64``.
    features
        Of the processor, that it needs.
    torch
        Version of torch that compiled it; empty if it does not say.
    models
        Names of the compiled codes inside.
    species
        Atomic numbers of the elements in the order of the input ``species``; empty if the graph has none.
    values
        Everything that it says.
    """

    card: ModelCard | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dtype: str
    device: str
    machine: str
    features: tuple[str, ...]
    torch: str
    models: tuple[str, ...]
    species: tuple[int, ...]
    values: Mapping[str, str]


def is_package(data: bytes) -> bool:
    """Return whether these are the bytes of a package.

    Parameters
    ----------
    data
        Content of a file.

    Returns
    -------
    bool
        Whether there is compiled code inside.

    Examples
    --------
    >>> from openmm_nn.model.package import is_package
    >>> is_package(b"no archive")
    False
    """
    return any(record.startswith(CODE_FOLDER) for record in glance(data) or ())


def read_package(data: bytes, name: str) -> PackageInfo:
    """Read what a package says of itself. Nothing of what is inside runs.

    Parameters
    ----------
    data
        Content of the file.
    name
        Its name, for messages.

    Returns
    -------
    PackageInfo
        Its description.

    Raises
    ------
    ModelError
        If the file is damaged, or holds no model.
    CardError
        If the card inside is wrong.
    """
    archive = open_archive(data, name)
    archive.verify()
    values: dict[str, str] = {}
    models: set[str] = set()
    for record in archive.entries:
        model, _, file = record.removeprefix(CODE_FOLDER).partition("/")
        if not record.startswith(CODE_FOLDER):
            continue
        if file.endswith(LIBRARY_SUFFIXES):
            models.add(model)
        if model == SERIAL and file.endswith("_metadata.json"):
            found = _strings(archive.read(record, _DESCRIPTION_LIMIT))
            if _DEVICE in found and len(found) >= len(values):
                values = found
    if not values or SERIAL not in models:
        raise _bad(name, "a package without a compiled model named 'model'", "export the potential again")
    card = None
    if CARD_FILE in values:
        try:
            card = ModelCard.from_json(values[CARD_FILE])
        except CardError as error:
            raise error.rename(f"{name}: {error.argument}") from error
    return PackageInfo(
        card=card,
        inputs=tuple(values.get("openmm_nn_inputs", "").split()),
        outputs=tuple(values.get("openmm_nn_outputs", "").split()),
        dtype=values.get("openmm_nn_dtype", ""),
        device=values[_DEVICE],
        machine=values.get("AOTI_MACHINE", ""),
        features=tuple(values.get("openmm_nn_processor", "").split()),
        torch=values.get("openmm_nn_torch", ""),
        models=tuple(sorted(models)),
        species=tuple(int(word) for word in values.get("openmm_nn_species", "").split() if word.isdecimal()),
        values=values,
    )


def describe_package(data: bytes, values: Mapping[str, str]) -> bytes:
    """Return a package that says something more of itself: one of another library, with a card.

    Parameters
    ----------
    data
        Content of the file.
    values
        By name, such as ``openmm_nn_inputs``.

    Returns
    -------
    bytes
        The same for the same file and values, so that its hash can be trusted.
    """

    def describe(name: str, content: bytes) -> bytes:
        found = _strings(content) if f"/{CODE_FOLDER}" in name and name.endswith("_metadata.json") else {}
        return json.dumps({**found, **values}, sort_keys=True).encode() if _DEVICE in found else content

    return rewrite_archive(data, describe)


def _strings(text: bytes) -> dict[str, str]:
    """Read a JSON object of strings; empty if it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def _bad(name: str, got: str, remedy: str) -> ModelError:
    return ModelError(f"file {name}", got, "an AOTInductor package (.pt2)", remedy)


def check_package(info: PackageInfo, card: ModelCard, name: str) -> None:
    """Check a card against the compiled graph that it describes.

    Parameters
    ----------
    info
        What the package says.
    card
        The card.
    name
        Name of the file, for messages.

    Raises
    ------
    CardError
        If inputs, outputs or dtype differ, or there are no forces.
    """
    inputs, outputs = info.inputs or card.inputs, info.outputs or card.outputs
    own = [name for name in inputs if name not in (IDENTITY_INPUT, WEIGHTS_INPUT)]
    if tuple("atomic_numbers" if name == SPECIES_INPUT else name for name in own) != card.inputs:
        raise CardError(
            f"inputs of the card of {name}", ", ".join(card.inputs), f"those of its code: {', '.join(inputs)}",
                    "export the potential again with a card that fits"
        )  # fmt: skip
    if SPECIES_INPUT in inputs and info.species != _numbers(card):
        raise CardError(
            f"elements of the card of {name}", ", ".join(card.elements or ()), "those that its code numbers",
                    "load the file again that its library wrote"
        )  # fmt: skip
    if outputs[:1] != card.outputs[:1]:
        raise CardError(
            f"outputs of the card of {name}", ", ".join(card.outputs),
                    f"those of its code: {', '.join(outputs)}", "export the potential again with a card that fits"
        )  # fmt: skip
    if "forces" not in outputs:
        raise CardError(
            f"outputs of {name}", ", ".join(outputs), "an energy and forces: code cannot be differentiated",
                    "export it with openmm_nn.export_potential(..., format='aotinductor')"
        )  # fmt: skip
    if card.dtype == "platform" or card.dtype != (info.dtype or card.dtype):
        raise CardError(
            f"dtype of the card of {name}", repr(card.dtype),
                    f"that of its code, {(info.dtype or 'float32 or float64')!r}", "correct the card"
        )  # fmt: skip


def _numbers(card: ModelCard) -> tuple[int, ...]:
    from openmm.app.element import Element

    return tuple(int(Element.getBySymbol(symbol).atomic_number) for symbol in card.elements or ())


def check_machine(info: PackageInfo, name: str, device: str) -> None:
    """Check that this machine can run a package.

    Parameters
    ----------
    info
        What the package says.
    name
        Name of the potential, for messages.
    device
        Where it is to run.

    Raises
    ------
    UnsupportedError
        If it was compiled for another kind of processor, for one with features that are missing, or another device.
    """
    subject = f"potential {name!r}"
    if info.machine and info.machine != platform.machine():
        raise UnsupportedError(
            subject, f"code for processors of the kind {info.machine}", f"{platform.machine()}, this one's",
                    "export it again on a machine of this kind"
        )  # fmt: skip
    if info.device != device.partition(":")[0]:
        raise UnsupportedError(
            subject, f"code for the device {info.device!r}", f"{device!r}, where it is to run",
                    "export it again for that device, or choose the other"
        )  # fmt: skip
    missing = missing_features(info.features)
    if missing:
        raise UnsupportedError(
            subject, f"code for a processor with {', '.join(missing)}", "what this processor has",
                    "export it again on this machine, or anywhere with export_potential(..., portable=True)"
        )  # fmt: skip
