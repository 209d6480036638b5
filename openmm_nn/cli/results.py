"""``analyse`` and ``report``: what came out of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from .console import output, readable
from .progress_bars import showing_parts

__all__ = ["analyse", "report"]

_PRINTED = ("energies", "shape", "environment", "twin", "rest")


def analyse(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a run.")],
    twin: Annotated[
        Path | None,
        typer.Option(
            "--twin", metavar="DIR", help="A classical run of the same atoms, to compare with and to reweight."
        ),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=1, help="MDTraj reads at most so many, evenly spaced.")] = 500,
    energy_frames: Annotated[
        int, typer.Option("--energy-frames", min=1, help="At most so many for what needs energies.")
    ] = 50,
) -> None:
    """Analyse a run with MDTraj: energies and drift, structure, the boundary, sigma; writes DIR/analysis.json.

    Tables of what was found are printed; `openmm-nn report DIR` draws it.

    The classical twin of a run has its run file without the sections `potential`, `region` and `uncertainty`:

    openmm-nn analyse hybrid --twin classical
    """
    with readable():
        from ..report.contents import make_sections
        from ..runs import RunDirectory, analyse_run

        _require(directory, "DIR")
        if twin is not None:
            _require(twin, "--twin")
        with showing_parts() as progress:
            found = analyse_run(directory, twin=twin, frames=frames, energy_frames=energy_frames, progress=progress)
        if not output.quiet:
            for section in make_sections(RunDirectory(directory), found):
                for table in section.tables if section.key in _PRINTED else ():
                    _print(table)
        output.out.print(f"{directory / 'analysis.json'} is written", soft_wrap=True)


def _print(table: Any) -> None:
    shown = Table(*table.header, title=table.title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for row in table.rows:
        shown.add_row(*row)
    output.out.print(shown)


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a run.")],
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="By default DIR/report.html.")
    ] = None,
) -> None:
    """Write one HTML page that shows what happened in a run, and whether to believe it; it opens offline.

    The run is analysed first, unless `openmm-nn analyse` has done so since its last frame.
    """
    with readable():
        import importlib

        _require(directory, "DIR")
        with showing_parts() as progress:
            path = importlib.import_module("openmm_nn.report").make_report(directory, file, progress=progress)
        output.out.print(f"{path} is written: open it in a browser", soft_wrap=True)


def _require(directory: Path, argument: str) -> None:
    from ..errors import RunError

    if not (directory / "record.json").is_file():
        raise RunError(
            argument, f"{str(directory)!r}, which holds no run", "a directory with run.yaml and record.json",
                    "start one with `openmm-nn run RUN.yaml`"
        )  # fmt: skip
