"""RunFile: what a run file says, checked and in the units of the package."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import RunFileError
from .crosscheck import check_document
from .document import Document, read_document
from .quantities import parse_quantity
from .schema import SCHEMA

__all__ = ["GuardChoice", "RunFile"]


@dataclass(frozen=True)
class GuardChoice:
    """What a run file says of a guard.

    Parameters
    ----------
    action
        ``stop``, ``record`` or ``off``.
    limits
        By name: ``min`` and ``max`` of bonds as multiples, energies in kJ/mol, forces in kJ/mol/nm, temperature in K.
        A limit that was not given is absent.
    """

    action: str
    limits: Mapping[str, float]


@dataclass(frozen=True)
class RunFile:
    r"""A run file that can be run.

    Parameters
    ----------
    document
        What was given, with its lines.
    folder
        Where relative paths begin.
    text
        The file as it is, comments included.

    Examples
    --------
    >>> from openmm_nn.runs import RunFile
    >>> text = "structure: {file: a.pdb}\nforcefield: {files: [amber14-all.xml]}\n"
    >>> text += "dynamics: {timestep: 2 fs, temperature: 300 K}\nproduce: {length: 1 ns}\n"
    >>> RunFile.parse(text).steps("produce")
    500000
    """

    document: Document
    folder: Path
    text: str = field(repr=False)

    @classmethod
    def load(cls, path: str | Path, *, folder: str | Path | None = None) -> RunFile:
        """Read and check a run file.

        Parameters
        ----------
        path
            Of the file.
        folder
            Where relative paths begin; by default the folder that the file is in.

        Returns
        -------
        RunFile
            What it says.

        Raises
        ------
        RunFileError
            If it cannot be read, or something in it is wrong; the message names line, key, value and remedy.
        """
        file = Path(path)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
            raise RunFileError(
                "run file", f"{str(file)!r}: {reason}", "a YAML file that can be read",
                        "correct the path, or write one with `openmm-nn run --init STRUCTURE`"
            ) from error  # fmt: skip
        return cls.parse(text, name=file.name, folder=file.resolve().parent if folder is None else folder)

    @classmethod
    def parse(cls, text: str, *, name: str = "run file", folder: str | Path = ".") -> RunFile:
        """Check the text of a run file.

        Parameters
        ----------
        text
            YAML.
        name
            For messages.
        folder
            Where relative paths begin.

        Returns
        -------
        RunFile
            What it says.

        Raises
        ------
        RunFileError
            If something in it is wrong.
        """
        document = read_document(text, name)
        check_document(document)
        return cls(document, Path(folder), text)

    def get(self, *path: str) -> Any:
        """Return a value as it was given, or the default of the schema, or None."""
        value = self.document.get(*path)
        return _schema(path).get("default") if value is None else value

    def given(self, *path: str) -> bool:
        """Return whether a key was given."""
        return self.document.get(*path) is not None

    def quantity(self, *path: str) -> float | None:
        """Return a quantity in ps, K, nm, bar, kJ/mol, kJ/mol/nm, 1/ps or dalton; None if it was not given."""
        return parse_quantity(self.get(*path), _schema(path)["x-dimension"])

    def path(self, *path: str | int) -> Path:
        """Return the path that a key gives."""
        return (self.folder / Path(str(self.document.get(*path))).expanduser()).resolve()

    def error(self, *path: str | int, allowed: str, remedy: str, got: str | None = None) -> RunFileError:
        """Make the error of a key, see `Document.error`."""
        if got is None:
            return self.document.wrong(path, allowed, remedy)
        return self.document.error(path, got, allowed, remedy)

    @property
    def timestep(self) -> float:
        """Of the integrator, in ps."""
        return self.quantity("dynamics", "timestep") or 0.0

    @property
    def temperature(self) -> float | None:
        """In K; None if it was not given."""
        return self.quantity("dynamics", "temperature")

    def steps(self, stage: str) -> int:
        """Return the number of steps of ``equilibrate`` or ``produce``."""
        return round((self.quantity(stage, "length") or 0.0) / self.timestep)

    def every(self, *path: str) -> int:
        """Return an interval in steps; 0 if it was not given."""
        return round((self.quantity(*path) or 0.0) / self.timestep)

    def with_length(self, length: str) -> RunFile:
        """Return the run file with another length of the production.

        Parameters
        ----------
        length
            Such as ``2 ns``.

        Returns
        -------
        RunFile
            Comments and everything else are kept.

        Raises
        ------
        RunFileError
            If the length is none, or its line cannot be found.
        """
        lines = self.text.splitlines(keepends=True)
        index = self.document.line(("produce", "length")) - 1
        wanted = rf"\g<1>{length}\g<2>"
        lines[index] = re.sub(r"(\blength\s*:\s*)[^,}#\n]*?(\s*(?:[,}#\n]|$))", wanted, lines[index], count=1)
        changed = RunFile.parse("".join(lines), name=self.document.name, folder=self.folder)
        if changed.document.get("produce", "length") != length:
            raise self.error("produce", "length", allowed="a value on a line of its own", remedy="change it by hand")
        return changed

    def guard(self, name: str) -> GuardChoice:
        """Return what is said of a guard.

        Parameters
        ----------
        name
            A key of ``guards``.

        Returns
        -------
        GuardChoice
            Its action and limits.
        """
        limits = {}
        for key, schema in _schema(("guards", name))["properties"].items():
            value = self.quantity("guards", name, key) if "x-dimension" in schema else self.get("guards", name, key)
            if key != "action" and value is not None:
                limits[key] = float(value)
        return GuardChoice(str(self.get("guards", name, "action")), MappingProxyType(limits))


def _schema(path: tuple[str, ...]) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = SCHEMA
    for part in path:
        schema = schema["properties"][part]
    return schema
