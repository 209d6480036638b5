"""Run files as text: YAML whose every key and list item knows its line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import MissingDependencyError, RunFileError

__all__ = ["Document", "Place", "read_document"]

_LARGEST = 200_000
_DEEPEST = 12
_LONG = 60
_PREFIX = "tag:yaml.org,2002:"


def _show(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def _below(key: str, part: str | int) -> str:
    """Return the name of what is inside a key: ``forcefield.files``, ``forcefield.files[0]``."""
    return f"{key}[{part}]" if isinstance(part, int) else f"{key}.{part}" if key else part


@dataclass(frozen=True)
class Document:
    """The content of a run file and where it stands.

    Parameters
    ----------
    name
        The file's name, for messages.
    data
        Mappings, lists, strings, numbers, booleans and None.
    lines
        The line, from 1, of every key and list item, by names such as ``forcefield.files[0]``.
    values
        What was given for each of them.
    """

    name: str
    data: dict[str, Any]
    lines: Mapping[str, int] = field(repr=False)
    values: Mapping[str, object] = field(repr=False)

    def line(self, key: str) -> int:
        """Return the line of a key, or of the nearest key above it."""
        while key and key not in self.lines:
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return self.lines.get(key, 1)

    def error(self, key: str, got: str, allowed: str, remedy: str) -> RunFileError:
        """Make the error of a key: file, line, key, value, what is allowed, remedy."""
        return RunFileError(f"{self.name}, line {self.line(key)}: {key or 'the file'}", got, allowed, remedy)

    def wrong(self, key: str, allowed: str, remedy: str) -> RunFileError:
        """Make the error of a key whose value, as given, is wrong."""
        return self.error(key, _show(self.values.get(key)), allowed, remedy)


@dataclass(frozen=True)
class Place:
    """A key of a document that is being checked.

    Parameters
    ----------
    document
        The run file.
    key
        Such as ``forcefield.files[0]``; empty for the whole file.
    homes
        Where a key that is met in the wrong section belongs: ``dynamics.temperature`` for ``temperature``.
    """

    document: Document
    key: str = ""
    homes: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition(".")[2]

    def below(self, part: str | int) -> Place:
        """Return the place of a key or an item inside."""
        return Place(self.document, _below(self.key, part), self.homes)

    def written(self, value: object) -> str:
        """Write a key with a value, or an item of a list, as it stands in a file."""
        return f"`{value}`" if self.key.endswith("]") else f"`{self.name}: {value}`"

    def error(self, got: str, allowed: str, remedy: str) -> RunFileError:
        """Make an error about this key."""
        return self.document.error(self.key, got, allowed, remedy)

    def wrong(self, allowed: str, remedy: str) -> RunFileError:
        """Make an error about the value that was given here."""
        return self.document.wrong(self.key, allowed, remedy)


def _yaml() -> Any:
    try:
        from ruamel.yaml import YAML
    except ImportError as error:
        raise MissingDependencyError(
            "run file", "YAML, for which ruamel.yaml is missing", "ruamel.yaml", "pip install ruamel.yaml"
        ) from error
    return YAML(typ="safe", pure=True)


def read_document(text: str, name: str) -> Document:
    r"""Read a run file.

    Nothing in the file is ever constructed but mappings, lists, strings and numbers: tags, anchors and aliases are
    refused, and so are files of more than 200,000 characters or twelve levels.

    Parameters
    ----------
    text
        Its content.
    name
        Of the file, for messages.

    Returns
    -------
    Document
        What was given, no more.

    Raises
    ------
    RunFileError
        If it is no YAML.

    Examples
    --------
    >>> from openmm_nn.runs.document import read_document
    >>> text = "structure: {file: a.pdb}\ndynamics: {timestep: 0.5 fs}\nproduce:\n  length: 1 ps\n"
    >>> document = read_document(text, "run.yaml")
    >>> document.values["produce.length"], document.line("produce.length")
    ('1 ps', 4)
    """
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if len(text) > _LARGEST:
        raise RunFileError(name, f"{len(text)} characters", f"at most {_LARGEST}", "give a run file")
    lines: dict[str, int] = {}
    values: dict[str, object] = {}
    reader = _yaml()
    try:
        _examine_events(reader.parse(text), name)
        node = _yaml().compose(text)
        data = None if node is None else _value(node, "", lines, values, name)
    except MarkedYAMLError as error:
        raise _no_yaml(error, name) from error
    except RunFileError:
        raise
    except (YAMLError, RecursionError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise RunFileError(
            name, f"no YAML: {reason[0] if reason else type(error).__name__}", "a YAML file in UTF-8",
                    "start from `openmm-nn run --init STRUCTURE`"
        ) from error  # fmt: skip
    if not isinstance(data, dict):
        what = {"NoneType": "an empty file", "list": "a list", "str": "text"}.get(type(data).__name__, "a number")
        raise RunFileError(
            f"{name}, line 1", what, "keys such as structure, potential, dynamics, produce",
                    "start from `openmm-nn run --init STRUCTURE`"
        )  # fmt: skip
    return Document(name, data, lines, values)


def _no_yaml(error: Any, name: str) -> RunFileError:
    """Say where a file ceases to be YAML: where what was left open begins, and where the reader gave up."""
    mark, start = error.problem_mark or error.context_mark, error.context_mark
    opened = str(error.context or "").endswith(("a simple key", "a quoted scalar", "a flow sequence", "a flow mapping"))
    if opened and start is not None and mark is not None and start.line < mark.line:
        where, what = f", line {start.line + 1}", f"{error.problem}, noticed on line {mark.line + 1}"
    else:
        where, what = f", line {mark.line + 1}" if mark is not None else "", str(error.problem or error.context)
    remedy = "look at the colons, quotes and indentation of this line and the one above; spaces, no tabs"
    if what.startswith("mapping values"):
        remedy = f"put text that has a colon in quotes; else {remedy}"
    elif what.startswith("could not find expected ':'"):
        remedy = f"write a space after the colon, as in `key: value`; else {remedy}"
    return RunFileError(f"{name}{where}", f"no YAML: {what}", "one 'key: value' on a line", remedy)


def _examine_events(events: Iterable[Any], name: str) -> None:
    """Refuse what could grow without bound: anchors, and deep nesting."""
    depth = 0
    for event in events:
        kind = type(event).__name__
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        line = f"{name}, line {event.start_mark.line + 1}"
        if getattr(event, "anchor", None) is not None:
            raise RunFileError(
                line, f"the anchor or alias {event.anchor!r}", "plain keys and values",
                        "write the value where it is meant; quote what begins with & or *"
            )  # fmt: skip
        if depth > _DEEPEST:
            raise RunFileError(line, f"more than {_DEEPEST} levels", "fewer", "look at the brackets")


def _value(node: Any, key: str, lines: dict[str, int], values: dict[str, object], name: str) -> Any:
    """Make the value of a node, and note the lines and values of all that is in it."""
    lines.setdefault(key, node.start_mark.line + 1)
    kind = str(getattr(node.tag, "trval", None) or node.tag).removeprefix(_PREFIX)
    if kind == "map":
        values[key] = _mapping(node, key, lines, values, name)
    elif kind == "seq":
        items = enumerate(node.value)
        values[key] = [_value(item, _below(key, index), lines, values, name) for index, item in items]
    elif kind in ("null", "bool", "int", "float", "str", "timestamp"):
        values[key] = _scalar(kind, node.value)
    else:
        raise RunFileError(
            f"{name}, line {node.start_mark.line + 1}: {key or 'the file'}", f"the tag {node.tag}",
                    "plain values", "remove what begins with an exclamation mark, or quote it"
        )  # fmt: skip
    return values[key]


def _scalar(kind: str, text: str) -> object:
    if kind == "int":
        return _integer(text)
    if kind == "float":
        return float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text.replace("_", "").lower()))
    if kind == "bool":
        return text.lower() == "true"
    return None if kind == "null" else text


def _integer(text: str) -> int | str:
    digits = text.replace("_", "")
    try:
        return int(digits, 0) if digits.lstrip("+-").lower().startswith(("0x", "0o")) else int(digits)
    except ValueError:
        return text


def _mapping(
    node: Any, key: str, lines: dict[str, int], values: dict[str, object], name: str
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part_node, value_node in node.value:
        line = part_node.start_mark.line + 1
        part = part_node.value
        if not isinstance(part, str):
            raise RunFileError(f"{name}, line {line}", "a key that is no text", "a name", "write `key: value`")
        inner = _below(key, part)
        if part in found:
            raise RunFileError(
                f"{name}, line {line}: {inner}", f"the key a second time (first on line {lines[inner]})",
                        "every key once", "remove one of the two"
            )  # fmt: skip
        lines[inner] = line
        found[part] = _value(value_node, inner, lines, values, name)
    return found
