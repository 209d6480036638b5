"""What the command line prints, and how it says that something went wrong."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn, TextIO

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from ..errors import OpenMMNNError

__all__ = ["Output", "fail", "output", "readable"]


@dataclass
class Output:
    """Where things are printed; one for the whole process.

    Parameters
    ----------
    out, err
        Consoles of the standard output and of the standard error.
    debug
        Whether errors show their traceback.
    quiet
        Whether only results and errors are printed.
    """

    out: Console
    err: Console
    debug: bool = False
    quiet: bool = False


def _console(stderr: bool = False) -> Console:
    """Make a console that prints text as it is: brackets and colons in data mean nothing."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


output = Output(_console(), _console(stderr=True))
"""The one that every command uses."""


def fail(text: str, title: str = "error") -> NoReturn:
    """Print a message, in a panel on a terminal and on one line elsewhere, and end with status 1.

    Parameters
    ----------
    text
        What went wrong and what to do.
    title
        Of the panel.
    """
    if output.err.is_terminal:
        output.err.print(Panel(Text(text), title=title, border_style="red", expand=False))
    else:
        output.err.print(f"{title}: {text}", soft_wrap=True)
    raise typer.Exit(1)


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Show what the library raises on purpose as one message; with --debug, as it is."""
    try:
        with _spoken_warnings():
            yield
    except OpenMMNNError as error:
        if output.debug:
            raise
        fail(str(error))
    except KeyboardInterrupt:
        if output.debug:
            raise
        fail("interrupted", "interrupted")


@contextlib.contextmanager
def _spoken_warnings() -> Iterator[None]:
    """Print warnings as sentences, each once."""
    seen: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        said = str(message)
        if said not in seen and not issubclass(category, DeprecationWarning | PendingDeprecationWarning):
            seen.add(said)
            output.err.print(f"warning: {said}", style="yellow", soft_wrap=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="%(message)s")
        yield
