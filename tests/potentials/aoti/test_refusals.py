"""What is refused of compiled packages, and in which words."""

import pathlib
import platform as machine

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from openmm_nn import ModelCard, Potential, export_potential, load_potential, trust_hash
from openmm_nn.model.card import CARD_FILE
from openmm_nn.model.processor import processor_features
from openmm_nn.native import build
from tests.models import ModelSet
from tests.platforms import REFERENCE
from tests.potentials.aoti.packages import NUMBERS, Packages, Spring, changed, metadata, spring_card
from tests.refusals import refused
from tests.samples import bare_system, random_cluster

# Compiling a package takes long on a machine that is busy.
pytestmark = [pytest.mark.process, pytest.mark.timeout(1200)]


def bytes_of(packages: Packages, name: str) -> bytes:
    data = packages(name).data
    assert data is not None
    return data


def planted(packages: Packages, name: str, **values: str | None) -> Potential:
    """A package that says something else of itself, trusted."""
    potential = Potential(packages(name).card, data=changed(bytes_of(packages, name), **values))
    trust_hash(str(potential.sha256))
    return potential


def in_a_context(potential: Potential, **properties: str) -> None:
    system = bare_system(6)
    numbers = NUMBERS if "atomic_numbers" in potential.card.inputs else None
    system.addForce(potential.create_force(atomic_numbers=numbers, properties=properties))
    REFERENCE.context(system, random_cluster(NUMBERS, seed=1)).getState(getEnergy=True)


def evaluated(potential: Potential) -> None:
    numbers = NUMBERS if "atomic_numbers" in potential.card.inputs else None
    potential.evaluate(random_cluster(NUMBERS, seed=1), numbers)


# What it was compiled for


def test_the_features_that_are_needed_are_written_down(packages: Packages) -> None:
    """Compiled for this processor: nothing that it lacks, and AVX2 where it has that; portable: nothing at all."""
    needed = metadata(bytes_of(packages, "returned_forces"))["openmm_nn_processor"].split()
    assert set(needed) <= processor_features()
    assert ("avx2" in needed) == ("avx2" in processor_features())
    assert metadata(bytes_of(packages, "spring"))["openmm_nn_processor"] == ""


@pytest.mark.parametrize("action", [in_a_context, evaluated])
def test_processor_without_a_feature(packages: Packages, engine: str, action: object) -> None:
    """A name that no processor has stands for one that this one lacks."""
    potential = planted(packages, "returned_forces", openmm_nn_processor="avx512_planted fpu_planted")
    assert callable(action)
    refused(lambda: action(potential), "processor with avx512_planted, fpu_planted", "portable=True")


@pytest.mark.parametrize("action", [in_a_context, evaluated])
def test_other_machine_and_device(packages: Packages, engine: str, action: object) -> None:
    assert callable(action)
    other = planted(packages, "spring", AOTI_MACHINE="s390x")
    refused(lambda: action(other), "s390x", machine.machine())
    refused(lambda: action(planted(packages, "spring", AOTI_DEVICE_KEY="cuda")), "device 'cuda'", "'cpu'")


@pytest.mark.parametrize(
    "name, precision, dtype", [("spring", "double", "float32"), ("committee", "single", "float64")]
)
def test_other_precision(packages: Packages, engine: str, name: str, precision: str, dtype: str) -> None:
    refused(lambda: in_a_context(packages(name), precision=precision), "precision", f"compiled for {dtype}", "export")


def test_properties(packages: Packages, native: str) -> None:
    in_a_context(packages("spring"), cuda_graphs="true")  # which speaks of another platform
    refused(lambda: in_a_context(packages("spring"), device="cuda:0"), "device")


def test_forces_of_members_that_are_not_known(packages: Packages, native: str) -> None:
    """Without the input of weights, a committee's code gives the mean force alone."""
    potential = packages("returned_forces")
    assert potential.card.committee_size == 1
    force = potential.create_force(atomic_numbers=NUMBERS)
    system = bare_system(6)
    system.addForce(force)
    context = REFERENCE.context(system, random_cluster(NUMBERS, seed=1))
    with pytest.raises(Exception, match="one member"):
        force.getForceStd(context)


def test_a_derivative_that_was_not_compiled(packages: Packages, native: str) -> None:
    said = metadata(bytes_of(packages, "parameters"))["openmm_nn_outputs"]
    potential = planted(packages, "parameters", openmm_nn_outputs=said.replace("derivative:tilt", "something"))
    force = potential.create_force(atomic_numbers=NUMBERS)
    force.addEnergyParameterDerivative("tilt")
    system = bare_system(6)
    system.addForce(force)
    context = REFERENCE.context(system, random_cluster(NUMBERS, seed=1))
    refused(lambda: context.getState(getEnergy=True), "derivative", "'tilt'", "export_potential")


# Files


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.999])
def test_truncated(packages: Packages, tmp_path: pathlib.Path, part: float) -> None:
    data = bytes_of(packages, "spring")
    path = tmp_path / "cut.pt2"
    path.write_bytes(data[: int(part * len(data))])
    refused(
        lambda: load_potential(path), "cut.pt2", "empty|truncated or damaged|no model", r"AOTInductor package \(.pt2\)"
    )


def test_a_damaged_byte(packages: Packages, tmp_path: pathlib.Path) -> None:
    data = bytearray(bytes_of(packages, "spring"))
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "damaged.pt2"
    path.write_bytes(data)
    refused(lambda: load_potential(path), "damaged.pt2", "truncated or damaged", "again")


def test_named_as_what_it_is_not(packages: Packages, models: ModelSet, tmp_path: pathlib.Path) -> None:
    """Code does not hide behind the ending of a TorchScript file."""
    (tmp_path / "model.pt").write_bytes(bytes_of(packages, "spring"))
    refused(lambda: load_potential(tmp_path / "model.pt"), "machine code", "the ending .pt2")


def test_a_program_that_is_not_compiled(tmp_path: pathlib.Path) -> None:
    program = torch.export.export(Spring(), (torch.ones(2, 3),))
    torch.export.save(program, tmp_path / "program.pt2")
    refused(lambda: load_potential(tmp_path / "program.pt2"), "not compiled", "export_potential")


def test_without_code(packages: Packages, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "source.pt2"
    path.write_bytes(changed(bytes_of(packages, "spring"), drop=lambda name: name.endswith(".so")))
    refused(lambda: load_potential(path), "without a compiled model")


# Cards


def test_a_card_beside_the_one_inside(packages: Packages) -> None:
    card = ModelSet.pair_card("edges-forces", unit="nm")
    refused(lambda: load_potential(packages.path("returned_forces"), card=card), "another one inside")
    same = load_potential(packages.path("returned_forces"), card=packages("returned_forces").card)
    assert same.sha256 == packages("returned_forces").sha256


@pytest.mark.parametrize(
    "old, new, words",
    [
        ('"edge_shifts"', '"box"', "inputs of the card.*box.*those of its code.*edge_shifts"),
        ('"energy",', '"atomic_energies",', "outputs of the card.*atomic_energies.*those of its code: energy, forces"),
        ('"dtype": "float64"', '"dtype": "float32"', "dtype of the card.*float32.*float64"),
    ],
)
def test_a_card_that_contradicts_the_code(
    packages: Packages, tmp_path: pathlib.Path, old: str, new: str, words: str
) -> None:
    data = bytes_of(packages, "returned_forces")
    card = metadata(data)[CARD_FILE]
    assert old in card
    path = tmp_path / "wrong.pt2"
    path.write_bytes(changed(data, **{CARD_FILE: card.replace(old, new, 1)}))
    refused(lambda: load_potential(path), words)


def test_a_card_that_is_no_card(packages: Packages, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "wrong.pt2"
    path.write_bytes(changed(bytes_of(packages, "spring"), **{CARD_FILE: "{}"}))
    refused(lambda: load_potential(path), "wrong.pt2", "no .*inputs")


def test_a_package_made_elsewhere(packages: Packages, native: str, tmp_path: pathlib.Path) -> None:
    """Without our description it needs a card that lists what the code takes and returns, and then runs."""
    ours = {key: None for key in metadata(bytes_of(packages, "returned_forces")) if not key.startswith("AOTI")}
    path = tmp_path / "foreign.pt2"
    path.write_bytes(changed(bytes_of(packages, "returned_forces"), **ours))
    refused(lambda: load_potential(path), "card", "forces included")
    silent = ModelSet.pair_card("edges", unit="bohr")
    refused(lambda: load_potential(path, card=silent), "forces", "format='aotinductor'")
    potential = load_potential(path, card=ModelSet.pair_card("edges-forces", unit="bohr"))
    positions = random_cluster(NUMBERS, seed=4)
    expected = packages("returned_forces").evaluate(positions, NUMBERS)
    found = potential.evaluate(positions, NUMBERS)
    assert found.energy == expected.energy
    np.testing.assert_array_equal(found.forces, expected.forces)
    in_a_context(potential)


def test_module_of_a_package(packages: Packages) -> None:
    refused(lambda: packages("spring").module, "compiled package", "evaluate")


# Export


class Branching(nn.Module):
    def forward(self, positions: Tensor) -> Tensor:
        energy = (positions**2).sum()
        if energy > 1.0:
            return energy
        return 2.0 * energy


class ByElement(nn.Module):
    def forward(self, positions: Tensor) -> Tensor:
        parts = [positions[positions[:, 0] > 0.0], positions[positions[:, 0] <= 0.0]]
        return torch.stack([(part**2).sum() for part in parts if part.shape[0] > 0]).sum()


class Counting(nn.Module):
    def forward(self, positions: Tensor) -> Tensor:
        count = int((positions[:, 0] > -1.0).sum())
        return torch.stack([(positions[k] ** 2).sum() for k in range(count)]).sum()


class InNumpy(nn.Module):
    def forward(self, positions: Tensor) -> Tensor:
        return (positions**2).sum() * float(np.ones(3).sum()) + float(positions.detach().numpy().sum())


class Distances(nn.Module):
    def forward(self, positions: Tensor) -> Tensor:
        return torch.cdist(positions, positions).sum()


class ByCount(nn.Module):
    def forward(self, positions: Tensor) -> Tensor:
        return (positions**2).sum() * (1.0 if positions.shape[0] < 50 else 2.0)


class Looping(nn.Module):
    def forward(self, positions: Tensor) -> Tensor:
        return torch.stack([(positions[i] ** 2).sum() for i in range(positions.shape[0])]).sum()


class Detached(nn.Module):
    def forward(self, positions: Tensor) -> Tensor:
        return (positions**2).sum().detach()


class TwoOutputs(nn.Module):
    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        return (positions**2).sum(), positions


class Shapeless(nn.Module):
    def forward(self, positions: Tensor) -> Tensor:
        return positions**2


@pytest.mark.parametrize(
    "module, words",
    [
        (Branching(), ["a number inside a tensor", "torch.where", "format='torchscript'"]),
        (ByElement(), ["a number inside a tensor", "shape that depends on values", "format='torchscript'"]),
        (Counting(), ["a number inside a tensor", "loop", "format='torchscript'"]),
        (InNumpy(), ["numpy", "operations of torch", "format='torchscript'"]),
        (Distances(), ["something else unless atoms <= 25", "torch.cdist.*compute_mode"]),
        (ByCount(), ["something else unless", "atoms", "format='torchscript'"]),
        (Looping(), ["something else unless", "atoms", "format='torchscript'"]),
        (Detached(), ["does not require grad", "detach"]),
        (TwoOutputs(), ["outputs of the model", "2 of them"]),
        (Shapeless(), ["output 'energy'", "shape"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_modules_that_cannot_be_compiled(tmp_path: pathlib.Path, module: nn.Module, words: list[str]) -> None:
    path = tmp_path / "a.pt2"
    refused(lambda: export_potential(module, path, spring_card("float64"), format="aotinductor"), *words)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_module(models: ModelSet, tmp_path: pathlib.Path) -> None:
    scripted = models.pair("edges").module
    card = ModelSet.pair_card("edges")
    refused(lambda: export_potential(scripted, tmp_path / "a.pt2", card, format="aotinductor"), "not scripted")
    wrong = ModelCard(name="x", inputs=("positions", "box"), outputs=("energy",))
    refused(lambda: export_potential(Spring(), tmp_path / "a.pt2", wrong, format="aotinductor"), "inputs", "box")


def test_paths_and_examples(tmp_path: pathlib.Path) -> None:
    def export(path: pathlib.Path, example: dict[str, object] | None = None) -> None:
        export_potential(Spring(), path, spring_card(), format="aotinductor", example=example)  # type: ignore[arg-type]

    refused(lambda: export(tmp_path / "a.pt"), "ends in .pt2", "a.pt2")
    refused(lambda: export(tmp_path / "no" / "a.pt2"), "directory")
    refused(lambda: export(tmp_path / "a.pt2", {"x": [[0.0, 0.0, 0.0]]}), "example", "positions")


def test_no_compiler(tmp_path: pathlib.Path) -> None:
    from torch._inductor import config

    path = tmp_path / "a.pt2"
    with config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        refused(
            lambda: export_potential(Spring(), path, spring_card(), format="aotinductor"), r"C\+\+ compiler", "g\\+\\+"
        )


def test_a_compiler_with_a_copy_of_the_standard_library(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside torch's libstdc++ its code ends in a segmentation fault: neither it nor the extension is compiled so."""
    from torch._inductor import config

    compiler = tmp_path / "g++"
    compiler.write_text('#!/bin/sh\nexec g++ -static-libstdc++ "$@"\n')
    compiler.chmod(0o755)
    with config.patch({"cpp.cxx": (None, str(compiler))}):
        refused(
            lambda: export_potential(Spring(), tmp_path / "a.pt2", spring_card(), format="aotinductor"),
            "copy of libstdc", "CXX",
        )  # fmt: skip
    assert not (tmp_path / "a.pt2").exists()
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(build.BuildError, match=r"copy of libstdc.*set CXX"):
        build.build(tmp_path / "prefix", force=True)
    assert not (tmp_path / "prefix").exists()


def test_portable_where_that_is_not_known(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "mips")
    refused(
        lambda: export_potential(Spring(), tmp_path / "a.pt2", spring_card(), format="aotinductor", portable=True),
        "portable", "mips", "torchscript",
    )  # fmt: skip
