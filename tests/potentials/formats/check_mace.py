"""MACE with random weights, saved and exported for LAMMPS, against MACE's own calculator; in its own environment."""

import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import mace  # first: it lets e3nn 0.4 read its constants under torch 2.6 and newer  # isort: skip
from e3nn import o3
from mace import modules
from mace.calculators import MACECalculator

from openmm_nn import load_potential
from openmm_nn.errors import ParameterError
from openmm_nn.testing import check_potential
from tests.potentials.formats.agreement import Record, compare_with_ase
from tests.potentials.formats.boxes import cluster_of_waters, to_lattice, water_box
from tests.refusals import refusal

assert mace.__version__

SYMBOLS = {"H": -13.6, "O": -2041.5}  # eV


def make(seed: int = 0) -> torch.nn.Module:
    """A small model in double with energies of isolated atoms as large as real ones."""
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    try:
        return modules.ScaleShiftMACE(
            r_max=4.5,
            num_bessel=6,
            num_polynomial_cutoff=5,
            max_ell=2,
            interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
            interaction_cls_first=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
            num_interactions=2,
            num_elements=2,
            hidden_irreps=o3.Irreps("8x0e + 8x1o"),
            MLP_irreps=o3.Irreps("8x0e"),
            gate=torch.nn.functional.silu,
            atomic_energies=np.array(list(SYMBOLS.values())),
            avg_num_neighbors=12.0,
            atomic_numbers=[1, 8],
            correlation=2,
            radial_type="bessel",
            atomic_inter_scale=2.5,
            atomic_inter_shift=0.1,
            heads=["Default"],
        )
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("mace") / "random.model"
    torch.save(make(), path)
    return path


@pytest.fixture(scope="module")
def exported(saved: pathlib.Path) -> pathlib.Path:
    """What MACE's own command writes."""
    command = [
        str(pathlib.Path(sys.executable).with_name("mace_create_lammps_model")),
        str(saved),
        "--dtype",
        "float64",
    ]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return pathlib.Path(f"{saved}-lammps.pt")


@pytest.fixture(scope="module")
def calculator(saved: pathlib.Path) -> MACECalculator:
    return MACECalculator(model_paths=str(saved), device="cpu", default_dtype="float64")


@pytest.mark.parametrize("kind", ["saved", "exported"])
def test_water(kind: str, request: pytest.FixtureRequest, calculator: MACECalculator, record: Record) -> None:
    potential = load_potential(request.getfixturevalue(kind), trust=kind == "saved")
    assert potential.card.energy_offset == pytest.approx(SYMBOLS)
    positions, numbers, box = water_box(2)
    record(compare_with_ase(potential, calculator, to_lattice(positions, box), numbers, box)).check(1e-7, 1e-6)


def test_cluster(exported: pathlib.Path, calculator: MACECalculator, record: Record) -> None:
    positions, numbers = cluster_of_waters()
    record(compare_with_ase(load_potential(exported), calculator, positions, numbers)).check(1e-7, 1e-6)


def test_single_precision(exported: pathlib.Path, calculator: MACECalculator, record: Record) -> None:
    """Reference energies of 2,000 eV an atom, and still resolved: they are apart, in double."""
    positions, numbers, box = water_box(2)
    found = compare_with_ase(load_potential(exported), calculator, positions, numbers, box, precision="single")
    record(found).check(1e-5, 1e-4)


def test_contract(exported: pathlib.Path) -> None:
    positions, numbers = cluster_of_waters(2)
    check_potential(load_potential(exported), numbers, positions, tolerance=1e-5)


def test_committee(tmp_path: pathlib.Path) -> None:
    paths = [tmp_path / f"{k}.model" for k in range(2)]
    for k, path in enumerate(paths):
        torch.save(make(k), path)
    alone = [load_potential(path, trust=True) for path in paths]
    positions, numbers = cluster_of_waters(2)
    energies = [p.evaluate(positions, numbers).energy for p in alone]
    found = load_potential(paths, trust=True).evaluate(positions, numbers)
    assert found.energy == pytest.approx(np.mean(energies), abs=1e-6)
    assert found.energy_std == pytest.approx(np.std(energies, ddof=1), abs=1e-6)
    assert found.forces_std is not None


def test_not_trusted(saved: pathlib.Path) -> None:
    with refusal(ParameterError, re.compile(".*"), anywhere=("pickle", "trust=True", "mace_create_lammps_model")):
        load_potential(saved)
