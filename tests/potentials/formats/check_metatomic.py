# ruff: noqa: UP006, UP035, UP045  metatomic compares annotations with those of typing
"""Exported metatomic models against metatomic's own ASE calculator; in an environment of their own."""

import pathlib
import re
import warnings
from typing import Dict, List, Optional

import pytest
import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelMetadata,
    ModelOutput,
    NeighborListOptions,
    System,
)
from metatomic_ase import MetatomicCalculator

from openmm_nn import load_potential
from openmm_nn.errors import UnsupportedError
from openmm_nn.testing import check_potential
from tests.potentials.formats.agreement import EV, Record, compare_with_ase
from tests.potentials.formats.boxes import cluster_of_waters, rock_salt, to_lattice, water_box
from tests.refusals import refusal


class PairSum(torch.nn.Module):
    """A smooth pair energy over two requested lists, one full and one half with a shorter cutoff."""

    def __init__(self, cutoff: float, energy: float, length: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.energy = energy
        self.length = length
        self.full = NeighborListOptions(cutoff=cutoff, full_list=True, strict=True)
        self.half = NeighborListOptions(cutoff=0.7 * cutoff, full_list=False, strict=True)

    def requested_neighbor_lists(self) -> List[NeighborListOptions]:
        return [self.full, self.half]

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels] = None,
    ) -> Dict[str, TensorMap]:
        rows = torch.jit.annotate(List[torch.Tensor], [])
        samples = torch.jit.annotate(List[torch.Tensor], [])
        for k, system in enumerate(systems):
            z = system.types.to(system.positions.dtype)
            atoms = torch.zeros_like(z)
            for options, weight in [(self.full, 0.5), (self.half, 0.3)]:
                pairs = system.get_neighbor_list(options)
                i = pairs.samples.column("first_atom").to(torch.int64)
                j = pairs.samples.column("second_atom").to(torch.int64)
                r = torch.linalg.vector_norm(pairs.values.squeeze(-1), dim=1)
                x = r / (self.cutoff if weight == 0.5 else 0.7 * self.cutoff)
                e = weight * self.energy * torch.exp(-r / self.length) * (1.0 - x * x) ** 3
                atoms = atoms.index_add(0, i, e * (1.0 + 0.1 * z[i]) * (1.0 + 0.1 * z[j]))
            count = len(system)
            if outputs["energy"].sample_kind == "atom":
                # Backwards: samples name the atoms, whatever their order.
                order = torch.arange(count - 1, -1, -1, device=z.device)
                rows.append(atoms[order].unsqueeze(1))
                samples.append(torch.stack([torch.full_like(order, k), order], dim=1))
            else:
                rows.append(atoms.sum().reshape(1, 1))
                samples.append(torch.tensor([[k]], device=z.device))
        names = ["system", "atom"] if outputs["energy"].sample_kind == "atom" else ["system"]
        block = TensorBlock(
            values=torch.cat(rows),
            samples=Labels(names, torch.cat(samples).to(torch.int32)),
            components=torch.jit.annotate(List[Labels], []),
            properties=Labels(["energy"], torch.tensor([[0]], device=rows[0].device)),
        )
        return {"energy": TensorMap(Labels(["_"], torch.tensor([[0]], device=rows[0].device)), [block])}


UNITS = {
    "angstrom-eV": ("angstrom", "eV", 1.0, 1.0),
    "bohr-hartree": ("bohr", "hartree", 1.8897261258369282, 1 / 27.211386245981),
}


def write(
    path: pathlib.Path, *, units: str = "angstrom-eV", per_atom: bool = True, dtype: str = "float64", **more: object
) -> pathlib.Path:
    length_unit, energy_unit, length, energy = UNITS[units]
    model = PairSum(4.5 * length, 1.7 * energy, 0.9 * length)
    output = ModelOutput(unit=energy_unit, sample_kind="atom" if per_atom else "system", explicit_gradients=[])
    capabilities = ModelCapabilities(
        outputs={"energy": output},
        atomic_types=[1, 8, 11, 17],
        interaction_range=4.5 * length,
        length_unit=length_unit,
        supported_devices=["cpu"],
        dtype=dtype,
        **more,
    )
    exported = AtomisticModel(model.eval(), ModelMetadata(name="pair sum"), capabilities)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported.save(str(path))
    return path


@pytest.mark.parametrize("per_atom", [True, False])
@pytest.mark.parametrize("units", list(UNITS))
def test_water(units: str, per_atom: bool, tmp_path: pathlib.Path, record: Record) -> None:
    path = write(tmp_path / "model.pt", units=units, per_atom=per_atom)
    potential = load_potential(path)
    assert potential.card.outputs == ("atomic_energies" if per_atom else "energy",)
    positions, numbers, box = water_box(2)
    calculator = MetatomicCalculator(str(path), device="cpu")
    found = compare_with_ase(potential, calculator, to_lattice(positions, box), numbers, box)
    record(found).check(1e-7, 1e-6)


def test_crystal(tmp_path: pathlib.Path, record: Record) -> None:
    path = write(tmp_path / "model.pt")
    positions, numbers, box = rock_salt()
    calculator = MetatomicCalculator(str(path), device="cpu")
    record(compare_with_ase(load_potential(path), calculator, positions, numbers, box)).check(1e-7, 1e-6)


def test_contract(tmp_path: pathlib.Path) -> None:
    positions, numbers = cluster_of_waters(2)
    check_potential(load_potential(write(tmp_path / "model.pt")), numbers, positions, tolerance=1e-5)


def test_single(tmp_path: pathlib.Path, record: Record) -> None:
    path = write(tmp_path / "model.pt", dtype="float32")
    assert load_potential(path).card.dtype == "float32"
    positions, numbers, box = water_box(2)
    calculator = MetatomicCalculator(str(path), device="cpu")
    record(compare_with_ase(load_potential(path), calculator, positions, numbers, box)).check(1e-5, 1e-4)


def test_card(tmp_path: pathlib.Path) -> None:
    card = load_potential(write(tmp_path / "a.pt", units="bohr-hartree")).card
    assert (card.name, card.length_unit, card.energy_unit) == ("pair sum", "bohr", "hartree")
    assert card.cutoff == pytest.approx(4.5 * 1.8897261258369282)
    assert card.elements == ("H", "O", "Na", "Cl")
    assert card.long_range is False
    assert EV > 96.0


def test_trained_architecture(tmp_path: pathlib.Path, record: Record) -> None:
    """A model of metatrain with random weights."""
    from metatrain.pet import PET
    from metatrain.utils.architectures import get_default_hypers
    from metatrain.utils.data import DatasetInfo
    from metatrain.utils.data.target_info import get_energy_target_info

    hypers = get_default_hypers("pet")["model"]
    hypers.update(
        d_pet=16, d_node=16, d_head=16, d_feedforward=16, num_heads=2, num_attention_layers=1, num_gnn_layers=1
    )
    target = get_energy_target_info("energy", {"quantity": "energy", "unit": "eV"}, add_position_gradients=True)
    torch.manual_seed(1)
    model = PET(hypers, DatasetInfo(length_unit="angstrom", atomic_types=[1, 8], targets={"energy": target}))
    path = tmp_path / "pet.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.eval().export().save(str(path))
    positions, numbers, box = water_box(2)
    calculator = MetatomicCalculator(str(path), device="cpu")
    record(compare_with_ase(load_potential(path), calculator, positions, numbers, box)).check(1e-5, 1e-4)


def test_without_energy(tmp_path: pathlib.Path) -> None:
    output = ModelOutput(unit="", sample_kind="system", explicit_gradients=[])
    capabilities = ModelCapabilities(
        outputs={"features": output},
        atomic_types=[1],
        interaction_range=1.0,
        length_unit="angstrom",
        supported_devices=["cpu"],
        dtype="float64",
    )
    path = tmp_path / "a.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        AtomisticModel(PairSum(4.5, 1.7, 0.9).eval(), ModelMetadata(), capabilities).save(str(path))
    with refusal(UnsupportedError, re.compile(".*"), got="features", allowed="energy"):
        load_potential(path)
