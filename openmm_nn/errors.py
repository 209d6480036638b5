"""The errors that users can catch, each with its argument, the value received, what is allowed, and the remedy."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

__all__ = [
    "BoundaryError",
    "CardError",
    "EvaluationError",
    "MissingDependencyError",
    "ModelError",
    "NativeExtensionError",
    "OpenMMNNError",
    "OptionWarning",
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
        What to do: a command, a sentence without its final period, or a question. The name of an option in braces
        stands for the option with its value.
    options
        The options that the remedy sets, by name.

    Attributes
    ----------
    argument, got, allowed, remedy : str
        The four parts; ``str(error)`` is made from them.
    options : dict
        The options that the remedy sets.

    Examples
    --------
    >>> from openmm_nn.errors import ParameterError
    >>> error = ParameterError("precision", "'half'", "'single' or 'double'", "leave it out to follow the card")
    >>> error.argument, error.remedy
    ('precision', 'leave it out to follow the card')
    >>> print(error)
    precision: got 'half'; allowed: 'single' or 'double'. To fix: leave it out to follow the card.
    >>> error = ParameterError("charge", "None", "a number", "give {charge}", {"charge": 1})
    >>> error.remedy, error.advice(lambda name, value: f"{name}: {value}")
    ('give charge=1', 'give charge: 1')
    """

    def __init__(
        self, argument: str, got: str, allowed: str, remedy: str, options: Mapping[str, Any] | None = None
    ) -> None:
        self.options = dict(options or {})
        super().__init__(argument, got, allowed, remedy, self.options)
        self.argument, self.got, self.allowed = argument, got, allowed
        self._template, self.remedy = remedy, _fill(remedy, self.options, _python)

    def __str__(self) -> str:
        return message(self.argument, self.got, self.allowed, self.remedy)

    def rename(self, argument: str) -> Self:
        """Return the same error about an argument that has another name where the user gave it."""
        other = copy.copy(self)
        other.argument = argument
        return other

    def advice(self, write: Callable[[str, Any], str]) -> str:
        """Return the remedy with its options in another form than Python's.

        Parameters
        ----------
        write
            Writes an option, from its name and its value.

        Returns
        -------
        str
            The remedy.
        """
        return _fill(self._template, self.options, write)


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


class OptionWarning(UserWarning):
    """A warning whose text names options of a call.

    Parameters
    ----------
    text
        What is said, with names of options in braces.
    options
        Their values.
    """

    def __init__(self, text: str, options: Mapping[str, Any]) -> None:
        super().__init__(text, options)
        self.options = dict(options)
        self._template = text

    def __str__(self) -> str:
        return self.advice(_python)

    def advice(self, write: Callable[[str, Any], str]) -> str:
        """Return the text with its options as `write` has them."""
        return _fill(self._template, self.options, write)


def _fill(text: str, options: Mapping[str, Any], write: Callable[[str, Any], str]) -> str:
    for name, value in options.items():
        text = text.replace(f"{{{name}}}", write(name, value))
    return text


def _python(name: str, value: Any) -> str:
    """Write an option as an argument of a call; quantities have a unit of OpenMM."""
    unit = getattr(value, "unit", None)
    return f"{name}={value!r}" if unit is None else f"{name}={value / unit:g}*{unit.get_name()}"


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


def warn(text: str, category: type[Warning] = UserWarning, options: Mapping[str, Any] | None = None) -> None:
    """Warn, pointing at the line outside this package that made the call.

    Parameters
    ----------
    text
        What is said.
    category
        The class of the warning; with `options` it is `OptionWarning`.
    options
        Options that the text names in braces, with their values.
    """
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(OptionWarning(text, options) if options else category(text), stacklevel=depth + 1)
