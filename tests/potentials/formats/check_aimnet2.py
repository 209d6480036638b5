"""AIMNet2 with random weights, Coulomb and D3 inside, against AIMNet's own calculator; in its own environment."""

import pathlib
import re

import aimnet
import pytest
import torch
import yaml
from aimnet.calculators import AIMNet2Calculator
from aimnet.config import build_module
from ase.calculators.calculator import Calculator

from openmm_nn import load_potential
from openmm_nn.errors import ParameterError, ParticleError
from openmm_nn.testing import check_potential
from tests.potentials.formats.agreement import Record, compare_with_ase
from tests.potentials.formats.boxes import cluster_of_waters
from tests.refusals import refusal

SHIFTS = {1: -13.6, 8: -2041.5}


def write(path: pathlib.Path, channels: int = 1) -> pathlib.Path:
    """What AIMNet's command jitcompile writes, with attributes as published files have them."""
    folder = pathlib.Path(aimnet.__file__).parent / "models"
    config = yaml.safe_load((folder / "aimnet2_dftd3_wb97m.yaml").read_text())
    config["kwargs"]["num_charge_channels"] = channels
    torch.manual_seed(4)
    model = build_module(config).eval()
    with torch.no_grad():
        known = model.afv.weight.clone()
        table = torch.full_like(known, float("nan"))
        for z in (0, *SHIFTS):
            table[z] = known[z]
        model.afv.weight.copy_(table)
        for name, child in model.named_modules():
            if type(child).__name__ == "AtomicShift":
                assert name
                child.double()
                for z, value in SHIFTS.items():
                    child.shifts.weight[z] = value
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.cutoff, model.cutoff_lr = 5.0, float("inf")
    torch.jit.script(model).save(str(path))
    return path


class FixedCharge(Calculator):
    """AIMNet's calculator for ASE; its own adapter, of this version, forgets the charge."""

    implemented_properties = ("energy", "forces")

    def __init__(self, base: AIMNet2Calculator, charge: int, multiplicity: int) -> None:
        super().__init__()
        self.base, self.options = base, {"charge": float(charge), "mult": float(multiplicity)}

    def calculate(self, atoms: object = None, properties: object = (), system_changes: object = ()) -> None:
        super().calculate(atoms, properties, system_changes)
        given = {"coord": self.atoms.positions, "numbers": self.atoms.numbers, **self.options}
        found = self.base(given, forces=True)
        self.results = {"energy": float(found["energy"]), "forces": found["forces"].detach().numpy()}


@pytest.fixture(scope="module", params=[1, 2], ids=["closed", "open"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write(tmp_path_factory.mktemp("aimnet2") / "random.jpt", request.param)


@pytest.mark.parametrize("charge", [0, -1])
def test_cluster(path: pathlib.Path, charge: int, record: Record) -> None:
    potential = load_potential(path)
    assert potential.card.elements == ("H", "O")
    assert potential.card.energy_offset == pytest.approx({"H": -13.6, "O": -2041.5})
    assert potential.card.long_range is True
    spin = 2 if charge and potential.card.supports_spin else 1
    calculator = FixedCharge(AIMNet2Calculator(torch.jit.load(str(path))), charge, spin)
    positions, numbers = cluster_of_waters(4)
    found = compare_with_ase(potential, calculator, positions, numbers, charge=charge, multiplicity=spin)
    record(found).check(1e-5, 1e-4)


def test_charge_matters(path: pathlib.Path) -> None:
    positions, numbers = cluster_of_waters(2)
    potential = load_potential(path)
    energies = [potential.evaluate(positions, numbers, charge=q).energy for q in (0, 1)]
    assert abs(energies[0] - energies[1]) > 0.1


def test_contract(path: pathlib.Path) -> None:
    positions, numbers = cluster_of_waters(2)
    check_potential(load_potential(path), numbers, positions, tolerance=3e-4)


def test_periodic_is_refused(path: pathlib.Path) -> None:
    positions, numbers = cluster_of_waters(2)
    with refusal(ParameterError, "box", allowed="never"):
        load_potential(path).evaluate(positions, numbers, box=[[2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0]])
    with refusal(ParticleError, re.compile("region|atomic_numbers"), got="C"):
        load_potential(path).create_force(atomic_numbers=[6])
