"""Files of foreign families, told from their contents: small stand-ins in the layout of the real ones.

The families themselves are tested against their own libraries by `environments.py`.
"""

import pathlib
import pickle
import re
import sys
import tomllib
import types
import warnings
import zipfile
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from openmm_nn import load_potential
from openmm_nn.errors import CardError, MissingDependencyError, ModelError, ParameterError, UnsupportedError
from openmm_nn.model.package import describe_package
from openmm_nn.potentials.formats import _BUILT_IN, find_format, formats, unavailable_formats
from openmm_nn.potentials.formats.files import inspect_file
from openmm_nn.potentials.formats.metatomic import Metatomic
from openmm_nn.systems.hybrid import embeddings
from openmm_nn.testing import check_potential
from tests import ROOT
from tests.refusals import Pieces, refusal

NUMBERS = [8, 1, 1]
POSITIONS = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.11, 0.02]])


class PerTypeScaleShift(torch.nn.Module):
    """As NequIP's: numbers of every type, some in the way of the energies."""

    def __init__(self, shifts: list[float]) -> None:
        super().__init__()
        self.has_shifts: bool = True
        self.register_buffer("shifts", torch.tensor(shifts, dtype=torch.float64).reshape(-1, 1))

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        data["atomic_energy"] = data["atomic_energy"] + self.shifts[data["atom_types"]]
        return data


class Energies(torch.nn.Module):
    """Sums over edges of exp(-r), then the shifts."""

    def __init__(self, shifts: list[float]) -> None:
        super().__init__()
        self.shift = PerTypeScaleShift(shifts)

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        lengths = data["edge_vectors"].norm(2, 1)
        terms = torch.exp(-lengths) * (1.0 + data["atom_types"][data["edge_index"][1]])
        zeros = torch.zeros(data["pos"].shape[0], dtype=terms.dtype)
        data["atomic_energy"] = zeros.index_add(0, data["edge_index"][0], terms).unsqueeze(1)
        return self.shift(data)


class GraphModel(torch.nn.Module):
    """The outermost module of a compiled NequIP file."""

    def __init__(self, shifts: list[float]) -> None:
        super().__init__()
        self.model = Energies(shifts)

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.model(data)


class AtomGraphSequential(torch.nn.Module):
    """As SevenNet's: takes and returns a dict."""

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        return data


class AtomisticModel(AtomGraphSequential):
    """A class of its own: torch remembers the name that a class was scripted with."""


class RescaleOutput(AtomGraphSequential):
    """Likewise."""


class Gelu(torch.nn.Module):
    """Contract of TorchForce, with an operator whose version makes torch write its archive in another way."""

    def forward(self, positions: Tensor) -> Tensor:
        return torch.nn.functional.gelu(positions).sum()


def write(
    module: torch.nn.Module, name: str, path: pathlib.Path, extra: Mapping[str, str] | None = None
) -> pathlib.Path:
    """Script a module under the name of a foreign class, and save it with extra files."""
    place, _, kind = name.rpartition(".")
    before = type(module).__module__, type(module).__qualname__
    type(module).__module__, type(module).__qualname__ = place, kind
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(module.eval()), str(path), _extra_files=dict(extra or {}))
    finally:
        type(module).__module__, type(module).__qualname__ = before
    return path


NEQUIP = {"r_max": "3.0", "type_names": "H O", "model_dtype": "float64"}


def nequip(path: pathlib.Path, **changes: str) -> pathlib.Path:
    extra = {**NEQUIP, **changes}
    return write(GraphModel([-13.6, -2041.5]), "nequip.nn.graph_model.GraphModel", path, extra)


def test_every_family_is_there() -> None:
    expected = {
        "torchani",
        "sevennet",
        "mace",
        "nequip",
        "deepmd",
        "metatomic",
        "aimnet2",
        "torchmdnet",
        "ase",
        "openmmml",
    }
    assert expected <= set(formats())
    assert not unavailable_formats()


def test_nequip(tmp_path: pathlib.Path) -> None:
    path = nequip(tmp_path / "model.nequip.pth")
    assert find_format(str(path)).name == "nequip"
    potential = load_potential(path)
    card = potential.card
    assert (card.name, card.elements, card.cutoff, card.dtype) == ("model", ("H", "O"), 3.0, "float64")
    assert card.energy_offset == {"H": -13.6, "O": -2041.5}
    x = 10.0 * POSITIONS
    distances = np.linalg.norm(x[:, None] - x[None], axis=-1)
    weight = np.array([2.0, 1.0, 1.0])
    expected = sum(weight[j] * np.exp(-distances[i, j]) for i in range(3) for j in range(3) if i != j)
    energy = potential.evaluate(POSITIONS, NUMBERS).energy / card.energy_factor
    np.testing.assert_allclose(energy + 2041.5 + 2 * 13.6, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "changes, word",
    [({"type_names": "H water_O"}, "water_O"), ({"r_max": "three"}, "three"), ({"r_max": ""}, "r_max")],
)
def test_nequip_with_wrong_metadata(tmp_path: pathlib.Path, changes: dict[str, str], word: str) -> None:
    path = nequip(tmp_path / "model.nequip.pth", **changes)
    with refusal(ModelError, f"file {path}", got=word):
        load_potential(path)


def test_old_nequip(tmp_path: pathlib.Path) -> None:
    path = write(RescaleOutput(), "nequip.nn._rescale.RescaleOutput", tmp_path / "old.pth")
    with refusal(UnsupportedError, re.compile(".*"), anywhere=("RescaleOutput", "0.7")):
        load_potential(path)


class Compiled(torch.nn.Module):
    """What NequIP compiles for ASE: sums over edges of exp(-r), weighted by the type, and their forces."""

    def forward(
        self, pos: Tensor, edge_index: Tensor, atom_types: Tensor, cell: Tensor, edge_cell_shift: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        first, second = edge_index[0], edge_index[1]
        vectors = pos[second] - pos[first] + edge_cell_shift @ cell.reshape(3, 3)
        lengths = vectors.norm(2, 1, keepdim=True)
        terms = torch.exp(-lengths) * (1.0 + atom_types[second]).unsqueeze(1)
        pulls = terms * vectors / lengths
        energies = torch.zeros_like(pos[:, :1]).index_add(0, first, terms)
        forces = torch.zeros_like(pos).index_add(0, second, pulls).index_add(0, first, -pulls)
        return energies, energies.sum(0, keepdim=True), forces, pulls.T @ vectors


COMPILED = {
    **NEQUIP,
    "nequip_aoti_inputs": "pos edge_index atom_types cell edge_cell_shift",
    "nequip_aoti_outputs": "atomic_energy total_energy forces stress",
}


@pytest.fixture(scope="module")
def compiled_nequip(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    edges = torch.tensor([[i, j] for i in range(3) for j in range(3) if i != j]).T.contiguous()
    x = torch.tensor(10.0 * POSITIONS)
    arguments = (x, edges, torch.tensor([1, 0, 0]), torch.eye(3, dtype=x.dtype).unsqueeze(0), torch.zeros(6, 3).to(x))
    atoms, pairs = torch.export.Dim("atoms", min=2), torch.export.Dim("edges", min=2)
    shapes = ({0: atoms}, {1: pairs}, {0: atoms}, None, {0: pairs})
    program = torch.export.export(Compiled(), arguments, dynamic_shapes=shapes)
    path = tmp_path_factory.mktemp("nequip") / "water.nequip.pt2"
    torch._inductor.aoti_compile_and_package(
        program, package_path=str(path), inductor_configs={"aot_inductor.metadata": COMPILED}
    )
    return path


@pytest.mark.process
@pytest.mark.timeout(600)
def test_compiled_nequip(compiled_nequip: pathlib.Path, native: str, tmp_path: pathlib.Path) -> None:
    """Machine code that takes types of atoms and shifts in units of the cell, natively and by Python."""
    assert find_format(str(compiled_nequip)).name == "nequip"
    potential = load_potential(compiled_nequip)
    card = potential.card
    assert (card.name, card.elements, card.cutoff, card.dtype) == ("water", ("H", "O"), 3.0, "float64")
    assert (card.format, card.outputs) == ("aotinductor", ("atomic_energies", "forces"))
    distances = np.linalg.norm(10.0 * (POSITIONS[:, None] - POSITIONS[None]), axis=-1)
    weight = np.array([2.0, 1.0, 1.0])
    expected = sum(weight[j] * np.exp(-distances[i, j]) for i in range(3) for j in range(3) if i != j)
    assert potential.evaluate(POSITIONS, NUMBERS).energy / card.energy_factor == pytest.approx(expected, abs=1e-12)
    check_potential(potential, NUMBERS, POSITIONS)
    # It needs nobody who knows its family from then on.
    again = tmp_path / "again.pt2"
    assert potential.data is not None
    again.write_bytes(potential.data)
    assert find_format(str(again)) is None
    assert load_potential(again).card == card
    assert load_potential(compiled_nequip).sha256 == potential.sha256


@pytest.mark.process
def test_compiled_nequip_that_numbers_other_elements(compiled_nequip: pathlib.Path, tmp_path: pathlib.Path) -> None:
    data = load_potential(compiled_nequip).data
    assert data is not None
    path = tmp_path / "changed.pt2"
    path.write_bytes(describe_package(data, {"openmm_nn_species": "1 700"}))
    with refusal(CardError, re.compile(".*"), got="H, O"):
        load_potential(path)


@pytest.mark.process
@pytest.mark.parametrize(
    "changes, words",
    [
        ({"nequip_aoti_inputs": COMPILED["nequip_aoti_inputs"] + " batch num_atoms"}, ("batch", "--target ase")),
        ({"nequip_aoti_outputs": "atomic_energy total_energy"}, ("atomic_energy and forces", "--target ase")),
        ({"nequip_aoti_inputs": ""}, "nequip 0.17"),
        ({"nequip_custom_ops_libs": "openequivariance"}, "operators of openequivariance"),
        ({"type_names": "H water_O"}, "types named water_O"),
        ({"r_max": "three"}, ("'three'", "r_max")),
    ],
)
def test_compiled_nequip_that_cannot_be_used(
    compiled_nequip: pathlib.Path, tmp_path: pathlib.Path, changes: dict[str, str], words: Pieces
) -> None:
    path = tmp_path / "other.nequip.pt2"
    path.write_bytes(describe_package(compiled_nequip.read_bytes(), changes))
    with refusal((ModelError, UnsupportedError), re.compile("source|file .*"), anywhere=words):
        load_potential(path)


class EnergyModel(torch.nn.Module):
    """What is asked of a frozen model of DeePMD-kit before it is used."""

    def __init__(self, types: list[str], parameters: int = 0, compress: bool = False) -> None:
        super().__init__()
        self.types, self.parameter_count, self.compress = types, parameters, compress
        self.weight = torch.nn.Parameter(torch.ones(1))

    @torch.jit.export
    def get_type_map(self) -> list[str]:
        return self.types

    @torch.jit.export
    def get_dim_fparam(self) -> int:
        return self.parameter_count

    @torch.jit.export
    def get_dim_aparam(self) -> int:
        return 0

    def forward(self, positions: Tensor) -> Tensor:
        return positions.sum() * self.weight


class DipoleModel(AtomGraphSequential):
    """Another kind of model."""


DEEPMD = "deepmd.pt.model.model."


@pytest.mark.parametrize(
    "module, name, words",
    [
        (EnergyModel(["H", "O"], compress=True), "ener_model.EnergyModel", ("compressed", "dp compress")),
        (EnergyModel(["H", "O"], parameters=2), "ener_model.EnergyModel", ("2 of fparam", "deepmd.calculator.DP")),
        (EnergyModel(["H", "water_O"]), "ener_model.EnergyModel", ("water_O", "type_map")),
        (DipoleModel(), "dipole_model.DipoleModel", ("DipoleModel", "EnergyModel")),
    ],
)
def test_deepmd_that_cannot_be_used(tmp_path: pathlib.Path, module: torch.nn.Module, name: str, words: Pieces) -> None:
    path = write(module, DEEPMD + name, tmp_path / "frozen.pth")
    with refusal((ModelError, UnsupportedError), re.compile("source|file .*"), anywhere=words):
        load_potential(path)


SEVENNET = {
    "chemical_symbols_to_index": "H O",
    "cutoff": "5.0",
    "num_species": "2",
    "model_type": "E3_equivariant_model",
    "version": "0.13.0",
}


@pytest.mark.parametrize(
    "changes, kind, word",
    [
        ({"num_species": "3"}, ModelError, "2 symbols for 3"),
        ({"flashTP": "yes"}, UnsupportedError, "flashTP"),
        ({"cutoff": "far"}, ModelError, "far"),
    ],
)
def test_sevennet_with_wrong_metadata(
    tmp_path: pathlib.Path, changes: dict[str, str], kind: type[Exception], word: str
) -> None:
    name = "sevenn.nn.sequential.AtomGraphSequential"
    path = write(AtomGraphSequential(), name, tmp_path / "deployed.pt", {**SEVENNET, **changes})
    assert find_format(str(path)).name == "sevennet"
    with refusal(kind, f"file {path}", got=word):
        load_potential(path)


def foreign_pickle(path: pathlib.Path, module: str, kind: str) -> pathlib.Path:
    """A pickle that imports a class of a package that is not installed."""
    names = [".".join(module.split(".")[: k + 1]) for k in range(module.count(".") + 1)]
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    made = type(kind, (torch.nn.Linear,), {"__module__": module})
    setattr(sys.modules[module], kind, made)
    try:
        torch.save(made(2, 1), path)
    finally:
        for name in names:
            del sys.modules[name]
    return path


def test_saved_mace(tmp_path: pathlib.Path) -> None:
    """Recognised without being read; refused unless trusted; and then the library is missing."""
    path = foreign_pickle(tmp_path / "a.model", "mace.modules.models", "ScaleShiftMACE")
    assert find_format(str(path)).name == "mace"
    with refusal(ParameterError, re.compile(".*"), anywhere=("pickle", "trust=True", "mace_create_lammps_model")):
        load_potential(path)
    if "mace" not in sys.modules and not formats()["mace"].missing():
        pytest.fail("mace-torch is installed here: it pins a version of e3nn that others do not have")
    with refusal(MissingDependencyError, f"file {path}", got="mace-torch", remedy="pip install 'openmm-nn[mace]'"):
        load_potential(path, trust=True)


def test_pickles_are_not_run_to_be_told_apart(tmp_path: pathlib.Path) -> None:
    """A file that would do harm when it is unpickled is looked at by every family, and does none."""
    target = tmp_path / "harm"

    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (pathlib.Path.touch, (target,))  # type: ignore[return-value]

    path = tmp_path / "a.ckpt"
    words = ["hyper_parameters", "state_dict", "cutoff_upper", "embedding_dimension"]
    torch.save({**dict.fromkeys(words, 1), "harm": Harm()}, path)
    assert find_format(str(path)).name == "torchmdnet"
    with pytest.raises((MissingDependencyError, ParameterError, ModelError)):
        load_potential(path)
    assert not target.exists()


def test_torchmdnet_is_missing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.ckpt"
    options = {"model": "tensornet", "cutoff_upper": 4.5, "embedding_dimension": 8}
    torch.save({"hyper_parameters": options, "state_dict": {}}, path)
    with refusal(MissingDependencyError, f"file {path}", got="torchmd-net", remedy="'openmm-nn[torchmdnet]'"):
        load_potential(path)


def test_metatomic_is_missing(tmp_path: pathlib.Path) -> None:
    path = write(AtomisticModel(), "metatomic.torch.model.AtomisticModel", tmp_path / "a.pt")
    with refusal(MissingDependencyError, f"file {path}", got="metatomic-torch", remedy="'openmm-nn[metatomic]'"):
        load_potential(path)


def test_metatomic_files_are_examined(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the library reads them."""
    path = write(AtomisticModel(), "metatomic.torch.model.AtomisticModel", tmp_path / "a.pt")
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content.replace(b"    return ", b'    torch . save(1, "out")\n    return ', 1))
    monkeypatch.setattr(Metatomic, "require", lambda self, source: None)
    with refusal(ModelError, f"file {path}", got="'save'"):
        load_potential(path)


def test_new_layout_of_aimnet2(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"format_version": 2, "coulomb_mode": "sr_embedded", "implemented_species": [1, 8]}, path)
    with refusal(UnsupportedError, re.compile(".*"), anywhere=("jpt", "AIMNet2ASE")):
        load_potential(path)


def test_what_is_no_family(tmp_path: pathlib.Path) -> None:
    """Other files stay what they were: plain TorchScript runs, a plain pickle and other bytes are explained."""
    path = write(Gelu(), "mine.Gelu", tmp_path / "plain.pt")
    assert find_format(str(path)) is None
    assert inspect_file(str(path)).root == "mine.Gelu"
    expected = torch.nn.functional.gelu(torch.tensor(POSITIONS)).sum().item()
    np.testing.assert_allclose(load_potential(path).evaluate(POSITIONS).energy, expected, rtol=1e-12)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("plain.pkl", "empty.pt"):
        assert inspect_file(str(tmp_path / name)) is None
        with pytest.raises(ModelError):
            load_potential(tmp_path / name)
    assert inspect_file(str(tmp_path)) is None
    assert inspect_file("no such file") is None


def test_page_says_what_was_measured() -> None:
    """The table of docs/formats.md is that of the committed results; a family is there with numbers or a reason."""
    import importlib.util
    import json

    here = pathlib.Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location("environments", here / "environments.py")
    environments = importlib.util.module_from_spec(spec)
    sys.modules["environments"] = environments
    spec.loader.exec_module(environments)
    found = json.loads(environments.RESULTS.read_text())
    assert set(found) <= set(environments.FAMILIES)
    assert {"nequip", "metatomic", "aimnet2", "torchmdnet", "schnetpack", "deepmd"} <= set(found)
    assert environments.table(found) in environments.PAGE.read_text()
    assert "failed" not in {entry["result"] for entry in found.values()}
    for name, entry in found.items():
        assert "measured" in entry or entry["reason"], name
        for agreement in entry.get("measured", {}).values():
            assert agreement["energy"] <= 1e-5 and agreement["force"] <= 1e-4 < agreement["largest_force"]


def test_families_are_found_with_and_without_installation() -> None:
    """The list in the code, for a source tree, and the entry points, for an installation, are the same."""
    text = (ROOT / "pyproject.toml").read_text()
    registered = tomllib.loads(text)["project"]["entry-points"]
    assert {f"{name}": value for name, value in registered["openmm_nn.formats"].items()} == _BUILT_IN
    assert registered["openmm_nn.embeddings"] == embeddings._BUILT_IN
