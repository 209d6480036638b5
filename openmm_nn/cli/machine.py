"""``bench``, ``build`` and ``doctor``: this machine."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.table import Column, Table
from rich.text import Text

from .console import output, readable

__all__ = ["PASS", "bench", "build", "doctor"]

PASS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def bench(context: typer.Context) -> None:
    """Measure the time of a step, against peers that are installed; `openmm-nn bench step --help` says more."""
    with readable():
        from ..bench.__main__ import main

        main(context.args, prog="openmm-nn bench")


def build(
    force: Annotated[bool, typer.Option("--force", help="Build even if an extension that fits is there.")] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Compilers at a time; by default one a core.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the output of every step.")] = False,
    platform: Annotated[
        list[str] | None, typer.Option("--platform", help="Fail if it cannot be built: cuda, opencl; may be repeated.")
    ] = None,
) -> None:
    """Build the native extension for the torch and OpenMM that are installed; about two minutes."""
    with readable():
        from ..native.build import main

        options = [*(["--force"] if force else []), *(["--jobs", str(jobs)] if jobs else [])]
        options += [word for name in platform or () for word in ("--platform", name)]
        status = main([*options, *(["--verbose"] if verbose else [])])
        if status:
            raise typer.Exit(status)


def doctor() -> None:
    """Say what is installed, what works, what is slow and why; the status is 1 if something must be fixed."""
    with readable():
        from .diagnosis import examine

        findings = examine()
        # Paths and versions are of use only as a whole.
        found = Column("found", overflow="fold")
        table = Table("", Column("what", no_wrap=True), found, box=box.SIMPLE, pad_edge=False)
        marks = {"good": Text("✓", "green"), "note": Text("·", "yellow"), "bad": Text("✗", "red")}
        for finding in findings:
            table.add_row(marks[finding.verdict], finding.what, finding.found)
        output.out.print(table)
        advice = [finding for finding in findings if finding.advice]
        for finding in advice:
            output.out.print(f"{finding.what}: {finding.advice}", soft_wrap=True)
        if any(finding.verdict == "bad" for finding in findings):
            raise typer.Exit(1)
        if not advice:
            output.out.print("nothing to do")
