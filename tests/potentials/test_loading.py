"""load_potential and export_potential: files, names, modules and callables."""

import dataclasses
import hashlib
import pathlib
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from openmm_nn import ModelCard, available_potentials, export_potential, load_potential, trust_hash
from openmm_nn.errors import CardError, ModelError, ParameterError, ParticleError
from tests import oracle
from tests.models import Harmonic, HarmonicParameter, HarmonicWithForces, ModelSet
from tests.models.generate import save, script
from tests.refusals import refusal
from tests.samples import random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]
POSITIONS = random_cluster(NUMBERS, seed=5)


def test_card_and_hash_of_a_file(models: ModelSet) -> None:
    path = models.pair_file("edges")
    for source in (path, str(path)):
        potential = load_potential(source)
        assert potential.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        written = models.pair_card("edges")
        assert dataclasses.replace(potential.card, created_with="") == written
        assert "torch" in potential.card.created_with


def test_export_gives_what_loading_gives(models: ModelSet, tmp_path: pathlib.Path) -> None:
    module = script(models.pair_module("plain"))
    made = export_potential(module, tmp_path / "a.pt", models.pair_card("plain"))
    read = load_potential(tmp_path / "a.pt")
    assert (made.card, made.sha256) == (read.card, read.sha256)
    expected = oracle.pair_energy(POSITIONS, NUMBERS)
    for potential in (made, read):
        np.testing.assert_allclose(potential.evaluate(POSITIONS, NUMBERS).energy, expected, rtol=1e-10)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.pt"]


def test_export_leaves_the_module_alone(models: ModelSet, tmp_path: pathlib.Path) -> None:
    module = models.pair_module("plain").train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    export_potential(module, tmp_path / "a.pt", models.pair_card("plain"))
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_saved_file_is_not_frozen(models: ModelSet, tmp_path: pathlib.Path) -> None:
    """Its parameters can still change their dtype."""

    class Weighted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k = torch.nn.Parameter(torch.tensor(1.0 / 3.0, dtype=torch.float64))

        def forward(self, positions: torch.Tensor) -> torch.Tensor:
            return self.k * (positions**2).sum()

    card = ModelCard.torchforce()
    export_potential(Weighted(), tmp_path / "a.pt", card)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(str(tmp_path / "a.pt"))
        frozen = torch.jit.freeze(module.eval())
    assert [p.dtype for p in module.parameters()] == [torch.float64]
    with refusal(ModelError, "module", got="frozen"):
        export_potential(frozen, tmp_path / "b.pt", card)


def test_export_by_tracing(tmp_path: pathlib.Path) -> None:
    class Unscriptable(torch.nn.Module):
        def forward(self, positions: torch.Tensor) -> torch.Tensor:
            options = {"dim": None} if positions.ndim else {}
            return torch.sum(positions**2, **options)

    with refusal(ModelError, "module", remedy="example"):
        export_potential(Unscriptable(), tmp_path / "a.pt", ModelCard.torchforce())
    with refusal(ParameterError, "example", allowed="positions"):
        export_potential(Unscriptable(), tmp_path / "a.pt", ModelCard.torchforce(), example={"x": [0.0]})
    example = {"positions": np.zeros((2, 3))}
    made = export_potential(Unscriptable(), tmp_path / "a.pt", ModelCard.torchforce(), example=example)
    np.testing.assert_allclose(made.evaluate(POSITIONS).energy, np.sum(POSITIONS**2), rtol=1e-12)


def test_export_formats(models: ModelSet, tmp_path: pathlib.Path) -> None:
    module = Harmonic()
    assert export_potential(module, tmp_path / "a.pt", ModelCard.torchforce(), format="torchforce").sha256
    with refusal(ParticleError, "atomic_numbers"):
        export_potential(
            models.pair_module("plain", unit="angstrom"),
            tmp_path / "b.pt",
            models.pair_card("plain", unit="angstrom"),
            format="torchforce",
        )
    with refusal(ParameterError, "path", allowed="ends in .pt2"):
        export_potential(module, tmp_path / "c.pt", ModelCard.torchforce(), format="aotinductor")
    with refusal(ParameterError, "format", got="onnx", allowed="torchscript"):
        export_potential(module, tmp_path / "d.onnx", ModelCard.torchforce(), format="onnx")
    with refusal(ParameterError, "path", allowed="directory"):
        export_potential(module, tmp_path / "no" / "e.pt", ModelCard.torchforce())
    with refusal(ModelError, "module", remedy="Module"):
        export_potential(lambda positions: positions.sum(), tmp_path / "f.pt", ModelCard.torchforce())
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_file_without_a_card(tmp_path: pathlib.Path) -> None:
    path = save(Harmonic(), tmp_path / "harmonic.pt")
    potential = load_potential(path)
    assert potential.card == ModelCard.torchforce()
    result = potential.evaluate(POSITIONS)
    np.testing.assert_allclose(result.energy, 12.5 * np.sum(POSITIONS**2), rtol=1e-12)
    np.testing.assert_allclose(result.forces, -25.0 * POSITIONS, rtol=1e-12)


def test_file_that_needs_a_card_says_which(tmp_path: pathlib.Path) -> None:
    path = save(HarmonicParameter(), tmp_path / "parameter.pt")
    with refusal(CardError, f"{path}: inputs of the card 'TorchForce'", remedy="ModelCard.torchforce(parameters="):
        load_potential(path)
    path = save(HarmonicWithForces("contiguous"), tmp_path / "forces.pt")
    with refusal(CardError, f"{path}: outputs", remedy="ModelCard.torchforce(outputs="):
        load_potential(path)


def test_inputs_in_another_order(models: ModelSet, tmp_path: pathlib.Path) -> None:
    card = models.pair_card("plain")
    swapped = dataclasses.replace(card, inputs=("atomic_numbers", "positions"))
    with refusal(CardError, "inputs of the card 'pair-plain'", allowed="order"):
        export_potential(models.pair_module("plain"), tmp_path / "a.pt", swapped)
    with refusal(CardError, "inputs of the card 'pair-plain'", allowed="order"):
        load_potential(models.pair_module("plain"), card=swapped)


def test_argument_that_is_no_tensor() -> None:
    class Number(torch.nn.Module):
        def forward(self, positions: torch.Tensor, k: float) -> torch.Tensor:
            return k * positions.sum()

    with refusal(CardError, re.compile(".*k.*"), anywhere=("float", "Tensor")):
        load_potential(script(Number()), card=ModelCard.torchforce(parameters={"k": 1.0}))


def test_second_card_is_refused(models: ModelSet) -> None:
    path = models.pair_file("plain")
    inside = load_potential(path).card
    assert load_potential(path, card=inside).card == inside
    with refusal(CardError, "card", got="another one inside"):
        load_potential(path, card=dataclasses.replace(inside, length_unit="bohr"))


def test_modules_and_callables(models: ModelSet) -> None:
    card = models.pair_card("plain")
    expected, forces = oracle.pair_energy_forces(POSITIONS, NUMBERS)
    eager = models.pair_module("plain")
    for source, kind in ((eager, "callable"), (eager.forward, "callable"), (script(eager), "torchscript")):
        potential = load_potential(source, card=card)
        assert potential.card.format == kind
        assert (potential.sha256 is None) == (kind == "callable")
        result = potential.evaluate(POSITIONS, NUMBERS)
        np.testing.assert_allclose(result.energy, expected, rtol=1e-10)
        np.testing.assert_allclose(result.forces, forces, rtol=1e-9, atol=1e-8)


def test_module_is_taken_as_it_is_now() -> None:
    """Later changes, of weights or mode, are not seen, and the module itself is not converted."""
    module = torch.nn.Module()
    module.register_parameter("k", torch.nn.Parameter(torch.tensor(2.0)))
    module.forward = lambda positions: positions.sum()  # type: ignore[method-assign]

    class Spring(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, positions: torch.Tensor) -> torch.Tensor:
            return self.k * (positions**2).sum()

    spring = Spring().train()
    potential = load_potential(spring)
    np.testing.assert_allclose(potential.evaluate(POSITIONS).energy, 2.0 * np.sum(POSITIONS**2), rtol=1e-12)
    assert spring.training and spring.k.dtype == torch.float32 and spring.k.requires_grad
    with torch.no_grad():
        spring.k.fill_(5.0)
    np.testing.assert_allclose(potential.evaluate(POSITIONS).energy, 2.0 * np.sum(POSITIONS**2), rtol=1e-12)


def test_what_is_no_source() -> None:
    with refusal(ModelError, "source", got="int"):
        load_potential(3)
    with refusal(CardError, "card", got="dict"):
        load_potential(lambda positions: positions.sum(), card={"name": "x"})  # type: ignore[arg-type]


def test_package_of_aotinductor(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.pt2").write_bytes(b"PK")
    with refusal(ModelError, f"file {tmp_path / 'a.pt2'}", got="damaged", allowed=".pt2"):
        load_potential(tmp_path / "a.pt2")
    with refusal(ParameterError, re.compile(".*"), anywhere=("'abc'", "64 hexadecimal")):
        trust_hash("abc")


def test_available_potentials() -> None:
    found = {entry.name: entry for entry in available_potentials()}
    assert "ani2x" in found and "ani2x/0" in found
    for name, entry in found.items():
        if name.startswith("openmm-nn/"):
            assert entry.card is not None and entry.missing == ""
            assert load_potential(name).card == entry.card


def test_no_deprecation_warning_reaches_the_user(tmp_path: pathlib.Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_potential(Harmonic(), tmp_path / "a.pt", ModelCard.torchforce())
        load_potential(tmp_path / "a.pt").evaluate(POSITIONS)


@pytest.mark.parametrize(
    "precision, dtype", [("model", torch.float32), ("single", torch.float32), ("double", torch.float64)]
)
def test_dtype_is_converted_before_freezing(models: ModelSet, precision: str, dtype: torch.dtype) -> None:
    potential = models.pair("plain", dtype="float32")
    runner = potential.runner("cpu", precision)
    assert runner.dtype == dtype
    inputs = {"positions": POSITIONS, "atomic_numbers": np.array(NUMBERS)}
    energies, _, _ = runner(inputs, False, [], False)
    error = abs(energies[0] - oracle.pair_energy(POSITIONS, NUMBERS))
    assert (error < 1e-10) == (dtype == torch.float64)
    assert error < 1e-3


def test_detached_terms_keep_their_meaning() -> None:
    """torch.jit.freeze drops detach() and would change the forces; such a module is run as it is."""

    class Stopped(torch.nn.Module):
        def forward(self, positions: torch.Tensor) -> torch.Tensor:
            return (positions * positions.detach()).sum()

    result = load_potential(script(Stopped())).evaluate(POSITIONS)
    np.testing.assert_allclose(result.forces, -POSITIONS, rtol=1e-12)


FAILING = """
import openmm as mm, numpy as np, torch
from openmm_nn import load_potential
from openmm_nn.errors import ModelError

class Table(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.arange(3.0))

    def row(self, index: torch.Tensor) -> torch.Tensor:
        return self.table[index]

    def scaled(self, index: torch.Tensor) -> torch.Tensor:
        return 2.0 * self.row(index)

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return (self.scaled((positions[:, 0] + 5.0).long()) * positions[:, 0]).sum()

potential = load_potential(torch.jit.script(Table().eval()))
positions = np.zeros((4, 3))
system = mm.System()
for _ in positions:
    system.addParticle(1.0)
system.addForce(potential.create_force(region=range(4)))
for _ in range(12):
    try:
        potential.evaluate(positions)
    except ModelError as error:
        assert "out of bounds" in str(error) and "in row" in str(error), error
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatform("Reference"))
    context.setPositions(positions)
    try:
        context.getState(energy=True)
    except mm.OpenMMException as error:
        assert "out of bounds" in str(error), error
    print("said")
"""


@pytest.mark.process
def test_error_inside_a_frozen_model_does_not_end_the_process(tmp_path: pathlib.Path) -> None:
    """torch.jit.freeze leaves the names that an error's traceback wants in freed memory, if nobody keeps them."""
    program = tmp_path / "failing.py"
    program.write_text(FAILING)
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.split() == 12 * ["said"]
