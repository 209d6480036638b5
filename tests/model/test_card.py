"""ModelCard: what it accepts, what it refuses, and that JSON keeps it."""

import copy
import dataclasses
import json
import pickle
import re
from typing import Any

import pytest

from openmm_nn import ModelCard
from openmm_nn.errors import CardError
from openmm_nn.units import ENERGY_UNITS, LENGTH_UNITS
from tests.models import ModelSet
from tests.refusals import refusal

FULL = ModelCard(
    name="full",
    version="2.1",
    description="Everything set.",
    inputs=("positions", "atomic_numbers", "edge_index", "edge_shifts", "charge", "k"),
    outputs=("atomic_energies",),
    parameters={"k": 2},
    length_unit="angstrom",
    energy_unit="hartree",
    energy_offset={"H": -0.5, "C": -37.8},
    dtype="float32",
    elements=("H", "C"),
    cutoff=5,
    periodic="optional",
    frame="invariant",
    long_range=False,
    committee_size=8,
    level_of_theory="none",
    trained_on="nothing",
    license="MIT",
    references=("doi:10.1000/182",),
    created_with="by hand",
)


def test_json_keeps_everything() -> None:
    assert ModelCard.from_json(FULL.to_json()) == FULL
    assert set(json.loads(FULL.to_json())) == {field.name for field in dataclasses.fields(ModelCard)}
    assert ModelCard.from_json(FULL.to_json()).to_json() == FULL.to_json()


def test_copies_hash_and_cannot_be_changed() -> None:
    for other in (copy.deepcopy(FULL), pickle.loads(pickle.dumps(FULL))):
        assert other == FULL
        assert hash(other) == hash(FULL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError, match="replace"):
        FULL.parameters["k"] = 3.0  # type: ignore[index]


def test_derived() -> None:
    assert FULL.supports_charge and not FULL.supports_spin and FULL.uses_edges and not FULL.returns_forces
    assert FULL.length_factor == LENGTH_UNITS["angstrom"] and FULL.energy_factor == ENERGY_UNITS["hartree"]
    assert abs(FULL.cutoff_nm - 0.5) < 1e-15
    assert FULL.parameters["k"] == 2.0 and isinstance(FULL.parameters["k"], float)


def test_torchforce() -> None:
    plain = ModelCard.torchforce()
    assert plain.inputs == ("positions",) and plain.periodic == "never" and plain.dtype == "platform"
    card = ModelCard.torchforce(outputs=("energy", "forces"), parameters={"b": 1.0, "a": 2.0}, periodic=True)
    assert card.inputs == ("positions", "box", "b", "a")
    assert card.periodic == "always" and card.frame == "absolute" and card.returns_forces and card.elements is None
    assert card.follows_torchforce and plain.follows_torchforce and not FULL.follows_torchforce
    assert not dataclasses.replace(plain, length_unit="angstrom").follows_torchforce


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": 3}, "name"),
    ({"inputs": "positions"}, "inputs"),
    ({"inputs": ("positions", "positions")}, "once"),
    ({"inputs": ("atomic_numbers",)}, "positions"),
    ({"inputs": ("positions", "mm_charges")}, "reserved"),
    ({"inputs": ("positions", "strength")}, "strength"),
    ({"inputs": ("positions", "two words"), "parameters": {"two words": 1.0}}, "two words"),
    ({"parameters": {"strength": 1.0}}, "strength"),
    ({"parameters": {"strength": float("nan")}, "inputs": ("positions", "strength")}, "finite"),
    ({"inputs": ("positions", "edge_shifts"), "cutoff": 1.0}, "edge_index"),
    ({"inputs": ("positions", "edge_index")}, "cutoff"),
    ({"outputs": ()}, "outputs"),
    ({"outputs": ("forces",)}, "outputs"),
    ({"outputs": ("energy", "stress")}, "outputs"),
    ({"outputs": ("energy", "mm_forces")}, "reserved"),
    ({"committee_size": 0}, "committee_size"),
    ({"committee_size": 2}, "energies"),
    ({"committee_size": True}, "committee_size"),
    ({"format": "onnx"}, "torchscript"),
    ({"length_unit": "A"}, "angstrom"),
    ({"energy_unit": "ev"}, "eV"),
    ({"dtype": "float16"}, "float32"),
    ({"periodic": True}, "never"),
    ({"periodic": "optional"}, "box"),
    ({"frame": "relative"}, "invariant"),
    ({"cutoff": -1.0}, "cutoff"),
    ({"cutoff": "5"}, "cutoff"),
    ({"long_range": "no"}, "long_range"),
    ({"elements": ("H", "Xx")}, "Xx"),
    ({"elements": ()}, "elements"),
    ({"elements": ("H",), "energy_offset": {"O": 1.0}}, "O"),
    ({"energy_offset": {"hydrogen": 1.0}}, "hydrogen"),
    ({"energy_offset": {"H": "1"}}, "H"),
    ({"card_version": 2}, "update"),
]


@pytest.mark.parametrize("change, word", WRONG, ids=[str(change) for change, _ in WRONG])
def test_refused(change: dict[str, Any], word: str) -> None:
    with refusal(CardError, re.compile(r"ModelCard\.\w+(\[.*\])?"), anywhere=word):
        ModelCard(**{"name": "x", "inputs": ("positions",), "outputs": ("energy",), **change})


def test_json_is_strict(models: ModelSet) -> None:
    values = json.loads(FULL.to_json())
    for text, word in (
        ("{", "JSON"),
        ("[]", "list"),
        (json.dumps({**values, "colour": "red"}), "colour"),
        (json.dumps({key: value for key, value in values.items() if key != "length_unit"}), "length_unit"),
        (json.dumps({**values, "committee_size": "8"}), "committee_size"),
        (json.dumps({**values, "card_version": 99, "new": 1}), "update"),
    ):
        with refusal(CardError, re.compile(r"card|ModelCard\.\w+"), anywhere=word):
            ModelCard.from_json(text)
