"""The ledger: its terms close on OpenMM's total, and each is what it says, against sums that are written out here."""

import itertools

import mdtraj
import numpy as np
import openmm as mm
import pytest
import torch
from openmm import app, unit

from openmm_nn import HybridSystem, load_potential
from openmm_nn.errors import ParameterError, UnsupportedError
from tests.platforms import PlatformCase
from tests.refusals import refusal
from tests.systems.hybrid.cases import BACKBONE, SIDE_CHAIN, Case, make_hybrid, peptide_in_water, select, villin
from tests.systems.hybrid.region_energy import COULOMB, card, energy_and_forces, reference_context, region_system

METHODS = ("NoCutoff", "CutoffNonPeriodic", "CutoffPeriodic", "Ewald", "PME", "LJPME")


def wells(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    centred = positions - positions.mean(dim=0)
    return 30.0 * (centred**2).sum(), -60.0 * centred


def make(case: Case, region: object, **options: object) -> HybridSystem:
    return make_hybrid(case.topology, case.system, load_potential(wells, card=card("wells")), region, **options)


def total_of(system: mm.System, positions: np.ndarray) -> float:
    context = reference_context(system, positions)
    context.computeVirtualSites()
    return energy_and_forces(context)[0]


@pytest.mark.parametrize("subtract", [False, True], ids=["exceptions", "subtracted"])
@pytest.mark.parametrize("method", METHODS)
def test_terms_close_for_every_method(method: str, subtract: bool) -> None:
    case = peptide_in_water(method=method, waters=60, switchDistance=0.7, rigidWater=False)
    hybrid = make(case, range(22), subtract_region=subtract)
    ledger = hybrid.ledger(case.positions)
    assert ledger.total == pytest.approx(total_of(hybrid.system, case.positions), abs=1e-9)
    assert abs(ledger.residual) < 1e-3
    x = case.positions[:22]
    assert ledger["NN"] == pytest.approx(30.0 * ((x - x.mean(axis=0)) ** 2).sum(), rel=1e-9)
    assert ledger["RR removed"] == -ledger["RR classical"]
    own = total_of(region_system(case.system, range(22)), case.positions)
    assert ledger["RR classical"] == pytest.approx(own, abs=1e-6)
    if method in METHODS[:3]:
        assert ledger["images"] == 0.0
    else:
        assert 1e-4 < abs(ledger["images"]) < 50.0


@pytest.mark.parametrize("region", [SIDE_CHAIN, BACKBONE, "resid 70 81 119"], ids=["side chain", "two cuts", "waters"])
@pytest.mark.parametrize("field", ["amber14", "charmm36"])
@pytest.mark.filterwarnings("ignore:charge")
def test_terms_close_for_cut_regions(field: str, region: str) -> None:
    case = villin(field, rigidWater=False)
    ledger = make(case, region).ledger(case.positions)
    assert abs(ledger.residual) < 1e-3
    assert (ledger["link"] != 0) == (region != "resid 70 81 119")


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.filterwarnings("ignore:charge")
def test_interpolated_hybrids(value: float) -> None:
    case = villin("charmm36", rigidWater=False)
    hybrid = make(case, BACKBONE, interpolate=True)
    ledger = hybrid.ledger(case.positions, parameters={"lambda_interpolate": value})
    assert abs(ledger.residual) < 1e-3
    assert ledger["RR removed"] == pytest.approx(-value * ledger["RR classical"])
    context = reference_context(hybrid.system, case.positions)
    context.setParameter("lambda_interpolate", value)
    assert ledger.total == pytest.approx(energy_and_forces(context)[0], abs=1e-9)
    from_context = hybrid.ledger(context)
    for name, energy in ledger.terms.items():
        assert from_context[name] == pytest.approx(energy, abs=1e-7)


@pytest.mark.parametrize("scheme", ["z1", "cs"])
@pytest.mark.filterwarnings("ignore:charge")
def test_charge_schemes_count_as_link(scheme: str) -> None:
    case = villin(rigidWater=False)
    plain, changed = (make(case, BACKBONE, charge_scheme=name).ledger(case.positions) for name in ("none", scheme))
    assert abs(changed.residual) < 1e-3
    assert changed["link"] - plain["link"] == pytest.approx(changed.total - plain.total, abs=1e-6)


@pytest.mark.parametrize("solvent", ["obc2", "gbn2"])
def test_implicit_solvent_is_one_row(solvent: str) -> None:
    case = peptide_in_water(solvent, "NoCutoff", waters=0)
    ledger = make(case, range(22)).ledger(case.positions)
    assert abs(ledger.residual) < 1e-3
    assert ledger["implicit solvent"] < -10.0


def test_virtual_sites_around_the_region() -> None:
    case = peptide_in_water("tip4pew", waters=60, flexibleConstraints=True)
    context = reference_context(case.system, case.positions)
    context.computeVirtualSites()
    x = context.getState(getPositions=True).getPositions(asNumpy=True)._value
    assert abs(make(case, range(22)).ledger(x).residual) < 1e-3


def test_coulomb_and_van_der_waals_across_the_boundary() -> None:
    """Without a cutoff: two sums in numpy."""
    case = peptide_in_water(method="NoCutoff", waters=40)
    force = next(f for f in case.system.getForces() if isinstance(f, mm.NonbondedForce))
    charge, sigma, epsilon = np.array(
        [
            [v.value_in_unit_system(unit.md_unit_system) for v in force.getParticleParameters(i)]
            for i in range(force.getNumParticles())
        ]
    ).T
    expected = 0.0
    for i, j in itertools.product(range(22), range(22, len(charge))):
        r = np.linalg.norm(case.positions[i] - case.positions[j])
        sixth = (0.5 * (sigma[i] + sigma[j]) / r) ** 6
        expected += COULOMB * charge[i] * charge[j] / r + 4 * np.sqrt(epsilon[i] * epsilon[j]) * (sixth**2 - sixth)
    assert make(case, range(22)).ledger(case.positions)["RE"] == pytest.approx(expected, abs=1e-6)


def test_images_are_the_region_alone_in_its_box_less_its_pairs() -> None:
    case = peptide_in_water(method="Ewald", waters=40, ewaldErrorTolerance=1e-6)
    force = next(f for f in case.system.getForces() if isinstance(f, mm.NonbondedForce))
    system = mm.System()
    system.setDefaultPeriodicBoxVectors(*case.system.getDefaultPeriodicBoxVectors())
    alone = mm.NonbondedForce()
    alone.setNonbondedMethod(mm.NonbondedForce.Ewald)
    alone.setCutoffDistance(force.getCutoffDistance())
    alone.setEwaldErrorTolerance(1e-6)
    alone.setUseDispersionCorrection(False)
    for index in range(22):
        system.addParticle(1.0)
        alone.addParticle(force.getParticleParameters(index)[0], 1.0, 0.0)
    system.addForce(alone)
    x = case.positions[:22]
    with_pairs = total_of(system, x)
    q = [force.getParticleParameters(i)[0]._value for i in range(22)]
    pairs = sum(COULOMB * q[i] * q[j] / np.linalg.norm(x[i] - x[j]) for i, j in itertools.combinations(range(22), 2))
    ledger = make(case, range(22)).ledger(case.positions)
    assert ledger["images"] == pytest.approx(with_pairs - pairs, abs=2e-4)


def test_forces_that_the_user_adds_later_are_counted() -> None:
    case = peptide_in_water(waters=30)
    hybrid = make(case, range(22))
    dihedral = mm.CustomTorsionForce("5*cos(theta)")
    dihedral.addTorsion(4, 6, 8, 14, [])
    bias = mm.CustomCVForce("2*phi")
    bias.addCollectiveVariable("phi", dihedral)
    hold = mm.CustomExternalForce("10*x^2")
    hold.addParticle(30, [])
    tie = mm.CustomBondForce("7*r")
    tie.addBond(0, 20, [])
    for force in (bias, hold, tie, mm.MonteCarloBarostat(1.0, 300.0)):
        hybrid.system.addForce(force)
    ledger = hybrid.ledger(case.positions * unit.nanometer)
    x = case.positions
    assert ledger["restraints"] == pytest.approx(10 * x[30, 0] ** 2 + 7 * np.linalg.norm(x[0] - x[20]), abs=1e-8)
    assert 0 < abs(ledger["bias"]) <= 10
    assert abs(ledger.residual) < 1e-3


def test_parameter_offsets_of_the_environment_follow_the_parameters() -> None:
    case = peptide_in_water(waters=30)
    system = mm.XmlSerializer.clone(case.system)
    force = next(f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
    force.addGlobalParameter("charging", 0.2)
    force.addParticleParameterOffset("charging", 40, 0.5, 0.01, 0.1)
    hybrid = make(Case(case.topology, system, case.positions), range(22))
    for value in (0.2, 0.9):
        ledger = hybrid.ledger(case.positions, parameters={"charging": value})
        assert abs(ledger.residual) < 1e-3


def test_a_trajectory_gives_arrays() -> None:
    case = peptide_in_water(waters=30)
    hybrid = make(case, range(22))
    rng = np.random.default_rng(5)
    frames = case.positions + rng.normal(scale=0.003, size=(3, *case.positions.shape))
    trajectory = mdtraj.Trajectory(frames, mdtraj.Topology.from_openmm(case.topology))
    trajectory.unitcell_vectors = np.array([np.diag([3.2, 3.3, 3.4])] * 3)
    ledger = hybrid.ledger(trajectory)
    assert ledger["RE"].shape == ledger.total.shape == (3,)
    assert np.abs(ledger.residual).max() < 1e-3
    single = hybrid.ledger(trajectory.xyz[1], box=np.diag([3.2, 3.3, 3.4]))
    for name in ledger.terms:
        assert ledger[name][1] == pytest.approx(single[name], abs=1e-6)
    assert "mean over frames" in str(ledger)


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.filterwarnings("ignore:charge")
def test_terms_close_on_the_platform_of_the_run(size: str, platform: PlatformCase) -> None:
    case = villin(rigidWater=False) if size == "small" else peptide_in_water(rigidWater=False)
    hybrid = make(case, select(case, SIDE_CHAIN if size == "small" else "resname ACE ALA NME"))
    context = platform.context(hybrid.system, case.positions)
    ledger = hybrid.ledger(context)
    assert abs(ledger.residual) < (1e-3 if platform.name == "Reference" else 1e-2)
    # The Context's own total; in single precision it has the rounding that the ledger leaves out.
    total = energy_and_forces(context)[0]
    assert ledger.total == pytest.approx(total, abs=3e-6 * abs(total) if platform.precision == "single" else 1e-2)
    if platform.name == "OpenCL":
        used = "mixed" if platform.precision == "single" else platform.precision
        assert f"computed on OpenCL, {used} precision" in str(ledger)


def test_the_table() -> None:
    case = peptide_in_water(waters=30)
    text = str(make(case, range(22)).ledger(case.positions))
    for name in ("EE", "RE", "RR classical", "RR removed", "images", "implicit solvent", "OpenMM's total", "residual"):
        assert name in text


def test_what_it_refuses() -> None:
    case = peptide_in_water(waters=30, constraints=app.HBonds)
    with pytest.warns(UserWarning, match="12 constraints"):
        hybrid = make(case, range(22))
    with refusal(UnsupportedError, "ledger", got="12 bonds", remedy="flexibleConstraints=True"):
        hybrid.ledger(case.positions)
    free = peptide_in_water(waters=30)
    with refusal(ParameterError, "positions", got="(5, 3)", allowed="(112, 3)"):
        make(free, range(22)).ledger(free.positions[:5])
