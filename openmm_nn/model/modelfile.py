"""TorchScript files with a card inside: reading, writing, and the check of a card against its module."""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..errors import CardError, ModelError, ParameterError
from .archive import glance, open_archive
from .card import CARD_FILE, KNOWN_INPUTS, ModelCard
from .operators import missing_operator
from .scriptcheck import CARD_LIMIT, add_manifest, check_script_archive, is_script_archive
from .torchscript import read_script, write_script

__all__ = [
    "check_callable",
    "check_directory",
    "check_script",
    "pack",
    "read_card",
    "required_arguments",
    "unpack",
    "write_file",
]

# What torch raises for records that it cannot make sense of.
_READ_ERRORS = (RuntimeError, ValueError, EOFError, LookupError, TypeError, MemoryError, OSError)


def pack(module: Any, card: ModelCard) -> bytes:
    """Write a TorchScript module and its card into the bytes of a file.

    Parameters
    ----------
    module
        A ``torch.jit.ScriptModule``, not frozen.
    card
        Its card.

    Returns
    -------
    bytes
        A ``.pt`` file.

    Raises
    ------
    CardError
        If the card contradicts the module.
    """
    check_script(module, card)
    return add_manifest(write_script(module, {CARD_FILE: card.to_json()}))


def unpack(data: bytes, name: str) -> tuple[Any, ModelCard | None]:
    """Read a TorchScript module and the card inside its file.

    Parameters
    ----------
    data
        Content of the file.
    name
        Its name, for messages.

    Returns
    -------
    module : torch.jit.ScriptModule
        On the CPU.
    card : ModelCard or None
        None for a file without a card.

    Raises
    ------
    ModelError
        If the file is no TorchScript file, or is damaged.
    CardError
        If the card inside is wrong.
    """
    if not is_script_archive(data):
        _explain(data, name, ["it has no code"])
    check_script_archive(data, name)
    files: dict[str, Any] = {CARD_FILE: ""}
    try:
        module = read_script(data, files)
    except _READ_ERRORS as error:
        missing = missing_operator(str(error), name)
        if missing is not None:
            raise missing from error
        _explain(data, name, str(error).strip().splitlines())
    text = files[CARD_FILE]
    if not text:
        return module, None
    try:
        return module, ModelCard.from_json(text.decode() if isinstance(text, bytes) else text)
    except UnicodeDecodeError as error:
        raise CardError(
            f"card of {name}", "bytes that are no text", "a JSON object", "export the model again"
        ) from error
    except CardError as error:
        raise error.rename(f"{name}: {error.argument}") from error


def _explain(data: bytes, name: str, reason: list[str]) -> NoReturn:
    """Raise the error that says what a file is that cannot be read."""
    allowed = "an AOTInductor package (.pt2)" if name.endswith(".pt2") else "a TorchScript file (.pt)"
    if not data:
        raise ModelError(f"file {name}", "an empty file", allowed, "get or export the file again")
    members = glance(data)
    if members is None:
        got = "a file that is truncated or damaged" if data[:2] == b"PK" else "a file that is no model"
        raise ModelError(f"file {name}", got, allowed, "get or export the file again") from None
    if any(entry.startswith("models/") for entry in members):
        raise ModelError(
            f"file {name}", "an exported program that is not compiled", f"{allowed} or a compiled one (.pt2)",
                    "compile its module: openmm_nn.export_potential(module, path, card, format='aotinductor')"
        )  # fmt: skip
    if "data.pkl" in members and "constants.pkl" not in members:
        raise ModelError(
            f"file {name}", "a pickled checkpoint, which no registered format can read", allowed,
                    "load it with the library that wrote it and call openmm_nn.export_potential(module, path, card)"
        )  # fmt: skip
    raise ModelError(
        f"file {name}", f"a file that torch cannot read ({' '.join(reason[:3])})", allowed,
                "get or export the file again, with a torch no newer than this one"
    )  # fmt: skip


def read_card(data: bytes, name: str = "of the model") -> ModelCard | None:
    """Read the card of a file without loading torch.

    Parameters
    ----------
    data
        Content of a TorchScript file.
    name
        Its name, for messages.

    Returns
    -------
    ModelCard or None
        None if there is none.

    Raises
    ------
    ModelError
        If it is no archive, or one that breaks a rule.
    CardError
        If the card inside is wrong.
    """
    archive = open_archive(data, name)
    record = f"extra/{CARD_FILE}"
    if record not in archive.entries:
        return None
    try:
        return ModelCard.from_json(archive.read(record, CARD_LIMIT).decode())
    except UnicodeDecodeError as error:
        raise CardError("card", "bytes that are no text", "a JSON object", "export the model again") from error


def required_arguments(module: Any) -> list[str]:
    """Return the names of the arguments that a TorchScript module's forward needs.

    Parameters
    ----------
    module
        A ``torch.jit.ScriptModule``.

    Returns
    -------
    list of str
        Without those that have defaults.
    """
    arguments = _schema(module).arguments[1:]
    return [argument.name for argument in arguments if not argument.has_default_value()]


def _schema(module: Any) -> Any:
    try:
        return module.forward.schema
    except (AttributeError, RuntimeError) as error:
        raise ModelError(
            "model", "a module without forward()", "a module that can be called", "script one with forward()"
        ) from error


def check_script(module: Any, card: ModelCard) -> None:
    """Check a card against the signature of a TorchScript module.

    Parameters
    ----------
    module
        A ``torch.jit.ScriptModule``.
    card
        Its card.

    Raises
    ------
    CardError
        If number, names or types of arguments, or the number of outputs differ.
    """
    schema = _schema(module)
    arguments = schema.arguments[1:]
    names = [argument.name for argument in arguments]
    # Names are the author's own in files made for TorchForce.
    _check_names(card, names, len(required_arguments(module)), strict=not card.follows_torchforce)
    for argument, name in zip(arguments, card.inputs, strict=False):
        kind = argument.type.kind()
        if kind == "OptionalType":
            kind = argument.type.getElementType().kind()
        if kind != "TensorType":
            raise CardError(
                f"inputs of the model: {name!r}", f"an argument of type {argument.type}", "a Tensor",
                        "annotate it as torch.Tensor; numbers are passed as tensors without dimensions"
            )  # fmt: skip
    returned = schema.returns[0].type
    kind = returned.kind()
    count = 1 if kind == "TensorType" else len(returned.elements()) if kind == "TupleType" else None
    if count != len(card.outputs):
        got = f"{returned} from forward(), for the card's outputs {card.outputs}"
        remedy = (
            "correct outputs in the card; for a file made for TorchForce give card=ModelCard.torchforce(outputs=...)"
        )
        raise CardError("outputs", got, "a Tensor, or a Tuple of as many as the card lists", remedy)


def check_callable(function: Callable[..., Any], card: ModelCard) -> None:
    """Check a card against the signature of a Python callable, as far as that can be read.

    Parameters
    ----------
    function
        The callable.
    card
        Its card.

    Raises
    ------
    CardError
        If number or names of arguments differ.
    """
    try:
        found = inspect.signature(getattr(function, "forward", function)).parameters.values()
    except (TypeError, ValueError):
        return
    positional = [p for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [p.name for p in positional]
    if any(p.kind == p.VAR_POSITIONAL for p in found):
        return
    _check_names(card, names, sum(p.default is p.empty for p in positional), strict=False)


def _check_names(card: ModelCard, names: Sequence[str], required: int, *, strict: bool) -> None:
    """Compare arguments with the card's inputs; unknown names matter only if `strict`."""
    if not required <= len(card.inputs) <= len(names):
        raise CardError(
            f"inputs of the card {card.name!r}", f"{', '.join(card.inputs)}, for forward({', '.join(names)})",
                    "a card that lists every argument of forward(), in order", _remedy(card, names[:required])
        )  # fmt: skip
    for index, (given, listed) in enumerate(zip(names, card.inputs, strict=False)):
        known = given in KNOWN_INPUTS or given in card.parameters
        if given != listed and (strict or known):
            raise CardError(
                f"inputs of the card {card.name!r}", f"{listed!r} for argument {index + 1} of forward(), "
                        f"{given!r}", "the names of the arguments, in order", "reorder or rename them in one"
            )  # fmt: skip


def _remedy(card: ModelCard, required: Sequence[str]) -> str:
    if not card.follows_torchforce:
        return "correct inputs in the card"
    rest = list(required[1:])
    periodic = bool(rest) and rest[0] in ("box", "boxvectors", "box_vectors", "cell")
    parameters = ", ".join(f"{name!r}: <default>" for name in rest[1 if periodic else 0 :])
    options = [f"parameters={{{parameters}}}"] if parameters else []
    options += ["periodic=True"] if periodic else []
    return (
        f"give card=ModelCard.torchforce({', '.join(options)}): periodic=True if the second argument is the box, and "
        "parameters with names, order and defaults of the global parameters"
    )


def check_directory(path: Path) -> None:
    """Refuse a path whose directory does not exist."""
    if not path.parent.is_dir():
        raise ParameterError(
            "path", str(path), "a file in a directory that exists", f"make the directory {path.parent}"
        )


def write_file(path: Path, data: bytes) -> None:
    """Write a model file as a whole or not at all.

    Parameters
    ----------
    path
        Where.
    data
        Its content.

    Raises
    ------
    ParameterError
        If its directory does not exist.
    """
    check_directory(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
