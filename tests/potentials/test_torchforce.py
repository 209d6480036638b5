"""Potentials as files for openmm-torch: by TorchForce's contract, called by hand as TorchForce calls them."""

import io
import pathlib
import re
import warnings

import numpy as np
import openmm as mm
import pytest
import torch

from openmm_nn import ModelCard, Potential, export_potential, load_potential
from openmm_nn.errors import ParameterError, ParticleError, UnsupportedError
from openmm_nn.potentials.torchforce import compose_torchforce
from tests import oracle
from tests.models import ModelSet
from tests.models.generate import ATOMS
from tests.platforms import REFERENCE, energy_of, forces_of
from tests.refusals import refusal
from tests.samples import BOXES, bare_system, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]
POSITIONS = random_cluster(NUMBERS, seed=5)
KINDS = ("plain", "edges", "edges-forces")


def call(potential: Potential, positions: np.ndarray, *more: object) -> tuple[float, np.ndarray]:
    """What TorchForce does on the CPU: double precision, frozen, energy then backward, or energy and forces."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.freeze(torch.jit.load(io.BytesIO(potential.data)).eval())
    x = torch.tensor(positions, dtype=torch.float64, requires_grad=True)
    returned = module(x, *(torch.tensor(value, dtype=torch.float64) for value in more))
    if isinstance(returned, tuple):
        return float(returned[0]), returned[1].detach().numpy()
    returned.backward()
    return float(returned.detach()), -x.grad.numpy()


@pytest.mark.parametrize("unit", ["nm", "angstrom", "bohr", "kcal"])
@pytest.mark.parametrize("kind", KINDS)
def test_cluster(models: ModelSet, kind: str, unit: str) -> None:
    """Units, elements and edges are folded in: the same energy to 1e-9 from every unit."""
    made = models.pair(kind, unit=unit, offset=True).to_torchforce(atomic_numbers=NUMBERS)
    outputs = ("energy", "forces") if kind == "edges-forces" else ("energy",)
    assert made.card == ModelCard.torchforce(outputs=outputs)
    energy, forces = oracle.pair_energy_forces(POSITIONS, NUMBERS)
    symbols = {1: "H", 6: "C", 7: "N", 8: "O"}
    found, pull = call(made, POSITIONS)
    np.testing.assert_allclose(found - sum(ATOMS[symbols[z]] for z in NUMBERS), energy, rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(pull, forces, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_subset(models: ModelSet, kind: str) -> None:
    everything = np.random.default_rng(1).uniform(-1.0, 1.0, (11, 3))
    atoms = [7, 2, 9, 0, 4, 10]
    everything[atoms] = POSITIONS
    made = models.pair(kind).to_torchforce(atomic_numbers=NUMBERS, region=atoms)
    energy, forces = oracle.pair_energy_forces(POSITIONS, NUMBERS)
    found, pull = call(made, everything)
    np.testing.assert_allclose(found, energy, rtol=1e-10)
    np.testing.assert_allclose(pull[atoms], forces, rtol=1e-9, atol=1e-9)
    assert not np.delete(pull, atoms, axis=0).any()


@pytest.mark.parametrize("shape", list(BOXES))
@pytest.mark.parametrize("kind", ["edges", "edges-forces"])
@pytest.mark.parametrize("divisor", [1.0, 4.0])
def test_periodic(models: ModelSet, kind: str, shape: str, divisor: float) -> None:
    """A large box, and one of half a nanometre where many images count; atoms on any image."""
    box = BOXES[shape] / divisor
    rng = np.random.default_rng(6)
    positions = rng.uniform(0.0, 1.0, (6, 3)) @ box
    made = models.pair(kind, unit="angstrom").to_torchforce(atomic_numbers=NUMBERS, periodic=True)
    assert made.card.periodic == "always"
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS, box)
    found, pull = call(made, positions + rng.integers(-2, 3, (6, 3)) @ box, box)
    np.testing.assert_allclose(found, energy, rtol=1e-9)
    np.testing.assert_allclose(pull, forces, rtol=1e-8, atol=1e-8 * np.abs(forces).max())


def test_model_that_takes_the_box(models: ModelSet) -> None:
    box = BOXES["triclinic"]
    positions = np.random.default_rng(7).uniform(0.0, 1.0, (6, 3)) @ box
    made = models.pair("box", unit="bohr").to_torchforce(atomic_numbers=NUMBERS, periodic=True)
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS, box)
    found, pull = call(made, positions, box)
    np.testing.assert_allclose(found, energy, rtol=1e-9)
    np.testing.assert_allclose(pull, forces, rtol=1e-8, atol=1e-8)


def test_charge_and_parameters(models: ModelSet) -> None:
    charged = models.pair("charge").to_torchforce(atomic_numbers=NUMBERS, charge=-1, multiplicity=3)
    base = oracle.pair_energy(POSITIONS, NUMBERS)
    np.testing.assert_allclose(call(charged, POSITIONS)[0], base * (1.0 - 0.25 + 0.375), rtol=1e-10)
    made = models.pair("parameter").to_torchforce(atomic_numbers=NUMBERS)
    assert made.card.parameters == {"strength": 1.5, "tilt": -2.0}
    np.testing.assert_allclose(call(made, POSITIONS, 3.0, 5.0)[0], 9.0 * base + 5.0, rtol=1e-10)


@pytest.mark.parametrize("output", ["energies", "atomic_energies"])
def test_committee_becomes_its_mean(models: ModelSet, output: str) -> None:
    potential = models.pair("edges", output=output, members=4)
    expected = potential.evaluate(POSITIONS, NUMBERS)
    found, pull = call(potential.to_torchforce(atomic_numbers=NUMBERS), POSITIONS)
    np.testing.assert_allclose(found, expected.energy, rtol=1e-10)
    np.testing.assert_allclose(pull, expected.forces, rtol=1e-9, atol=1e-9)


def test_single_precision(models: ModelSet) -> None:
    """A model in float32 stays that, whatever TorchForce passes; our own engine may make it double."""
    potential = models.pair("edges", dtype="float32", output="atomic_energies")
    made = potential.to_torchforce(atomic_numbers=NUMBERS)
    energy = oracle.pair_energy(POSITIONS, NUMBERS)
    np.testing.assert_allclose(call(made, POSITIONS)[0], energy, rtol=1e-5)
    np.testing.assert_allclose(made.evaluate(POSITIONS).energy, energy, rtol=1e-5)


@pytest.mark.parametrize("periodic", [False, True])
def test_here_too(models: ModelSet, engine: str, periodic: bool, tmp_path: pathlib.Path) -> None:
    """The file runs in a System of ours with the card that it needs, like any file made for openmm-torch."""
    box = BOXES["triclinic"] / 2.0
    made = models.pair("edges", unit="angstrom").to_torchforce(atomic_numbers=NUMBERS, periodic=periodic)
    (tmp_path / "model.pt").write_bytes(made.data)
    system = bare_system(6, box=box)
    system.addForce(load_potential(tmp_path / "model.pt", card=ModelCard.torchforce(periodic=periodic)).create_force())
    context = REFERENCE.context(system, POSITIONS)
    energy, forces = oracle.pair_energy_forces(POSITIONS, NUMBERS, box if periodic else None)
    np.testing.assert_allclose(energy_of(context), energy, rtol=1e-9)
    np.testing.assert_allclose(forces_of(context), forces, rtol=1e-8, atol=1e-7)


def test_export(models: ModelSet, tmp_path: pathlib.Path) -> None:
    module, card = models.pair_module("edges", unit="angstrom"), models.pair_card("edges", unit="angstrom")
    example = {"atomic_numbers": NUMBERS, "box": np.eye(3)}
    for chosen, box in ((example, BOXES["rectangular"] / 2.0), ({"atomic_numbers": NUMBERS}, None)):
        made = export_potential(module, tmp_path / "a.pt", card, format="torchforce", example=chosen)
        read = load_potential(tmp_path / "a.pt")
        assert (made.card, made.sha256) == (read.card, read.sha256)
        assert read.card.follows_torchforce
        energy = call(read, POSITIONS, *([] if box is None else [box]))[0]
        np.testing.assert_allclose(energy, oracle.pair_energy(POSITIONS, NUMBERS, box), rtol=1e-9)


def test_refusals(models: ModelSet) -> None:
    with refusal(ParticleError, "atomic_numbers"):
        models.pair("edges").to_torchforce()
    with refusal(ParticleError, re.compile("region|atomic_numbers"), got="Na"):
        models.pair("edges").to_torchforce(atomic_numbers=[11])
    with pytest.warns(UserWarning, match="is not told the charge"):
        models.pair("edges").to_torchforce(atomic_numbers=NUMBERS, charge=1)
    with refusal(ParameterError, "periodic", got="True", allowed="never"):
        models.pair("plain").to_torchforce(atomic_numbers=NUMBERS, periodic=True)
    potential = load_potential(lambda positions: (positions**2).sum())
    with refusal(UnsupportedError, re.compile(".*"), remedy="export_potential"):
        potential.to_torchforce()
    with refusal(UnsupportedError, "to_torchforce", allowed="TorchScript"):
        compose_torchforce(potential.module, potential.card)


def test_the_potential_is_left_alone(models: ModelSet) -> None:
    potential = models.pair("edges")
    before = potential.sha256
    potential.to_torchforce(atomic_numbers=NUMBERS)
    assert potential.sha256 == before
    np.testing.assert_allclose(
        potential.evaluate(POSITIONS, NUMBERS).energy, oracle.pair_energy(POSITIONS, NUMBERS), rtol=1e-10
    )


def test_with_openmm_torch_itself(models: ModelSet, tmp_path: pathlib.Path) -> None:
    openmmtorch = pytest.importorskip("openmmtorch", reason="openmm-torch is not installed, or not for this torch")
    made = models.pair("edges", unit="angstrom").to_torchforce(atomic_numbers=NUMBERS)
    (tmp_path / "model.pt").write_bytes(made.data)
    system = bare_system(6)
    system.addForce(openmmtorch.TorchForce(str(tmp_path / "model.pt")))
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    context.setPositions(POSITIONS)
    energy, forces = oracle.pair_energy_forces(POSITIONS, NUMBERS)
    np.testing.assert_allclose(energy_of(context), energy, rtol=1e-9)
    np.testing.assert_allclose(forces_of(context), forces, rtol=1e-8, atol=1e-7)
