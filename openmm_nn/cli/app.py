"""The commands together, and what is common to all of them."""

from __future__ import annotations

from typing import Annotated

import typer

from .._version import __version__
from . import machine, results, running
from . import potential_commands as potentials
from .console import output

__all__ = ["app", "main"]

app = typer.Typer(
    name="openmm-nn",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"openmm-nn {__version__}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and stop.")
    ] = False,
) -> None:
    """Neural potentials in OpenMM: from a structure to a report.

    Begin with `openmm-nn run --init STRUCTURE`, or see what there is with `openmm-nn models`.
    """
    output.debug, output.quiet = debug, quiet


_SIMULATE, _POTENTIALS, _MACHINE = "Simulate and look", "Potentials", "This machine"
app.command("run", rich_help_panel=_SIMULATE)(running.run)
app.command("continue", rich_help_panel=_SIMULATE)(running.continue_)
app.command("analyse", rich_help_panel=_SIMULATE)(results.analyse)
app.command("report", rich_help_panel=_SIMULATE)(results.report)
app.command("models", rich_help_panel=_POTENTIALS)(potentials.models)
app.command("inspect", rich_help_panel=_POTENTIALS)(potentials.inspect)
app.command("preflight", rich_help_panel=_POTENTIALS)(potentials.preflight)
app.command("export", rich_help_panel=_POTENTIALS)(potentials.export)
app.command("doctor", rich_help_panel=_MACHINE)(machine.doctor)
app.command("build", rich_help_panel=_MACHINE)(machine.build)
app.command("bench", rich_help_panel=_MACHINE, context_settings=machine.PASS)(machine.bench)


def main() -> None:
    """Run the command line."""
    app()
