"""``analyse`` and ``report``: what came out of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import output, readable

__all__ = ["analyse", "report"]


def analyse(directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a run.")]) -> None:
    """Analyse a run with MDTraj: energies and drift, structure, the boundary, sigma; writes DIR/analysis.json."""
    with readable():
        from ..analysis import analyse_run

        _require(directory)
        analyse_run(directory)
        output.out.print(f"{directory / 'analysis.json'} is written", soft_wrap=True, markup=False)


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a run.")],
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="By default DIR/report.html.")
    ] = None,
) -> None:
    """Write one HTML page that shows what happened in a run, and whether to believe it; it opens offline."""
    with readable():
        import importlib

        _require(directory)
        path = importlib.import_module("openmm_nn.report").make_report(directory, file)
        output.out.print(f"{path} is written: open it in a browser", soft_wrap=True, markup=False)


def _require(directory: Path) -> None:
    from ..errors import RunError, message

    if not (directory / "record.json").is_file():
        raise RunError(
            message("DIR", f"{str(directory)!r}, which holds no run", "a directory with run.yaml and record.json",
                    "start one with `openmm-nn run RUN.yaml`")
        )  # fmt: skip
