"""The command line, ``openmm-nn``: thin, every command is a call of the library."""

from .app import main

__all__ = ["main"]
