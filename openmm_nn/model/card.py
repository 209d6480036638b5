"""ModelCard: what a model file says of itself."""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from openmm.app import element as app_element

from ..errors import CardError
from ..units import ENERGY_UNITS, LENGTH_UNITS, energy_factor, length_factor

__all__ = ["CARD_FILE", "CARD_VERSION", "KNOWN_INPUTS", "ModelCard"]

CARD_FILE = "openmm_nn_card.json"
"""Name of the extra file that holds the card inside a TorchScript file."""

CARD_VERSION = 1
"""The newest version of the card's format that this package reads and the one it writes."""

KNOWN_INPUTS = ("positions", "box", "atomic_numbers", "charge", "multiplicity", "edge_index", "edge_shifts")
"""Inputs with a fixed meaning; every other name is a global parameter of the Context."""

RESERVED_INPUTS = ("mm_positions", "mm_charges")
RESERVED_OUTPUTS = ("mm_forces",)
ENERGY_OUTPUTS = ("energy", "energies", "atomic_energies")
FORMATS = ("torchscript", "aotinductor", "callable")
DTYPES = ("float32", "float64", "platform")
PERIODIC = ("never", "optional", "always")
FRAMES = ("invariant", "absolute")


_LARGEST_TEXT = 1 << 20
_MOST_MEMBERS = 10_000
_MOST_NAMES = 10_000


def _fail(argument: str, got: object, allowed: str, remedy: str) -> NoReturn:
    said = repr(got)
    raise CardError(f"ModelCard.{argument}", said if len(said) <= 300 else said[:300] + "...", allowed, remedy)


def _choices(values: Sequence[str] | Mapping[str, float]) -> str:
    return ", ".join(values)


@dataclass(frozen=True)
class ModelCard:
    """What a potential expects, returns and was made from.

    Parameters
    ----------
    name
        Name of the potential.
    inputs
        Names of the module's arguments, in order: ``positions``, ``box``, ``atomic_numbers``, ``charge``,
        ``multiplicity``, ``edge_index``, ``edge_shifts``, or names of global parameters.
    outputs
        One of ``energy``, ``energies`` and ``atomic_energies``, then ``forces`` if the module returns them.
    version, description
        Free text.
    format
        ``torchscript``, ``aotinductor`` or ``callable``.
    parameters
        Default value of every global parameter among the inputs.
    length_unit
        ``nm``, ``angstrom`` or ``bohr``: of positions, box, edge shifts and cutoff.
    energy_unit
        ``kJ/mol``, ``kcal/mol``, ``eV`` or ``hartree``: of energies and offsets, and of forces per length unit.
    energy_offset
        Energy per atom of an element, by symbol, in `energy_unit`; added to the model's energy in double precision.
    dtype
        ``float32``, ``float64``, or ``platform`` (double precision on Reference and CPU).
    elements
        Symbols of the elements that the potential knows; None if it is not restricted.
    cutoff
        In `length_unit`; None if there is none.
    periodic
        Whether the module is ``never``, at choice (``optional``) or ``always`` given a periodic box.
    frame
        ``invariant`` if the energy does not depend on where the origin is, else ``absolute``.
    long_range
        Whether the potential has interactions beyond its cutoff; None if unknown.
    committee_size
        Number K of members of a committee.
    level_of_theory, trained_on, license, references
        Where the potential comes from.
    card_version
        Version of the card's format.
    created_with
        Versions of the programs that wrote the file.

    Raises
    ------
    CardError
        If a value has the wrong type, is not among those allowed, or contradicts another one.

    Examples
    --------
    >>> from openmm_nn import ModelCard
    >>> card = ModelCard(name="spring", inputs=("positions",), outputs=("energy",), length_unit="angstrom")
    >>> ModelCard.from_json(card.to_json()) == card
    True
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    version: str = ""
    description: str = ""
    format: str = "torchscript"
    parameters: Mapping[str, float] = field(default_factory=dict)
    length_unit: str = "nm"
    energy_unit: str = "kJ/mol"
    energy_offset: Mapping[str, float] = field(default_factory=dict)
    dtype: str = "float32"
    elements: tuple[str, ...] | None = None
    cutoff: float | None = None
    periodic: str = "never"
    frame: str = "absolute"
    long_range: bool | None = None
    committee_size: int = 1
    level_of_theory: str = ""
    trained_on: str = ""
    license: str = ""
    references: tuple[str, ...] = ()
    card_version: int = CARD_VERSION
    created_with: str = ""

    def __post_init__(self) -> None:
        for name in _TEXTS:
            if not isinstance(getattr(self, name), str):
                _fail(name, getattr(self, name), "text", "give a str")
        for name in ("inputs", "outputs", "references"):
            self._set(name, self._names(name))
        if self.elements is not None:
            self._set("elements", self._names("elements"))
        for name in ("parameters", "energy_offset"):
            self._set(name, self._numbers(name))
        self._check_scalars()
        self._check_inputs()
        self._check_outputs()
        self._check_physics()

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _names(self, name: str) -> tuple[str, ...]:
        value = getattr(self, name)
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, str) for v in value):
            _fail(name, value, "a sequence of names", "write it as a tuple of str, such as ('positions',)")
        names = tuple(value)
        if len(names) > _MOST_NAMES:
            _fail(name, f"{len(names)} names", f"at most {_MOST_NAMES}", "leave out what does not belong there")
        if len(set(names)) != len(names):
            _fail(name, names, "every name once", "remove the repeated names")
        return names

    def _numbers(self, name: str) -> Mapping[str, float]:
        value = getattr(self, name)
        if not isinstance(value, Mapping):
            _fail(name, value, "a mapping of names to numbers", "write it as a dict, such as {'k': 1.0}")
        for key, number in value.items():
            good = isinstance(number, int | float) and not isinstance(number, bool) and _is_finite(number)
            if not isinstance(key, str) or not good:
                _fail(name, dict(value), "names with finite numbers", f"correct the entry {key!r}")
        return _FrozenDict({key: float(number) for key, number in value.items()})

    def _check_scalars(self) -> None:
        allowed: dict[str, Sequence[str] | Mapping[str, float]] = {
            "format": FORMATS,
            "length_unit": LENGTH_UNITS,
            "energy_unit": ENERGY_UNITS,
            "dtype": DTYPES,
            "periodic": PERIODIC,
            "frame": FRAMES,
        }
        if not self.name:
            _fail("name", self.name, "a name that is not empty", "give the potential a name")
        for name, choices in allowed.items():
            if getattr(self, name) not in tuple(choices):
                _fail(name, getattr(self, name), _choices(choices), "choose one of these")
        cutoff: Any = self.cutoff
        if cutoff is not None:
            if isinstance(cutoff, bool) or not isinstance(cutoff, int | float) or not _is_finite(cutoff) or cutoff <= 0:
                _fail("cutoff", cutoff, "a positive length in length_unit, or None", "correct it")
            self._set("cutoff", float(cutoff))
        if self.long_range is not None and not isinstance(self.long_range, bool):
            _fail("long_range", self.long_range, "True, False, or None if unknown", "choose one of these")
        for name in ("committee_size", "card_version"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_MEMBERS:
                _fail(name, value, f"an integer, 1 to {_MOST_MEMBERS}", "correct it")
        if self.card_version > CARD_VERSION:
            _fail("card_version", self.card_version, f"1 to {CARD_VERSION}", "update openmm_nn to read this card")

    def _check_inputs(self) -> None:
        if "positions" not in self.inputs:
            _fail("inputs", self.inputs, "names that include 'positions'", "every model takes positions: add them")
        for name in RESERVED_INPUTS:
            if name in self.inputs:
                remedy = "remove it: it is reserved for electrostatic embedding, which this version does not have"
                _fail("inputs", self.inputs, f"names other than the reserved {name!r}", remedy)
        named = [name for name in self.inputs if name not in KNOWN_INPUTS]
        for name in named:
            if not name.isidentifier():
                _fail("inputs", name, "names of Python arguments", "rename it")
            if name not in self.parameters:
                remedy = f"add parameters={{{name!r}: <default>}}, or use a name among {', '.join(KNOWN_INPUTS)}"
                _fail("inputs", name, "known inputs and names listed in parameters", remedy)
        for name in self.parameters:
            if name not in named:
                _fail("parameters", name, f"the parameters among the inputs {self.inputs}", "add it to the inputs")
        if "edge_shifts" in self.inputs and "edge_index" not in self.inputs:
            _fail("inputs", self.inputs, "edge_shifts together with edge_index", "add edge_index")
        if "edge_index" in self.inputs and self.cutoff is None:
            _fail("cutoff", None, "a length, since the model takes edges", "say within which distance edges are made")

    def _check_outputs(self) -> None:
        rest = self.outputs[1:]
        if not self.outputs or self.outputs[0] not in ENERGY_OUTPUTS:
            _fail("outputs", self.outputs, f"one of {_choices(ENERGY_OUTPUTS)} first", "name the energy first")
        for name in RESERVED_OUTPUTS:
            if name in rest:
                remedy = "remove it: it is reserved for electrostatic embedding, which this version does not have"
                _fail("outputs", self.outputs, f"names other than the reserved {name!r}", remedy)
        if rest not in ((), ("forces",)):
            _fail("outputs", self.outputs, "an energy, then at most 'forces'", "remove the other outputs")
        if self.outputs[0] == "energy" and self.committee_size != 1:
            remedy = "return 'energies' or 'atomic_energies' of every member, or set committee_size=1"
            _fail("committee_size", self.committee_size, "1 for a model that returns one energy", remedy)

    def _check_physics(self) -> None:
        symbols = tuple(self.elements or ()) + tuple(self.energy_offset)
        for symbol in symbols:
            if symbol not in _SYMBOLS:
                argument = "elements" if symbol in (self.elements or ()) else "energy_offset"
                _fail(argument, symbol, "element symbols such as 'H' or 'Cl'", "correct the symbol")
        if self.elements is not None:
            if not self.elements:
                _fail("elements", (), "at least one symbol, or None", "list the elements, or leave them out")
            missing = [s for s in self.energy_offset if s not in self.elements]
            if missing:
                _fail("energy_offset", missing, f"the elements {self.elements}", "remove these or add the elements")
        uses_box = "box" in self.inputs or "edge_shifts" in self.inputs
        if self.periodic != "never" and not uses_box:
            remedy = "add 'box' or 'edge_shifts' to the inputs, or set periodic='never'"
            _fail("periodic", self.periodic, "'never' for a model that takes neither box nor edge_shifts", remedy)

    @property
    def supports_charge(self) -> bool:
        """Whether the potential is told the total charge."""
        return "charge" in self.inputs

    @property
    def supports_spin(self) -> bool:
        """Whether the potential is told the spin multiplicity."""
        return "multiplicity" in self.inputs

    @property
    def uses_edges(self) -> bool:
        """Whether the potential is given a neighbour list."""
        return "edge_index" in self.inputs

    @property
    def returns_forces(self) -> bool:
        """Whether the potential returns forces itself."""
        return "forces" in self.outputs

    @property
    def length_factor(self) -> float:
        """Length unit of the potential in nm."""
        return length_factor(self.length_unit)

    @property
    def energy_factor(self) -> float:
        """Energy unit of the potential in kJ/mol."""
        return energy_factor(self.energy_unit)

    @property
    def cutoff_nm(self) -> float:
        """Cutoff in nm; 0 if there is none."""
        return 0.0 if self.cutoff is None else self.cutoff * self.length_factor

    @property
    def follows_torchforce(self) -> bool:
        """Whether the card says what openmm-torch's TorchForce takes for granted."""
        parameters = tuple(self.parameters)
        plain = self.length_unit == "nm" and self.energy_unit == "kJ/mol" and not self.energy_offset
        box = ("box",) if self.periodic == "always" else ()
        signature = self.inputs[: 1 + len(box)] == ("positions", *box) and set(self.inputs[1 + len(box) :]) == set(
            parameters
        )
        frame = self.frame == "absolute" and self.periodic != "optional" and self.elements is None
        return plain and signature and frame and self.outputs[0] == "energy" and self.dtype == "platform"

    @classmethod
    def torchforce(
        cls,
        *,
        outputs: Sequence[str] = ("energy",),
        parameters: Mapping[str, float] | None = None,
        periodic: bool = False,
    ) -> ModelCard:
        """Make the card of a file that was written for openmm-torch's TorchForce.

        Parameters
        ----------
        outputs
            ``("energy",)``, or ``("energy", "forces")`` for a module that returns both.
        parameters
            Default values of the global parameters, in the order in which the module takes them.
        periodic
            Whether the module takes the periodic box after the positions.

        Returns
        -------
        ModelCard
            Positions in nm of all particles, as they are; energy in kJ/mol; the platform's dtype.

        Examples
        --------
        >>> from openmm_nn import ModelCard
        >>> ModelCard.torchforce(parameters={"k": 1.0}, periodic=True).inputs
        ('positions', 'box', 'k')
        """
        values = dict(parameters or {})
        return cls(
            name="TorchForce",
            description="A module that follows the contract of openmm-torch's TorchForce.",
            inputs=("positions", *(("box",) if periodic else ()), *values),
            outputs=tuple(outputs),
            parameters=values,
            dtype="platform",
            periodic="always" if periodic else "never",
            frame="absolute",
        )

    def to_json(self) -> str:
        """Write the card as JSON.

        Returns
        -------
        str
            Every field, in the order of the class.

        Examples
        --------
        >>> from openmm_nn import ModelCard
        >>> '"name": "TorchForce"' in ModelCard.torchforce().to_json()
        True
        """
        values = {name: getattr(self, name) for name in _FIELDS}
        return json.dumps(
            {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}, indent=2
        )

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card, strictly.

        Parameters
        ----------
        text
            JSON, as `to_json` writes it.

        Returns
        -------
        ModelCard
            The card.

        Raises
        ------
        CardError
            If it is no JSON object, a field is unknown or of a wrong type, one that the energy depends on is missing,
            or the card contradicts itself.

        Examples
        --------
        >>> from openmm_nn import ModelCard
        >>> card = ModelCard.torchforce()
        >>> ModelCard.from_json(card.to_json()) == card
        True
        """
        given: Any = text
        if isinstance(given, str | bytes) and len(given) > _LARGEST_TEXT:
            raise CardError(
                "card", f"text of {len(text)} characters", f"at most {_LARGEST_TEXT}", "export the model again"
            )
        try:
            values = json.loads(text, object_pairs_hook=_without_repeats)
        except (ValueError, TypeError, RecursionError) as error:
            raise CardError(
                "card", f"text that is no JSON ({error})", "a JSON object", "export the model again"
            ) from error
        if not isinstance(values, dict):
            raise CardError("card", f"a JSON {type(values).__name__}", "a JSON object", "export the model again")
        version = values.get("card_version")
        if isinstance(version, int) and version > CARD_VERSION:
            _fail("card_version", version, f"1 to {CARD_VERSION}", "update openmm_nn to read this card")
        unknown = sorted(set(values) - set(_FIELDS))
        if unknown:
            _fail("from_json", f"unknown fields {', '.join(unknown)}", _choices(_FIELDS), "correct their names")
        missing = [name for name in _REQUIRED if name not in values]
        if missing:
            remedy = "add them, or export the model again"
            _fail("from_json", f"no {', '.join(missing)}", f"a card with {_choices(_REQUIRED)}", remedy)
        for name in ("inputs", "outputs", "elements", "references"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        return cls(**values)


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        # An integer that no double can hold.
        return False


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object, and refuse one that says the same thing twice: readers differ in which they take."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a field is there twice")
    return values


class _FrozenDict(dict[str, float]):
    """A dict that hashes, so that a card can, and that refuses changes."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted(self.items())))

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError("a ModelCard is not changed in place; make another one with dataclasses.replace(card, ...)")

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse

    def __reduce__(self) -> tuple[type[_FrozenDict], tuple[dict[str, float]]]:
        return (_FrozenDict, (dict(self),))


_FIELDS: tuple[str, ...] = tuple(f.name for f in dataclasses.fields(ModelCard))
# What the energy depends on must be said, not left to a default.
_REQUIRED = (
    "name",
    "format",
    "inputs",
    "outputs",
    "parameters",
    "length_unit",
    "energy_unit",
    "energy_offset",
    "dtype",
    "elements",
    "cutoff",
    "periodic",
    "frame",
    "committee_size",
    "card_version",
)
_TEXTS = ("name", "version", "description", "level_of_theory", "trained_on", "license", "created_with")
_SYMBOLS: Mapping[str, Any] = types.MappingProxyType(
    {entry.symbol: entry for entry in app_element.Element._elements_by_atomic_number.values()}
)
