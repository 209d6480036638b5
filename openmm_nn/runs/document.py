"""Run files as text: YAML with the line of every key, checked against the schema."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import MissingDependencyError, RunFileError
from .quantities import DIMENSIONS, parse_quantity
from .schema import SCHEMA

__all__ = ["Document", "read_document"]

Path = tuple[str | int, ...]

_LARGEST = 200_000
_DEEPEST = 12
_LONG = 60
_MOST = 2**31
_SYNONYMS = {
    "gpu": "choose CUDA, HIP or OpenCL, which run on GPUs, or `auto`",
    "float32": "write `single`",
    "float64": "write `double`",
    "mixed": "choose `single` or `double`; OpenMM's own is `properties: {Precision: mixed}` below `dynamics:`",
}
"""What to write instead of words that other programs have."""
_PREFIX = "tag:yaml.org,2002:"


def _show(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text or "the file"


@dataclass(frozen=True)
class Document:
    """The content of a run file and where it stands.

    Parameters
    ----------
    name
        Of the file, for messages.
    data
        Mappings, lists, strings, numbers, booleans and None.
    lines
        Line of every key and list item, from 1.
    """

    name: str
    data: dict[str, Any]
    lines: Mapping[Path, int] = field(repr=False)

    def line(self, path: Path) -> int:
        """Return the line of a key, or of the nearest key above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def get(self, *path: str | int) -> Any:
        """Return a value, or None if it is not given."""
        value: Any = self.data
        for part in path:
            listed = isinstance(value, list) and isinstance(part, int) and part < len(value)
            if not listed and not (isinstance(value, Mapping) and part in value):
                return None
            value = value[part]
        return value

    def error(self, path: Path, got: str, allowed: str, remedy: str) -> RunFileError:
        """Make the error of a key: file, line, key, value, what is allowed, remedy."""
        return RunFileError(f"{self.name}, line {self.line(path)}: {_dotted(path)}", got, allowed, remedy)

    def wrong(self, path: Path, allowed: str, remedy: str) -> RunFileError:
        """Make the error of a key whose value, as given, is wrong."""
        return self.error(path, _show(self.get(*path)), allowed, remedy)


def _yaml() -> Any:
    try:
        from ruamel.yaml import YAML
    except ImportError as error:
        raise MissingDependencyError(
            "run file", "YAML, for which ruamel.yaml is missing", "ruamel.yaml", "pip install ruamel.yaml"
        ) from error
    return YAML(typ="safe", pure=True)


def read_document(text: str, name: str) -> Document:
    r"""Read a run file and check it against the schema.

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
        With the defaults of the schema left out: what was given, no more.

    Raises
    ------
    RunFileError
        If it is no YAML, or not as the schema says.

    Examples
    --------
    >>> from openmm_nn.runs.document import read_document
    >>> text = "structure: {file: a.pdb}\ndynamics: {timestep: 0.5 fs}\nproduce:\n  length: 1 ps\n"
    >>> document = read_document(text, "run.yaml")
    >>> document.get("produce", "length"), document.line(("produce", "length"))
    ('1 ps', 4)
    """
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if len(text) > _LARGEST:
        raise RunFileError(name, f"{len(text)} characters", f"at most {_LARGEST}", "give a run file")
    lines: dict[Path, int] = {}
    reader = _yaml()
    try:
        _examine_events(reader.parse(text), name)
        node = _yaml().compose(text)
        data = None if node is None else _value(node, (), lines, name)
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
    document = Document(name, data, lines)
    _check(document, data, SCHEMA, ())
    return document


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


def _value(node: Any, path: Path, lines: dict[Path, int], name: str) -> Any:
    """Make the value of a node, and note the lines of what is in it."""
    lines.setdefault(path, node.start_mark.line + 1)
    kind = str(getattr(node.tag, "trval", None) or node.tag).removeprefix(_PREFIX)
    if kind == "map":
        return _mapping(node, path, lines, name)
    if kind == "seq":
        return [_value(item, (*path, index), lines, name) for index, item in enumerate(node.value)]
    if kind == "null":
        return None
    if kind == "bool":
        return node.value.lower() == "true"
    if kind == "int":
        return _integer(node.value)
    if kind == "float":
        return float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", node.value.replace("_", "").lower()))
    if kind in ("str", "timestamp"):
        return node.value
    raise RunFileError(
        f"{name}, line {node.start_mark.line + 1}: {_dotted(path)}", f"the tag {node.tag}",
                "plain values", "remove what begins with an exclamation mark, or quote it"
    )  # fmt: skip


def _integer(text: str) -> int | str:
    digits = text.replace("_", "")
    try:
        return int(digits, 0) if digits.lstrip("+-").lower().startswith(("0x", "0o")) else int(digits)
    except ValueError:
        return text


def _mapping(node: Any, path: Path, lines: dict[Path, int], name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = key_node.value
        if not isinstance(key, str):
            raise RunFileError(f"{name}, line {line}", "a key that is no text", "a name", "write `key: value`")
        if key in found:
            raise RunFileError(
                f"{name}, line {line}: {_dotted((*path, key))}", f"the key a second time (first on line "
                        f"{lines[(*path, key)]})", "every key once", "remove one of the two"
            )  # fmt: skip
        lines[(*path, key)] = line
        found[key] = _value(value_node, (*path, key), lines, name)
    return found


def _check(document: Document, value: Any, schema: Mapping[str, Any], path: Path) -> None:
    """Check a value against the part of the schema that is for it."""
    kind = schema["type"]
    checker = {"object": _check_object, "array": _check_array, "string": _check_string}.get(kind)
    if checker is not None:
        checker(document, value, schema, path)
    elif kind == "boolean":
        if not isinstance(value, bool):
            raise document.wrong(path, "true or false", f"write {_written(path, 'true')} or {_written(path, 'false')}")
    else:
        _check_number(document, value, schema, path)


def _check_object(document: Document, value: Any, schema: Mapping[str, Any], path: Path) -> None:
    properties: Mapping[str, Any] = schema.get("properties", {})
    if not isinstance(value, dict):
        raise document.wrong(path, _keys(properties), _below(value, schema, path))
    for key, item in value.items():
        if key in properties:
            _check(document, item, properties[key], (*path, key))
        elif isinstance(schema.get("additionalProperties"), dict):
            _check(document, item, schema["additionalProperties"], (*path, key))
        else:
            raise _unknown_key(document, (*path, key), properties)
    for key in schema.get("required", ()):
        if key not in value:
            what = properties[key].get("description", "")
            example = next(iter(properties[key].get("examples", ())), "...")
            where = f"below `{path[-1]}:`" if path else "at the left margin"
            raise document.error(path, f"no {key!r}", f"{key}: {what}", f"add `{key}: {example}` {where}")


def _written(path: Path, value: object) -> str:
    """Write a key with a value, or an item of a list, as it stands in a file."""
    return f"`{value}`" if isinstance(path[-1], int) else f"`{path[-1]}: {value}`"


def _quoted(value: object) -> str:
    return f'"{value}"'


def _example(schema: Mapping[str, Any]) -> object:
    """Return a value that would be allowed."""
    if schema["type"] == "array":
        count, items = max(1, schema.get("minItems", 1)), schema["items"]
        return f"[{', '.join(str(index if items['type'] == 'integer' else _example(items)) for index in range(count))}]"
    kinds = {"integer": schema.get("minimum", 0), "number": 1.0, "boolean": "true"}
    given = next(iter(schema.get("examples", schema.get("enum", ()))), kinds.get(schema["type"], _quoted("...")))
    return schema.get("default", given)


def _keys(properties: Mapping[str, Any]) -> str:
    names = list(properties)
    if not names:
        return "keys with values"
    return f"the key {names[0]}" if len(names) == 1 else f"the keys {', '.join(names)}"


def _below(value: object, schema: Mapping[str, Any], path: Path) -> str:
    """Say how a section is written whose value is none."""
    required = schema.get("required") or list(schema.get("properties", ()))[:1]
    if not required or len(required) > 1:
        return f"write them on lines of their own, indented, below `{path[-1]}:`"
    part = schema["properties"][required[0]]
    fits = isinstance(value, str) and part["type"] == "string" and ("x-dimension" not in part or _fits(value, part))
    shown = value if fits else _example(part)
    return f"write `{required[0]}: {shown}` on a line of its own, indented, below `{path[-1]}:`"


def _fits(value: str, schema: Mapping[str, Any]) -> bool:
    return parse_quantity(value, schema["x-dimension"]) is not None


def _unknown_key(document: Document, path: Path, known: Iterable[str]) -> RunFileError:
    names = list(known)
    key = str(path[-1])
    close = difflib.get_close_matches(key.lower().replace("-", "_"), names, 1, 0.6)
    elsewhere = [
        f"{section}.{key}" for section, part in SCHEMA["properties"].items() if key in part.get("properties", {})
    ]
    if close:
        remedy = f"did you mean `{close[0]}`?"
    elif elsewhere:
        remedy = f"move it there: `{elsewhere[0]}`"
    else:
        remedy = f"write `{names[0]}` instead" if len(names) == 1 else "remove it, or choose one of these"
    where = f"keys of {_dotted(path[:-1])}" if len(path) > 1 else "keys"
    return document.error(path, "a key that does not exist", f"the {where}: {', '.join(names)}", remedy)


def _check_array(document: Document, value: Any, schema: Mapping[str, Any], path: Path) -> None:
    if not isinstance(value, list):
        raise document.wrong(path, "a list", _as_list(value, schema, path))
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    if len(value) < least or (most is not None and len(value) > most):
        allowed = f"{least} values" if most == least else f"at least {least}"
        raise document.error(path, f"{len(value)} values", allowed, _like(schema, path))
    for index, item in enumerate(value):
        _check(document, item, schema["items"], (*path, index))


def _as_list(value: object, schema: Mapping[str, Any], path: Path) -> str:
    """Say how a list is written: with the value that was given, if it may be in it alone."""
    items = schema["items"]
    alone = schema.get("minItems", 0) <= 1 and items["type"] == "string" and isinstance(value, str)
    if alone and "x-dimension" not in items:
        return f"write {_written(path, f'[{value}]')}"
    span = re.fullmatch(r"\s*(\d+)\s*(?:-|to|:)\s*(\d+)\s*", str(value))
    if path == ("region", "atoms") and span:
        return f"write `select: index {span[1]} to {span[2]}` instead, or list the indices: `atoms: [0, 1, 2]`"
    return _like(schema, path)


def _like(schema: Mapping[str, Any], path: Path) -> str:
    """Say how a value is written, and what it means."""
    meaning = schema.get("description")
    return f"write it like {_written(path, _example(schema))}" + (f" ({meaning})" if meaning else "")


def _check_string(document: Document, value: Any, schema: Mapping[str, Any], path: Path) -> None:
    if "x-dimension" in schema:
        _check_quantity(document, value, schema, path)
    elif "enum" in schema:
        if value not in schema["enum"]:
            close = difflib.get_close_matches(str(value).lower(), [name.lower() for name in schema["enum"]], 1, 0.6)
            guess = next((name for name in schema["enum"] if close and name.lower() == close[0]), None)
            remedy = f"did you mean `{guess}`?" if guess else f"choose one of these: {schema['description']}"
            raise document.wrong(path, ", ".join(schema["enum"]), _SYNONYMS.get(str(value).lower(), remedy))
    elif not isinstance(value, str) or len(value) < schema.get("minLength", 0):
        meaning = schema.get("description", "")
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        remedy = (
            f"write it in quotes: {_written(path, _quoted(value))}"
            if plain
            else f"write it like {_written(path, _example(schema))}"
        )
        raise document.wrong(path, f"text: {meaning}" if meaning else "text", remedy)


def _check_quantity(document: Document, value: Any, schema: Mapping[str, Any], path: Path) -> None:
    dimension = schema["x-dimension"]
    example = schema["examples"][0]
    number = parse_quantity(value, dimension)
    names = [name for name in DIMENSIONS[dimension] if name != "Å"]
    if dimension == "force":
        names = ["kJ/mol/nm", "kcal/mol/A", "eV/A"]
    if number is None:
        bare = isinstance(value, int | float) and not isinstance(value, bool)
        shown = _written(path, example)
        remedy = f"write the unit too, such as {shown}" if bare else f"write it like {shown}"
        raise document.wrong(path, f"a {dimension} with its unit ({', '.join(names)})", remedy)
    most = parse_quantity(schema.get("x-most"), dimension)
    if number < 0 or (number == 0 and not schema["x-zero"]):
        raise document.wrong(path, f"a {dimension} of {'zero or more' if schema['x-zero'] else 'more than zero'}",
                             f"write it like {_written(path, example)}")  # fmt: skip
    if most is not None and number > most:
        raise document.wrong(
            path, f"at most {schema['x-most']}", f"look at the unit; common is {_written(path, example)}"
        )


def _check_number(document: Document, value: Any, schema: Mapping[str, Any], path: Path) -> None:
    whole = schema["type"] == "integer"
    name = "a whole number" if whole else "a number"
    if "enum" in schema:
        name = " or ".join(map(str, schema["enum"]))
    least, above, most = schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum")
    name += f" of {least} or more" if least is not None else ""
    name += f" above {above}" if above is not None else ""
    name += f", at most {most}" if most is not None else ""
    name += f", less than {_MOST}" if isinstance(value, int | float) and abs(value) >= _MOST else ""
    right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    right = right and abs(value) < _MOST
    right = right and ("enum" not in schema or value in schema["enum"])
    right = right and (least is None or value >= least) and (above is None or value > above)
    if not (right and (most is None or value <= most)):
        raise document.wrong(path, name, _like(schema, path))
