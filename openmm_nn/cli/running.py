"""``run`` and ``continue``."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from .console import fail, output, readable
from .progress_bars import showing

__all__ = ["continue_", "run"]


def run(
    file: Annotated[Path | None, typer.Argument(metavar="RUN.yaml", help="A run file; --init writes one.")] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Where everything goes; by default the file's name."),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option("--init", metavar="STRUCTURE", help="Write a commented run file for a structure, and stop."),
    ] = None,
    as_script: Annotated[
        bool, typer.Option("--as-script", help="Print a Python script that does the same, and stop.")
    ] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of run files, and stop.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Make the System, say what would run, and stop.")] = False,
) -> None:
    """Run a simulation: minimise, equilibrate, produce.

    Three commands lead from a structure to a report:

      openmm-nn run --init complex.pdb

      openmm-nn run complex.yaml

      openmm-nn report complex

    Everything goes into one directory. A run that dies or is killed goes on with `openmm-nn continue DIR`, from its
    last checkpoint, with nothing lost and nothing doubled.
    """
    with readable():
        if schema:
            from ..runs import SCHEMA

            output.out.print_json(json.dumps(SCHEMA))
            return
        if init is not None:
            _init(init, file)
            return
        if file is None:
            fail("RUN.yaml: nothing given; to write a run file: openmm-nn run --init STRUCTURE")
        _is_run_file(file)
        from ..runs import RunFile

        runfile = RunFile.load(file)
        if as_script:
            from ..runs.script import as_python

            typer.echo(as_python(runfile), nl=False)
            return
        if check:
            from ..runs.summary import summarise

            output.out.print(summarise(runfile), markup=False, soft_wrap=True)
            return
        from .. import runs

        target = directory if directory is not None else Path(file.stem)
        with showing() as progress, _interruptible(target):
            result = runs.run(runfile, target, progress=progress)
        _tell(result.status, result.reason, target)


def _is_run_file(file: Path) -> None:
    """Say what to do with what is taken for a run file easily."""
    from ..errors import RunFileError
    from ..runs.schema import STRUCTURE_KINDS

    if file.suffix.lower() in STRUCTURE_KINDS:
        what, remedy = f"{str(file)!r}, a structure", f"write one for it: openmm-nn run --init {file}"
    elif (file / "run.yaml").is_file():
        what, remedy = f"{str(file)!r}, the folder of a run", f"go on with it by `openmm-nn continue {file}`"
    else:
        return
    raise RunFileError("RUN.yaml", what, "a run file", remedy)


def _init(structure: Path, file: Path | None) -> None:
    from ..runs.template import write_template

    target = file if file is not None else Path(structure.stem).with_suffix(".yaml")
    write_template(structure, target)
    output.out.print(f"{target} is written: look through it, then", soft_wrap=True)
    output.out.print(f"  openmm-nn run {target}", soft_wrap=True)


def continue_(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a run.")],
    length: Annotated[
        str | None, typer.Option("--length", metavar="TIME", help="A new length of the production, such as '2 ns'.")
    ] = None,
) -> None:
    """Go on with a run from its last checkpoint.

    Frames and lines that were written after the checkpoint are cut off and written again. On the Reference platform the
    result is that of an unbroken run, bit for bit; elsewhere it is so statistically. Guards and the length of the
    production may be changed in DIR/run.yaml before.
    """
    with readable():
        from .. import runs

        with showing() as progress, _interruptible(directory):
            result = runs.continue_run(directory, length=length, progress=progress)
        _tell(result.status, result.reason, directory)
        if length is None and not output.quiet:
            output.out.print(f"longer: openmm-nn continue {directory} --length TIME", soft_wrap=True)


@contextlib.contextmanager
def _interruptible(directory: Path) -> Iterator[None]:
    """Say how a run goes on that was interrupted from the keyboard."""
    try:
        yield
    except KeyboardInterrupt:
        fail(f"`openmm-nn continue {directory}` goes on from the last checkpoint.", "interrupted")


def _tell(status: str, reason: str | None, directory: Path) -> None:
    if status != "finished":
        fail(f"{reason} Everything is in {directory}.", "stopped")
    if not output.quiet:
        size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 1e6
        free = shutil.disk_usage(directory).free / 1e9
        output.out.print(f"finished: {directory} ({size:.1f} MB; {free:.0f} GB are free)", soft_wrap=True)
        output.out.print(f"next: openmm-nn report {directory}", soft_wrap=True)
