"""AOTInductor packages (``.pt2``): reading what they say of themselves, and running them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .archive import glance, open_archive, rewrite_archive
from .card import CARD_FILE, ModelCard
from .errors import CardError, ModelError, ParameterError, UnsupportedError, message
from .processor import missing_features
from .runner import ModuleRunner, RunnerResult, read_script
from .trust import check_trust

__all__ = [
    "DERIVATIVE_PREFIX",
    "IDENTITY_INPUT",
    "PARALLEL",
    "SERIAL",
    "SPECIES_INPUT",
    "WEIGHTS_INPUT",
    "PackageInfo",
    "PackageRunner",
    "check_machine",
    "check_package",
    "describe_package",
    "is_package",
    "make_runner",
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

_FOLDER = "data/aotinductor/"
_LIBRARIES = (".so", ".dylib")
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
    >>> from openmm_nn.package import is_package
    >>> is_package(b"no archive")
    False
    """
    return any(record.startswith(_FOLDER) for record in glance(data) or ())


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
        model, _, file = record.removeprefix(_FOLDER).partition("/")
        if not record.startswith(_FOLDER):
            continue
        if file.endswith(_LIBRARIES):
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
            raise CardError(f"{name}: {error}") from error
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
        found = _strings(content) if f"/{_FOLDER}" in name and name.endswith("_metadata.json") else {}
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
    return ModelError(message(f"file {name}", got, "an AOTInductor package (.pt2)", remedy))


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
            message(f"inputs of the card of {name}", ", ".join(card.inputs), f"those of its code: {', '.join(inputs)}",
                    "export the potential again with a card that fits")
        )  # fmt: skip
    if SPECIES_INPUT in inputs and info.species != _numbers(card):
        raise CardError(
            message(f"elements of the card of {name}", ", ".join(card.elements or ()), "those that its code numbers",
                    "load the file again that its library wrote")
        )  # fmt: skip
    if outputs[:1] != card.outputs[:1]:
        raise CardError(
            message(f"outputs of the card of {name}", ", ".join(card.outputs),
                    f"those of its code: {', '.join(outputs)}", "export the potential again with a card that fits")
        )  # fmt: skip
    if "forces" not in outputs:
        raise CardError(
            message(f"outputs of {name}", ", ".join(outputs), "an energy and forces: code cannot be differentiated",
                    "export it with openmm_nn.export_potential(..., format='aotinductor')")
        )  # fmt: skip
    if card.dtype == "platform" or card.dtype != (info.dtype or card.dtype):
        raise CardError(
            message(f"dtype of the card of {name}", repr(card.dtype),
                    f"that of its code, {(info.dtype or 'float32 or float64')!r}", "correct the card")
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
            message(subject, f"code for processors of the kind {info.machine}", f"{platform.machine()}, this one's",
                    "export it again on a machine of this kind")
        )  # fmt: skip
    if info.device != device.partition(":")[0]:
        raise UnsupportedError(
            message(subject, f"code for the device {info.device!r}", f"{device!r}, where it is to run",
                    "export it again for that device, or choose the other")
        )  # fmt: skip
    missing = missing_features(info.features)
    if missing:
        raise UnsupportedError(
            message(subject, f"code for a processor with {', '.join(missing)}", "what this processor has",
                    "export it again on this machine, or anywhere with export_potential(..., portable=True)")
        )  # fmt: skip


class _Graph:
    """The compiled graph: called with tensors, it returns tensors."""

    def __init__(self, data: bytes, info: PackageInfo, device: str) -> None:
        self._data = data
        self._info = info
        self._device = device
        self._kernels: tempfile.TemporaryDirectory[str] | None = None
        self._loaded: dict[str, Any] = {}
        self._library()

    def __call__(self, *tensors: Any) -> Sequence[Any]:
        returned: Sequence[Any] = self._library().run(list(tensors))
        return returned

    def _library(self) -> Any:
        """Return the code for as many threads as torch uses now."""
        import torch

        model = PARALLEL if PARALLEL in self._info.models and torch.get_num_threads() > 1 else SERIAL
        if model not in self._loaded:
            self._loaded[model] = self._load(model)
        return self._loaded[model]

    def _load(self, model: str) -> Any:
        import torch

        # Once code for the CPU is loaded, its files are no longer needed; a GPU's kernels are opened when it first
        # runs. The directory is private (mode 0700).
        directory = tempfile.TemporaryDirectory(prefix="openmm_nn-")
        with contextlib.ExitStack() as stack:
            folder = directory.name
            if self._device == "cpu":
                stack.enter_context(directory)
            else:
                self._kernels = directory
            library = None
            archive = open_archive(self._data, "of the potential")
            for record, entry in archive.entries.items():
                start, _, file = record.rpartition("/")
                if start != _FOLDER + model or file.endswith(".cpp"):
                    continue
                path = Path(folder) / file
                path.write_bytes(archive.read(record, entry.size))
                if file.endswith(_LIBRARIES):
                    library = path
            bindings: Any = torch._C
            try:
                if self._device == "cpu":
                    return bindings._aoti.AOTIModelContainerRunnerCpu(str(library), 1)
                return bindings._aoti.AOTIModelContainerRunnerCuda(str(library), 1, self._device, folder)
            except RuntimeError as error:
                version = self._info.torch or "of an unknown version"
                raise ModelError(
                    message("package", f"code that cannot be loaded ({str(error).splitlines()[0]})",
                            f"code that fits torch {torch.__version__}; this was compiled with torch {version}",
                            f"export it again on this machine; if {folder} does not allow code to be run, set TMPDIR")
                ) from error  # fmt: skip


class PackageRunner(ModuleRunner):
    """Run a package for arrays in its own units, as `ModuleRunner` runs a module.

    Parameters
    ----------
    data
        Content of the file.
    card
        Its card.
    device
        A torch device.
    precision
        ``"model"``, or that of the code.

    Raises
    ------
    ModelError
        If the package is not trusted, or cannot be loaded.
    ParameterError
        If the precision is not that of the code.
    UnsupportedError
        If this machine cannot run it.
    """

    def __init__(self, data: bytes, card: ModelCard, *, device: str = "cpu", precision: str = "model") -> None:
        self._info = read_package(data, card.name)
        check_package(self._info, card, card.name)
        check_machine(self._info, card.name, device)
        check_trust(hashlib.sha256(data).hexdigest(), card.name)
        self._outputs = self._info.outputs or card.outputs
        self._inputs = self._info.inputs or card.inputs
        self._weighted = self._inputs[-1:] == (WEIGHTS_INPUT,)
        super().__init__(_Graph(data, self._info, device), card, device=device, precision=precision)
        compiled = str(self.dtype).removeprefix("torch.")
        if compiled != card.dtype:
            raise ParameterError(
                message("precision", repr(precision), f"'model': {card.name!r} is compiled for {card.dtype}",
                        f"leave it out, or export the potential again with dtype={compiled!r} in its card")
            )  # fmt: skip
        self._make_constants()

    def _make_constants(self) -> None:
        import torch

        table = torch.zeros(119, dtype=torch.int64)
        if SPECIES_INPUT in self._inputs:
            table[list(self._info.species)] = torch.arange(len(self._info.species))
        self._species = table.to(self.device)
        self._identity = torch.eye(3, dtype=self.dtype, device=self.device)
        count = self.card.committee_size
        self._mean = torch.full((count,), 1.0 / count, dtype=self.dtype, device=self.device)

    def _arranged(self, tensors: Sequence[Any], weights: Any) -> list[Any]:
        """Return what the code takes, from the card's inputs."""
        own = iter(tensors)
        given: list[Any] = []
        for name in self._inputs:
            if name == IDENTITY_INPUT:
                given.append(self._identity)
            elif name == WEIGHTS_INPUT:
                given.append(weights)
            else:
                given.append(self._species[next(own)] if name == SPECIES_INPUT else next(own))
        return given

    def run(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Run the code, and nothing else.

        Parameters
        ----------
        tensors
            The card's inputs, of the runner's dtype and on its device.

        Returns
        -------
        sequence of torch.Tensor
            What the code returns: the energy, the mean forces of the members, and derivatives.
        """
        result: Sequence[Any] = self._call(*self._arranged(tensors, self._mean))
        return result

    def _evaluate(
        self, inputs: Mapping[str, Any], forces: bool, derivatives: Sequence[str], members: bool
    ) -> RunnerResult:
        import torch

        count = self.card.committee_size
        if members and forces and count > 1 and not self._weighted:
            raise UnsupportedError(
                message("forces of the members", f"a potential, {self.card.name!r}, that returns the mean force itself",
                        "potentials whose forces are the gradient", "export it without its forces output")
            )  # fmt: skip
        tensors = [self._tensor(name, inputs[name]) for name in self.card.inputs]
        atoms = tensors[self.card.inputs.index("positions")].shape[0]
        rows = [self._mean]
        if members and forces and self._weighted:
            rows = [*torch.eye(count, dtype=self.dtype, device=self.device)]
        results = [self._forward(self._arranged(tensors, row)) for row in rows]
        energies = self._to_numpy(self._read_energy(results[0][0], atoms).to(torch.float64).sum(dim=1))
        found = None
        if forces:
            index = self._outputs.index("forces")
            found = np.stack([self._to_numpy(self._read_forces(result[index], atoms)) for result in results])
        values = {}
        if derivatives:
            # Those of the members are not asked for; the mean's are of the same pass as its forces.
            last = results[0] if len(rows) == 1 else self._forward(self._arranged(tensors, self._mean))
            values = {name: float(last[self._derivative(name)]) for name in derivatives}
        return energies, found, values

    def _derivative(self, name: str) -> int:
        wanted = DERIVATIVE_PREFIX + name
        if wanted not in self._outputs:
            raise UnsupportedError(
                message("derivatives", f"that by {name!r}", f"what the code of {self.card.name!r} returns: "
                        f"{', '.join(self._outputs)}", "export it with export_potential(..., format='aotinductor')")
            )  # fmt: skip
        return self._outputs.index(wanted)

    def _expected_outputs(self) -> Sequence[str]:
        return self._outputs


def make_runner(data: bytes, card: ModelCard, *, device: str, precision: str, module: Any = None) -> ModuleRunner:
    """Make the Python runner of a model file.

    Parameters
    ----------
    data
        Content of the file, TorchScript or a package.
    card
        Its card.
    device
        A torch device.
    precision
        ``model``, ``single`` or ``double``.
    module
        The module of a TorchScript file, if it has been read.

    Returns
    -------
    ModuleRunner
        The runner.
    """
    if card.format == "aotinductor":
        return PackageRunner(data, card, device=device, precision=precision)
    return ModuleRunner(module or read_script(data), card, device=device, precision=precision)
