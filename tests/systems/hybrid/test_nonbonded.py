"""What happens to nonbonded forces, and which forces are refused."""

import itertools
import re

import numpy as np
import openmm as mm
import pytest
from openmm import app

from openmm_nn import HybridSystem, Mechanical, create_hybrid_system
from openmm_nn.errors import ParameterError, UnsupportedError
from tests.refusals import refusal
from tests.systems.hybrid.cases import make_hybrid, peptide_in_water, villin
from tests.systems.hybrid.region_energy import energy_and_forces, reference_context, zero_potential

NUMBER = 8
REGION = [1, 2, 3]


def make_topology(number: int = NUMBER) -> app.Topology:
    topology = app.Topology()
    chain = topology.addChain()
    for index in range(number):
        topology.addAtom("AR", app.element.argon, topology.addResidue("AR", chain))
        assert index >= 0
    return topology


def make_system(*forces: mm.Force, box: bool = False) -> mm.System:
    system = mm.System()
    for _ in range(NUMBER):
        system.addParticle(40.0)
    if box:
        system.setDefaultPeriodicBoxVectors(*(np.eye(3) * 2.5))
    for force in forces:
        system.addForce(force)
    return system


def hybridize(system: mm.System, **options: object) -> HybridSystem:
    return make_hybrid(make_topology(), system, zero_potential(), REGION, charge=0, **options)


def charges(method: int = mm.NonbondedForce.NoCutoff) -> mm.NonbondedForce:
    force = mm.NonbondedForce()
    for index in range(NUMBER):
        force.addParticle(0.0 if index in REGION else 0.1 * (-1) ** index, 0.3, 0.5)
    force.setNonbondedMethod(method)
    force.setCutoffDistance(1.0)
    return force


def exceptions(force: mm.NonbondedForce) -> dict[tuple[int, int], tuple[float, ...]]:
    found = {}
    for index in range(force.getNumExceptions()):
        i, j, *values = force.getExceptionParameters(index)
        assert (min(i, j), max(i, j)) not in found
        found[min(i, j), max(i, j)] = tuple(value._value for value in values)
    return found


def test_every_pair_of_the_region_is_one_exception_of_zero() -> None:
    force = charges()
    force.addException(2, 1, 0.5, 0.3, 0.4)
    force.addException(1, 5, 0.25, 0.3, 0.4)
    hybrid = hybridize(make_system(force))
    new = exceptions(hybrid.system.getForce(0))
    for pair in itertools.combinations(REGION, 2):
        assert new.pop(pair)[::2] == (0.0, 0.0)
    assert new == {(1, 5): (0.25, 0.3, 0.4)}


def test_offsets_of_exceptions_in_the_region_are_zero_and_others_stay() -> None:
    force = charges()
    inside = force.addException(1, 2, 0.5, 0.3, 0.4)
    across = force.addException(1, 5, 0.25, 0.3, 0.4)
    force.addGlobalParameter("alchemy", 0.0)
    force.addExceptionParameterOffset("alchemy", inside, 1.0, 0.1, 1.0)
    force.addExceptionParameterOffset("alchemy", across, 1.0, 0.1, 1.0)
    system = hybridize(make_system(force)).system
    new = system.getForce(0)
    offsets = {new.getExceptionParameterOffset(i)[1]: new.getExceptionParameterOffset(i)[2:] for i in range(2)}
    assert offsets[inside] == [0.0, 0.0, 0.0]
    assert offsets[across] == [1.0, 0.1, 1.0]

    # What is left depends on the parameter as the environment's own exception says, and by nothing else.
    positions = np.random.default_rng(0).uniform(0, 1.2, size=(NUMBER, 3))
    context = reference_context(system, positions)
    first = energy_and_forces(context)[0]
    context.setParameter("alchemy", 1.0)
    r = np.linalg.norm(positions[1] - positions[5])
    lj = [4 * e * ((s / r) ** 12 - (s / r) ** 6) for s, e in ((0.3, 0.4), (0.4, 1.4))]
    assert energy_and_forces(context)[0] - first == pytest.approx(138.93545764 / r + lj[1] - lj[0], rel=1e-7)


@pytest.mark.parametrize("method", ["CutoffPeriodic", "Ewald", "PME", "LJPME"])
def test_exceptions_use_the_box_under_periodic_methods(method: str) -> None:
    system = make_system(charges(getattr(mm.NonbondedForce, method)), box=True)
    assert not system.getForce(0).getExceptionsUsePeriodicBoundaryConditions()
    hybrid = hybridize(system)
    assert hybrid.system.getForce(0).getExceptionsUsePeriodicBoundaryConditions()


@pytest.mark.parametrize("method", ["NoCutoff", "CutoffNonPeriodic"])
def test_exceptions_do_not_use_a_box_otherwise(method: str) -> None:
    hybrid = hybridize(make_system(charges(getattr(mm.NonbondedForce, method))))
    assert not hybrid.system.getForce(0).getExceptionsUsePeriodicBoundaryConditions()


def repulsion() -> mm.CustomNonbondedForce:
    force = mm.CustomNonbondedForce("0.001/r^9")
    for _ in range(NUMBER):
        force.addParticle([])
    return force


@pytest.mark.parametrize("groups", [False, True], ids=["all", "groups"])
@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_custom_forces_lose_the_regions_pairs(platform: str, groups: bool) -> None:
    """The CPU platform also demands that all nonbonded forces exclude the same pairs."""
    first, second, custom = charges(), charges(), repulsion()
    custom.addExclusion(2, 1)
    for force in (first, second):
        force.addException(1, 2, 0.0, 1.0, 0.0)
    if groups:
        custom.addInteractionGroup([1, 2], [3, 4, 5])
    system = hybridize(make_system(first, second, custom)).system
    positions = np.random.default_rng(4).uniform(0, 1.5, size=(NUMBER, 3))
    context = mm.Context(system, mm.VerletIntegrator(1e-3), mm.Platform.getPlatformByName(platform))
    context.setPositions(positions)
    state = context.getState(getEnergy=True)
    pairs = [p for p in itertools.combinations(range(NUMBER), 2) if not set(p) <= set(REGION)]
    expected = 0.0
    for i, j in pairs:
        r = np.linalg.norm(positions[i] - positions[j])
        if not groups or (min(i, j) in (1, 2) and max(i, j) in (4, 5)):
            expected += 0.001 / r**9
        q = [0.0 if k in REGION else 0.1 * (-1) ** k for k in (i, j)]
        expected += 2 * (138.93545764 * q[0] * q[1] / r + 4 * 0.5 * ((0.3 / r) ** 12 - (0.3 / r) ** 6))
    assert state.getPotentialEnergy()._value == pytest.approx(expected, rel=1e-7 if platform == "Reference" else 1e-4)


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_generalized_born_with_exclusions_that_its_terms_ignore(platform: str) -> None:
    gb = mm.CustomGBForce()
    gb.addComputedValue("I", "0.1/(r+0.1)", mm.CustomGBForce.ParticlePairNoExclusions)
    gb.addComputedValue("B", "1/(1+I)", mm.CustomGBForce.SingleParticle)
    gb.addEnergyTerm("B", mm.CustomGBForce.SingleParticle)
    gb.addEnergyTerm("B1*B2/(r+0.1)", mm.CustomGBForce.ParticlePairNoExclusions)
    for _ in range(NUMBER):
        gb.addParticle([])
    gb.addExclusion(1, 2)
    force = charges()
    force.addException(1, 2, 0.0, 1.0, 0.0)
    classical = make_system(force, gb)
    positions = np.random.default_rng(4).uniform(0, 1.5, size=(NUMBER, 3))
    energies = []
    for system in (classical, hybridize(classical).system):
        system.getForce(0).setForceGroup(1)
        context = mm.Context(system, mm.VerletIntegrator(1e-3), mm.Platform.getPlatformByName(platform))
        context.setPositions(positions)
        energies.append(context.getState(getEnergy=True, groups={0}).getPotentialEnergy()._value)
    assert energies[1] == pytest.approx(energies[0], rel=1e-6)


def pair_gb() -> mm.Force:
    force = mm.CustomGBForce()
    force.addComputedValue("I", "1/r", mm.CustomGBForce.ParticlePair)
    for _ in range(NUMBER):
        force.addParticle([])
    return force


def many_particle(filtered: bool) -> mm.Force:
    force = mm.CustomManyParticleForce(3, "distance(p1,p2)+distance(p2,p3)")
    for index in range(NUMBER):
        force.addParticle([], 1 if index in REGION else 0)
    if filtered:
        for position in range(3):
            force.setTypeFilter(position, [0])
    return force


def hbond(donor: int) -> mm.Force:
    force = mm.CustomHbondForce("distance(d1,a1)")
    force.addDonor(donor, -1, -1, [])
    force.addAcceptor(6, -1, -1, [])
    return force


def drude(particle: int) -> mm.Force:
    force = mm.DrudeForce()
    force.addParticle(particle, 7, -1, -1, -1, 1.0, 0.001, 1.0, 1.0)
    return force


def amoeba_vdw() -> mm.Force:
    force = mm.AmoebaVdwForce()
    for index in range(NUMBER):
        force.addParticle(index, 0.3, 0.1, 0.9)
    return force


def gay_berne(strength: float) -> mm.Force:
    force = mm.GayBerneForce()
    for index in range(NUMBER):
        force.addParticle(0.3, strength if index in REGION else 1.0, -1, -1, 0.3, 0.3, 0.3, 1.0, 1.0, 1.0)
    return force


def constant_potential() -> mm.Force:
    force = mm.ConstantPotentialForce()
    for _ in range(NUMBER):
        force.addParticle(0.0)
    return force


def nothing(state: object) -> tuple[float, np.ndarray]:
    return 0.0, np.zeros((NUMBER, 3))


def python_force(particles: list[int]) -> mm.Force:
    force = mm.PythonForce(nothing)
    force.setParticles(particles)
    return force


def transfer() -> mm.Force:
    force = mm.ATMForce("0")
    for _ in range(NUMBER):
        force.addParticle(mm.Vec3(0, 0, 0))
    return force


def collective(inner: mm.Force) -> mm.Force:
    force = mm.CustomCVForce("v")
    force.addCollectiveVariable("v", inner)
    return force


@pytest.mark.parametrize(
    "force, name",
    [
        (lambda: pair_gb(), "CustomGBForce"),
        (lambda: many_particle(False), "CustomManyParticleForce"),
        (lambda: hbond(2), "CustomHbondForce"),
        (lambda: drude(1), "DrudeForce"),
        (amoeba_vdw, "AmoebaVdwForce"),
        (lambda: gay_berne(1.0), "GayBerneForce"),
        (constant_potential, "ConstantPotentialForce"),
        (transfer, "ATMForce"),
        (lambda: python_force([]), "PythonForce"),
        (lambda: python_force([1]), "PythonForce"),
        (lambda: collective(charges()), "CustomCVForce"),
        (lambda: collective(repulsion()), "CustomCVForce"),
    ],
)
def test_forces_that_no_rule_covers_are_refused_by_name(force: object, name: str) -> None:
    with refusal(UnsupportedError, "system", got=name, remedy=f"keep=('{name}',)"):
        hybridize(make_system(force()))


def test_ignored_forces_stay_as_they_are() -> None:
    hybrid = hybridize(make_system(amoeba_vdw(), charges()), ignore_forces=("AmoebaVdwForce",))
    assert mm.XmlSerializer.serialize(hybrid.system.getForce(0)) == mm.XmlSerializer.serialize(amoeba_vdw())
    assert hybridize(make_system(amoeba_vdw()), ignore_forces=[0]).system.getNumForces() == 2
    with refusal(ParameterError, "ignore_forces", got="'Vdw'", allowed="(0: AmoebaVdwForce)"):
        hybridize(make_system(amoeba_vdw()), ignore_forces=("Vdw",))


def rmsd() -> mm.Force:
    return mm.RMSDForce(np.zeros((NUMBER, 3)), REGION)


def external() -> mm.Force:
    force = mm.CustomExternalForce("x^2")
    for atom in REGION:
        force.addParticle(atom, [])
    return force


def distance() -> mm.Force:
    force = mm.CustomBondForce("r")
    force.addBond(1, 3, [])
    return force


@pytest.mark.parametrize(
    "force",
    [
        lambda: many_particle(True),
        lambda: hbond(5),
        lambda: drude(6),
        lambda: gay_berne(0.0),
        lambda: python_force([5, 6]),
        rmsd,
        external,
        lambda: collective(rmsd()),
        lambda: collective(distance()),
        lambda: collective(collective(distance())),
        lambda: mm.MonteCarloBarostat(1.0, 300.0),
        lambda: mm.AndersenThermostat(300.0, 1.0),
        lambda: mm.CMMotionRemover(),
    ],
)
def test_forces_that_touch_no_atom_or_are_biases_stay(force: object) -> None:
    system = make_system(charges(), force(), box=True)
    hybrid = hybridize(system)
    if isinstance(system.getForce(1), mm.PythonForce):
        assert isinstance(hybrid.system.getForce(1), mm.PythonForce)
    else:
        assert mm.XmlSerializer.serialize(hybrid.system.getForce(1)) == mm.XmlSerializer.serialize(system.getForce(1))


def test_forces_that_cannot_be_copied() -> None:
    system = make_system(charges(), mm.PythonForce(lambda state: (0.0, np.zeros((NUMBER, 3)))))
    with refusal(UnsupportedError, "system", got="PythonForce"):
        hybridize(system, ignore_forces=("PythonForce",))


def test_two_ewald_forces_are_refused() -> None:
    forces = [charges(mm.NonbondedForce.PME), charges(mm.NonbondedForce.LJPME)]
    with refusal(UnsupportedError, "system", got=("2 NonbondedForces", "NonbondedForce and NonbondedForce")):
        hybridize(make_system(*forces, box=True))


def test_unknown_range_must_be_told() -> None:
    system = make_system(charges(mm.NonbondedForce.PME), box=True)
    unknown = zero_potential(long_range=None)
    with refusal(ParameterError, "long_range", got=("None", "'nothing'"), allowed=("True", "False")):
        create_hybrid_system(make_topology(), system, unknown, REGION)
    create_hybrid_system(
        make_topology(),
        system,
        unknown,
        REGION,
        embedding=Mechanical(long_range=False),
    )
    with refusal(ParameterError, "long_range", got=("True", "'nothing'", "False")):
        create_hybrid_system(
            make_topology(),
            system,
            zero_potential(),
            REGION,
            embedding=Mechanical(long_range=True),
        )
    # Without images there is nothing to tell.
    create_hybrid_system(make_topology(), make_system(charges()), unknown, REGION)


def test_virtual_sites_are_refused() -> None:
    case = peptide_in_water("tip4pew", waters=30)
    with refusal(UnsupportedError, "region", got=re.compile(r"HOH\d+:M ")):
        create_hybrid_system(case.topology, case.system, zero_potential(), "resid 3")
    with refusal(UnsupportedError, "region", got=re.compile(r"HOH\d+:M .* HOH\d+:O ")):
        create_hybrid_system(case.topology, case.system, zero_potential(), "resid 3 and name O H1 H2")


def test_rigid_water_and_constraints() -> None:
    case = villin(rigidWater=True, constraints=app.HBonds)
    with refusal(UnsupportedError, "remove_constraints", got=("False", re.compile(r"HOH\d+:O ")), allowed="True"):
        create_hybrid_system(case.topology, case.system, zero_potential(), "resid 70", remove_constraints=False)
    side = "resid 5 and not (name N H CA HA C O)"
    before = case.system.getNumConstraints()
    kept = create_hybrid_system(case.topology, case.system, zero_potential(), side, remove_constraints=False)
    assert kept.system.getNumConstraints() == before
    with pytest.warns(UserWarning, match=r"7 constraints .* 1 fs at most, better 0.5 fs.*hydrogenMass"):
        freed = create_hybrid_system(case.topology, case.system, zero_potential(), side)
    assert freed.system.getNumConstraints() == before - 7
    assert freed.boundary_report().constraints_removed == 7
    heavy = villin(rigidWater=True, constraints=app.HBonds, hydrogenMass=3.0)
    with pytest.warns(UserWarning, match=r"2 fs at most, since its hydrogens have repartitioned mass"):
        create_hybrid_system(heavy.topology, heavy.system, zero_potential(), side)


def test_options_that_do_not_exist() -> None:
    system = make_system(charges())
    for argument, value, allowed in (
        ("embedding", "electric", "'mechanical'"),
        ("bonded_rule", "amber", "'capped', 'all-atoms', 'gromacs'"),
    ):
        with refusal(ParameterError, argument, got=repr(value), allowed=allowed):
            hybridize(system, **{argument: value})
    with refusal(ParameterError, "potential", got=("'ani2x'", "str"), allowed="Potential"):
        create_hybrid_system(make_topology(), system, "ani2x", REGION)
