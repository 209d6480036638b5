"""OpenMM-ML 1.8: the same remainder where it is right, and the places where it is not and this package is."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import openmm as mm
import openmmml
import pytest
import torch
from openmm import app, unit
from openmmml.mlpotential import MLPotentialImpl, MLPotentialImplFactory

from openmm_nn import HybridSystem, Mechanical, create_hybrid_system, load_potential
from openmm_nn.errors import ParameterError, UnsupportedError
from openmm_nn.systems.hybrid.openmm_ml import NeuralPotentialFactory
from tests.refusals import refusal
from tests.systems.hybrid.cases import BACKBONE, SIDE_CHAIN, Case, make_hybrid, peptide_in_water, select, villin
from tests.systems.hybrid.region_energy import card, energy_and_forces, reference_context, zero_potential

SPRING = 250.0  # kJ/mol/nm^2


@dataclasses.dataclass
class SpringEnergy:
    """What a PythonForce calls."""

    atoms: list[int]
    strength: float

    def __call__(self, state: mm.State) -> tuple[float, np.ndarray]:
        x = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        forces = np.zeros_like(x)
        along = x[self.atoms] - x[self.atoms[0]]
        forces[self.atoms] = -2 * self.strength * along
        forces[self.atoms[0]] = 2 * self.strength * along.sum(axis=0)
        return float(self.strength * (along**2).sum()), forces


class Springs(MLPotentialImpl):
    """Every atom is tied to the first one of the region; a PythonForce, as OpenMM-ML's own potentials are."""

    def __init__(self, strength: float, long_range: bool | None) -> None:
        self.strength = strength
        self.long_range = long_range

    def addForces(self, topology, system, atoms, forceGroup, **options) -> None:
        self.options = options
        force = mm.PythonForce(
            SpringEnergy(list(range(system.getNumParticles()) if atoms is None else atoms), self.strength)
        )
        force.setForceGroup(forceGroup)
        system.addForce(force)

    def getMLLongRange(self) -> bool | None:
        return self.long_range


class SpringsFactory(MLPotentialImplFactory):
    def createImpl(self, name: str, strength: float = SPRING, longRange: bool | None = False) -> Springs:
        return Springs(strength, longRange)


openmmml.MLPotential.registerImplFactory("springs of the tests", SpringsFactory())


def springs(**options: object) -> openmmml.MLPotential:
    return openmmml.MLPotential("springs of the tests", **options)


def remainder(system: mm.System, positions: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy and forces, with the virtual sites that OpenMM-ML adds behind the particles placed."""
    context = reference_context(system)
    extra = system.getNumParticles() - len(positions)
    context.setPositions(np.concatenate([positions, np.zeros((extra, 3))]))
    context.computeVirtualSites()
    energy, forces = energy_and_forces(context)
    return energy, forces[: len(positions)]


def compare(case: Case, atoms: list[int], ours: mm.System, theirs: mm.System) -> None:
    """Energies to 1e-3 kJ/mol, forces to 1e-4 relative."""
    energy, forces = remainder(ours, case.positions)
    expected, expected_forces = remainder(theirs, case.positions)
    assert energy == pytest.approx(expected, abs=1e-3)
    np.testing.assert_allclose(forces, expected_forces, rtol=1e-4, atol=1e-4 * np.abs(expected_forces).max())


@pytest.mark.parametrize(
    "selection", ["resid 70 81 119", SIDE_CHAIN, BACKBONE], ids=["waters", "side chain", "two cuts"]
)
@pytest.mark.parametrize("method", ["NoCutoff", "PME"])
@pytest.mark.filterwarnings("ignore:charge")
def test_capped_is_the_rule_of_openmm_ml(method: str, selection: str) -> None:
    case = villin(method=method, rigidWater=False)
    atoms = select(case, selection)
    ours = create_hybrid_system(
        case.topology,
        case.system,
        zero_potential(),
        atoms,
        embedding=Mechanical(bonded_rule="capped"),
    )
    theirs = springs(strength=0.0).createMixedSystem(case.topology, case.system, atoms)
    compare(case, atoms, ours.system, theirs)


def test_peptide_in_water_with_the_same_potential() -> None:
    case = peptide_in_water()
    ours = create_hybrid_system(case.topology, case.system, springs(), range(22))
    theirs = springs().createMixedSystem(case.topology, case.system, range(22))
    compare(case, list(range(22)), ours.system, theirs)


def water_pair(**options: object) -> tuple[Case, HybridSystem]:
    case = peptide_in_water(waters=30)
    return case, make_hybrid(case.topology, case.system, springs(), range(22), **options)


def molecule_sizes(system: mm.System) -> list[int]:
    return sorted(map(len, reference_context(system).getMolecules()))


def test_the_region_stays_a_molecule() -> None:
    """OpenMM-ML's falls apart for barostats and imaging."""
    case, ours = water_pair()
    theirs = springs().createMixedSystem(case.topology, case.system, range(22))
    assert molecule_sizes(theirs).count(1) == 22
    assert molecule_sizes(ours.system) == molecule_sizes(case.system)
    assert max(molecule_sizes(ours.system)) == 22


def test_compound_bonds_are_judged_by_all_their_atoms() -> None:
    """OpenMM-ML deletes a term on (0, 1, 24, 25) whose first two atoms are in the region."""
    case = peptide_in_water(waters=30)
    system = mm.XmlSerializer.clone(case.system)
    force = mm.CustomCompoundBondForce(4, "distance(p1,p3)+distance(p2,p4)")
    force.addBond([0, 1, 24, 25], [])
    index = system.addForce(force)
    theirs = springs().createMixedSystem(case.topology, system, range(22))
    assert theirs.getForce(index).getNumBonds() == 0
    ours = create_hybrid_system(case.topology, system, springs(), range(22))
    assert ours.system.getForce(index).getNumBonds() == 1


def test_centroid_bonds_are_read_by_their_groups() -> None:
    """OpenMM-ML takes the numbers of groups for atoms."""
    case = peptide_in_water(waters=30)
    system = mm.XmlSerializer.clone(case.system)
    force = mm.CustomCentroidBondForce(2, "distance(g1,g2)")
    force.addGroup([0, 1, 4])
    force.addGroup([24, 25])
    force.addBond([0, 1], [])
    index = system.addForce(force)
    with pytest.raises((KeyError, AttributeError)):
        springs().createMixedSystem(case.topology, system, range(22))
    ours = create_hybrid_system(case.topology, system, springs(), range(22))
    assert ours.system.getForce(index).getNumBonds() == 1


def test_torsions_that_are_neither_proper_nor_improper() -> None:
    """OpenMM-ML raises, for water too; here it is judged by all its atoms."""
    case = peptide_in_water(waters=30)
    system = mm.XmlSerializer.clone(case.system)
    force = mm.PeriodicTorsionForce()
    force.addTorsion(22, 25, 28, 31, 1, 0.0, 1.0)
    force.addTorsion(0, 8, 12, 20, 1, 0.0, 1.0)
    index = system.addForce(force)
    with pytest.raises(ValueError, match=r"(?i)torsion"):
        springs().createMixedSystem(case.topology, system, range(22))
    ours = create_hybrid_system(case.topology, system, springs(), range(22), ignore_forces=[index])
    assert ours.system.getForce(index).getNumTorsions() == 1


@pytest.mark.filterwarnings("ignore:charge")
def test_cuts_with_a_long_ranged_potential() -> None:
    """OpenMM-ML makes its second NonbondedForce before it adds its link sites, which it then lacks."""
    case = villin(rigidWater=False)
    atoms = select(case, SIDE_CHAIN)
    theirs = springs(longRange=True, strength=0.0).createMixedSystem(case.topology, case.system, atoms)
    with pytest.raises(mm.OpenMMException, match=r"(?i)number of particles|exactly as many particles"):
        reference_context(theirs)
    nothing = load_potential(
        lambda positions, box: (positions.new_zeros(()), torch.zeros_like(positions)),
        card=dataclasses.replace(card(long_range=True), inputs=("positions", "box"), periodic="always"),
    )
    ours = create_hybrid_system(case.topology, case.system, nothing, atoms, charge=0)
    assert len(ours.links) == 1
    assert np.isfinite(remainder(ours.system, case.positions)[0])


def test_zero_lambda_is_classical_under_a_cutoff() -> None:
    """OpenMM-ML's is not, since its scaled exceptions know no cutoff."""
    case = peptide_in_water(method="CutoffPeriodic", waters=60, rigidWater=False)
    classical = remainder(case.system, case.positions)[0]
    theirs = springs().createMixedSystem(case.topology, case.system, list(range(22)), interpolate=True)
    context = reference_context(theirs, case.positions)
    context.setParameter("lambda_interpolate", 0.0)
    assert abs(energy_and_forces(context)[0] - classical) > 0.1
    ours = create_hybrid_system(
        case.topology, case.system, load_potential(wells, card=card("wells")), range(22), interpolate=True
    )
    context = reference_context(ours.system, case.positions)
    context.setParameter("lambda_interpolate", 0.0)
    assert energy_and_forces(context)[0] == pytest.approx(classical, abs=1e-6)


def test_bonds_that_were_constraints() -> None:
    """OpenMM-ML takes the constraints away, and at zero nothing is in their place; here this is refused."""
    case = peptide_in_water(method="NoCutoff", waters=30, constraints=app.HBonds)
    flexible = peptide_in_water(method="NoCutoff", waters=30, constraints=app.HBonds, flexibleConstraints=True)
    theirs = springs().createMixedSystem(case.topology, case.system, list(range(22)), interpolate=True)
    assert theirs.getNumConstraints() == case.system.getNumConstraints() - 12
    carbon, hydrogen = 1, 0
    stretched = case.positions.copy()
    stretched[hydrogen] += 0.3 * (stretched[hydrogen] - stretched[carbon])
    context = reference_context(theirs, case.positions)
    context.setParameter("lambda_interpolate", 0.0)
    before = energy_and_forces(context)[0]
    context.setPositions(stretched)
    change = energy_and_forces(context)[0] - before
    expected = remainder(flexible.system, stretched)[0] - remainder(flexible.system, case.positions)[0]
    assert expected > 100.0
    assert change < 0.5 * expected
    potential = load_potential(wells, card=card("wells"))
    with refusal(UnsupportedError, "interpolate", got="12 bonds", remedy="flexibleConstraints=True"):
        create_hybrid_system(case.topology, case.system, potential, range(22), interpolate=True)


def test_interpolation_with_pair_potentials_of_the_user() -> None:
    """OpenMM-ML refuses a CustomNonbondedForce, such as CHARMM's NBFIX."""
    case = villin("charmm36", rigidWater=False)
    atoms = select(case, "resid 70 81 119")
    with pytest.raises((ValueError, NotImplementedError), match="CustomNonbondedForce"):
        springs().createMixedSystem(case.topology, case.system, atoms, interpolate=True)
    ours = create_hybrid_system(
        case.topology, case.system, load_potential(wells, card=card("wells")), atoms, interpolate=True
    )
    context = reference_context(ours.system, case.positions)
    context.setParameter("lambda_interpolate", 0.0)
    expected = remainder(case.system, case.positions)[0]
    assert energy_and_forces(context)[0] == pytest.approx(expected, abs=1e-6)


def test_a_generator_removes_constraints() -> None:
    """OpenMM-ML reads it twice, and leaves them."""
    case = peptide_in_water(waters=30, constraints=app.HBonds)
    before = case.system.getNumConstraints()
    theirs = springs().createMixedSystem(case.topology, case.system, (i for i in range(22)))
    assert theirs.getNumConstraints() == before
    with pytest.warns(UserWarning, match="12 constraints in the region were removed"):
        ours = create_hybrid_system(case.topology, case.system, springs(), (i for i in range(22)))
    assert ours.system.getNumConstraints() == before - 12


def test_two_ewald_forces() -> None:
    """OpenMM-ML does not notice the second."""
    case = peptide_in_water(waters=30)
    system = mm.XmlSerializer.clone(case.system)
    system.addForce(mm.XmlSerializer.clone(next(f for f in system.getForces() if isinstance(f, mm.NonbondedForce))))
    springs().createMixedSystem(case.topology, system, range(22))
    with refusal(UnsupportedError, "system", got=("2 NonbondedForces", "Ewald")):
        create_hybrid_system(case.topology, system, springs(), range(22))


def test_charge_and_group_reach_an_mlpotential() -> None:
    potential = springs()
    case = peptide_in_water(waters=30)
    hybrid = create_hybrid_system(
        case.topology, case.system, potential, range(22), charge=0, multiplicity=3, force_group=5
    )
    assert potential._impl.options == {"charge": 0, "multiplicity": 3}
    context = reference_context(hybrid.system, case.positions)
    x = case.positions[:22]
    assert energy_and_forces(context, groups=1 << 5)[0] == pytest.approx(SPRING * ((x - x[0]) ** 2).sum(), rel=1e-9)


def test_what_an_mlpotential_cannot_do() -> None:
    case = villin(rigidWater=False)
    with refusal(UnsupportedError, "potential", got=("MLPotential", "1 cut"), remedy="expand='molecule'"):
        create_hybrid_system(case.topology, case.system, springs(), SIDE_CHAIN, charge=0)
    water = "resid 70"
    with refusal(ParameterError, "properties", got=("{'device': 'cpu'}", "MLPotential")):
        create_hybrid_system(case.topology, case.system, springs(), water, properties={"device": "cpu"})
    with refusal(ParameterError, "long_range", got=("None", "MLPotential"), allowed=("True", "False")):
        create_hybrid_system(case.topology, case.system, springs(longRange=None), water)


@pytest.mark.parametrize("atoms", [range(22), range(22, 34)], ids=["peptide", "waters"])
def test_long_ranged_potentials_replace_the_images(atoms: range) -> None:
    """The same remainder, which OpenMM-ML reaches by a second NonbondedForce in a CustomCVForce.

    At the default tolerance it leaves pairs beyond the cutoff the erfc(alpha r)/r that OpenMM's direct sum has not:
    0.01 kJ/mol for these waters.
    """
    case = peptide_in_water(waters=120, rigidWater=False, ewaldErrorTolerance=1e-6)
    potential = springs(longRange=True, strength=0.0)
    ours = create_hybrid_system(case.topology, case.system, potential, atoms)
    theirs = potential.createMixedSystem(case.topology, case.system, list(atoms))
    compare(case, list(atoms), ours.system, theirs)
    local = create_hybrid_system(case.topology, case.system, springs(strength=0.0), atoms)
    images = local.ledger(case.positions)["images"]
    assert abs(images) > 0.01
    energies = [remainder(hybrid.system, case.positions)[0] for hybrid in (ours, local)]
    assert energies[1] - energies[0] == pytest.approx(images, abs=1e-6)
    assert abs(ours.ledger(case.positions)["images"]) < 1e-6


def wells(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    centred = positions - positions.mean(dim=0)
    return 30.0 * (centred**2).sum(), -60.0 * centred


@pytest.mark.process
@pytest.mark.parametrize(
    "first", ["openmmml", "openmm_nn.systems.hybrid.openmm_ml", "openmm_nn.systems.hybrid.openmm_ml_potential"]
)
def test_whichever_is_imported_first(first: str) -> None:
    """OpenMM-ML loads our factory while it is imported: in a new process each order must do."""
    code = (
        f"import {first}; import openmmml; openmmml.MLPotential('openmm-nn', model='openmm-nn/hcno-1'); print('made')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=120)
    assert done.stdout == "made\n", done.stderr


def test_our_potentials_inside_openmm_ml(native: str) -> None:
    """MLPotential('openmm-nn', model=...) gives the same hybrid, its molecules whole."""
    assert native
    openmmml.MLPotential.registerImplFactory("openmm-nn", NeuralPotentialFactory())
    potential = load_potential(wells, card=card("wells"))
    case = peptide_in_water(waters=60)
    theirs = openmmml.MLPotential("openmm-nn", model=potential).createMixedSystem(case.topology, case.system, range(22))
    ours = create_hybrid_system(case.topology, case.system, potential, range(22))
    compare(case, list(range(22)), ours.system, theirs)
    assert molecule_sizes(theirs) == molecule_sizes(case.system)
    pure = openmmml.MLPotential("openmm-nn", model=potential).createSystem(case.topology)
    assert pure.getNumParticles() == case.system.getNumParticles()
    with refusal(ParameterError, "MLPotential('openmm-nn')", got="no model", remedy="model='potential.pt'"):
        openmmml.MLPotential("openmm-nn")
    with refusal(ParameterError, "MLPotential('openmm-nn')", got="device", allowed="model"):
        openmmml.MLPotential("openmm-nn", model=potential, device="cpu")


def test_forces_of_its_ani_are_a_tenth_of_the_gradient(shared: Path, tmp_path: Path, monkeypatch) -> None:
    """kJ/mol/Å are returned where kJ/mol/nm are read; by central differences of the same System's energy."""
    weights = shutil.copytree(shared / "torchani", tmp_path / "torchani")
    monkeypatch.setenv("TORCHANI_DATA_DIR", str(weights))
    topology = app.Topology()
    residue = topology.addResidue("HOH", topology.addChain())
    for symbol in ("O", "H", "H"):
        topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
    x = np.array([[0.0, 0.0, 0.0], [0.101, 0.0, 0.0], [-0.028, 0.095, 0.0]])
    system = openmmml.MLPotential("ani2x").createSystem(topology, modelIndex=0, device="cpu")
    theirs = reference_context(system, x)
    h = 2e-4  # float32 inside
    gradient = np.zeros(3)
    for axis in range(3):
        energies = []
        for sign in (1.0, -1.0):
            moved = x.copy()
            moved[1, axis] += sign * h
            theirs.setPositions(moved)
            energies.append(energy_and_forces(theirs)[0])
        gradient[axis] = (energies[0] - energies[1]) / (2 * h)
    theirs.setPositions(x)
    assert abs(gradient[0]) > 1000.0
    np.testing.assert_allclose(energy_and_forces(theirs)[1][1], -0.1 * gradient, atol=5.0)
    # Who brings it here is told.
    for bring in (load_potential, lambda given: create_hybrid_system(topology, mm_water(), given, [0, 1, 2])):
        with pytest.warns(UserWarning, match=r"MLPotential\('ani2x'\).*a tenth"):
            bring(openmmml.MLPotential("ani2x"))
    ours = load_potential("ani2x/0").evaluate(x, [8, 1, 1]).forces
    np.testing.assert_allclose(ours[1], -gradient, atol=50.0)


def mm_water() -> mm.System:
    system = mm.System()
    for mass in (15.999, 1.008, 1.008):
        system.addParticle(mass)
    return system
