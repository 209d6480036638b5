"""What a model file must not be able to do, one trick at a time, each refused by name before torch sees it."""

import base64
import dataclasses
import hashlib
import io
import json
import pathlib
import re
import zipfile
from typing import Any, Final

import numpy as np
import openmm as mm
import pytest
import torch

import openmm_nn.model.modelfile
from openmm_nn import ModelCard, load_potential
from openmm_nn.errors import CardError, EvaluationError, ModelError
from openmm_nn.model.modelfile import read_card
from openmm_nn.model.scriptcheck import check_script_archive
from openmm_nn.model.torchscript import quiet_torchscript, read_script
from tests.model.fuzz.mutate import MANIFEST, read_records, repair_manifest, write_records
from tests.models import ModelSet
from tests.refusals import refusal

Records = dict[str, bytes]


@pytest.fixture(scope="module")
def records(models: ModelSet) -> Records:
    data = models.pair("plain").data
    assert data is not None
    return read_records(data)


def full(records: Records, ending: str) -> str:
    return next(name for name in records if name.endswith(ending))


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if torch is asked to read anything."""

    def read_script(*arguments: object) -> None:
        raise AssertionError("torch was asked to read the file")

    monkeypatch.setattr(openmm_nn.model.modelfile, "read_script", read_script)


def refuse(data: bytes, tmp_path: pathlib.Path, *words: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(data)
    argument = re.compile(rf"(file )?{re.escape(str(path))}([:,] .*)?")
    with refusal(ModelError, argument, anywhere=tuple(re.compile(word) for word in words)):
        load_potential(path)


def code_with(records: Records, line: str) -> Records:
    name = full(records, "pairwise.py")
    text = records[name].decode().replace("return ", f"{line}\n    return ", 1)
    return repair_manifest({**records, name: text.encode()})


# ---- the archive ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../out", "archive/../../out", "/etc/out", "archive\\out", "archive/a\nb", "archive//x"]
)
def test_names_that_climb(records: Records, tmp_path: pathlib.Path, no_torch: None, name: str) -> None:
    refuse(write_records({**records, name: b"x"}), tmp_path, "entry")
    assert not (tmp_path.parent / "out").exists()


def test_names_that_are_there_twice(records: Records, tmp_path: pathlib.Path, no_torch: None) -> None:
    name = full(records, "data.pkl")
    refuse(write_records([*records.items(), (name, records[name])]), tmp_path, "two entries", "data.pkl")


def test_bombs(records: Records, tmp_path: pathlib.Path, no_torch: None) -> None:
    """A megabyte that claims to be a gigabyte is refused by what it claims, before anything is inflated."""
    refuse(write_records({**records, "archive/extra/zeros": bytes(1 << 27)}, compressed=True), tmp_path, "inflate")
    many = {**records, **{f"archive/extra/{k}": b"" for k in range(21_000)}}
    refuse(write_records(many), tmp_path, "20000")


def test_entries_that_overlap(records: Records, tmp_path: pathlib.Path, no_torch: None) -> None:
    """Two names of one place in the file: the trick of bombs that no ratio catches."""
    data = bytearray(write_records(records))
    places = [match.start() for match in re.finditer(b"PK\x01\x02", bytes(data))]
    data[places[1] + 42 : places[1] + 46] = data[places[0] + 42 : places[0] + 46]
    refuse(bytes(data), tmp_path, "overlaps|called something else|damaged")


def test_wrong_checksum(records: Records, tmp_path: pathlib.Path, no_torch: None) -> None:
    content = records[full(records, "data/0")]
    data = write_records(records)
    at = data.index(content)
    refuse(data[:at] + bytes([content[0] ^ 1]) + data[at + 1 :], tmp_path, "damaged", "CRC")


def test_manifest(records: Records, tmp_path: pathlib.Path, no_torch: None) -> None:
    """With all checksums right, a record that was changed, added or taken away after the export is named."""
    name = full(records, "data/0")
    refuse(write_records({**records, name: records[name][::-1]}), tmp_path, "data/0", "changed")
    refuse(write_records({**records, "archive/extra/more": b"x"}), tmp_path, "extra/more", "added")
    gone = {key: value for key, value in records.items() if key != name}
    refuse(write_records(gone), tmp_path, "data/0", "missing")
    refuse(write_records({**records, full(records, MANIFEST): b"{}"}), tmp_path, "manifest")


def test_exported_files_have_a_manifest(models: ModelSet) -> None:
    data = models.pair("edges").data
    assert data is not None
    listed = json.loads(read_records(data)[f"archive/{MANIFEST}"])["records"]
    assert {"data.pkl", "constants.pkl", "extra/openmm_nn_card.json"} <= set(listed)
    check_script_archive(data, "model.pt")


# ---- pickles -------------------------------------------------------------------------------------------------------


def pickle_with(records: Records, change: bytes, to: bytes, count: int = 1) -> Records:
    name = full(records, "data.pkl")
    assert change in records[name]
    return repair_manifest({**records, name: records[name].replace(change, to, count)})


def test_a_pickle_that_would_run_something(records: Records, tmp_path: pathlib.Path, no_torch: None) -> None:
    new = pickle_with(records, b"ctorch._utils\n_rebuild_tensor_v2\n", b"cposix\nsystem\n")
    refuse(write_records(new), tmp_path, r"posix\.system")


def test_tensors_beyond_their_record(records: Records, tmp_path: pathlib.Path, no_torch: None) -> None:
    name = full(records, "data.pkl")
    pickle = records[name]
    # ('storage', DoubleStorage, '0', 'cpu', 1): one number becomes a billion; then the tensor's own size does.
    at = pickle.index(b"cpu")
    count = pickle.index(b"K\x01", at)
    huge = b"J\x00\x00\x00\x40"
    new = repair_manifest({**records, name: pickle[:count] + huge + pickle[count + 2 :]})
    refuse(write_records(new), tmp_path, "numbers in a record of 8 bytes")
    size = pickle.index(b"K\x01", count + 2)
    new = repair_manifest({**records, name: pickle[:size] + huge + pickle[size + 2 :]})
    refuse(write_records(new), tmp_path, "reaches beyond its 1 numbers")


def test_attributes_that_the_class_does_not_have(records: Records, tmp_path: pathlib.Path) -> None:
    """A pickle that is sound in itself and not of its class: torch's error is a named one."""
    new = pickle_with(records, b"training", b"trainang")
    refuse(write_records(new), tmp_path, "torch cannot read")


def test_nested_pickles(records: Records, tmp_path: pathlib.Path, no_torch: None) -> None:
    name = full(records, "data.pkl")
    deep = records[name][:-1] + b"\x85" * 1_000_000 + b"."
    refuse(write_records(repair_manifest({**records, name: deep})), tmp_path, "400 deep")


# ---- code ----------------------------------------------------------------------------------------------------------

TRICKS = {
    "nested": ("x = " + "(" * 200_000 + "1" + ")" * 200_000, "deep"),
    "a chain of not": ("x = " + "not " * 300_000 + "True", "deep"),
    "a chain of sums": ("x = " + "1 + " * 20_000 + "1", "deep"),
    "writes a file": ('torch.save(1, "{path}")', "save"),
    "reads a file": ('x = torch.from_file("{path}", False, 1)', "from_file"),
    "runs while it is loaded": ("pass\n  def __setstate__(self, state: int) -> None:\n    pass", "__setstate__"),
}
# Each of these writes the file if it is run.
DISGUISES = {
    "a space": 'torch . save(1, "{path}")',
    "another name": 't = torch\n    t.save(1, "{path}")',
    "another name of the function": 't = torch.save\n    t(1, "{path}")',
    "getattr": 'getattr(torch, "save")(1, "{path}")',
    "getattr of two texts": 'getattr(torch, "sa" "ve")(1, "{path}")',
    "getattr by another name": 'get = getattr\n    get(torch, "save")(1, "{path}")',
    "getattr with a comment": 'getattr(torch # , "0")\n      , "sa" "ve")(1, "{path}")',
    "a line that goes on": 'torch.\\\n    save(1, "{path}")',
    "a comment": '(torch. # so\n      save)(1, "{path}")',
    "an operator": 'ops.aten.save(1, "{path}")',
    "a method": '(1).save("{path}")',
}


@pytest.mark.parametrize("trick", TRICKS)
def test_code(records: Records, tmp_path: pathlib.Path, no_torch: None, trick: str) -> None:
    line, word = TRICKS[trick]
    refuse(write_records(code_with(records, line.format(path=tmp_path / "written"))), tmp_path, re.escape(word))


@pytest.mark.parametrize("disguise", DISGUISES)
def test_files_by_another_name(records: Records, tmp_path: pathlib.Path, no_torch: None, disguise: str) -> None:
    line = DISGUISES[disguise].format(path=tmp_path / "written")
    refuse(write_records(code_with(records, line)), tmp_path, "names '(save|getattr|#)', which may read or write files")


LARGE = "torch.matmul(torch.ones([3000, 3000]), torch.ones([3000, 3000]))"
AT_ONCE = {
    "default": ("positions: Tensor", f"positions: Tensor, k: Tensor={LARGE}", "default value"),
    "product": ("positions: Tensor", "positions: Tensor, k: List[int]=[0] * 300000000", "default value"),
    "loop": ("positions: Tensor", "positions: Tensor, k: List[int]=[i for i in [0, 1]]", "default value"),
    "comment": ("positions: Tensor", f"positions: Tensor, # )\n k: Tensor={LARGE}", "default value"),
    "constant": ("  training : bool\n", f"  training : bool\n  k : Final[Tensor] = {LARGE}\n", "constant"),
    "constant in two lines": (
        "  training : bool\n",
        f"  training : bool\n  k : Final[Tensor] = (\n{LARGE})\n",
        "constant",
    ),
    "state": (
        "    return ",
        "    pass\n  def __setstate__(self: __torch__.Pairwise,\n    state: Any) -> NoneType:\n"
        "    _1 = uninitialized(NoneType)\n"
        '    ops.prim.RaiseException(torch.str(torch.ones([3])), "builtins.RuntimeError")\n    return _1\n    return ',
        "__setstate__",
    ),
}


@pytest.mark.parametrize("trick", AT_ONCE)
def test_what_torch_runs_while_it_reads(records: Records, tmp_path: pathlib.Path, no_torch: None, trick: str) -> None:
    """Default values and constants are evaluated then: they are what is written out, or the file is refused."""
    changed, word = at_once(records, trick)
    refuse(write_records(repair_manifest(changed)), tmp_path, "runs while it is loaded", word)


@pytest.mark.parametrize("trick", AT_ONCE)
def test_what_torch_runs_while_it_reads_xml(records: Records, models: ModelSet, native: str, trick: str) -> None:
    changed, word = at_once(records, trick)
    with pytest.raises(mm.OpenMMException, match=rf"runs while it is loaded \(.*{word}"):
        energy(system_with(models, write_records(changed)))


def at_once(records: Records, trick: str) -> tuple[Records, str]:
    """Records whose code has a trick, and a word of the refusal."""
    old, new, word = AT_ONCE[trick]
    name = full(records, "pairwise.py")
    text = records[name].decode()
    assert old in text
    return {**records, name: text.replace(old, new, 1).encode()}, word


class Sound(torch.nn.Module):
    """Default values, constants and children of every kind that torch writes."""

    scale: Final[float]
    names: Final[list[str]]

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.SiLU())
        self.scale = -1e-30
        self.names = ["a (b", "c\n"]

    @torch.jit.export
    def more(
        self,
        x: torch.Tensor,
        factor: float = -2.5e20,
        limit: float = float("inf"),
        text: str = "call(1), def f(x): 'y' # z",
        other: torch.Tensor | None = None,
        device: torch.device = torch.device("cpu"),  # noqa: B008
        pair: tuple[int, tuple[bool, float]] = (1, (True, 2.0)),
    ) -> torch.Tensor:
        return self.layers(x) * factor * self.scale * len(self.names)

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        assert positions.shape[1] == 3, "def of a model; Final: please load it again"
        return self.layers(positions).sum()


def saved(module: torch.nn.Module) -> bytes:
    buffer = io.BytesIO()
    with quiet_torchscript():
        torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


def test_sound_code_is_read(models: ModelSet, native: str) -> None:
    data = saved(Sound())
    text = "".join(content.decode() for name, content in read_records(data).items() if name.endswith(".py"))
    for written in ("getattr(", "Final[", 'torch.device("cpu")', "=inf", "=None", "=(1, (True, 2.))"):
        assert written in text, text
    check_script_archive(data, "sound.pt")
    with pytest.raises(mm.OpenMMException, match="takes 1 inputs"):
        energy(system_with(models, data))


def test_a_state_that_is_marked_as_unused(models: ModelSet, native: str) -> None:
    """Torch writes a body that only raises for it, and never calls it: metatrain's models have some."""

    class Held:
        def __init__(self, number: int) -> None:
            self.number = number

        @torch.jit.unused
        def __setstate__(self, state: Any) -> None:
            self.number = int(input())

    with quiet_torchscript():
        torch.jit.script(Held)

    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.held = Held(2)

        def forward(self, positions: torch.Tensor, atomic_numbers: torch.Tensor) -> torch.Tensor:
            return positions.sum() * self.held.number

    data = saved(Holder())
    assert any(b"__setstate__" in content for name, content in read_records(data).items() if name.endswith(".py"))
    check_script_archive(data, "held.pt")
    assert float(read_script(data)(torch.ones(2, 3), torch.ones(2))) == 12.0
    energy(system_with(models, data))


class Kinds(torch.nn.Module):
    """Kinds of numbers as code may have them: written out, by an attribute, by a branch, and that of a tensor."""

    def __init__(self, kind: int = 6) -> None:
        super().__init__()
        self.inner = torch.nn.Module()
        self.inner.kind = kind

    def forward(self, positions: torch.Tensor, atomic_numbers: torch.Tensor) -> torch.Tensor:
        kind: int | None = None
        if positions.shape[0] > 2:
            kind = torch.float64
        x = torch.ones([3], dtype=torch.int64).to(torch.float32) + torch.eye(3, dtype=self.inner.kind)
        return (positions * x.sum(dtype=kind).to(positions.dtype)).sum() + 0.0 * atomic_numbers.sum()


KINDS = {
    "of a new tensor": ("torch.ones([3], dtype=4)", "torch.ones([3], dtype={})"),
    "by its place": (", 6)", ", {})"),
    "of a branch": ("Optional[int] = 7", "Optional[int] = {}"),
}
KINDS_CARD = ModelCard(name="kinds", inputs=("positions", "atomic_numbers"), outputs=("energy",))
KNOWN = len({value for value in vars(torch).values() if isinstance(value, torch.dtype)})


@pytest.mark.parametrize("number", [-1, KNOWN, 999999999999])
@pytest.mark.parametrize("where", [*KINDS, "an attribute"])
def test_kinds_of_numbers_that_torch_does_not_have(
    models: ModelSet, native: str, tmp_path: pathlib.Path, where: str, number: int
) -> None:
    """Torch would look beyond its table for them, and now and then that ends the process: it is not asked."""
    data = saved(Kinds(number if where == "an attribute" else 6))
    if where in KINDS:
        records = read_records(data)
        name = next(name for name in records if b"def forward" in records[name])
        old, new = KINDS[where]
        text = records[name].decode()
        assert text.count(old) == 1, text
        data = write_records({**records, name: text.replace(old, new.format(number)).encode()})
    path = tmp_path / "kinds.pt"
    path.write_bytes(data)
    potential = load_potential(path, card=KINDS_CARD)
    word = f"(dtype) {number}"
    with refusal(ModelError, "potential 'kinds'", got=word, allowed=f"0 to {KNOWN - 1}"):
        potential.evaluate(np.eye(3) * 0.1, [8, 1, 1])
    with pytest.raises(mm.OpenMMException, match=re.escape(word)):
        energy(system_with(models, data))


def test_kinds_of_numbers_that_torch_has(models: ModelSet, native: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "kinds.pt"
    data = saved(Kinds())
    path.write_bytes(data)
    assert load_potential(path, card=KINDS_CARD).evaluate(np.eye(3) * 0.1, [8, 1, 1]).energy > 0.0
    assert energy(system_with(models, data)) > 0.0


INSIDE_XML = {**TRICKS, **{name: (line, "may read or write files") for name, line in DISGUISES.items()}}


@pytest.mark.parametrize("trick", INSIDE_XML)
def test_code_of_a_model_inside_xml(
    records: Records, models: ModelSet, native: str, tmp_path: pathlib.Path, trick: str
) -> None:
    """XML may come from anywhere: the native reader refuses the same, and the process lives to say so."""
    line, word = INSIDE_XML[trick]
    written = tmp_path / "written"
    system = system_with(models, write_records(code_with(records, line.format(path=written))))
    with pytest.raises(mm.OpenMMException, match=re.escape(word)):
        energy(system)
    assert not written.exists()


def test_tensors_and_pickles_of_a_model_inside_xml(records: Records, models: ModelSet, native: str) -> None:
    name = full(records, "data.pkl")
    pickle = records[name]
    count = pickle.index(b"K\x01", pickle.index(b"cpu"))
    size = pickle.index(b"K\x01", count + 2)
    huge = b"J\x00\x00\x00\x40"
    tricks = {
        "numbers in a record of 8 bytes": pickle[:count] + huge + pickle[count + 2 :],
        "reaches beyond its 1 numbers": pickle[:size] + huge + pickle[size + 2 :],
        "400 deep": pickle[:-1] + b"\x85" * 1_000_000 + b".",
        "posix.system": pickle.replace(b"ctorch._utils\n_rebuild_tensor_v2\n", b"cposix\nsystem\n"),
    }
    for word, new in tricks.items():
        with pytest.raises(mm.OpenMMException, match=re.escape(word)):
            energy(system_with(models, write_records({**records, name: new})))


def system_with(models: ModelSet, model: bytes) -> mm.System:
    """A System from XML whose model was exchanged, its hash repaired."""
    system = mm.System()
    for _ in range(3):
        system.addParticle(1.0)
    system.addForce(models.pair("plain").create_force(atomic_numbers=[8, 1, 1]))
    text = mm.XmlSerializer.serialize(system)
    text = re.sub(r'base64="[^"]*"', f'base64="{base64.b64encode(model).decode()}"', text)
    text = re.sub(r'sha256="[^"]*"', f'sha256="{hashlib.sha256(model).hexdigest()}"', text)
    return mm.XmlSerializer.deserialize(text)


def energy(system: mm.System) -> float:
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    context.setPositions(np.eye(3) * 0.1)
    return float(context.getState(energy=True).getPotentialEnergy()._value)


# ---- XML -----------------------------------------------------------------------------------------------------------


def test_entities_are_not_followed(models: ModelSet, native: str) -> None:
    """Neither a billion laughs nor a file: an entity stays the letters that it is written in."""
    system = mm.System()
    system.addParticle(1.0)
    system.addForce(models.pair("plain").create_force(atomic_numbers=[8]))
    text = mm.XmlSerializer.serialize(system)
    laughs = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 12))
    for entity in (f'<!ENTITY l0 "lol">{laughs}', '<!ENTITY l11 SYSTEM "file:///etc/passwd">'):
        new = text.replace("<System", f"<!DOCTYPE System [{entity}]>\n<System", 1)
        new = new.replace('name="NeuralForce"', 'name="&l11;"', 1)
        assert mm.XmlSerializer.deserializeSystem(new).getForce(0).getName() == "&l11;"


# ---- cards ---------------------------------------------------------------------------------------------------------


def test_cards_are_bounded() -> None:
    card = json.loads(ModelCard.torchforce().to_json())
    for changes, argument, allowed in (
        ({"name": "x" * 2_000_000}, "card", str(1 << 20)),
        ({"committee_size": 10**9}, "ModelCard.committee_size", "10000"),
        ({"cutoff": 10**400}, "ModelCard.cutoff", ()),
        ({"energy_offset": {"H": 10**400}}, "ModelCard.energy_offset", ()),
        ({"references": [str(k) for k in range(20_000)]}, "ModelCard.references", ()),
    ):
        with refusal(CardError, argument, allowed=allowed):
            ModelCard.from_json(json.dumps({**card, **changes}))
    with refusal(CardError, "card", got="JSON"):
        ModelCard.from_json("[" * 100_000)
    with refusal(CardError, "card", got="twice"):
        ModelCard.from_json('{"name": "a", "name": "b"}')
    # A message does not repeat a value that fills a screen.
    with pytest.raises(CardError) as info:
        ModelCard.from_json(json.dumps({**card, "dtype": "y" * 100_000}))
    assert len(str(info.value)) < 1000


def test_a_card_without_what_it_may_leave_out() -> None:
    """Only what the energy depends on must be there."""
    values = json.loads(ModelCard.torchforce().to_json())
    for name in ("references", "version", "license", "long_range"):
        less = {key: value for key, value in values.items() if key != name}
        assert ModelCard.from_json(json.dumps(less)) == ModelCard.torchforce()
    for name in ("inputs", "outputs", "elements"):
        less = {key: value for key, value in values.items() if key != name}
        with refusal(CardError, "ModelCard.from_json", got=name):
            ModelCard.from_json(json.dumps(less))


def test_reading_a_card_alone(records: Records) -> None:
    data = write_records(records)
    card = read_card(data)
    assert card is not None and card.name == "pair-plain"
    name = full(records, "openmm_nn_card.json")
    with refusal(ModelError, "file of the model", allowed="at most"):
        read_card(write_records({**records, name: b" " * (2 << 20)}))
    with refusal(CardError, "card", got="text"):
        read_card(write_records({**records, name: b"\xff\xfe"}))
    with refusal(ModelError, "file of the model", got="damaged"):
        read_card(b"PK\x03\x04 and nothing else")


def test_no_pickle_without_trust(tmp_path: pathlib.Path) -> None:
    """A pickled checkpoint that would leave a file behind leaves none, whatever it is called."""

    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(tmp_path / "harm"), "w"))  # type: ignore[return-value]

    import pickle

    import torch

    for name, write in (
        ("model.pt", lambda path: torch.save(Harm(), path)),
        ("model.pth", lambda path: path.write_bytes(pickle.dumps(Harm()))),
    ):
        path = tmp_path / name
        write(path)
        with pytest.raises(ModelError):
            load_potential(path)
        assert not (tmp_path / "harm").exists()
    with zipfile.ZipFile(io.BytesIO((tmp_path / "model.pt").read_bytes())) as archive:
        assert any(entry.endswith("data.pkl") for entry in archive.namelist())


def test_atoms_that_flew_apart(models: ModelSet, native: str) -> None:
    """An exploded molecule is an error; vesin's cells would end the process."""
    potential = models.pair("edges")
    x = np.array(
        [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [3.0e7, 0.0, 0.0], [0.1, 0.1, 0.1], [0.2, 0.0, 0.1], [0.0, 0.2, 0.2]]
    )
    numbers = [8, 1, 1, 6, 6, 7]
    with refusal(EvaluationError, "positions", allowed="cutoff"):
        potential.evaluate(x, numbers)
    system = mm.System()
    for _ in numbers:
        system.addParticle(1.0)
    system.addForce(potential.create_force(atomic_numbers=numbers))
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    context.setPositions(x)
    with pytest.raises(mm.OpenMMException, match="cutoff apart"):
        context.getState(energy=True)


def test_dataclass_of_cards_is_untouched() -> None:
    card = ModelCard.torchforce()
    assert ModelCard.from_json(card.to_json()) == card == dataclasses.replace(card)
