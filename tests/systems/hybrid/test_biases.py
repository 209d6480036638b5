"""What a user put on the region to bias or restrain it stays, or create_hybrid_system asks about it.

Energies of a bias alone come from a System that has nothing else, in plain OpenMM.
"""

from collections.abc import Callable

import numpy as np
import openmm as mm
import pytest
from openmm import app, unit

from openmm_nn import Mechanical, create_hybrid_system, select_region
from openmm_nn.dynamics import multistep_system
from openmm_nn.errors import ParameterError
from tests.systems.hybrid.cases import Case, peptide_in_water, select, villin
from tests.systems.hybrid.region_energy import zero_potential

# Atoms of the dipeptide ACE-ALA-NME: phi is C-N-CA-C, and two waters follow.
PHI, PSI = (4, 6, 8, 14), (6, 8, 14, 16)
PEPTIDE = list(range(22))
TWO_MOLECULES = [*PEPTIDE, 22, 23, 24, 25, 26, 27]


def bond(expression: str, *pairs: tuple[int, int], parameter: str = "") -> mm.Force:
    force = mm.CustomBondForce(expression)
    if parameter:
        force.addGlobalParameter(parameter, 150.0)
    for first, second in pairs:
        force.addBond(first, second, [])
    return force


def umbrella() -> mm.Force:
    force = mm.CustomTorsionForce("0.5*k*min(d, 2*pi-d)^2; d=abs(theta-1.0); pi=3.141592653589793")
    force.addGlobalParameter("k", 120.0)
    force.addTorsion(*PHI, [])
    return force


def plain_torsion(atoms: tuple[int, ...]) -> mm.Force:
    force = mm.PeriodicTorsionForce()
    force.addTorsion(*atoms, 1, 0.7, 40.0)
    return force


def rb_torsion() -> mm.Force:
    force = mm.RBTorsionForce()
    force.addTorsion(*PHI, 3.0, 20.0, 5.0, 1.0, 0.0, 0.0)
    return force


def chirality() -> mm.Force:
    force = mm.CustomTorsionForce("60*(theta-1.2)^2")
    force.addTorsion(8, 6, 14, 10, [])
    return force


def harmonic_bond(first: int, second: int, length: float) -> mm.Force:
    force = mm.HarmonicBondForce()
    force.addBond(first, second, length, 500.0)
    return force


def harmonic_angle(*atoms: int) -> mm.Force:
    force = mm.HarmonicAngleForce()
    force.addAngle(*atoms, 1.2, 80.0)
    return force


def custom_angle() -> mm.Force:
    force = mm.CustomAngleForce("k*(theta-1.9)^2")
    force.addGlobalParameter("k", 90.0)
    force.addAngle(6, 8, 14, [])
    return force


def compound() -> mm.Force:
    force = mm.CustomCompoundBondForce(3, "200*(distance(p1,p2)-distance(p2,p3)-0.05)^2")
    force.addBond([4, 6, 8], [])
    return force


def cmap() -> mm.Force:
    force = mm.CMAPTorsionForce()
    force.addMap(8, np.random.default_rng(1).normal(scale=5, size=64))
    force.addTorsion(0, *PHI, *PSI)
    force.addTorsion(0, *PHI, *PSI)
    return force


def centroid() -> mm.Force:
    force = mm.CustomCentroidBondForce(2, "300*(distance(g1,g2)-0.2)^2")
    force.addBond([force.addGroup([0, 1, 4]), force.addGroup([14, 16, 18])], [])
    return force


def external() -> mm.Force:
    force = mm.CustomExternalForce("50*((x-0.1)^2+y^2+z^2)")
    force.addParticle(8, [])
    return force


def variable() -> mm.Force:
    force = mm.CustomCVForce("0.5*k*(phi-1)^2")
    force.addGlobalParameter("k", 100.0)
    inner = mm.CustomTorsionForce("theta")
    inner.addTorsion(*PHI, [])
    force.addCollectiveVariable("phi", inner)
    return force


def rmsd() -> mm.Force:
    return mm.RMSDForce(np.random.default_rng(2).normal(size=(400, 3))[:100], [0, 4, 8, 14])


def radius_of_gyration() -> mm.Force:
    return mm.RGForce(PEPTIDE)


def openmmtools_restraint() -> mm.Force:
    force = mm.CustomBondForce("lambda_restraints*100*(r-0.3)^2")
    force.addGlobalParameter("lambda_restraints", 1.0)
    force.addBond(0, 18, [])
    return force


CERTAIN: dict[str, Callable[[], mm.Force]] = {
    "centroids": centroid,
    "external": external,
    "collective variable": variable,
    "radius of gyration": radius_of_gyration,
    "lambda_restraints": openmmtools_restraint,
}
ASKED: dict[str, Callable[[], mm.Force]] = {
    "umbrella on a torsion": umbrella,
    "a bond, with a parameter": lambda: bond("k*(r-0.2)^2", (4, 6), parameter="k"),
    "a bond again": lambda: bond("500*(r-0.2)^2", (4, 6)),
    "1-3": lambda: bond("500*(r-0.3)^2", (4, 8)),
    "1-3, harmonic": lambda: harmonic_bond(4, 8, 0.3),
    "1-4": lambda: bond("500*(r-0.4)^2", (4, 14)),
    "flat bottom": lambda: bond("500*max(0,r-0.1)^2", (1, 18)),
    "two molecules": lambda: harmonic_bond(5, 22, 0.2),
    "two molecules, no length": lambda: harmonic_bond(5, 22, 0.0),
    "two molecules, length of a bond": lambda: harmonic_bond(5, 22, 0.1),
    "Boresch angle": lambda: harmonic_angle(6, 8, 22),
    "angle again": lambda: harmonic_angle(6, 8, 14),
    "umbrella on an angle": custom_angle,
    "Boresch torsion": lambda: plain_torsion((4, 6, 8, 22)),
    "periodic torsion": lambda: plain_torsion(PHI),
    "torsion without a term of the force field": lambda: plain_torsion((7, 6, 8, 9)),
    "Ryckaert-Bellemans": rb_torsion,
    "handedness": chirality,
    "difference of distances": compound,
    "map of two torsions": cmap,
}


def with_force(case: Case, make: Callable[[], mm.Force], name: str = "") -> tuple[mm.System, mm.Force]:
    """A copy of the classical System with a bias, and that bias."""
    system = mm.XmlSerializer.clone(case.system)
    force = make()
    if name:
        force.setName(name)
    system.addForce(force)
    return system, force


def energy(system: mm.System, positions: np.ndarray, platform: str = "Reference", **parameters: float) -> float:
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName(platform))
    context.setPositions(positions)
    for name, value in parameters.items():
        context.setParameter(name, value)
    return float(context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))


def alone(case: Case, make: Callable[[], mm.Force]) -> float:
    """The energy of a bias in a System that has nothing else."""
    system = mm.System()
    for index in range(case.system.getNumParticles()):
        system.addParticle(case.system.getParticleMass(index))  # the weights of centroids
    system.setDefaultPeriodicBoxVectors(*case.system.getDefaultPeriodicBoxVectors())
    system.addForce(make())
    return energy(system, case.positions)


def hybridize(case: Case, system: mm.System, region: list[int] | None = None, **options: object) -> mm.System:
    return hybrid_of(case, system, region, **options).system


def hybrid_of(case: Case, system: mm.System, region: list[int] | None = None, **options: object) -> object:
    atoms = TWO_MOLECULES if region is None else region
    return create_hybrid_system(case.topology, system, zero_potential(), atoms, charge=0, **options)


@pytest.fixture(scope="module", params=["NoCutoff", "PME"])
def case(request: pytest.FixtureRequest) -> Case:
    return peptide_in_water(method=request.param, waters=749 if request.param == "PME" else 20, rigidWater=False)


@pytest.mark.parametrize("kind", [*CERTAIN, *ASKED])
def test_a_bias_stays_or_is_asked_about(case: Case, kind: str) -> None:
    make = {**CERTAIN, **ASKED}[kind]
    system, _ = with_force(case, make, "mine")
    options: dict[str, object] = {}
    if kind in ASKED:
        with pytest.raises(ParameterError) as caught:
            hybridize(case, system)
        assert caught.value.argument == "system"
        assert "mine" in caught.value.got
        assert "keep=('mine',)" in caught.value.remedy
        options["keep"] = "mine"
    expected = alone(case, make)
    assert abs(expected) > 0.05
    without = hybridize(case, case.system)
    for platform in ("Reference", "CPU") if case.system.getNumParticles() < 500 else ("CPU",):
        tolerance = 1e-6 if platform == "Reference" else 0.02
        found = energy(hybridize(case, system, **options), case.positions, platform)
        assert found - energy(without, case.positions, platform) == pytest.approx(expected, abs=tolerance), platform


@pytest.mark.parametrize("rule", ["capped", "all-atoms", "gromacs"])
@pytest.mark.parametrize("kind", ["umbrella on a torsion", "1-3", "1-4", "angle again", "periodic torsion"])
def test_cut_regions_ask_and_keep_alike(rule: str, kind: str) -> None:
    case = peptide_in_water(method="NoCutoff", waters=20, rigidWater=False)
    region = list(range(4, 22))  # C of ACE to the end: cut between CH3 and C
    system, force = with_force(case, ASKED[kind])
    with pytest.raises(ParameterError) as caught:
        hybridize(case, system, region, embedding=Mechanical(bonded_rule=rule))
    assert f"({system.getNumForces() - 1},)" in caught.value.remedy
    without = hybridize(case, case.system, region, embedding=Mechanical(bonded_rule=rule))
    kept = hybridize(case, system, region, embedding=Mechanical(bonded_rule=rule), keep=[force])
    change = energy(kept, case.positions) - energy(without, case.positions)
    assert change == pytest.approx(alone(case, ASKED[kind]), abs=1e-6)
    removed = hybridize(case, system, region, embedding=Mechanical(bonded_rule=rule), ignore_forces=[force])
    assert energy(removed, case.positions) == pytest.approx(energy(without, case.positions), abs=1e-6)


def test_interpolation_multiple_steps_and_ledger_keep_the_bias() -> None:
    case = peptide_in_water(method="NoCutoff", waters=20, rigidWater=False)
    system, _ = with_force(case, umbrella, "umbrella")
    expected = alone(case, umbrella)
    hybrid = hybrid_of(case, system, PEPTIDE, keep="umbrella", interpolate=True)
    without = hybrid_of(case, case.system, PEPTIDE, interpolate=True)
    for value in (0.0, 0.3, 1.0):
        settings = {"lambda_interpolate": value}
        change = energy(hybrid.system, case.positions, **settings) - energy(without.system, case.positions, **settings)
        assert change == pytest.approx(expected, abs=1e-6)
        changed = energy(hybrid.system, case.positions, k=60.0, **settings)
        assert energy(hybrid.system, case.positions, **settings) - changed == pytest.approx(expected / 2, abs=1e-6)
    assert energy(hybrid.system, case.positions, lambda_interpolate=0.0) == pytest.approx(
        energy(system, case.positions), abs=1e-5
    )
    ledger = hybrid.ledger(case.positions)
    assert ledger["restraints"] == pytest.approx(expected, abs=1e-6)
    assert abs(ledger.residual) < 1e-3
    for subtract in (False, True):
        plain = hybrid_of(case, system, PEPTIDE, keep="umbrella", embedding=Mechanical(subtract_region=subtract))
        assert plain.ledger(case.positions)["restraints"] == pytest.approx(expected, abs=1e-6)
        plain.system.getForce(system.getNumForces() - 1).setGlobalParameterDefaultValue(0, 240.0)
        several = multistep_system(plain)
        assert energy(several, case.positions) == pytest.approx(energy(plain.system, case.positions), abs=1e-4)
        fast = [force.getForceGroup() for force in several.getForces() if force.getName() == "umbrella"]
        assert fast == [0]
    rows = {row.what: row.why for row in hybrid.boundary_report().kept}
    assert rows == {"umbrella (CustomTorsionForce)": "named in keep"}
    assert "umbrella" in str(hybrid.boundary_report())


def test_the_run_follows_the_umbrella() -> None:
    """The mean of phi lies where a stiff umbrella has it: its standard deviation is sqrt(kT/k) = 0.046 rad."""
    case = peptide_in_water(method="NoCutoff", waters=0)
    system, _ = with_force(case, lambda: umbrella(), "umbrella")
    for force in system.getForces():
        if force.getName() == "umbrella":
            force.setGlobalParameterDefaultValue(0, 1200.0)
    stiff = mm.HarmonicBondForce()  # stands for a potential: without one the atoms of the region would fly apart
    for first, second in case.topology.bonds():
        length = float(np.linalg.norm(case.positions[first.index] - case.positions[second.index]))
        stiff.addBond(first.index, second.index, length, 2e5)
    hybrid = hybridize(case, system, PEPTIDE, keep="umbrella")
    hybrid.addForce(stiff)
    integrator = mm.LangevinMiddleIntegrator(300, 5, 0.001)
    integrator.setRandomNumberSeed(1)
    context = mm.Context(hybrid, integrator, mm.Platform.getPlatformByName("Reference"))
    context.setPositions(case.positions)
    mm.LocalEnergyMinimizer.minimize(context)
    integrator.step(1000)
    angles = []
    for _ in range(60):
        integrator.step(50)
        x = context.getState(positions=True).getPositions(asNumpy=True)._value[list(PHI)]
        first, middle, last = x[1] - x[0], x[2] - x[1], x[3] - x[2]
        one, two = np.cross(first, middle), np.cross(middle, last)
        angles.append(np.arctan2(np.dot(np.cross(one, two), middle / np.linalg.norm(middle)), np.dot(one, two)))
    assert np.mean(angles) == pytest.approx(1.0, abs=0.05)


def test_a_restraint_among_the_force_fields_own_terms() -> None:
    case = peptide_in_water(method="NoCutoff", waters=20, rigidWater=False)
    system = mm.XmlSerializer.clone(case.system)
    bonds = next(force for force in system.getForces() if isinstance(force, mm.HarmonicBondForce))
    bonds.addBond(1, 18, 0.4, 500.0)
    with pytest.raises(ParameterError) as caught:
        hybridize(case, system)
    assert "a force of their own" in caught.value.remedy
    with pytest.raises(ParameterError) as caught:
        hybridize(case, system, keep=[bonds])
    assert caught.value.argument == "keep"
    hybridize(case, system, ignore_forces=[bonds])
    torsions = mm.XmlSerializer.clone(case.system)
    force = next(force for force in torsions.getForces() if isinstance(force, mm.PeriodicTorsionForce))
    force.addTorsion(*PHI, 6, 0.0, 30.0)
    with pytest.raises(ParameterError, match="second time"):
        hybridize(case, torsions)


def test_a_constraint_of_the_user() -> None:
    case = peptide_in_water(method="NoCutoff", waters=20, rigidWater=False)
    length = float(np.linalg.norm(case.positions[1] - case.positions[18]))
    system = mm.XmlSerializer.clone(case.system)
    system.addConstraint(1, 18, length)
    with pytest.raises(ParameterError) as caught:
        hybridize(case, system)
    assert "keep=((1, 18),)" in caught.value.remedy
    hybrid = hybrid_of(case, system, keep=[(18, 1)], interpolate=True)
    assert hybrid.system.getNumConstraints() == 1
    assert abs(hybrid.ledger(case.positions).residual) < 1e-3
    assert hybridize(case, system, ignore_forces=[(1, 18)]).getNumConstraints() == 0
    lone = mm.XmlSerializer.clone(case.system)
    lone.addConstraint(4, 6, 0.1335)  # one heavy bond of nine
    with pytest.raises(ParameterError, match="few"):
        hybridize(case, lone)


def test_names_that_fit_nothing_or_too_much() -> None:
    case = peptide_in_water(method="NoCutoff", waters=20, rigidWater=False)
    system, force = with_force(case, ASKED["1-4"])
    second = harmonic_bond(1, 18, 0.4)
    system.addForce(second)
    for keep in ("nothing", 99, (0, 1), mm.CustomBondForce("r"), True):
        with pytest.raises(ParameterError) as caught:
            hybridize(case, system, keep=[keep])
        assert caught.value.argument == "keep"
    with pytest.raises(ParameterError, match="fits the forces"):
        hybridize(case, system, keep="HarmonicBondForce")
    with pytest.raises(ParameterError) as caught:
        hybridize(case, system, keep=[force, second], ignore_forces=[force])
    assert caught.value.argument == "keep"


def test_biases_between_region_and_environment_stay_unasked() -> None:
    case = peptide_in_water(method="NoCutoff", waters=20, rigidWater=False)
    system, _ = with_force(case, lambda: plain_torsion((4, 6, 8, 40)), "across")
    hybrid = hybrid_of(case, system)
    ledger = hybrid.ledger(case.positions)
    assert ledger["restraints"] == pytest.approx(alone(case, lambda: plain_torsion((4, 6, 8, 40))), abs=1e-6)
    assert [row.what for row in hybrid.boundary_report().kept] == ["across (PeriodicTorsionForce)"]


def test_hybrid_topologies_are_force_field() -> None:
    """Forces with lambda_bonds, lambda_angles and lambda_torsions go with the force field, as perses writes them."""
    case = peptide_in_water(method="NoCutoff", waters=20, rigidWater=False)
    system = mm.XmlSerializer.clone(case.system)
    bonds = mm.CustomBondForce("(lambda_bonds*k1+(1-lambda_bonds)*k0)*(r-0.15)^2")
    bonds.addGlobalParameter("lambda_bonds", 0.0)
    for name in ("k0", "k1"):
        bonds.addPerBondParameter(name)
    bonds.addBond(4, 6, [2e5, 1e5])
    torsions = mm.CustomTorsionForce("lambda_torsions*k*(1+cos(theta))")
    torsions.addGlobalParameter("lambda_torsions", 0.0)
    torsions.addPerTorsionParameter("k")
    for strength in (3.0, 5.0):
        torsions.addTorsion(*PHI, [strength])
    angles = mm.CustomAngleForce("lambda_angles*k*(theta-1.9)^2")
    angles.addGlobalParameter("lambda_angles", 0.0)
    angles.addPerAngleParameter("k")
    angles.addAngle(6, 8, 14, [100.0])
    for force in (bonds, torsions, angles):
        system.addForce(force)
    hybrid = hybridize(case, system)
    assert energy(hybrid, case.positions) == pytest.approx(
        energy(hybridize(case, case.system), case.positions), abs=1e-6
    )


@pytest.mark.parametrize("field", ["amber14", "charmm36"])
@pytest.mark.parametrize("constraints", [None, app.HBonds, app.AllBonds, app.HAngles])
def test_force_fields_are_never_asked_about(field: str, constraints: object) -> None:
    case = villin(field, "PME", waters=20, constraints=constraints)
    protein = select(case, "protein and resid 3 to 12")
    assert protein
    region = select_region(case.topology, case.system, protein, allow_cuts=_cuts(case, protein))
    hybrid = create_hybrid_system(case.topology, case.system, zero_potential(), region, charge=0)
    assert hybrid.boundary_report().kept == ()


def _cuts(case: Case, atoms: list[int]) -> list[tuple[int, int]]:
    inside = set(atoms)
    pairs = [(bond[0].index, bond[1].index) for bond in case.topology.bonds()]
    return [(i, j) if i in inside else (j, i) for i, j in pairs if (i in inside) != (j in inside)]
