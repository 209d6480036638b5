"""TensorNet and the equivariant transformer with random weights against TorchMD-Net's own calculator."""

import pathlib
import re
import types
from typing import Any

import pytest
import torch
from torchmdnet.calculators import TMDNETCalculator
from torchmdnet.models.model import create_model
from torchmdnet.priors import Atomref

from openmm_nn import load_potential
from openmm_nn.errors import ParameterError
from openmm_nn.testing import check_potential
from tests.potentials.formats.agreement import Record, compare_with_ase
from tests.potentials.formats.boxes import cluster_of_waters, to_lattice, water_box
from tests.refusals import refusal

SHIFTS = {1: -1.36, 8: -20.5}
# The library's kernels for TensorNet are in single precision; given doubles they return no numbers.
PRECISION = {"tensornet": 32, "et": 64}
COMMON: dict[str, Any] = {
    "embedding_dimension": 16,
    "num_layers": 1,
    "num_rbf": 8,
    "rbf_type": "expnorm",
    "trainable_rbf": False,
    "activation": "silu",
    "cutoff_lower": 0.0,
    "cutoff_upper": 3.0,
    "max_z": 20,
    "max_num_neighbors": 64,
    "reduce_op": "sum",
    "output_model": "Scalar",
    "prior_model": None,
    "derivative": False,
    "remove_ref_energy": False,
    "atom_filter": -1,
    "output_mlp_num_layers": 0,
}
MODELS: dict[str, dict[str, Any]] = {
    "tensornet": {"model": "tensornet", "equivariance_invariance_group": "O(3)", "charge": True},
    "et": {
        "model": "equivariant-transformer",
        "attn_activation": "silu",
        "num_heads": 4,
        "distance_influence": "both",
        "neighbor_embedding": True,
    },
}


def write(
    folder: pathlib.Path, kind: str, precision: int, *, atomref: bool = True, objects: bool = False
) -> pathlib.Path:
    """A checkpoint in the layout that training writes."""
    options = {**COMMON, **MODELS[kind], "precision": precision}
    prior = None
    if atomref:
        prior = Atomref(max_z=20)
        for z, value in SHIFTS.items():
            prior.initial_atomref[z] = value
        options.update(prior_model="Atomref", prior_args={"max_z": 20})
    torch.manual_seed(5)
    model = create_model(dict(options), [prior] if prior is not None else None)
    if prior is not None:
        model.prior_model[0].reset_parameters()
    states = {f"model.{name}": value for name, value in model.state_dict().items()}
    found: Any = types.SimpleNamespace(**options) if objects else options
    path = folder / f"{kind}-{precision}.ckpt"
    torch.save({"hyper_parameters": vars(found) if objects else found, "state_dict": states, "extra": found}, path)
    return path


def calculator(path: pathlib.Path, precision: int) -> TMDNETCalculator:
    dtype = {32: torch.float32, 64: torch.float64}[precision]
    return TMDNETCalculator(str(path), dtype=dtype, remove_ref_energy=False, precision=precision)


@pytest.mark.parametrize("kind", list(MODELS))
def test_water(kind: str, tmp_path: pathlib.Path, record: Record) -> None:
    precision = PRECISION[kind]
    path = write(tmp_path, kind, precision)
    potential = load_potential(path)
    assert potential.card.energy_offset == pytest.approx({"H": -1.36, "O": -20.5})
    assert potential.card.dtype == f"float{precision}"
    positions, numbers, box = water_box(2)
    found = compare_with_ase(potential, calculator(path, precision), to_lattice(positions, box), numbers, box)
    record(found).check(1e-5, 1e-4)


@pytest.mark.parametrize("charge", [0, -1])
def test_cluster(charge: int, tmp_path: pathlib.Path, record: Record) -> None:
    path = write(tmp_path, "tensornet", 32)
    positions, numbers = cluster_of_waters()
    found = compare_with_ase(load_potential(path), calculator(path, 32), positions, numbers, charge=charge)
    record(found).check(1e-5, 1e-4)


def test_contract(tmp_path: pathlib.Path) -> None:
    positions, numbers = cluster_of_waters(2)
    check_potential(load_potential(write(tmp_path, "tensornet", 64)), numbers, positions, tolerance=1e-5)


def test_charge_is_spoken_of_where_the_model_has_none(tmp_path: pathlib.Path) -> None:
    positions, numbers = cluster_of_waters(1)
    with pytest.warns(UserWarning, match="is not told the charge"):
        load_potential(write(tmp_path, "et", 32)).evaluate(positions, numbers, charge=1)


def test_objects_inside_need_trust(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, "tensornet", 64, objects=True)
    with refusal(ParameterError, re.compile(".*"), anywhere=("pickle", "trust=True")):
        load_potential(path)
    assert load_potential(path, trust=True).card.cutoff == 3.0
