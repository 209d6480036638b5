"""The errors that users can catch, each with its argument, the value received, what is allowed, and the remedy."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Self

__all__ = [
    "BoundaryError",
    "CardError",
    "EvaluationError",
    "MissingDependencyError",
    "ModelError",
    "NativeExtensionError",
    "OpenMMNNError",
    "ParameterError",
    "ParticleError",
    "RunError",
    "RunFileError",
    "UnsupportedError",
    "message",
    "warn",
]

_PACKAGE = str(Path(__file__).resolve().parent)


class OpenMMNNError(Exception):
    """Base class of everything that the package raises on purpose.

    Parameters
    ----------
    argument
        The name of what was given, as the user knows it.
    got
        The value received.
    allowed
        What is allowed.
    remedy
        What to do: a command, a sentence without its final period, or a question.

    Attributes
    ----------
    argument, got, allowed, remedy : str
        The four parts; ``str(error)`` is made from them.

    Examples
    --------
    >>> from openmm_nn.errors import ParameterError
    >>> error = ParameterError("precision", "'half'", "'single' or 'double'", "leave it out to follow the card")
    >>> error.argument, error.remedy
    ('precision', 'leave it out to follow the card')
    >>> print(error)
    precision: got 'half'; allowed: 'single' or 'double'. To fix: leave it out to follow the card.
    """

    def __init__(self, argument: str, got: str, allowed: str, remedy: str) -> None:
        super().__init__(argument, got, allowed, remedy)
        self.argument, self.got, self.allowed, self.remedy = argument, got, allowed, remedy

    def __str__(self) -> str:
        return message(self.argument, self.got, self.allowed, self.remedy)

    def rename(self, argument: str) -> Self:
        """Return the same error about an argument that has another name where the user gave it."""
        return type(self)(argument, self.got, self.allowed, self.remedy)


class CardError(OpenMMNNError, ValueError):
    """A model card is incomplete, or contradicts itself or its module."""


class ModelError(OpenMMNNError, ValueError):
    """A file is no model, or a model returns what its card does not say."""


class ParticleError(OpenMMNNError, ValueError):
    """Atoms, elements or link atoms that a potential or a System does not have."""


class ParameterError(OpenMMNNError, ValueError):
    """An option or a parameter with a name or a value that is not allowed."""


class UnsupportedError(OpenMMNNError, ValueError):
    """Something that makes sense but that this version, engine or potential cannot do."""


class BoundaryError(OpenMMNNError, ValueError):
    """A bond between the region and its environment that should not be cut."""


class MissingDependencyError(OpenMMNNError, ImportError):
    """An optional package is not installed; the message has the command that installs it."""


class NativeExtensionError(OpenMMNNError, ImportError):
    """The native extension is missing, or was built for another torch or OpenMM."""


class EvaluationError(OpenMMNNError, RuntimeError):
    """An evaluation gave or met numbers that are not finite, or a geometry that is ambiguous."""


class RunFileError(ParameterError):
    """A run file that cannot be run; the message names the line, the key, the value and the remedy."""


class RunError(OpenMMNNError, RuntimeError):
    """A run that was stopped, or a run directory that is incomplete or cannot be written."""


def message(argument: str, got: str, allowed: str, remedy: str) -> str:
    """Compose the text of an error or a warning from its four parts.

    Parameters
    ----------
    argument
        What was given, by the name that the user knows.
    got
        The value received.
    allowed
        What is allowed.
    remedy
        What to do, as a command, a sentence without its final period, or a question.

    Returns
    -------
    str
        One line.

    Examples
    --------
    >>> from openmm_nn.errors import message
    >>> message("precision", "'half'", "'model', 'single' or 'double'", "leave it out to follow the card")
    "precision: got 'half'; allowed: 'model', 'single' or 'double'. To fix: leave it out to follow the card."
    """
    end = "" if remedy.endswith("?") else "."
    return f"{argument}: got {got}; allowed: {allowed}. To fix: {remedy}{end}"


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn, pointing at the line outside this package that made the call.

    Parameters
    ----------
    text
        What is said.
    category
        The class of the warning.
    """
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(text, category, stacklevel=depth + 1)
