"""Runs described by a file: preparing, running, continuing, reading and analysing them."""

from .analyse import analyse_run
from .preparation import Prepared, prepare
from .progress import Progress
from .protocol import RunResult, continue_run, run
from .reading import RunDirectory
from .runfile import RunFile
from .schema import SCHEMA

__all__ = [
    "SCHEMA",
    "Prepared",
    "Progress",
    "RunDirectory",
    "RunFile",
    "RunResult",
    "analyse_run",
    "continue_run",
    "prepare",
    "run",
]
