"""Parameters of the region that change after the hybrid was made are named, and refresh() hands them on."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import openmm as mm
import pytest

from openmm_nn import HybridSystem
from openmm_nn.dynamics import multistep_system
from openmm_nn.errors import ParameterError, UnsupportedError
from tests.platforms import PLATFORMS, REFERENCE, PlatformCase, energy_of, forces_of
from tests.systems.hybrid.cases import Case
from tests.systems.hybrid.everything import CHAIN, REGION, force_of, make, own_energy
from tests.systems.hybrid.hybrid_checks import LAMBDA, hybrid_of

WAYS = {
    "interpolated": {"interpolate": True},
    "interpolated, subtracted": {"interpolate": True, "subtract": True},
    "subtracted": {"subtract": True},
}
ONE_EACH = [REFERENCE, *(p for p in PLATFORMS if str(p) in ("CPU", "OpenCL-double", "CUDA-double"))]


def change(system: mm.System) -> None:
    """Other charges, wells and custom parameters for two atoms of the region and one outside, and another 1-4 pair."""
    force = force_of(system, mm.NonbondedForce)
    for index, atom in enumerate((1, REGION[-1], 30)):
        force.setParticleParameters(atom, 0.35 - 0.1 * index, 0.25, 0.8)
    for index in range(force.getNumExceptions()):
        first, second, *_ = force.getExceptionParameters(index)
        if {first, second} == {1, 4}:
            force.setExceptionParameters(index, first, second, 0.07, 0.26, 0.3)
    for other in system.getForces():
        if isinstance(other, mm.CustomNonbondedForce) and other.getNumInteractionGroups() == 0:
            other.setParticleParameters(2, [2.5])


def changed(case: Case) -> Case:
    system = copy.deepcopy(case.system)
    change(system)
    return Case(case.topology, system, case.positions)


def at(context: mm.Context, value: float) -> tuple[float, np.ndarray]:
    if LAMBDA in context.getParameters():
        context.setParameter(LAMBDA, value)
    return energy_of(context), forces_of(context)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("custom", [False, True], ids=["", "custom pairs"])
@pytest.mark.parametrize("platform", ONE_EACH, ids=str)
def test_a_living_context_follows(platform: PlatformCase, custom: bool, way: str) -> None:
    case = make("PME", custom=custom)
    hybrid = hybrid_of(case, **WAYS[way])
    context = platform.context(hybrid.system, case.positions)
    after = changed(case)
    classical = platform.context(after.system, case.positions)
    own, own_forces = own_energy(after.system, REGION, case.positions)
    expected, forces = energy_of(classical), forces_of(classical)
    change(hybrid.system)
    hybrid.refresh(context)
    scale = 1e-6 if platform.name == "Reference" else 1e-5 * max(1.0, np.abs(forces).max())
    for value in (0.0, 0.4, 1.0) if LAMBDA in context.getParameters() else (1.0,):
        energy, found = at(context, value)
        assert energy == pytest.approx(expected - value * own, abs=scale)
        np.testing.assert_allclose(found, forces - value * own_forces, atol=10 * scale)


@pytest.mark.parametrize("way", WAYS)
def test_without_refresh_the_change_is_named(way: str) -> None:
    case = make("PME")
    hybrid = hybrid_of(case, **WAYS[way])
    context = REFERENCE.context(hybrid.system, case.positions)
    change(hybrid.system)
    force_of(hybrid.system, mm.NonbondedForce).updateParametersInContext(context) if "subtracted" in way else None
    stale, _ = at(context, 0.0)
    with pytest.warns(UserWarning, match=r"hybrid\.refresh\(context\)") as said:
        hybrid.ledger(context)
    assert "M0:C1" in str(said[0].message) or "C1" in str(said[0].message)
    hybrid.refresh(context)
    assert abs(at(context, 0.0)[0] - stale) > 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ledger = hybrid.ledger(context)
    assert abs(ledger.residual) < 1e-3
    own, _ = own_energy(changed(case).system, REGION, case.positions)
    assert ledger["RR classical"] == pytest.approx(own, abs=1e-6)


def test_before_a_context_exists() -> None:
    case = make("PME")
    hybrid = hybrid_of(case, interpolate=True)
    change(hybrid.system)
    hybrid.refresh()
    context = REFERENCE.context(hybrid.system, case.positions)
    expected = energy_of(REFERENCE.context(changed(case).system, case.positions))
    assert at(context, 0.0)[0] == pytest.approx(expected, abs=1e-6)


def test_a_hybrid_that_derived_nothing_needs_no_refresh() -> None:
    """Zero exceptions hold whatever the charges are; the ledger and multiple time steps read the present ones."""
    case = make("PME")
    hybrid = hybrid_of(case)
    change(hybrid.system)
    hybrid.refresh()
    after = changed(case)
    own, _ = own_energy(after.system, REGION, case.positions)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ledger = hybrid.ledger(case.positions)
    assert abs(ledger.residual) < 1e-3
    assert ledger["RR classical"] == pytest.approx(own, abs=1e-6)
    expected = energy_of(REFERENCE.context(after.system, case.positions)) - own
    assert ledger.total == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("subtract", [False, True])
def test_multiple_time_steps_take_the_present_parameters(subtract: bool) -> None:
    case = make("PME")
    hybrid = hybrid_of(case, subtract=subtract)
    for system in (hybrid.system,):
        force = force_of(system, mm.NonbondedForce)
        for atom in (1, 30):
            force.setParticleParameters(atom, 0.35, 0.25, 0.8)
    after = copy.deepcopy(case.system)
    force = force_of(after, mm.NonbondedForce)
    for atom in (1, 30):
        force.setParticleParameters(atom, 0.35, 0.25, 0.8)
    own, _ = own_energy(after, REGION, case.positions)
    expected = energy_of(REFERENCE.context(after, case.positions)) - own
    context = REFERENCE.context(multistep_system(hybrid), case.positions)
    assert energy_of(context) == pytest.approx(expected, abs=1e-6)


def test_multiple_time_steps_refuse_changed_bonded_terms() -> None:
    hybrid = hybrid_of(make("PME"))
    bonds = force_of(hybrid.system, mm.HarmonicBondForce)
    first, second, _, _ = bonds.getBondParameters(0)
    bonds.setBondParameters(0, first, second, 0.2, 50.0)
    with pytest.raises(UnsupportedError) as error:
        multistep_system(hybrid)
    assert str((first, second)) in error.value.got


def _cutoff(force: mm.Force) -> None:
    force.setCutoffDistance(0.7)


def _tolerance(force: mm.Force) -> None:
    force.setEwaldErrorTolerance(1e-3)


def _offset(force: mm.Force) -> None:
    force.addGlobalParameter("grow", 0.0)
    force.addParticleParameterOffset("grow", 0, 0.1, 0.0, 0.0)


@pytest.mark.parametrize(
    "apply, name",
    [(_cutoff, "CutoffDistance"), (_tolerance, "EwaldErrorTolerance"), (_offset, "ParticleParameterOffset")],
)
def test_what_needs_another_hybrid_is_refused_by_name(apply: object, name: str) -> None:
    case = make("PME")
    hybrid = hybrid_of(case, interpolate=True)
    apply(force_of(hybrid.system, mm.NonbondedForce))
    with pytest.raises(UnsupportedError) as error:
        hybrid.refresh()
    assert name in error.value.got
    with pytest.warns(UserWarning, match=name):
        hybrid.ledger(case.positions)


def test_another_context_is_refused() -> None:
    case = make("PME")
    hybrid: HybridSystem = hybrid_of(case)
    with pytest.raises(ParameterError) as error:
        hybrid.refresh(REFERENCE.context(copy.deepcopy(hybrid.system), case.positions))
    assert error.value.argument == "context"


def test_forces_taken_out_are_noticed() -> None:
    """Any other force may go; a nonbonded one takes with it what refreshing needs."""
    case = make("PME")
    hybrid = hybrid_of(case, interpolate=True)
    hybrid.system.removeForce(0)
    change(hybrid.system)
    assert len(hybrid.changes()) == 3
    hybrid.refresh()
    assert hybrid.changes() == ()
    forces = hybrid.system.getForces()
    hybrid.system.removeForce([isinstance(force, mm.NonbondedForce) for force in forces].index(True))
    with pytest.raises(UnsupportedError) as error:
        hybrid.refresh()
    assert error.value.argument == "hybrid.system"


def test_chain_is_what_the_tests_think() -> None:
    assert CHAIN == 6 and REGION[-1] == 15
