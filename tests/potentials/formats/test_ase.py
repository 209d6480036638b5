"""ASE calculators as potentials, against ASE itself and against the analytic pair potential."""

import dataclasses

import numpy as np
import openmm as mm
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones

from openmm_nn import load_potential, units
from openmm_nn.errors import CardError, UnsupportedError
from openmm_nn.testing import check_potential
from tests import ROOT, oracle
from tests.platforms import PlatformCase, energy_of, forces_of
from tests.refusals import refusal
from tests.samples import BOXES, bare_system, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]
POSITIONS = random_cluster(NUMBERS, seed=5)
EV = units.ENERGY_UNITS["eV"]
ARGON = [18] * 8


class PairCalculator(Calculator):
    """The pair potential of the tests, in Å and eV, plus terms of charge and spin; its `energy` is another number."""

    implemented_properties = ("energy", "free_energy", "forces")

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.shift = shift
        self.calls = 0

    def calculate(
        self, atoms: Atoms | None = None, properties: object = (), system_changes: object = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        box = np.array(atoms.cell[:]) / 10.0 if atoms.pbc.any() else None
        energy, forces = oracle.pair_energy_forces(atoms.positions / 10.0, atoms.numbers, box)
        extra = 0.5 * atoms.info.get("charge", 0) + 0.25 * atoms.info.get("spin", 1)
        self.results = {"free_energy": energy / EV + extra, "energy": 1e6, "forces": forces / EV / 10.0}


def argon_box(shape: str) -> tuple[np.ndarray, np.ndarray]:
    grid = np.stack(np.meshgrid([0.25, 0.75], [0.25, 0.75], [0.25, 0.75]), axis=-1).reshape(-1, 3)
    jitter = np.random.default_rng(2).normal(0.0, 0.02, (8, 3))
    return (grid + jitter) @ (BOXES[shape] / 2.5), BOXES[shape] / 2.5


@pytest.mark.parametrize("shape", ["rectangular", "triclinic"])
def test_against_ase_itself(platform: PlatformCase, engine: str, shape: str) -> None:
    """A calculator of ASE's own, periodic, through a Context."""
    positions, box = argon_box(shape)
    options = {"sigma": 3.0, "epsilon": 0.01, "rc": 4.0, "smooth": True}
    atoms = Atoms(numbers=ARGON, positions=10.0 * positions, cell=10.0 * box, pbc=True)
    atoms.calc = LennardJones(**options)
    system = bare_system(8, box=box)
    system.addForce(load_potential(LennardJones(**options)).create_force(atomic_numbers=ARGON, periodic=True))
    context = platform.context(system, positions)
    platform.check_energy(energy_of(context), atoms.get_potential_energy() * EV)
    platform.check_forces(forces_of(context), atoms.get_forces() * 10.0 * EV)


def test_contract() -> None:
    check_potential(load_potential(PairCalculator()), NUMBERS, POSITIONS, tolerance=1e-5)


def test_contract_periodic() -> None:
    positions, box = argon_box("triclinic")
    check_potential(load_potential(PairCalculator()), [6] * 8, positions, box=box, tolerance=1e-5)


def test_energy_is_the_one_whose_gradient_the_forces_are() -> None:
    energy, forces = oracle.pair_energy_forces(POSITIONS, NUMBERS)
    result = load_potential(PairCalculator()).evaluate(POSITIONS, NUMBERS)
    np.testing.assert_allclose(result.energy, energy + 0.25 * EV, rtol=1e-12)
    np.testing.assert_allclose(result.forces, forces, rtol=1e-9, atol=1e-9)


def test_follows_box_and_positions(engine: str) -> None:
    """A box or positions that change between two steps are seen; a repeated geometry is not computed again."""
    calculator = PairCalculator()
    positions, box = argon_box("rectangular")
    system = bare_system(8, box=box)
    system.addForce(load_potential(calculator).create_force(atomic_numbers=[6] * 8, periodic=True))
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    for scale in (1.0, 1.02):
        context.setPeriodicBoxVectors(*(mm.Vec3(*row) for row in (scale * box).tolist()))
        context.setPositions(scale * positions)
        expected = oracle.pair_energy(scale * positions, [6] * 8, scale * box) + 0.25 * EV
        np.testing.assert_allclose(energy_of(context), expected, rtol=1e-10)


def test_charge_by_card() -> None:
    """Charge and spin reach a calculator only if the card says so; without it there is a warning."""
    calculator = PairCalculator()
    plain = load_potential(calculator)
    with pytest.warns(UserWarning, match="is not told the charge"):
        plain.evaluate(POSITIONS, NUMBERS, charge=1)
    card = dataclasses.replace(
        plain.card, inputs=("positions", "atomic_numbers", "charge", "multiplicity"), periodic="never"
    )
    potential = load_potential(calculator, card=card)
    base = oracle.pair_energy(POSITIONS, NUMBERS)
    for charge, spin in ((0, 1), (2, 1), (2, 3), (0, 1)):
        energy = potential.evaluate(POSITIONS, NUMBERS, charge=charge, multiplicity=spin).energy
        np.testing.assert_allclose(energy, base + (0.5 * charge + 0.25 * spin) * EV, rtol=1e-12)


def test_cards_that_a_calculator_cannot_follow() -> None:
    card = load_potential(PairCalculator()).card
    for change, argument, allowed in (
        ({"length_unit": "nm"}, "card.length_unit", "'angstrom'"),
        ({"energy_unit": "hartree"}, "card.energy_unit", "'eV'"),
        ({"outputs": ("energy",)}, "card.outputs", "forces"),
        ({"inputs": ("positions", "box")}, "card.inputs", "atomic_numbers"),
        ({"inputs": ("positions", "box", "atomic_numbers", "k"), "parameters": {"k": 1.0}}, "card.inputs", "charge"),
        ({"format": "torchscript"}, "card.format", "'callable'"),
    ):
        with refusal(CardError, argument, allowed=allowed):
            load_potential(PairCalculator(), card=dataclasses.replace(card, **change))


def test_calculator_without_forces() -> None:
    class Energies(PairCalculator):
        implemented_properties = ("energy",)

    with refusal(UnsupportedError, "source", got=("Energies", "forces")):
        load_potential(Energies())


def test_not_written_to_a_file(native: str) -> None:
    system = bare_system(len(NUMBERS))
    system.addForce(load_potential(PairCalculator()).create_force(atomic_numbers=NUMBERS))
    with pytest.raises((mm.OpenMMException, UnsupportedError), match="export"):
        mm.XmlSerializer.serialize(system)


def test_committee_of_calculators() -> None:
    class Shifted(PairCalculator):
        def calculate(self, *arguments: object) -> None:
            super().calculate(*arguments)
            self.results["free_energy"] += self.shift

    potential = load_potential([Shifted(0.0), Shifted(0.3), Shifted(0.9)])
    result = potential.evaluate(POSITIONS, NUMBERS)
    energy, forces = oracle.pair_energy_forces(POSITIONS, NUMBERS)
    np.testing.assert_allclose(result.energy, energy + (0.25 + 0.4) * EV, rtol=1e-12)
    np.testing.assert_allclose(result.energy_std, np.std([0.0, 0.3, 0.9], ddof=1) * EV, rtol=1e-9)
    np.testing.assert_allclose(result.forces, forces, rtol=1e-9, atol=1e-9)
    assert result.forces_std is None


@pytest.mark.process
def test_importing_the_family_imports_no_ase() -> None:
    import subprocess
    import sys

    code = (
        "import sys, openmm_nn.potentials.formats as f; f.find_object_format(object()); assert 'ase' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
