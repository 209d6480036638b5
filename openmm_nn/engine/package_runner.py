"""Runs AOTInductor packages (``.pt2``) from Python."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelError, ParameterError, UnsupportedError
from ..model.archive import open_archive
from ..model.card import ModelCard
from ..model.package import (
    CODE_FOLDER,
    DERIVATIVE_PREFIX,
    IDENTITY_INPUT,
    LIBRARY_SUFFIXES,
    PARALLEL,
    SERIAL,
    SPECIES_INPUT,
    WEIGHTS_INPUT,
    PackageInfo,
    check_machine,
    check_package,
    read_package,
)
from ..model.torchscript import read_script
from ..model.trust import check_trust
from .module_runner import ModuleRunner, RunnerResult

__all__ = ["PackageRunner", "make_runner"]


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
                if start != CODE_FOLDER + model or file.endswith(".cpp"):
                    continue
                path = Path(folder) / file
                path.write_bytes(archive.read(record, entry.size))
                if file.endswith(LIBRARY_SUFFIXES):
                    library = path
            bindings: Any = torch._C
            try:
                if self._device == "cpu":
                    return bindings._aoti.AOTIModelContainerRunnerCpu(str(library), 1)
                return bindings._aoti.AOTIModelContainerRunnerCuda(str(library), 1, self._device, folder)
            except RuntimeError as error:
                version = self._info.torch or "of an unknown version"
                raise ModelError(
                    "package", f"code that cannot be loaded ({str(error).splitlines()[0]})",
                            f"code that fits torch {torch.__version__}; this was compiled with torch {version}",
                            f"export it again on this machine; if {folder} does not allow code to be run, set TMPDIR"
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
                "precision", repr(precision), f"'model': {card.name!r} is compiled for {card.dtype}",
                        f"leave it out, or export the potential again with dtype={compiled!r} in its card"
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
                "forces of the members", f"a potential, {self.card.name!r}, that returns the mean force itself",
                        "potentials whose forces are the gradient", "export it without its forces output"
            )  # fmt: skip
        tensors = [self.tensor(name, inputs[name]) for name in self.card.inputs]
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
                "derivatives", f"that by {name!r}", f"what the code of {self.card.name!r} returns: "
                        f"{', '.join(self._outputs)}", "export it with export_potential(..., format='aotinductor')"
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
