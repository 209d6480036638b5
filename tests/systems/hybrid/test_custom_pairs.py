"""Whatever CustomNonbondedForce can be told is honoured by hybrids of every kind, on CPU too, or refused by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openmm as mm
import pytest
from openmm import app

from openmm_nn import create_hybrid_system
from openmm_nn.errors import ParameterError
from tests.platforms import REFERENCE, energy_of
from tests.systems.hybrid.cases import BACKBONE, Case, villin
from tests.systems.hybrid.everything import COUNT, REGION, force_of, make, own_energy
from tests.systems.hybrid.hybrid_checks import (
    CNB,
    EVERY,
    LAMBDA,
    NB,
    Check,
    Setting,
    cases_of,
    honoured_or_refused,
    hybrid_of,
    platform_named,
)
from tests.systems.hybrid.region_energy import zero_potential


def cutoff(force: mm.Force) -> None:
    force.setCutoffDistance(0.7)


def switch(force: mm.Force) -> None:
    force.setUseSwitchingFunction(True)
    force.setSwitchingDistance(0.5)


# --- what CustomNonbondedForce can be told


def long_range(force: mm.Force) -> None:
    force.setEnergyFunction("strength*a1*a2/r^6*0.01")
    force.setUseLongRangeCorrection(True)


def table(force: mm.Force) -> None:
    knots = np.linspace(0.0, 3.0, 31)
    force.addTabulatedFunction("shape", mm.Continuous1DFunction((np.exp(-knots / 0.3)).tolist(), 0.0, 3.0))
    force.addTabulatedFunction("kind", mm.Discrete2DFunction(2, 2, [1.0, 2.0, 2.0, 5.0]))
    force.addPerParticleParameter("type")
    for index in range(COUNT):
        force.setParticleParameters(index, [1.0, index % 2])
    force.setEnergyFunction("strength*a1*kind(type1,type2)*shape(r)")


def renamed(force: mm.Force) -> None:
    force.setPerParticleParameterName(0, "weight")
    force.setGlobalParameterName(0, "lambda_sterics")
    force.setGlobalParameterDefaultValue(0, 17.0)
    force.setEnergyFunction("lambda_sterics*weight1*weight2*exp(-r/0.2)")
    force.setForceGroup(11)
    force.setName("region's own nonsense")


def derivative(force: mm.Force) -> None:
    force.addEnergyParameterDerivative("strength")


def computed(force: mm.Force) -> None:
    force.addComputedValue("size", "a")
    force.setComputedValueParameters(0, "size", "a+0.1*strength")
    force.setEnergyFunction("size1*size2*exp(-r/0.15)")


def soft_core(force: mm.Force) -> None:
    force.setEnergyFunction(
        "4*0.5*lambda_sterics*x*(x-1); x=(sigma/reff)^6; reff=sigma*(0.5*(1-lambda_sterics)+(r/sigma)^6)^(1/6);"
        "sigma=0.15*(a1+a2)+0*strength"
    )
    force.addGlobalParameter("lambda_sterics", 0.4)


def nbfix(force: mm.Force) -> None:
    """Pairs by type, as CHARMM and ff14ipq have them: acoef(type1,type2)/r^12 - bcoef/r^6."""
    rng = np.random.default_rng(2)
    for name, scale in (("acoef", 1e-7), ("bcoef", 1e-4)):
        matrix = rng.uniform(0.5, 1.5, (3, 3)) * scale
        force.addTabulatedFunction(name, mm.Discrete2DFunction(3, 3, (matrix + matrix.T).ravel().tolist()))
    force.addPerParticleParameter("type")
    for index in range(COUNT):
        force.setParticleParameters(index, [0.0, index % 3])
    force.setEnergyFunction("acoef(type1,type2)/r^12-bcoef(type1,type2)/r^6+0*strength*a1*a2")


def groups_shared(force: mm.Force) -> None:
    force.addInteractionGroup(range(COUNT), range(COUNT))
    index = force.addInteractionGroup([0, 1, 2, 30], [1, 2, 3, 4, 30, 31])
    # A pair in two groups counts twice.
    force.setInteractionGroupParameters(index, [0, 1, 2, 30, 31], [1, 2, 3, 4, 30, 31])


def groups_across(force: mm.Force) -> None:
    force.addInteractionGroup(REGION, [i for i in range(COUNT) if i not in REGION])


def groups_outside(force: mm.Force) -> None:
    force.addInteractionGroup(range(20, 30), range(25, 40))


CUSTOM: list[Setting] = [
    (cutoff, "CutoffPeriodic PME", EVERY, ""),
    (switch, "CutoffNonPeriodic PME", EVERY, ""),
    (long_range, "PME", EVERY, ""),
    (table, "NoCutoff PME", EVERY, ""),
    (renamed, "PME", EVERY, ""),
    (derivative, "PME", EVERY, ""),
    (soft_core, "PME", EVERY, ""),
    (nbfix, "NoCutoff PME", EVERY, ""),
    (groups_shared, "NoCutoff PME", EVERY, ""),
    (groups_across, "PME", EVERY, ""),
    (groups_outside, "PME", EVERY, ""),
    (computed, "PME", EVERY - {"interpolation", "ledger"}, "computed values ('size')"),
]


@pytest.mark.parametrize("apply, method, way, honoured, said", cases_of(CUSTOM))
def test_custom_nonbonded_force(
    apply: Callable[[mm.Force], None], method: str, way: str, honoured: frozenset[str], said: str
) -> None:
    case = make(method)
    apply(force_of(case.system, CNB))
    honoured_or_refused(Check(case), way, honoured, said)


@pytest.mark.parametrize("name", ["CPU", "OpenCL"])
@pytest.mark.parametrize("apply", [table, soft_core, nbfix, groups_shared, groups_across, groups_outside])
def test_custom_nonbonded_force_elsewhere(apply: Callable[[mm.Force], None], name: str) -> None:
    case = make("PME")
    apply(force_of(case.system, CNB))
    Check(case, platform_named(name)).interpolation()


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_derivatives_by_parameters_of_the_user(value: float) -> None:
    case = make("PME")
    derivative(force_of(case.system, CNB))

    def slope(system: mm.System) -> float:
        context = REFERENCE.context(system, case.positions)
        if LAMBDA in context.getParameters():
            context.setParameter(LAMBDA, value)
        return float(context.getState(getParameterDerivatives=True).getEnergyParameterDerivatives()["strength"])

    by_difference = [
        own_energy(case.system, REGION, case.positions, {"strength": 30.0 + step})[0] / 0.2 for step in (0.1, -0.1)
    ]
    expected = slope(case.system) - value * (by_difference[0] - by_difference[1])
    assert slope(hybrid_of(case, interpolate=True).system) == pytest.approx(expected, abs=1e-6)


def test_exceptions_beside_pairs_that_interpolation_keeps_are_refused() -> None:
    """The CPU platform would refuse them: all nonbonded forces must have identical exclusions."""
    with pytest.raises(ParameterError) as error:
        hybrid_of(make("PME"), subtract=False, interpolate=True)
    assert error.value.argument == "subtract_region"
    case = make("PME")
    groups_outside(force_of(case.system, CNB))
    hybrid_of(case, subtract=False, interpolate=True)


@pytest.mark.parametrize("kind", [NB, CNB])
def test_an_ignored_pair_force_keeps_its_pairs(kind: type) -> None:
    """So every nonbonded force keeps its exclusions, and RegionForce takes the pairs out: it runs on CPU too."""
    case = make("PME")
    hybrid = create_hybrid_system(
        case.topology, case.system, zero_potential(), REGION, charge=0, keep=(kind.__name__,)
    )
    other = Case(case.topology, mm.XmlSerializer.clone(case.system), case.positions)
    other.system.removeForce([isinstance(force, kind) for force in other.system.getForces()].index(True))
    own, _ = own_energy(other.system, REGION, case.positions)
    for platform in (REFERENCE, platform_named("CPU")):
        expected = energy_of(platform.context(case.system, case.positions)) - own
        found = energy_of(platform.context(hybrid.system, case.positions))
        assert found == pytest.approx(expected, abs=1e-6 if platform is REFERENCE else 0.05)


def test_four_argons() -> None:
    """The smallest System that could not run on the CPU platform."""
    topology, system = app.Topology(), mm.System()
    charges, pairs = mm.NonbondedForce(), mm.CustomNonbondedForce("k*exp(-r/0.1)")
    pairs.addGlobalParameter("k", 100.0)
    chain = topology.addChain()
    for _ in range(4):
        topology.addAtom("AR", app.element.argon, topology.addResidue("AR", chain))
        system.addParticle(39.9)
        charges.addParticle(0.0, 0.34, 1.0)
        pairs.addParticle([])
    for force in (charges, pairs):
        system.addForce(force)
    positions = np.random.default_rng(0).uniform(0.0, 0.8, (4, 3))
    hybrid = create_hybrid_system(topology, system, zero_potential(), [0, 1], interpolate=True)
    for platform in (REFERENCE, platform_named("CPU")):
        context = platform.context(hybrid.system, positions)
        context.setParameter(LAMBDA, 0.0)
        assert energy_of(context) == pytest.approx(energy_of(platform.context(system, positions)), abs=1e-5)


# --- CHARMM36: NBFIX pairs as a CustomNonbondedForce, CMAP, Urey-Bradley, and 1-4 pairs of their own


@pytest.mark.parametrize("name", ["CPU", "OpenCL"])
@pytest.mark.filterwarnings("ignore:charge")
def test_charmm_elsewhere(name: str) -> None:
    case = villin("charmm36", waters=20, rigidWater=False)
    platform = platform_named(name)
    interpolated = create_hybrid_system(case.topology, case.system, zero_potential(), BACKBONE, interpolate=True)
    plain = create_hybrid_system(case.topology, case.system, zero_potential(), BACKBONE)
    context = platform.context(interpolated.system, case.positions)
    for value, system in ((0.0, case.system), (1.0, plain.system)):
        context.setParameter(LAMBDA, value)
        expected = energy_of(REFERENCE.context(system, case.positions))
        # Sums of some 1e5 kJ/mol in single precision.
        assert energy_of(platform.context(system, case.positions)) == pytest.approx(expected, abs=0.5)
        assert energy_of(context) == pytest.approx(energy_of(platform.context(system, case.positions)), abs=0.01)
    ledger = interpolated.ledger(context)
    assert abs(ledger.residual) < 1e-2
