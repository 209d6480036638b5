"""Files of foreign families: what they are, told from their contents without running any of it."""

from __future__ import annotations

import functools
import io
import pickletools
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ModelError, ParameterError
from ...model.operators import missing_operator
from ...model.scriptcheck import check_script_archive
from ...model.torchscript import quiet_torchscript, read_script

__all__ = ["ForeignFile", "inspect_file", "read_foreign_script", "require_trust"]

_MANGLED = re.compile(r"___torch_mangle_\d+\.|\.?___torch_mangle_\d+")
_LARGEST_EXTRA = 1 << 20  # bytes: what describes a model is text; tables of compressed models are not needed to tell
_LARGEST_EXTRAS = 1 << 26
_LARGEST_PICKLE = 1 << 28  # bytes: the weights themselves lie beside it


@dataclass(frozen=True)
class ForeignFile:
    """What is seen of a file from outside.

    Parameters
    ----------
    path
        The file.
    script
        Whether it is a TorchScript archive.
    root
        Name of the class of a TorchScript archive's module, such as ``mace.calculators.lammps_mace.LAMMPS_MACE``; empty
        for other archives.
    extra
        Its extra files of up to 1 MiB, by name.
    pickled
        Names ``module.attribute`` that its pickle would import when read; empty for TorchScript.
    words
        Strings of up to 100 characters inside its pickle; empty for TorchScript.
    """

    path: Path
    script: bool
    root: str
    extra: Mapping[str, bytes]
    pickled: frozenset[str]
    words: frozenset[str]

    def text(self, name: str) -> str:
        """Return an extra file as text.

        Parameters
        ----------
        name
            Name of the extra file.

        Returns
        -------
        str
            Its content without white space around it.

        Raises
        ------
        ModelError
            If it is missing, or no text.
        """
        try:
            return self.extra[name].decode().strip()
        except (KeyError, UnicodeDecodeError) as error:
            raise ModelError(
                f"file {self.path}", f"no {name} among its extra files", "a file as its library writes it",
                        "write it again with a current version of the library"
            ) from error  # fmt: skip

    def number(self, name: str) -> float:
        """Return an extra file as a number.

        Parameters
        ----------
        name
            Name of the extra file.

        Returns
        -------
        float
            The number.

        Raises
        ------
        ModelError
            If it is missing, or no number.
        """
        text = self.text(name)
        try:
            return float(text)
        except ValueError as error:
            raise ModelError(
                f"file {self.path}", f"{text!r} in its extra file {name}", "a number",
                        "write it again with a current version of the library"
            ) from error  # fmt: skip

    def imports(self, *packages: str) -> bool:
        """Return whether the pickle would import something of one of these packages.

        Parameters
        ----------
        packages
            Names of modules, such as ``mace.modules``.

        Returns
        -------
        bool
            Whether it would.
        """
        return any(name.startswith(f"{package}.") for name in self.pickled for package in packages)


def inspect_file(source: str) -> ForeignFile | None:
    """Look into a file without running anything of it.

    Parameters
    ----------
    source
        A path, or a name.

    Returns
    -------
    ForeignFile or None
        None if there is no such file, or it is no archive of torch.
    """
    path = Path(source)
    try:
        state = path.stat()
    except (OSError, ValueError):
        return None
    if not path.is_file():
        return None
    return _inspect(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=16)
def _inspect(path: Path, changed: int, size: int) -> ForeignFile | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
            extras = {
                name: entry
                for name, entry in names.items()
                if name.startswith("extra/") and entry.file_size <= _LARGEST_EXTRA
            }
            if sum(entry.file_size for entry in extras.values()) > _LARGEST_EXTRAS:
                return None
            extra = {name.removeprefix("extra/"): archive.read(entry) for name, entry in extras.items()}
            script = "constants.pkl" in names
            pickle = names.get("data.pkl")
            content = b"" if pickle is None or pickle.file_size > _LARGEST_PICKLE else archive.read(pickle)
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, RuntimeError, LookupError):
        return None
    pickled, words = _read_opcodes(content)
    if script:
        root = _MANGLED.sub("", pickled[0].removeprefix("__torch__.")) if pickled else ""
        return ForeignFile(path, True, root, extra, frozenset(), frozenset())
    return ForeignFile(path, False, "", extra, frozenset(pickled), frozenset(words))


def _read_opcodes(data: bytes) -> tuple[list[str], list[str]]:
    """Names that a pickle would import, in order, and short strings inside it, read from its opcodes."""
    found: list[str] = []
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(data)):
            if opcode.name == "GLOBAL":
                found.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
                found.append(".".join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
    except (ValueError, EOFError, IndexError, UnicodeDecodeError):
        pass  # what could be read of a damaged pickle
    return found, [text for text in strings if len(text) <= 100]


def read_foreign_script(file: ForeignFile, edit: Callable[[bytes], bytes] | None = None) -> Any:
    """Read a TorchScript module of another library.

    Parameters
    ----------
    file
        The file.
    edit
        Given its content, once checked, returns what is checked and read in its place.

    Returns
    -------
    torch.jit.ScriptModule
        On the CPU, in evaluation mode where it has modes.

    Raises
    ------
    ModelError
        If torch cannot read it.
    """
    try:
        data = file.path.read_bytes()
        check_script_archive(data, str(file.path))
        if edit is not None:
            data = edit(data)
            check_script_archive(data, str(file.path))
        with quiet_torchscript():
            module = read_script(data)
    except ModelError:
        raise
    except (RuntimeError, OSError, ValueError, LookupError, TypeError) as error:
        missing = missing_operator(str(error), str(file.path))
        if missing is not None:
            raise missing from error
        reason = " ".join(str(error).strip().splitlines()[:3])
        raise ModelError(
            f"file {file.path}", f"a file that torch cannot read ({reason})", "a TorchScript file",
                    "get it again, or write it with a torch no newer than this one; if it names a class that is not "
                    "known, import the library that made it first"
        ) from error  # fmt: skip
    if hasattr(module, "training"):
        module.eval()
    return module


def require_trust(file: ForeignFile, trust: bool, instead: str) -> None:
    """Refuse to read a pickle that the user has not said to trust.

    Parameters
    ----------
    file
        The file.
    trust
        What the user said.
    instead
        What to do for those who do not trust it.

    Raises
    ------
    ParameterError
        If `trust` is not True.
    """
    if not trust:
        raise ParameterError(
            "trust", f"False for {file.path}, a pickle: reading it runs whatever code its author put inside",
                    "True, for a file whose origin you trust", f"give {{trust}}; or {instead}", {"trust": True}
        )  # fmt: skip
