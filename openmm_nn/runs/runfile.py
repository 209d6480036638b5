"""RunFile: what a run file says, checked and in the units of the package."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import RunFileError
from .crosscheck import check_keys
from .document import Document, Place, read_document
from .schema import HOMES, KEYS, Keys

__all__ = ["RunFile"]


@dataclass(frozen=True, kw_only=True)
class RunFile(Keys):
    r"""A run file that can be run.

    Every section and key is an attribute. Quantities are numbers in ps, K, nm, bar, kJ/mol, kJ/mol/nm, 1/ps or dalton;
    what was left out is its default, or None.

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
    >>> runfile = RunFile.parse(text)
    >>> runfile.produce.length, runfile.dynamics.ensemble, runfile.minimise.iterations
    (1000.0, 'NVT', 500)
    """

    document: Document = field(repr=False)
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
        keys = KEYS.values(document.data, Place(document, homes=HOMES))
        runfile = cls(**keys, document=document, folder=Path(folder), text=text)
        check_keys(runfile, document)
        return runfile

    def path(self, name: str) -> Path:
        """Return the path of a file that the run file names."""
        return (self.folder / Path(name).expanduser()).resolve()

    def error(self, key: str, *, allowed: str, remedy: str, got: str | None = None) -> RunFileError:
        """Make the error of a key such as ``forcefield.files[0]``; the value is shown as it was given."""
        if got is None:
            return self.document.wrong(key, allowed, remedy)
        return self.document.error(key, got, allowed, remedy)

    def steps(self, time: float | None) -> int:
        """Return the number of time steps in a time in ps; 0 if there is none."""
        return round((time or 0.0) / self.dynamics.timestep)

    @property
    def stages(self) -> dict[str, int]:
        """The number of steps of ``equilibrate`` and ``produce``."""
        return {"equilibrate": self.steps(self.equilibrate.length), "produce": self.steps(self.produce.length)}

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
        index = self.document.line("produce.length") - 1
        wanted = rf"\g<1>{length}\g<2>"
        lines[index] = re.sub(r"(\blength\s*:\s*)[^,}#\n]*?(\s*(?:[,}#\n]|$))", wanted, lines[index], count=1)
        changed = RunFile.parse("".join(lines), name=self.document.name, folder=self.folder)
        if changed.document.values["produce.length"] != length:
            raise self.error("produce.length", allowed="a value on a line of its own", remedy="change it by hand")
        return changed
