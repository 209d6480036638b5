"""Whatever a classical force or the System can be told is honoured by hybrids of every kind, or refused by name.

Each property is tried with exceptions, subtraction (RegionForce), interpolation, multiple time steps and the ledger,
against E(classical) and an E_MM(R) that is built without the package (`everything.own_energy`). What exists is read off
OpenMM's classes, so a setter that a new OpenMM brings fails here until somebody has thought about it. Properties of
CustomNonbondedForce are in `test_custom_pairs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import mdtraj
import numpy as np
import openmm as mm
import pytest

from openmm_nn.analysis import compute_interaction_energy
from openmm_nn.dynamics import multistep_system
from openmm_nn.errors import UnsupportedError
from tests.platforms import REFERENCE, energy_of
from tests.systems.hybrid.cases import Case
from tests.systems.hybrid.everything import BOXES, CHAIN, COUNT, RECTANGULAR, REGION, force_of, make, values
from tests.systems.hybrid.hybrid_checks import (
    CNB,
    EVERY,
    NB,
    WAYS,
    Check,
    Setting,
    cases_of,
    honoured_or_refused,
    hybrid_of,
    platform_named,
)
from tests.systems.hybrid.test_custom_pairs import cutoff, switch


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method, shape", BOXES)
def test_every_method_in_both_boxes(method: str, shape: str, way: str) -> None:
    getattr(Check(make(method, shape)), way)()


# CPU tries all; OpenCL rounds as CPU does and takes seconds for each Context, so it tries what adds forces.
ELSEWHERE = [("CPU", way) for way in WAYS] + [("OpenCL", "interpolation"), ("OpenCL", "multistep")]


@pytest.mark.parametrize("name, way", ELSEWHERE)
@pytest.mark.parametrize("method, shape", [(m, s) for m, s in BOXES if s == "triclinic" or m == "Ewald"])
def test_every_method_elsewhere(method: str, shape: str, name: str, way: str) -> None:
    getattr(Check(make(method, shape), platform_named(name)), way)()


# --- what NonbondedForce can be told


def dielectric(force: mm.Force) -> None:
    force.setReactionFieldDielectric(4.0)


def tolerance(force: mm.Force) -> None:
    force.setPMEParameters(0, 0, 0, 0)
    force.setLJPMEParameters(0, 0, 0, 0)
    # The pairs that E_MM(R) takes out are exact, those in the grid are good to the tolerance, in both Systems alike.
    force.setEwaldErrorTolerance(1e-4)


def grid(force: mm.Force) -> None:
    force.setPMEParameters(3.3, 48, 50, 52)
    force.setLJPMEParameters(3.1, 44, 40, 42)


def dispersion(force: mm.Force) -> None:
    force.setUseDispersionCorrection(True)


def reciprocal_group(force: mm.Force) -> None:
    force.setReciprocalSpaceForceGroup(3)


def group_and_name(force: mm.Force) -> None:
    force.setForceGroup(7)
    force.setName("region's own nonsense")


def periodic_exceptions(force: mm.Force) -> None:
    force.setExceptionsUsePeriodicBoundaryConditions(True)


def more_exceptions(force: mm.Force) -> None:
    force.createExceptionsFromBonds([(20, 21), (21, 22), (22, 23)], 0.8, 0.5)
    force.addException(2, 30, 0.05, 0.3, 0.2)
    force.addException(3, REGION[-1], 0.1, 0.3, 0.2)
    # Hybrids take exceptions at minimum image, which matters to pairs of two molecules.
    force.setExceptionsUsePeriodicBoundaryConditions(force.usesPeriodicBoundaryConditions())


def offsets_outside(force: mm.Force) -> None:
    force.addGlobalParameter("charging", 0.3)
    force.setGlobalParameterName(0, "growing")
    force.setGlobalParameterDefaultValue(0, 0.4)
    index = force.addParticleParameterOffset("growing", 25, 0.1, 0.0, 0.0)
    force.setParticleParameterOffset(index, "growing", 26, 0.2, 0.01, 0.3)
    index = force.addException(3, 30, 0.05, 0.3, 0.2)
    force.setExceptionsUsePeriodicBoundaryConditions(True)
    number = force.addExceptionParameterOffset("growing", index, 0.1, 0.0, 0.0)
    force.setExceptionParameterOffset(number, "growing", index, 0.1, 0.02, 0.3)


def no_direct_space(force: mm.Force) -> None:
    force.setIncludeDirectSpace(False)


NONBONDED: list[Setting] = [
    (cutoff, "CutoffPeriodic LJPME", EVERY, ""),
    (switch, "CutoffNonPeriodic PME LJPME", EVERY, ""),
    (dielectric, "CutoffNonPeriodic CutoffPeriodic", EVERY, ""),
    (tolerance, "Ewald PME LJPME", EVERY, ""),
    (grid, "PME LJPME", EVERY, ""),
    (dispersion, "CutoffPeriodic PME", EVERY, ""),
    (reciprocal_group, "Ewald PME LJPME", EVERY, ""),
    (group_and_name, "PME", EVERY, ""),
    (periodic_exceptions, "CutoffPeriodic PME", EVERY, ""),
    (more_exceptions, "NoCutoff PME", EVERY, ""),
    (offsets_outside, "CutoffPeriodic PME", EVERY, ""),
    (no_direct_space, "PME", frozenset(), "setIncludeDirectSpace"),
]


@pytest.mark.parametrize("apply, method, way, honoured, said", cases_of(NONBONDED))
def test_nonbonded_force(
    apply: Callable[[mm.Force], None], method: str, way: str, honoured: frozenset[str], said: str
) -> None:
    # Its exceptions may be others than the exclusions of a CustomNonbondedForce, which is left out here.
    case = make(method, custom=False)
    apply(force_of(case.system, NB))
    honoured_or_refused(Check(case), way, honoured, said)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", ["CutoffPeriodic", "PME"])
def test_offsets_in_the_region(method: str, way: str) -> None:
    """Exceptions leave them to the pairs across the boundary, the ledger takes them at the Context's parameters."""
    case, fixed = make(method, custom=False), make(method, custom=False)
    force, plain = force_of(case.system, NB), force_of(fixed.system, NB)
    force.addGlobalParameter("growing", 0.4)
    force.addParticleParameterOffset("growing", 3, 0.2, 0.01, 0.3)
    charge, sigma, epsilon = values(plain.getParticleParameters(3))
    plain.setParticleParameters(3, charge + 0.2 * 0.5, sigma + 0.01 * 0.5, epsilon + 0.3 * 0.5)
    for index in range(force.getNumExceptions()):
        i, j, *quantities = force.getExceptionParameters(index)
        if {i, j} == {1, 4}:
            force.addExceptionParameterOffset("growing", index, 0.1, 0.0, 0.2)
            product, sigma, epsilon = values(quantities)
            plain.setExceptionParameters(index, i, j, product + 0.1 * 0.5, sigma, epsilon + 0.2 * 0.5)
    check = Check(fixed)
    check.case, check.parameters = case, {"growing": 0.5}
    if way == "exceptions":
        check.exceptions()
    elif way == "ledger":
        check.books(hybrid_of(case))
    else:
        with pytest.raises(UnsupportedError) as error:
            getattr(check, way)()
        assert "'growing'" in error.value.got


# --- force groups


@pytest.mark.parametrize("groups", [(0, -1), (4, 2), (2, 4), (31, 1), (1, 1)], ids=str)
def test_force_groups_do_not_matter(groups: tuple[int, int]) -> None:
    """Every force in a group of its own, and the reciprocal sum in any."""
    case = make("PME")
    for number, force in enumerate(case.system.getForces()):
        force.setForceGroup(number + 1 if isinstance(force, (mm.HarmonicBondForce, CNB)) else groups[0])
    force_of(case.system, NB).setReciprocalSpaceForceGroup(groups[1])
    check = Check(case)
    check.ledger()
    check.multistep()
    traj = mdtraj.Trajectory(case.positions[None], mdtraj.Topology.from_openmm(case.topology))
    traj.unitcell_vectors = RECTANGULAR[None]
    found = compute_interaction_energy(traj, case.system, REGION, platform="Reference")
    ledger = hybrid_of(case).ledger(traj.xyz[0], box=RECTANGULAR)
    assert found.total[0] == pytest.approx(float(ledger["RE"]), abs=1e-6)


def test_a_reciprocal_group_of_a_force_that_was_added_later() -> None:
    case = make("PME", custom=False)
    late = mm.NonbondedForce()
    plain = force_of(case.system, NB)
    case.system.removeForce([isinstance(f, NB) for f in case.system.getForces()].index(True))
    for index in range(COUNT):
        late.addParticle((-1) ** index * 0.3, 0.3, 0.0)
    late.setNonbondedMethod(plain.getNonbondedMethod())
    late.setCutoffDistance(0.8)
    late.setReciprocalSpaceForceGroup(9)
    hybrid = hybrid_of(case)
    hybrid.system.addForce(late)
    context = REFERENCE.context(multistep_system(hybrid), case.positions)
    assert sum(energy_of(context, {group}) for group in range(3)) == pytest.approx(energy_of(context), abs=1e-9)


# --- implicit solvent is one undivided row, kept as it is


def gbsa(force: mm.Force) -> mm.Force:
    solvent = mm.GBSAOBCForce()
    for index in range(COUNT):
        charge = force.getParticleParameters(index)[0]
        solvent.addParticle(charge, 0.15, 0.8)
    solvent.setParticleParameters(3, 0.1, 0.16, 0.85)
    solvent.setSolventDielectric(60.0)
    solvent.setSoluteDielectric(2.0)
    solvent.setSurfaceAreaEnergy(3.0)
    methods = {NB.NoCutoff: solvent.NoCutoff, NB.CutoffNonPeriodic: solvent.CutoffNonPeriodic}
    solvent.setNonbondedMethod(methods.get(force.getNonbondedMethod(), solvent.CutoffPeriodic))
    solvent.setCutoffDistance(0.8)
    return solvent


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", ["NoCutoff", "CutoffNonPeriodic", "CutoffPeriodic"])
def test_generalised_born(method: str, way: str) -> None:
    case = make(method)
    case.system.addForce(gbsa(force_of(case.system, NB)))
    getattr(Check(case), way)()


# --- bonded forces


def custom_bond() -> mm.Force:
    force = mm.CustomBondForce("lambda_bonds*k*(r-r0)^2")
    force.addGlobalParameter("lambda_bonds", 0.7)
    force.addEnergyParameterDerivative("lambda_bonds")
    force.addPerBondParameter("k")
    force.addPerBondParameter("r0")
    for first in (0, CHAIN):
        force.addBond(first, first + 1, [100.0, 0.14])
    return force


def custom_angle() -> mm.Force:
    force = mm.CustomAngleForce("lambda_angles*k*(theta-1.8)^2")
    force.addGlobalParameter("lambda_angles", 0.7)
    force.addPerAngleParameter("k")
    for first in (0, CHAIN):
        force.addAngle(first, first + 1, first + 2, [50.0])
    return force


def custom_torsion() -> mm.Force:
    force = mm.CustomTorsionForce("lambda_torsions*k*cos(2*theta)")
    force.addGlobalParameter("lambda_torsions", 0.7)
    force.addPerTorsionParameter("k")
    for first in (0, CHAIN):
        force.addTorsion(first, first + 1, first + 2, first + 3, [5.0])
    return force


def rb_torsion() -> mm.Force:
    force = mm.RBTorsionForce()
    for first in (0, CHAIN):
        force.addTorsion(first, first + 1, first + 2, first + 3, 1.0, 2.0, -1.5, 0.7, 0.3, -0.2)
    return force


def cmap() -> mm.Force:
    force = mm.CMAPTorsionForce()
    force.addMap(8, np.random.default_rng(1).normal(size=64).tolist())
    for first in (0, CHAIN):
        force.addTorsion(0, *(first + n for n in (0, 1, 2, 3, 1, 2, 3, 4)))
    return force


def compound() -> mm.Force:
    force = mm.CustomCompoundBondForce(3, "k*shape(distance(p1,p2))*angle(p1,p2,p3)")
    force.addPerBondParameter("k")
    force.addTabulatedFunction("shape", mm.Continuous1DFunction([0.0, 1.0, 4.0, 2.0, 0.0], 0.0, 1.0))
    for first in (0, CHAIN):
        force.addBond([first, first + 1, first + 2], [20.0])
    return force


BONDED = (custom_bond, custom_angle, custom_torsion, rb_torsion, cmap, compound)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("build", BONDED, ids=lambda build: build.__name__)
def test_bonded_forces_at_minimum_image(build: Callable[[], mm.Force], way: str) -> None:
    """All bonded terms periodic, in groups of their own, and one atom of the chain in another image."""
    case = make("PME")
    force = build()
    force.setForceGroup(5)
    force.setName("region's own nonsense")
    case.system.addForce(force)
    for force in case.system.getForces():
        if hasattr(force, "setUsesPeriodicBoundaryConditions"):
            force.setUsesPeriodicBoundaryConditions(True)
    force_of(case.system, NB).setExceptionsUsePeriodicBoundaryConditions(True)
    positions = case.positions.copy()
    positions[[0, 7]] += RECTANGULAR[1]
    getattr(Check(Case(case.topology, case.system, positions)), way)()


# --- the System


@pytest.mark.parametrize("way", WAYS)
def test_system(way: str) -> None:
    """Virtual sites, constraints and fixed particles of the environment; a fixed particle in the region."""
    case = make("PME", "triclinic")
    for index in (4, 30):
        case.system.setParticleMass(index, 0.0)
    for index, site in (
        (36, mm.TwoParticleAverageSite(20, 21, 0.3, 0.7)),
        (37, mm.ThreeParticleAverageSite(20, 21, 22, 0.3, 0.3, 0.4)),
        (38, mm.OutOfPlaneSite(20, 21, 22, 0.3, 0.3, 0.1)),
        (39, mm.LocalCoordinatesSite([20, 21, 22], [1, 0, 0], [-1, 1, 0], [-1, 0, 1], [0.1, 0.1, 0.1])),
    ):
        case.system.setParticleMass(index, 0.0)
        case.system.setVirtualSite(index, site)
    case.system.addConstraint(23, 24, 0.5)
    case.system.setConstraintParameters(0, 23, 24, 0.6)
    context = REFERENCE.context(case.system, case.positions)
    context.computeVirtualSites()
    positions = context.getState(getPositions=True).getPositions(asNumpy=True)._value
    check = Check(Case(case.topology, case.system, np.array(positions)))
    getattr(check, way)()
    system = hybrid_of(check.case).system
    assert [system.isVirtualSite(i) for i in range(COUNT)] == [i >= 36 for i in range(COUNT)]
    assert system.getNumConstraints() == 1 and system.getParticleMass(4)._value == 0.0


# --- all that OpenMM's classes can be told is above

FORCE = {"setForceGroup", "setName"}
PERIODIC = {"setUsesPeriodicBoundaryConditions"}
GLOBALS = {"addGlobalParameter", "setGlobalParameterName", "setGlobalParameterDefaultValue"}
DERIVATIVES = {"addEnergyParameterDerivative"}
TABLES = {"addTabulatedFunction", "addFunction", "setFunctionParameters"}  # the last two are older forms of the first
PAIRS = {"setNonbondedMethod", "setCutoffDistance", "addParticle", "setParticleParameters"}
SWITCH = {"setUseSwitchingFunction", "setSwitchingDistance"}
PER_PARTICLE = {"addPerParticleParameter", "setPerParticleParameterName"}
EXCLUSIONS = {"addExclusion", "setExclusionParticles"}
COMPUTED = {"addComputedValue", "setComputedValueParameters"}


def terms(name: str, *, custom: bool = False) -> set[str]:
    found = FORCE | PERIODIC | {f"add{name}", f"set{name}Parameters"}
    if custom:
        found |= GLOBALS | DERIVATIVES | {"setEnergyFunction", f"addPer{name}Parameter", f"setPer{name}ParameterName"}
    return found


KNOWN: Mapping[type, set[str]] = {
    mm.NonbondedForce: FORCE | PAIRS | SWITCH | GLOBALS | {
        "setReactionFieldDielectric", "setEwaldErrorTolerance", "setPMEParameters", "setLJPMEParameters",
        "addException", "setExceptionParameters", "createExceptionsFromBonds", "addParticleParameterOffset",
        "addParticle_usingRVdw", "addException_usingRMin",
        "setParticleParameterOffset", "addExceptionParameterOffset", "setExceptionParameterOffset",
        "setUseDispersionCorrection", "setReciprocalSpaceForceGroup", "setIncludeDirectSpace",
        "setExceptionsUsePeriodicBoundaryConditions"},
    mm.CustomNonbondedForce: FORCE | PAIRS | SWITCH | GLOBALS | DERIVATIVES | TABLES | PER_PARTICLE | EXCLUSIONS
    | COMPUTED | {"createExclusionsFromBonds", "setEnergyFunction", "setUseLongRangeCorrection", "addInteractionGroup",
                  "setInteractionGroupParameters"},
    mm.GBSAOBCForce: FORCE | PAIRS | {"setSolventDielectric", "setSoluteDielectric", "setSurfaceAreaEnergy"},
    # Kept whole, with what it was told, or refused: tests of the boundary and of implicit solvents.
    mm.CustomGBForce: FORCE | PAIRS | GLOBALS | DERIVATIVES | TABLES | PER_PARTICLE | EXCLUSIONS | COMPUTED
    | {"addEnergyTerm", "setEnergyTermParameters"},
    mm.HarmonicBondForce: terms("Bond"),
    mm.HarmonicAngleForce: terms("Angle"),
    mm.PeriodicTorsionForce: terms("Torsion"),
    mm.RBTorsionForce: terms("Torsion"),
    mm.CMAPTorsionForce: terms("Torsion") | {"addMap", "setMapParameters"},
    mm.CustomBondForce: terms("Bond", custom=True),
    mm.CustomAngleForce: terms("Angle", custom=True),
    mm.CustomTorsionForce: terms("Torsion", custom=True),
    mm.CustomCompoundBondForce: terms("Bond", custom=True) | TABLES,
    mm.CustomCentroidBondForce: terms("Bond", custom=True) | {"addTabulatedFunction", "addGroup", "setGroupParameters"},
    mm.System: {"addParticle", "setParticleMass", "setVirtualSite", "addConstraint", "setConstraintParameters",
                "removeConstraint", "addForce", "removeForce", "setDefaultPeriodicBoxVectors"},
}  # fmt: skip


@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.__name__)
def test_nothing_that_openmm_can_be_told_is_unknown(kind: type) -> None:
    told = {name for name in dir(kind) if name.startswith(("set", "add", "create", "remove", "use"))}
    assert told - {"usesPeriodicBoundaryConditions"} == KNOWN[kind]
