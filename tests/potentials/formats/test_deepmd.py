"""Frozen models of DeePMD-kit with random weights, by torch alone, against what DeePMD-kit said of them.

The files and its numbers were made by `make_deepmd.py` with deepmd-kit 3.2.0 and torch 2.11.
"""

import zipfile

import numpy as np
import openmm as mm
import pytest
from openmm import app, unit

from openmm_nn import load_potential, units
from openmm_nn.potentials.formats import find_format
from openmm_nn.testing import check_potential
from tests import REFERENCE_FOLDER
from tests.potentials.formats.agreement import Agreement, Record
from tests.potentials.formats.boxes import cluster_of_waters, to_lattice, water_box
from tests.samples import bare_system

FOLDER = REFERENCE_FOLDER / "deepmd"
KEYS = ["se_e2_a-float64", "dpa1-float64", "dpa2-float64", "dpa3-float64", "se_e2_a-float32", "dpa1-float32"]
EV = units.ENERGY_UNITS["eV"]


@pytest.mark.parametrize("key", KEYS)
def test_energies_and_forces(key: str, native: str, record: Record) -> None:
    path = FOLDER / f"{key}.pth"
    with zipfile.ZipFile(path) as archive:
        named = any(b"ops.deepmd." in archive.read(name) for name in archive.namelist())
    assert named == (not key.startswith("dpa1"))  # operators of the library, never called
    assert find_format(str(path)).name == "deepmd"
    potential = load_potential(path)
    card = potential.card
    assert (card.elements, card.cutoff, card.dtype) == (("O", "H"), 4.0, key.rpartition("-")[2])
    assert card.energy_offset == pytest.approx({"O": -2041.5, "H": -13.6}, abs=1e-4)
    with np.load(FOLDER / "reference.npz") as data:
        expected = dict(data)
    x, numbers, box = water_box(2)
    small = cluster_of_waters(2)
    worst = Agreement(0.0, 0.0, 0.0, 0)
    for kind, positions, elements, cell in (
        ("box", to_lattice(x, box), numbers, box),
        ("cluster", small[0], small[1], None),
    ):
        system = bare_system(len(elements), box=cell)
        system.addForce(potential.create_force(atomic_numbers=elements, periodic=cell is not None))
        context = mm.Context(system, mm.VerletIntegrator(0.0005), mm.Platform.getPlatformByName("Reference"))
        context.setPositions(positions)
        state = context.getState(energy=True, forces=True)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoules_per_mole) / EV
        forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoules_per_mole / unit.nanometer) / EV / 10.0
        wanted = expected[f"{key}-{kind}-forces"]
        worst = Agreement(
            max(worst.energy, abs(energy - float(expected[f"{key}-{kind}-energy"])) / len(elements)),
            max(worst.force, float(np.abs(forces - wanted).max())),
            max(worst.largest_force, float(np.abs(wanted).max())),
            len(elements),
        )
    record(worst).check(*((1e-9, 1e-8) if card.dtype == "float64" else (rounding(numbers, card.energy_offset), 1e-4)))


def rounding(numbers: list[int], offset: dict[str, float]) -> float:
    """What float32 may leave of the energy, eV an atom: 8e-5 in water.

    DeePMD-kit keeps each atom's energy in float32 with its bias in it, 2041.5 eV for O. It is rounded to half a step of
    float32 at that size when the bias is added; the network's part, with these random weights as large as the bias,
    brings as much again. Which way each is rounded depends on the processor, so the bound is the sum of both.
    """
    bias = [abs(offset[app.Element.getByAtomicNumber(number).symbol]) for number in numbers]
    return 2.0 * 0.5 * float(np.finfo(np.float32).eps) * float(np.mean(bias))


@pytest.mark.parametrize("key", [key for key in KEYS if key.endswith("float64")])
def test_contract(key: str, native: str) -> None:
    positions, numbers = cluster_of_waters(2)
    check_potential(load_potential(FOLDER / f"{key}.pth"), numbers, positions, tolerance=1e-5)
