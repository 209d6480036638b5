"""The kinds of values that a run file can hold: each checks and converts one, and writes its JSON schema."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..errors import RunFileError
from .document import Place
from .quantities import DIMENSIONS, parse_quantity, pattern, write_quantity

__all__ = ["Choice", "Flag", "Items", "Number", "Quantity", "Rule", "Schema", "Section", "Table", "Text", "Whole"]

Schema = dict[str, Any]

_MOST = 2**31
_SYNONYMS = {
    "gpu": "choose CUDA, HIP or OpenCL, which run on GPUs, or `auto`",
    "float32": "write `single`",
    "float64": "write `double`",
    "mixed": "choose `single` or `double`; OpenMM's own is `properties: {Precision: mixed}` below `dynamics:`",
}
"""What to write instead of words that other programs have."""


@dataclass(frozen=True)
class Rule:
    """What a key means, and what it may be.

    Parameters
    ----------
    meaning
        For the reference and for messages.
    default
        What holds where the key is left out; None if nothing does.
    """

    meaning: str
    default: Any = field(default=None, kw_only=True)

    def read(self, value: Any, place: Place) -> Any:
        """Return the value as the package uses it.

        Raises
        ------
        RunFileError
            If it is not allowed; the message says how the key is written.
        """
        return self._read(value, place)

    def schema(self) -> Schema:
        """Return the JSON schema."""
        schema = self._schema()
        if self.meaning:
            schema["description"] = self.meaning
        return schema if self.default is None else {**schema, "default": self._default()}

    def example(self) -> str:
        """Return a value that would be allowed, as it is written in a file."""
        return self._example()

    def _read(self, value: Any, place: Place) -> Any:
        raise NotImplementedError

    def _schema(self) -> Schema:
        raise NotImplementedError

    def _default(self) -> Any:
        return self.default

    def _example(self) -> str:
        return "..."

    def _like(self, place: Place) -> str:
        """Say how a value is written, and what it means."""
        return f"write it like {place.written(self.example())}" + (f" ({self.meaning})" if self.meaning else "")


@dataclass(frozen=True)
class Text(Rule):
    """Any text that is not empty."""

    examples: tuple[str, ...] = ()

    def _read(self, value: Any, place: Place) -> str:
        if isinstance(value, str) and value:
            return value
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        quoted = f'"{value}"'
        remedy = f"write it in quotes: {place.written(quoted)}" if plain else ""
        raise place.wrong(
            f"text: {self.meaning}" if self.meaning else "text",
            remedy or f"write it like {place.written(self.example())}",
        )

    def _schema(self) -> Schema:
        schema: Schema = {"type": "string", "minLength": 1}
        return {**schema, "examples": list(self.examples)} if self.examples else schema

    def _example(self) -> str:
        return self.examples[0] if self.examples else '"..."'


@dataclass(frozen=True)
class Choice(Rule):
    """One of some words: those of the attribute's ``Literal``."""

    values: tuple[str, ...] = ()

    def _read(self, value: Any, place: Place) -> str:
        if value in self.values:
            return str(value)
        close = difflib.get_close_matches(str(value).lower(), [name.lower() for name in self.values], 1, 0.6)
        guess = next((name for name in self.values if close and name.lower() == close[0]), None)
        remedy = f"did you mean `{guess}`?" if guess else f"choose one of these: {self.meaning}"
        raise place.wrong(", ".join(self.values), _SYNONYMS.get(str(value).lower(), remedy))

    def _schema(self) -> Schema:
        return {"type": "string", "enum": list(self.values)}

    def _example(self) -> str:
        return self.default or self.values[0]


@dataclass(frozen=True)
class Flag(Rule):
    """True or false."""

    def _read(self, value: Any, place: Place) -> bool:
        if not isinstance(value, bool):
            raise place.wrong("true or false", f"write {place.written('true')} or {place.written('false')}")
        return value

    def _schema(self) -> Schema:
        return {"type": "boolean"}

    def _example(self) -> str:
        return "true"


@dataclass(frozen=True)
class Number(Rule):
    """A number without a unit."""

    least: float | None = field(default=None, kw_only=True)
    above: float | None = field(default=None, kw_only=True)
    most: float | None = field(default=None, kw_only=True)
    shown: float | None = field(default=None, kw_only=True)

    def _read(self, value: Any, place: Place) -> float:
        return float(self._checked(value, place, "a number"))

    def _checked(self, value: Any, place: Place, name: str, *, whole: bool = False) -> Any:
        plain = isinstance(value, int | float)
        if self.least is not None and self.least == self.most:
            name = f"{self.least}"
        else:
            name += f" of {self.least} or more" if self.least is not None else ""
            name += f" above {self.above}" if self.above is not None else ""
            name += f", at most {self.most}" if self.most is not None else ""
        name += f", less than {_MOST}" if plain and abs(value) >= _MOST else ""
        right = plain and not (isinstance(value, bool) or (whole and isinstance(value, float))) and abs(value) < _MOST
        right = right and (self.least is None or value >= self.least) and (self.above is None or value > self.above)
        if not (right and (self.most is None or value <= self.most)):
            raise place.wrong(name, self._like(place))
        return value

    def _schema(self) -> Schema:
        limits = {"minimum": self.least, "exclusiveMinimum": self.above, "maximum": self.most}
        given = {name: value for name, value in limits.items() if value is not None}
        return {"type": "number", **given, **({} if self.shown is None else {"examples": [self.shown]})}

    def _example(self) -> str:
        return str(next(value for value in (self.default, self.shown, 1.0) if value is not None))


@dataclass(frozen=True)
class Whole(Number):
    """A whole number."""

    def _read(self, value: Any, place: Place) -> int:
        return int(self._checked(value, place, "a whole number", whole=True))

    def _schema(self) -> Schema:
        return {**super()._schema(), "type": "integer"}

    def _example(self) -> str:
        return str(next(value for value in (self.default, self.least, 0) if value is not None))


@dataclass(frozen=True)
class Quantity(Rule):
    """A number and its unit, which becomes a number in the unit of the package."""

    dimension: str
    shown: str
    zero: bool = field(default=False, kw_only=True)
    most: str | None = field(default=None, kw_only=True)

    def _read(self, value: Any, place: Place) -> float:
        number = parse_quantity(value, self.dimension)
        shown = place.written(self.shown)
        if number is None:
            names = [name for name in DIMENSIONS[self.dimension] if name != "Å"]
            if self.dimension == "force":
                names = ["kJ/mol/nm", "kcal/mol/A", "eV/A"]
            bare = isinstance(value, int | float) and not isinstance(value, bool)
            remedy = f"write the unit too, such as {shown}" if bare else f"write it like {shown}"
            raise place.wrong(f"a {self.dimension} with its unit ({', '.join(names)})", remedy)
        if number < 0 or (number == 0 and not self.zero):
            size = "zero or more" if self.zero else "more than zero"
            raise place.wrong(f"a {self.dimension} of {size}", f"write it like {shown}")
        most = parse_quantity(self.most, self.dimension)
        if most is not None and number > most:
            raise place.wrong(f"at most {self.most}", f"look at the unit; common is {shown}")
        return number

    def _schema(self) -> Schema:
        """Return the schema; ``x-...`` are what JSON schema has no word for."""
        schema = {"type": "string", "pattern": pattern(self.dimension), "examples": [self.shown],
                  "x-dimension": self.dimension, "x-zero": self.zero}  # fmt: skip
        return schema if self.most is None else {**schema, "x-most": self.most}

    def _default(self) -> str:
        unit = next(name for name, factor in DIMENSIONS[self.dimension].items() if factor == 1.0)
        return write_quantity(self.default, unit)

    def _example(self) -> str:
        return self.shown


@dataclass(frozen=True)
class Items(Rule):
    """A list, which becomes a tuple."""

    item: Rule
    least: int = field(default=1, kw_only=True)
    most: int | None = field(default=None, kw_only=True)

    def _read(self, value: Any, place: Place) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise place.wrong("a list", self._as_list(value, place))
        if len(value) < self.least or (self.most is not None and len(value) > self.most):
            allowed = f"{self.least} values" if self.most == self.least else f"at least {self.least}"
            raise place.error(f"{len(value)} values", allowed, self._like(place))
        return tuple(self.item.read(item, place.below(index)) for index, item in enumerate(value))

    def _as_list(self, value: object, place: Place) -> str:
        """Say how a list is written: with the value that was given, if it may be in it alone."""
        if self.least <= 1 and isinstance(self.item, Text) and isinstance(value, str):
            return f"write {place.written(f'[{value}]')}"
        span = re.fullmatch(r"\s*(\d+)\s*(?:-|to|:)\s*(\d+)\s*", str(value))
        if place.key == "region.atoms" and span:
            return f"write `select: index {span[1]} to {span[2]}` instead, or list the indices: `atoms: [0, 1, 2]`"
        return self._like(place)

    def _schema(self) -> Schema:
        schema = {"type": "array", "items": self.item.schema(), "minItems": self.least}
        return schema if self.most is None else {**schema, "maxItems": self.most}

    def _example(self) -> str:
        counted = isinstance(self.item, Whole)
        return f"[{', '.join(str(i) if counted else self.item.example() for i in range(max(1, self.least)))}]"


@dataclass(frozen=True)
class Table(Rule):
    """Names that the user chooses, each with a value."""

    item: Rule

    def _read(self, value: Any, place: Place) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise place.wrong("keys with values", f"write them on lines of their own, indented, below `{place.name}:`")
        return {key: self.item.read(item, place.below(key)) for key, item in value.items()}

    def _schema(self) -> Schema:
        return {"type": "object", "additionalProperties": self.item.schema()}


@dataclass(frozen=True)
class Section(Rule):
    """Keys that are the attributes of a dataclass."""

    kind: type

    @classmethod
    def of(cls, kind: type) -> Section:
        """Return the rule of a dataclass, whose docstring says in its first line what the section is for."""
        line = (kind.__doc__ or "").splitlines()[0].rstrip(".")
        return cls(line[0].lower() + line[1:], kind)

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules of the keys, by name."""
        return _rules(self.kind)

    @property
    def required(self) -> list[str]:
        """The keys that must be given."""
        return [item.name for item in fields(self.kind) if _default(item) is MISSING]

    def _read(self, value: Any, place: Place) -> Any:
        return self.kind(**self.values(value, place))

    def values(self, value: Any, place: Place) -> dict[str, Any]:
        """Return the attributes that are given, by name."""
        if not isinstance(value, dict):
            names = list(self.rules)
            keys = f"the key {names[0]}" if len(names) == 1 else f"the keys {', '.join(names)}"
            raise place.wrong(keys, self._below(value, place))
        found = {}
        for key, item in value.items():
            if key not in self.rules:
                raise _unknown_key(place, key, list(self.rules))
            found[key] = self.rules[key].read(item, place.below(key))
        for key in self.required:
            if key not in value:
                rule = self.rules[key]
                example = rule.example() if isinstance(rule, Text | Quantity) else "..."
                where = f"below `{place.name}:`" if place.key else "at the left margin"
                raise place.error(f"no {key!r}", f"{key}: {rule.meaning}", f"add `{key}: {example}` {where}")
        return found

    def _below(self, value: object, place: Place) -> str:
        """Say how a section is written whose value is none."""
        names = self.required or list(self.rules)[:1]
        if len(names) > 1:
            return f"write them on lines of their own, indented, below `{place.name}:`"
        rule = self.rules[names[0]]
        right = (
            (isinstance(rule, Text) and isinstance(value, str))
            or (isinstance(rule, Choice) and value in rule.values)
            or (isinstance(rule, Quantity) and parse_quantity(value, rule.dimension) is not None)
        )
        shown = value if right else rule.example()
        return f"write `{names[0]}: {shown}` on a line of its own, indented, below `{place.name}:`"

    def _schema(self) -> Schema:
        return {
            "type": "object",
            "properties": {name: rule.schema() for name, rule in self.rules.items()},
            "required": self.required,
            "additionalProperties": False,
        }


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()


@cache
def _rules(kind: type) -> dict[str, Rule]:
    """Return the rules of a dataclass: what its attributes are annotated with, or sections of their own."""
    hints = get_type_hints(kind, include_extras=True)
    return {item.name: _rule(hints[item.name], _default(item)) for item in fields(kind)}


def _rule(hint: Any, default: Any) -> Rule:
    rule = next((entry for entry in getattr(hint, "__metadata__", ()) if isinstance(entry, Rule)), None)
    if rule is None:
        return Section.of(next(kind for kind in (hint, *get_args(hint)) if isinstance(kind, type)))
    if isinstance(rule, Choice):
        literal = next(part for part in (hint.__origin__, *get_args(hint.__origin__)) if get_origin(part) is Literal)
        rule = replace(rule, values=get_args(literal))
    return rule if default in (MISSING, ()) or isinstance(default, Mapping) else replace(rule, default=default)


def _unknown_key(section: Place, key: str, known: list[str]) -> RunFileError:
    close = difflib.get_close_matches(key.lower().replace("-", "_"), known, 1, 0.6)
    if close:
        remedy = f"did you mean `{close[0]}`?"
    elif key in section.homes:
        remedy = f"move it there: `{section.homes[key]}`"
    else:
        remedy = f"write `{known[0]}` instead" if len(known) == 1 else "remove it, or choose one of these"
    where = f"keys of {section.key}" if section.key else "keys"
    return section.below(key).error("a key that does not exist", f"the {where}: {', '.join(known)}", remedy)
