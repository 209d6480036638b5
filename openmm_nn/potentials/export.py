"""export_potential: from a canonical module to a file with its card inside."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..errors import ModelError, ParameterError, UnsupportedError
from ..model.card import ModelCard
from ..model.modelfile import check_callable, check_directory, pack, write_file
from ..model.torchscript import quiet_torchscript
from ..model.trust import remember_hash
from .potential import Potential

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["EXPORT_FORMATS", "export_potential"]

EXPORT_FORMATS = ("torchscript", "aotinductor", "torchforce")
DEVICES = ("cpu", "cuda")


def export_potential(
    module: Any,
    path: str | os.PathLike[str],
    card: ModelCard,
    *,
    format: str = "torchscript",
    example: Mapping[str, ArrayLike] | None = None,
    portable: bool = False,
    device: str = "cpu",
) -> Potential:
    """Write a module and its card into one file.

    Parameters
    ----------
    module
        A ``torch.nn.Module``, which is scripted in evaluation mode, or a ``torch.jit.ScriptModule`` (not for
        ``"aotinductor"``). It is never frozen before it is saved, so that its dtype can still be changed when it is
        loaded; the module given is not changed.
    path
        The file, which is written as a whole or not at all.
    card
        Its card; ``created_with`` is filled in where it is empty, and in a package ``format``, and ``dtype`` where it
        is ``"platform"`` (then ``"float64"``): code has one precision.
    format
        ``"torchscript"``: a ``.pt`` file. ``"torchforce"``: one that openmm-torch's TorchForce runs, units and all else
        folded in (see `Potential.to_torchforce`, which takes a subset too). ``"aotinductor"``: a ``.pt2`` file, a
        package of machine code with energy, gradient and derivatives by parameters in one graph, for any number of
        atoms and edges. It is faster, takes a minute or so to compile and a C++ compiler to make (none to run), and
        fits this kind of machine only. It holds code for one thread, and a second one for several unless torch uses one
        thread while it is made.
    example
        A value for every input of the card, by name. A module that cannot be scripted is traced with them, and so must
        not branch on its inputs. A package is compared with the module for them. For ``"torchforce"``: values of what
        TorchForce does not pass, such as the ``atomic_numbers`` of all particles, and a ``box`` if it is to pass that.
    portable
        Whether a package must run on every processor of this kind, whatever its age, not only on those with all the
        features of this one. TorchScript files always do.
    device
        What a package runs on: ``"cpu"``, or ``"cuda"`` for GPUs like the one of the machine where it is made.
        TorchScript files run on both.

    Returns
    -------
    Potential
        Read from the file's bytes.

    Raises
    ------
    CardError
        If the card contradicts the module.
    ModelError
        If the module cannot be scripted or exported, or is frozen; the message says what to do.
    MissingDependencyError
        If a package is to be made, and there is no C++ compiler.
    ParameterError
        If format, path or example are not allowed.
    UnsupportedError
        If the format is not in this version, or TorchForce cannot run the module.

    Examples
    --------
    >>> import tempfile, torch
    >>> from openmm_nn import ModelCard, export_potential
    >>> module = torch.nn.Module()
    >>> card = ModelCard.torchforce()
    >>> export_potential(module, "spring.pt", card)  # doctest: +SKIP
    """
    if format not in EXPORT_FORMATS:
        raise ParameterError("format", repr(format), ", ".join(EXPORT_FORMATS), "choose one of these")
    _check_device(device, format)
    if format == "torchforce" and not card.follows_torchforce:
        module, card = _torchforce(module, card, example or {})
        example = None
    card = dataclasses.replace(card, created_with=card.created_with or _created_with())
    if format == "aotinductor":
        return _export_package(module, Path(path), card, example, portable, device)
    card = dataclasses.replace(card, format="torchscript")
    data = pack(_script(module, card, example), card)
    write_file(Path(path), data)
    return _named(card, data)


def _export_package(
    module: Any, path: Path, card: ModelCard, example: Mapping[str, ArrayLike] | None, portable: bool, device: str
) -> Potential:
    from .aotinductor import compile_package

    if path.suffix != ".pt2":
        raise ParameterError(
            "path", str(path), "a name that ends in .pt2, which says that there is machine code inside",
                    f"name it {path.with_suffix('.pt2').name}"
        )  # fmt: skip
    check_directory(path)
    if example is not None:
        _check_example(card, example)
    data, card = compile_package(module, card, example=example, portable=portable, device=device)
    write_file(path, data)
    return _named(card, data)


def _named(card: ModelCard, data: bytes) -> Potential:
    """Make the potential of a file that has been written, which its user knows by that."""
    potential = Potential(card, data=data)
    remember_hash(str(potential.sha256))
    return potential


def _check_device(device: str, format: str) -> None:
    if device not in DEVICES:
        raise ParameterError("device", repr(device), ", ".join(DEVICES), "choose one of these")
    if device == "cpu":
        return
    if format != "aotinductor":
        raise ParameterError(
            "device", f"{device!r} with format={format!r}", "'aotinductor', whose code fits one kind of device",
                    "leave it out: a TorchScript file runs on CPUs and GPUs"
        )  # fmt: skip
    import torch

    if not torch.cuda.is_available():
        raise UnsupportedError(
            "device", f"{device!r}, on a machine where torch {torch.__version__} finds no GPU",
                    "a machine with the kind of GPU on which the potential is to run", "export it there"
        )  # fmt: skip


def _created_with() -> str:
    import torch

    return f"openmm_nn {__version__}, torch {torch.__version__}"


def _torchforce(module: Any, card: ModelCard, example: Mapping[str, Any]) -> tuple[Any, ModelCard]:
    """Fold what TorchForce does not pass into the module."""
    from .torchforce import compose_torchforce

    scripted = _script(module, card, example if set(example) == set(card.inputs) else None)
    return compose_torchforce(
        scripted,
        card,
        atomic_numbers=example.get("atomic_numbers"),
        periodic="box" in example if card.periodic == "optional" else None,
        charge=int(example.get("charge", 0)),
        multiplicity=int(example.get("multiplicity", 1)),
    )


def _script(module: Any, card: ModelCard, example: Mapping[str, ArrayLike] | None) -> Any:
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        if not module._c.hasattr("training"):
            raise ModelError(
                "module", "a frozen ScriptModule", "one whose dtype can still be changed",
                        "export it as it was before torch.jit.freeze"
            )  # fmt: skip
        # Evaluation mode is part of what is saved; the module given stays as it is.
        if module.training:
            from ..model.torchscript import read_script, write_script

            module = read_script(write_script(module))
            module.eval()
        return module
    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            "module", f"a {type(module).__name__}", "a torch.nn.Module or a torch.jit.ScriptModule",
                    "put the function into the forward method of a Module"
        )  # fmt: skip
    check_callable(module, card)
    training = module.training
    module.eval()
    try:
        with quiet_torchscript():
            try:
                return torch.jit.script(module)
            except _compile_errors() as error:
                if example is None:
                    raise ModelError(
                        "module", f"one that TorchScript cannot compile ({_refusal(error)})",
                                "a module that torch.jit.script accepts",
                                "write this with typed Python and torch's own functions; or, if forward takes the "
                                "same way for all values, give example= with a value for every input, to trace it"
                    ) from error  # fmt: skip
            trace: Any = torch.jit.trace
            return trace(module, _example_tensors(card, example))
    finally:
        module.train(training)


def _compile_errors() -> tuple[type[Exception], ...]:
    """Return what torch.jit.script raises for a module that it cannot compile."""
    from torch.jit.frontend import FrontendError

    return (RuntimeError, OSError, TypeError, FrontendError)


def _refusal(error: Exception) -> str:
    """Return what TorchScript says of the first line that it refused, with its file, number and text."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[0].strip(" :.")
    marks = [number for number, line in enumerate(lines) if "<--- HERE" in line]
    places = [re.match(r'\s*File "(.+)", line (\d+)', line) for line in lines[: marks[0]]] if marks else []
    if not any(places):
        return reason
    file, number = [place.groups() for place in places if place][-1]
    return f"{reason}: {file}, line {number}, `{lines[marks[0] - 1].strip()}`"


def _check_example(card: ModelCard, example: Mapping[str, ArrayLike]) -> None:
    if set(example) != set(card.inputs):
        raise ParameterError(
            "example", ", ".join(example), f"the card's inputs: {', '.join(card.inputs)}", "give one of each"
        )


def _example_tensors(card: ModelCard, example: Mapping[str, ArrayLike]) -> tuple[Any, ...]:
    import numpy as np
    import torch

    _check_example(card, example)
    floating = torch.float32 if card.dtype == "float32" else torch.float64
    dtypes = {"atomic_numbers": torch.int64, "edge_index": torch.int64}
    return tuple(torch.tensor(np.asarray(example[n]), dtype=dtypes.get(n, floating)) for n in card.inputs)
