"""What is wrong is said in words, before the first step: the argument, the value, what is allowed, the remedy."""

import dataclasses
import pathlib

import numpy as np
import openmm as mm
import pytest
import torch
from openmm import app

from openmm_nn import ModelCard, add_neural_force, create_system, export_potential, load_potential
from openmm_nn.errors import CardError, ModelError, ParameterError, ParticleError
from tests.models import Harmonic, ModelSet
from tests.models.generate import save, script
from tests.platforms import REFERENCE, PlatformCase, energy_of
from tests.refusals import refusal, refused
from tests.samples import BOXES, bare_system, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]
POSITIONS = random_cluster(NUMBERS, seed=61)


def topology_of(symbols: list[str | None]) -> app.Topology:
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for k, symbol in enumerate(symbols):
        topology.addAtom(f"X{k}", app.Element.getBySymbol(symbol) if symbol else None, residue)
    return topology


# ---- atoms and elements ----------------------------------------------------------------------------------------


def test_element_that_the_card_does_not_list(models: ModelSet, engine: str) -> None:
    potential = models.pair("plain")
    with refusal(ParticleError, "region", got=("P", "atom 2"), allowed=("H", "C", "N", "O")):
        potential.create_force(atomic_numbers=[8, 1, 15])
    with refusal(ParticleError, "region", got="Cl", allowed=("H", "C", "N", "O")):
        potential.create_force(topology=topology_of(["O", "Cl"]))
    with refusal(ParticleError, "region", got="Au"):
        potential.evaluate(np.zeros((1, 3)), [79])


@pytest.mark.parametrize(
    "atoms, got, allowed",
    [([0, 6], "6", "0 to 5"), ([-1, 2], "-1", "0"), ([1, 2, 1], "1", "once"), ([], "empty", "at least one atom")],
)
def test_bad_region_of_a_topology(models: ModelSet, engine: str, atoms: list[int], got: str, allowed: str) -> None:
    potential = models.pair("plain")
    topology = topology_of(["O", "H", "C", "N", "H", "C"])
    with refusal(ParticleError, "region", got=got, allowed=allowed):
        potential.create_force(topology=topology, region=atoms)


@pytest.mark.parametrize("atoms, got, allowed", [([-1, 2], "-1", "0"), ([1, 1], "1", "once")])
def test_bad_region_without_a_topology(models: ModelSet, engine: str, atoms: list[int], got: str, allowed: str) -> None:
    potential = models.pair("plain")
    with refusal(ParticleError, "region", got=got, allowed=allowed):
        potential.create_force(atomic_numbers=[8, 1], region=atoms)


def test_index_beyond_the_system(models: ModelSet, platform: PlatformCase, engine: str) -> None:
    """With no topology the number of particles is known when the Context is made."""
    system = bare_system(6)
    system.addForce(models.pair("plain").create_force(atomic_numbers=[8, 1], region=[2, 6]))
    with pytest.raises(mm.OpenMMException, match="6"):
        energy_of(platform.context(system, POSITIONS))


def test_numbers_of_another_length(models: ModelSet, engine: str) -> None:
    potential = models.pair("plain")
    with refusal(ParticleError, "atomic_numbers", got="3", allowed="2"):
        potential.create_force(atomic_numbers=[8, 1, 6], region=[0, 1])
    system = bare_system(6)
    system.addForce(potential.create_force(atomic_numbers=[8, 1, 6]))
    with pytest.raises(mm.OpenMMException, match=r"(?s)3.*6|6.*3"):
        energy_of(REFERENCE.context(system, POSITIONS))
    with refusal(ParticleError, "atomic_numbers", got="5", allowed="6"):
        potential.evaluate(POSITIONS, NUMBERS[:5])


def test_topology_without_elements(models: ModelSet, engine: str) -> None:
    potential = models.pair("plain")
    topology = topology_of(["O", None, "C"])
    with refusal(ParticleError, "topology", got=("element", "X1"), remedy="atomic_numbers"):
        potential.create_force(topology=topology)
    with refusal(ParticleError, "topology", got="element"):
        create_system(topology, potential)
    with refusal(ParticleError, "topology", got="element"):
        add_neural_force(topology, bare_system(3), potential)


def test_no_atomic_numbers(models: ModelSet, engine: str) -> None:
    potential = models.pair("plain")
    with refusal(ParticleError, "atomic_numbers", got="topology"):
        potential.create_force()
    with refusal(ParticleError, "atomic_numbers", got="none, and no topology"):
        potential.evaluate(POSITIONS)


def test_topology_of_another_system(models: ModelSet, engine: str) -> None:
    system = bare_system(5)
    with refusal(ParticleError, "topology", got="2 atoms", anywhere="5"):
        add_neural_force(topology_of(["O", "H"]), system, models.pair("plain"))
    assert system.getNumForces() == 0


def test_virtual_site_in_the_region(models: ModelSet, platform: PlatformCase, engine: str) -> None:
    system = bare_system(6)
    system.setParticleMass(5, 0.0)
    system.setVirtualSite(5, mm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    system.addForce(models.pair("plain").create_force(atomic_numbers=NUMBERS))
    with pytest.raises(mm.OpenMMException, match=r"(?is)(5.*virtual|virtual.*5)"):
        energy_of(platform.context(system, POSITIONS))


# ---- files and cards -------------------------------------------------------------------------------------------


def test_no_such_file(tmp_path: pathlib.Path) -> None:
    with refusal(ModelError, "source", got="nothing.pt"):
        load_potential(tmp_path / "nothing.pt")
    with refusal(ModelError, "source", got="no-such-potential", allowed="ani2x"):
        load_potential("no-such-potential")


def test_file_that_is_no_model(tmp_path: pathlib.Path) -> None:
    for name, content in (
        ("empty.pt", b""),
        ("text.pt", b"this is no model\n"),
        ("zip.pt", b"PK\x03\x04" + bytes(200)),
    ):
        (tmp_path / name).write_bytes(content)
        with refusal(ModelError, f"file {tmp_path / name}", allowed=".pt"):
            load_potential(tmp_path / name)


def test_pickled_checkpoint_needs_trust(tmp_path: pathlib.Path) -> None:
    torch.save({"weights": torch.zeros(3)}, tmp_path / "checkpoint.pt")
    with refusal(ModelError, f"file {tmp_path / 'checkpoint.pt'}", got="pickled checkpoint"):
        load_potential(tmp_path / "checkpoint.pt")


class Unscriptable(torch.nn.Module):
    """Its helper asks for what TorchScript does not have."""

    def helper(self, x: torch.Tensor) -> torch.Tensor:
        return x.numpy().sum()

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return self.helper(positions)


def test_line_that_torchscript_refuses(tmp_path: pathlib.Path) -> None:
    """The message has the file, the number and the text of the line, and says what can be done."""
    card = ModelCard(
        name="wrong", version="1", description="", inputs=("positions",), outputs=("energy",), length_unit="nm",
        energy_unit="kJ/mol", periodic="never",
    )  # fmt: skip
    lines = pathlib.Path(__file__).read_text(encoding="utf-8").splitlines()
    number = lines.index("        return x.numpy().sum()") + 1
    place = f"{__file__}, line {number}, `return x.numpy().sum()`"
    with refusal(ModelError, "module", got=("'numpy'", place), remedy="example="):
        export_potential(Unscriptable(), tmp_path / "a.pt", card)


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.95, 0.999])
def test_truncated_file(models: ModelSet, tmp_path: pathlib.Path, fraction: float) -> None:
    content = models.pair_file("edges").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: int(fraction * len(content))])
    with refusal(ModelError, f"file {tmp_path / 'cut.pt'}", allowed=".pt"):
        load_potential(tmp_path / "cut.pt")


def test_card_that_contradicts_the_module(models: ModelSet, tmp_path: pathlib.Path) -> None:
    module = script(models.pair_module("plain"))
    card = models.pair_card("plain")
    more = dataclasses.replace(card, inputs=(*card.inputs, "charge"))
    with refusal(CardError, "inputs of the card 'pair-plain'", got="charge", remedy="inputs"):
        export_potential(module, tmp_path / "a.pt", more)
    fewer = dataclasses.replace(card, inputs=("positions",))
    with refusal(CardError, "inputs of the card 'pair-plain'", got="atomic_numbers", remedy="inputs"):
        export_potential(module, tmp_path / "b.pt", fewer)
    assert not (tmp_path / "a.pt").exists() and not (tmp_path / "b.pt").exists()
    save(models.pair_module("plain"), tmp_path / "c.pt")
    with refusal(CardError, f"{tmp_path / 'c.pt'}: inputs of the card 'pair-plain'", got="charge", remedy="inputs"):
        load_potential(tmp_path / "c.pt", card=more)


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": ("energy", "forces")},
        {"outputs": ("energies",), "committee_size": 3},
        {"outputs": ("atomic_energies",)},
    ],
)
def test_outputs_that_the_module_does_not_have(
    models: ModelSet, engine: str, tmp_path: pathlib.Path, change: dict[str, object]
) -> None:
    """Found at the latest when the model is warmed up, before the first step."""
    save(models.pair_module("plain"), tmp_path / "d.pt")
    card = dataclasses.replace(models.pair_card("plain"), **change)  # type: ignore[arg-type]

    def use() -> None:
        system = bare_system(6)
        system.addForce(load_potential(tmp_path / "d.pt", card=card).create_force(atomic_numbers=NUMBERS))
        energy_of(REFERENCE.context(system, POSITIONS))

    refused(use, "energ|forces|outputs")


# ---- options ----------------------------------------------------------------------------------------------------


def test_periodicity_that_the_card_does_not_allow(models: ModelSet, engine: str) -> None:
    with refusal(ParameterError, "periodic", allowed="never"):
        models.pair("plain").create_force(atomic_numbers=NUMBERS, periodic=True)
    with refusal(ParameterError, "periodic", allowed="always"):
        models.torchforce("box").create_force(periodic=False)


def test_periodic_force_in_a_system_without_a_box(models: ModelSet, engine: str) -> None:
    """OpenMM gives every System a default box of 2 nm; the edges are then those of that box."""
    system = bare_system(6, box=BOXES["rectangular"])
    system.addForce(models.pair("edges").create_force(atomic_numbers=NUMBERS, periodic=True))
    assert system.usesPeriodicBoundaryConditions()


def test_charge_that_the_model_cannot_know(models: ModelSet, engine: str) -> None:
    """It describes what it was trained for: that is said."""
    with pytest.warns(UserWarning, match="is not told the charge"):
        models.pair("plain").create_force(atomic_numbers=NUMBERS, charge=1)
    with pytest.warns(UserWarning, match="is not told the multiplicity"):
        models.pair("plain").create_force(atomic_numbers=NUMBERS, multiplicity=3)
    with refusal(ParameterError, "multiplicity", got="0"):
        models.pair("charge").create_force(atomic_numbers=NUMBERS, multiplicity=0)


def test_unknown_property(models: ModelSet, engine: str) -> None:
    potential = models.pair("plain")
    with refusal(ParameterError, "properties", got="presicion", allowed=("device", "precision")):
        potential.create_force(atomic_numbers=NUMBERS, properties={"presicion": "single"})
    with refusal(ParameterError, "properties['precision']", got="half", allowed="single"):
        potential.create_force(atomic_numbers=NUMBERS, properties={"precision": "half"})


def test_parameter_that_the_model_does_not_have(models: ModelSet, native: str) -> None:
    potential = models.pair("parameter")
    with refusal(ParameterError, "parameters", got="strenght", allowed=("strength", "tilt")):
        potential.evaluate(POSITIONS, NUMBERS, parameters={"strenght": 1.0})
    force = potential.create_force(atomic_numbers=NUMBERS)
    system = bare_system(6)

    def use() -> None:
        force.addEnergyParameterDerivative("strenght")
        system.addForce(force)
        REFERENCE.context(system, POSITIONS)

    refused(use, "strenght", "strength")


def test_derivative_on_the_python_engine(models: ModelSet, python_engine: str) -> None:
    """Named as what this engine cannot do, not an AttributeError three calls later."""
    force = models.pair("parameter").create_force(atomic_numbers=NUMBERS)
    assert isinstance(force, mm.PythonForce)


def test_unknown_argument(models: ModelSet) -> None:
    with pytest.raises(TypeError, match="forcegroup"):
        models.pair("plain").create_force(atomic_numbers=NUMBERS, forcegroup=1)  # type: ignore[call-arg]


def test_eager_module_without_a_card() -> None:
    """A module has no contract of its own; without a card it is read by TorchForce's."""
    result = load_potential(Harmonic()).evaluate(POSITIONS)
    np.testing.assert_allclose(result.energy, 12.5 * np.sum(POSITIONS**2), rtol=1e-6)
