"""lambda = 0 is classical, lambda = 1 the hybrid, and the derivative is exact; large regions are subtracted."""

import numpy as np
import openmm as mm
import pytest
import torch
from openmm import app

from openmm_nn import HybridSystem, create_hybrid_system, load_potential
from openmm_nn.errors import UnsupportedError
from tests.refusals import refusal
from tests.systems.hybrid.cases import BACKBONE, SIDE_CHAIN, Case, make_hybrid, peptide_in_water, select, villin
from tests.systems.hybrid.region_energy import RegionModel, card, energy_and_forces, reference_context, region_system
from tests.systems.hybrid.test_bonded import CASES, REGION, make_system, make_topology

METHODS = ("NoCutoff", "CutoffNonPeriodic", "CutoffPeriodic", "Ewald", "PME", "LJPME")
LAMBDA = "lambda_interpolate"
ENERGY = 1e-6  # kJ/mol


def wells(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    centred = positions - positions.mean(dim=0)
    return 30.0 * (centred**2).sum(), -60.0 * centred


def make(case: Case, region: object, **options: object) -> HybridSystem:
    return make_hybrid(case.topology, case.system, load_potential(wells, card=card("wells")), region, **options)


def at(context: mm.Context, value: float) -> tuple[float, np.ndarray]:
    context.setParameter(LAMBDA, value)
    return energy_and_forces(context)


def derivative(context: mm.Context) -> float:
    state = context.getState(getParameterDerivatives=True)
    return float(state.getEnergyParameterDerivatives()[LAMBDA])


def check_ends(case: Case, region: object, **options: object) -> None:
    interpolated = make(case, region, interpolate=True, **options)
    plain = make(case, region, **{**options, "subtract_region": False})
    context = reference_context(interpolated.system, case.positions)
    context.computeVirtualSites()
    assert context.getParameter(LAMBDA) == 1.0

    for value, system in ((0.0, case.system), (1.0, plain.system)):
        energy, forces = at(context, value)
        other = reference_context(system, case.positions)
        other.computeVirtualSites()
        expected, expected_forces = energy_and_forces(other)
        assert abs(energy - expected) < ENERGY
        assert np.abs(forces - expected_forces).max() < 1e-6 * max(1.0, np.abs(expected_forces).max())

    ends = [at(context, value)[0] for value in (0.0, 1.0)]
    for value in (0.0, 0.3, 1.0):
        energy = at(context, value)[0]
        assert energy == pytest.approx((1 - value) * ends[0] + value * ends[1], abs=ENERGY)
        # The energy is linear, and values outside 0 to 1 are refused.
        inner = min(max(value, 0.01), 0.99)
        slope = (at(context, inner + 0.01)[0] - at(context, inner - 0.01)[0]) / 0.02
        at(context, value)
        assert derivative(context) == pytest.approx(slope, abs=1e-4)


@pytest.mark.parametrize("subtract", [False, True], ids=["exceptions", "subtracted"])
@pytest.mark.parametrize("method", METHODS)
def test_whole_molecule(method: str, subtract: bool) -> None:
    case = peptide_in_water(method=method, waters=60, switchDistance=0.7)
    check_ends(case, range(22), subtract_region=subtract)


@pytest.mark.parametrize("rule", ["capped", "all-atoms", "gromacs"])
@pytest.mark.parametrize("region", [SIDE_CHAIN, BACKBONE], ids=["side chain", "two cuts"])
@pytest.mark.filterwarnings("ignore:charge")
def test_cut_regions_under_every_rule(region: str, rule: str) -> None:
    check_ends(villin(waters=20, rigidWater=False), region, bonded_rule=rule)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore:charge")
def test_cut_regions_under_every_method(method: str) -> None:
    check_ends(villin(method=method, waters=20, rigidWater=False), BACKBONE)


@pytest.mark.parametrize("region", [BACKBONE, "resid 70 81 119"], ids=["two cuts", "waters"])
@pytest.mark.filterwarnings("ignore:charge")
def test_charmm_with_cmap_and_nbfix(region: str) -> None:
    check_ends(villin("charmm36", rigidWater=False), region)


@pytest.mark.parametrize("solvent", ["obc2", "gbn2"])
def test_implicit_solvent(solvent: str) -> None:
    check_ends(peptide_in_water(solvent, "NoCutoff", waters=0), range(22))


def test_virtual_sites_around_the_region() -> None:
    check_ends(peptide_in_water("tip4pew", waters=60), range(22))


@pytest.mark.parametrize("builder", CASES, ids=lambda builder: builder.__name__)
@pytest.mark.filterwarnings("ignore:.*as a restraint would")
def test_every_bonded_force(builder: object) -> None:
    rng = np.random.default_rng(3)
    system = make_system(builder)
    case = Case(make_topology(), system, rng.uniform(0.0, 0.4, size=(system.getNumParticles(), 3)))
    check_ends(case, REGION, ignore_forces=(0,))


@pytest.mark.parametrize(
    "groups", [[], [([0, 1, 2, 3], [2, 3, 4, 5])], [([0, 1], [3, 4])]], ids=["all", "shared", "apart"]
)
def test_custom_pairs_with_definitions_and_groups(groups: list[tuple[list[int], list[int]]]) -> None:
    topology = app.Topology()
    chain = topology.addChain()
    system = mm.System()
    force = mm.CustomNonbondedForce("e*scale/r^6; e=sqrt(e1*e2)")
    force.addPerParticleParameter("e")
    force.addGlobalParameter("scale", 0.01)
    for index in range(6):
        topology.addAtom("AR", app.element.argon, topology.addResidue("AR", chain))
        system.addParticle(40.0)
        force.addParticle([0.1 + 0.1 * index])
    for first, second in groups:
        force.addInteractionGroup(first, second)
    force.addExclusion(2, 3)
    system.addForce(force)
    case = Case(topology, system, np.random.default_rng(1).uniform(0.0, 0.9, size=(6, 3)))
    check_ends(case, [2, 3, 4])


@pytest.mark.parametrize("region", ["resid 70 81 119", BACKBONE], ids=["waters", "two cuts"])
@pytest.mark.parametrize("field", ["amber14", "charmm36"])
@pytest.mark.filterwarnings("ignore:charge")
def test_subtracted_and_excepted_regions_are_the_same(field: str, region: str) -> None:
    case = villin(field, rigidWater=False)
    results = []
    for subtract in (False, True):
        hybrid = make(case, region, subtract_region=subtract)
        results.append(energy_and_forces(reference_context(hybrid.system, case.positions)))
    assert results[1][0] == pytest.approx(results[0][0], abs=ENERGY)
    np.testing.assert_allclose(results[1][1], results[0][1], atol=1e-5)


def test_large_regions_are_subtracted_by_default() -> None:
    droplet = peptide_in_water(waters=160, rigidWater=False)
    system = mm.XmlSerializer.clone(droplet.system)
    system.setDefaultPeriodicBoxVectors(*(5.0 * np.eye(3)))  # the droplet is 2.2 nm wide: less than half of this box
    case = Case(droplet.topology, system, droplet.positions)
    hybrid = make(case, range(case.topology.getNumAtoms()), charge=0)
    assert len(hybrid.region) == 502
    force, before = (
        next(f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
        for system in (hybrid.system, case.system)
    )
    assert force.getNumExceptions() == before.getNumExceptions()
    excepted = make(case, range(case.topology.getNumAtoms()), charge=0, subtract_region=False)
    results = [energy_and_forces(reference_context(h.system, case.positions)) for h in (hybrid, excepted)]
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-5)


def test_interpolated_potential_equal_to_the_region_does_not_depend_on_lambda() -> None:
    case = peptide_in_water(waters=60)
    model = RegionModel(region_system(case.system, range(22)), range(22), case.positions)
    hybrid = create_hybrid_system(
        case.topology, case.system, load_potential(model, card=card()), range(22), interpolate=True
    )
    context = reference_context(hybrid.system, case.positions)
    energies = [at(context, value)[0] for value in (0.0, 0.5, 1.0)]
    assert max(energies) - min(energies) < 1e-4
    assert derivative(context) == pytest.approx(0.0, abs=1e-4)


def test_regions_built_with_constraints_are_refused() -> None:
    case = peptide_in_water(waters=30, constraints=app.HBonds)
    first = "ACE1:CH3 (atom 1) - ACE1:H1 (atom 0)"
    with refusal(UnsupportedError, "interpolate", got=("12 bonds", first), remedy="flexibleConstraints=True"):
        make(case, range(22), interpolate=True)
    flexible = peptide_in_water(waters=30, constraints=app.HBonds, flexibleConstraints=True)
    with pytest.warns(UserWarning, match="12 constraints in the region were removed"):
        hybrid = make(flexible, range(22), interpolate=True)
    context = reference_context(hybrid.system, flexible.positions)
    expected = energy_and_forces(reference_context(flexible.system, flexible.positions))[0]
    assert at(context, 0.0)[0] == pytest.approx(expected, abs=ENERGY)


def test_parameters_that_change_during_a_run_are_refused() -> None:
    case = peptide_in_water(waters=30)
    system = mm.XmlSerializer.clone(case.system)
    force = next(f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
    force.addGlobalParameter("charging", 1.0)
    force.addParticleParameterOffset("charging", 3, 0.1, 0.0, 0.0)
    with refusal(UnsupportedError, "interpolate", got=("NonbondedForce", "'charging'")):
        make(Case(case.topology, system, case.positions), range(22), interpolate=True)


def test_the_given_system_is_not_changed() -> None:
    case = villin(waters=20, rigidWater=False)
    before = mm.XmlSerializer.serialize(case.system)
    make(case, select(case, "resid 40"), interpolate=True)
    make(case, select(case, "resid 40"), subtract_region=True)
    assert mm.XmlSerializer.serialize(case.system) == before


def test_engines_and_potentials_that_cannot_interpolate(python_engine: str) -> None:
    assert python_engine
    with pytest.raises(UnsupportedError):
        make(peptide_in_water(waters=30), range(22), interpolate=True)
