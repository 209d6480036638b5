"""A potential equal to E_MM(R) gives back the classical System; E_MM(R) is built without the package."""

import numpy as np
import openmm as mm
import pytest

from openmm_nn import Mechanical, create_hybrid_system, load_potential
from tests.systems.hybrid.cases import (
    BACKBONE,
    SIDE_CHAIN,
    Case,
    lysozyme,
    make_hybrid,
    peptide_in_water,
    select,
    villin,
)
from tests.systems.hybrid.region_energy import (
    RegionModel,
    TermRule,
    card,
    energy_and_forces,
    reference_context,
    region_system,
    zero_potential,
)

PEPTIDE = "resname ACE ALA NME"
ENERGY = 1e-4  # kJ/mol
FORCE = 1e-4  # relative

METHODS = ("NoCutoff", "CutoffNonPeriodic", "CutoffPeriodic", "Ewald", "PME", "LJPME")


def compare(classical: mm.System, hybrid: mm.System, positions: np.ndarray) -> None:
    """Energies to 1e-4 kJ/mol and forces to 1e-4 relative, on Reference, at two geometries."""
    contexts = [reference_context(system) for system in (classical, hybrid)]
    rng = np.random.default_rng(7)
    for x in (positions, positions + rng.normal(scale=0.004, size=positions.shape)):
        results = []
        for context in contexts:
            context.setPositions(x)
            context.computeVirtualSites()
            results.append(energy_and_forces(context))
        (energy, forces), (hybrid_energy, hybrid_forces) = results
        assert abs(hybrid_energy - energy) < ENERGY
        scale = np.linalg.norm(forces, axis=1).max()
        assert np.abs(hybrid_forces - forces).max() < FORCE * min(scale, 1000.0)


def check_identity(case: Case, atoms: list[int], **options: object) -> None:
    before = mm.XmlSerializer.serialize(case.system)
    model = RegionModel(region_system(case.system, atoms), atoms, case.positions)
    hybrid = make_hybrid(case.topology, case.system, load_potential(model, card=card()), atoms, charge=0, **options)
    assert mm.XmlSerializer.serialize(case.system) == before
    assert hybrid.system.getNumParticles() == case.system.getNumParticles()
    compare(case.system, hybrid.system, case.positions)
    assert model.calls > 0
    hybrid = make_hybrid(case.topology, case.system, zero_potential(), atoms, charge=0, **options)
    check_remainder(case, hybrid.system, region_system(case.system, atoms))


def check_remainder(case: Case, hybrid: mm.System, own: mm.System) -> None:
    """E(hybrid) = E_MM(all) - E_MM(R) + E_NN, with E_NN = 0."""
    results = []
    for system in (case.system, own, hybrid):
        context = reference_context(system, case.positions)
        context.computeVirtualSites()
        results.append(energy_and_forces(context))
    (total, total_forces), (region, region_forces), (left, left_forces) = results
    assert abs(left - (total - region)) < ENERGY
    assert np.abs(left_forces - (total_forces - region_forces)).max() < 0.01


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("switch", [False, True], ids=["plain", "switch"])
def test_every_method_gives_back_the_classical_system(method: str, switch: bool) -> None:
    case = peptide_in_water(method=method, waters=60, switchDistance=0.7 if switch else None, rigidWater=False)
    check_identity(case, select(case, PEPTIDE))


@pytest.mark.parametrize("field", ["amber14", "tip4pew"])
def test_peptide_in_water(field: str) -> None:
    case = peptide_in_water(field, rigidWater=field == "tip4pew")
    check_identity(case, select(case, PEPTIDE))


def test_charmm_case_has_cmap_and_nbfix_pairs() -> None:
    kinds = {type(force) for force in villin("charmm36", rigidWater=False).system.getForces()}
    assert {mm.CMAPTorsionForce, mm.CustomNonbondedForce, mm.CustomTorsionForce, mm.CustomBondForce} <= kinds


@pytest.mark.parametrize("solvent", ["obc2", "gbn2"])
def test_implicit_solvent_keeps_its_term(solvent: str) -> None:
    case = peptide_in_water(solvent, "NoCutoff", waters=0)
    check_identity(case, list(range(22)))


def test_peptide_and_several_waters() -> None:
    case = peptide_in_water(waters=60, rigidWater=False)
    check_identity(case, [*range(22), *range(31, 34), *range(40, 43)])


@pytest.mark.parametrize("field", ["amber14", "charmm36"])
@pytest.mark.parametrize(
    "selection", ["resid 70 81 119", SIDE_CHAIN, BACKBONE], ids=["waters", "side chain", "two cuts"]
)
@pytest.mark.filterwarnings("ignore:charge")
def test_regions_of_a_protein_in_water(field: str, selection: str) -> None:
    """With cuts the potential sees only atoms of R, so the rule is the one that takes only their terms."""
    case = villin(field, rigidWater=False)
    check_identity(case, select(case, selection), bonded_rule="all-atoms")


@pytest.mark.parametrize("solvent", ["OBC2", "GBn2"])
def test_toluene_in_lysozyme(solvent: str) -> None:
    case, ligand, atoms = lysozyme(solvent)
    check_identity(case, atoms)
    # The ligand's own parameter file orders the atoms of its impropers otherwise, hence the tolerance.
    alone = reference_context(ligand.createSystem(constraints=None), case.positions[atoms])
    own = reference_context(region_system(case.system, atoms), case.positions)
    assert abs(energy_and_forces(alone)[0] - energy_and_forces(own)[0]) < 1e-3


def test_peptide_alone_from_its_own_topology() -> None:
    """E_MM(R) from ForceField.createSystem of the region's own topology."""
    case = peptide_in_water(method="NoCutoff", waters=30)
    alone = peptide_in_water(method="NoCutoff", waters=0)
    model = RegionModel(alone.system, range(22), alone.positions)
    hybrid = create_hybrid_system(case.topology, case.system, load_potential(model, card=card()), PEPTIDE)
    compare(case.system, hybrid.system, case.positions)


def by_gromacs(inside: set[int]) -> TermRule:
    def rule(atoms: tuple[int, ...]) -> bool:
        number = len(set(atoms) & inside)
        return number == 2 if len(set(atoms)) == 2 else number >= len(set(atoms)) - 1

    return rule


@pytest.mark.parametrize("rule", ["all-atoms", "gromacs"])
@pytest.mark.parametrize(
    "selection", ["resid 70 81 119", SIDE_CHAIN, BACKBONE], ids=["waters", "side chain", "two cuts"]
)
@pytest.mark.parametrize("field", ["amber14", "charmm36"])
@pytest.mark.filterwarnings("ignore:charge")
def test_what_is_left_is_the_total_less_the_region(rule: str, selection: str, field: str) -> None:
    """Under the other rules, and with a potential that is not E_MM(R)."""
    case = villin(field, rigidWater=False)
    atoms = select(case, selection)
    hybrid = create_hybrid_system(
        case.topology, case.system, zero_potential(), atoms, embedding=Mechanical(bonded_rule=rule), charge=0
    )
    own = region_system(case.system, atoms, by_gromacs(set(atoms)) if rule == "gromacs" else None)
    check_remainder(case, hybrid.system, own)
