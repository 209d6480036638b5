"""lambda_interpolate is set by OpenMM's idioms, its samplers, and openmmtools' states."""

import copy
import importlib.util
import pickle
import sys
import types
from collections.abc import Iterator

import numpy as np
import openmm as mm
import pytest
import torch
from openmm import app, unit

from openmm_nn import HybridSystem, create_hybrid_system, load_potential, native, select_region
from tests.models import ModelSet
from tests.refusals import refusal
from tests.systems.hybrid.cases import Case, peptide_in_water, villin
from tests.systems.hybrid.region_energy import card, energy_and_forces, reference_context

LAMBDA = "lambda_interpolate"
TEMPERATURE = 300 * unit.kelvin


def wells(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    centred = positions - positions.mean(dim=0)
    return 30.0 * (centred**2).sum(), -60.0 * centred


@pytest.fixture(scope="module")
def case() -> Case:
    """CHARMM has every kind of term that is scaled: bonded ones, CMAP, pairs and pairs with parameters of their own."""
    return villin("charmm36", method="CutoffNonPeriodic", waters=5, rigidWater=False)


@pytest.fixture(scope="module")
def hybrid(case: Case) -> HybridSystem:
    atoms = [atom.index for atom in case.topology.atoms() if atom.residue.index in (7, 8, 9)]
    region = select_region(case.topology, case.system, atoms, allow_cuts=_cuts(case, atoms))
    potential = load_potential(wells, card=card("wells"))
    return create_hybrid_system(case.topology, case.system, potential, region, charge=0, interpolate=True)


def _cuts(case: Case, region: list[int]) -> list[tuple[int, int]]:
    inside = set(region)
    pairs = [(bond[0].index, bond[1].index) for bond in case.topology.bonds()]
    return [(a, b) if a in inside else (b, a) for a, b in pairs if (a in inside) != (b in inside)]


@pytest.fixture
def small(models: ModelSet) -> tuple[Case, HybridSystem]:
    case = peptide_in_water(method="CutoffPeriodic", waters=10, rigidWater=False)
    potential = models.pair("edges")
    return case, create_hybrid_system(case.topology, case.system, potential, range(22), charge=0, interpolate=True)


def forces_with_lambda(system: mm.System) -> list[mm.Force]:
    found = []
    for force in system.getForces():
        names = [force.getGlobalParameterName(i) for i in range(getattr(force, "getNumGlobalParameters", int)())]
        found += [force] if LAMBDA in names else []
    return found


def set_default(system: mm.System, value: float) -> int:
    """OpenMM's idiom; return the number of forces that were told."""
    count = 0
    for force in system.getForces():
        if hasattr(force, "getNumGlobalParameters"):
            for index in range(force.getNumGlobalParameters()):
                if force.getGlobalParameterName(index) == LAMBDA:
                    force.setGlobalParameterDefaultValue(index, value)
                    count += 1
    return count


def energy_at(system: mm.System, positions: np.ndarray, value: float | None = None) -> float:
    context = reference_context(system, positions)
    if value is not None:
        context.setParameter(LAMBDA, value)
    return energy_and_forces(context)[0]


@pytest.mark.filterwarnings("ignore")
def test_every_force_that_has_the_parameter_answers(case: Case, hybrid: HybridSystem) -> None:
    kinds = {type(force).__name__ for force in forces_with_lambda(hybrid.system)}
    assert kinds == {
        "NeuralForce", "RegionForce", "CustomNonbondedForce", "CustomBondForce", "CustomAngleForce",
        "CustomTorsionForce", "CustomCompoundBondForce",
    }  # fmt: skip
    system = copy.deepcopy(hybrid.system)
    for value in (0.0, 0.35, 1.0):
        assert set_default(system, value) == len(forces_with_lambda(hybrid.system))
        assert reference_context(system).getParameter(LAMBDA) == value
        assert energy_at(system, case.positions) == pytest.approx(
            energy_at(hybrid.system, case.positions, value), abs=1e-9
        )
    classical = energy_and_forces(reference_context(case.system, case.positions))[0]
    set_default(system, 0.0)
    assert energy_at(system, case.positions) == pytest.approx(classical, abs=1e-6)


def test_defaults_survive_copies_and_files(small: tuple[Case, HybridSystem]) -> None:
    case, hybrid = small
    set_default(hybrid.system, 0.25)
    expected = energy_at(hybrid.system, case.positions)
    for again in (
        copy.deepcopy(hybrid.system),
        pickle.loads(pickle.dumps(hybrid.system)),
        mm.XmlSerializer.deserialize(mm.XmlSerializer.serialize(hybrid.system)),
    ):
        assert energy_at(again, case.positions) == pytest.approx(expected, abs=1e-6)
        assert {type(force).__name__ for force in forces_with_lambda(again)} >= {"NeuralForce", "RegionForce"}
        set_default(again, 0.75)
        assert energy_at(again, case.positions) == pytest.approx(
            energy_at(hybrid.system, case.positions, 0.75), abs=1e-6
        )


# --- OpenMM's samplers


def simulation(case: Case, hybrid: HybridSystem, integrator: mm.Integrator) -> app.Simulation:
    new = app.Simulation(
        case.topology, copy.deepcopy(hybrid.system), integrator, mm.Platform.getPlatformByName("Reference")
    )
    new.context.setPositions(case.positions)
    return new


def langevin() -> mm.Integrator:
    integrator = mm.LangevinMiddleIntegrator(TEMPERATURE, 1 / unit.picosecond, 0.5 * unit.femtosecond)
    integrator.setRandomNumberSeed(7)
    return integrator


@pytest.mark.parametrize("integrator", [langevin, lambda: native.MultistepLangevinIntegrator(300, 1, 5e-4, [(0, 1)])])
def test_replica_exchange_of_openmm(small: tuple[Case, HybridSystem], integrator: object) -> None:
    case, hybrid = small
    states = [{LAMBDA: value} for value in (0.0, 0.5, 1.0)]
    sampler = app.ReplicaExchangeSampler(states, simulation(case, hybrid, integrator()), 3)
    sampler.simulate(2)
    for replica, energies in enumerate(sampler.replicaStateEnergy):
        positions = sampler.replicaConformation[replica].getPositions(asNumpy=True)._value
        for state, energy in zip(states, energies, strict=True):
            expected = energy_at(hybrid.system, positions, state[LAMBDA])
            assert energy.value_in_unit(unit.kilojoule_per_mole) == pytest.approx(expected, abs=1e-6)


def test_expanded_ensemble_of_openmm(small: tuple[Case, HybridSystem]) -> None:
    case, hybrid = small
    states = [{LAMBDA: value} for value in (0.0, 0.5, 1.0)]
    sampler = app.ExpandedEnsembleSampler(states, simulation(case, hybrid, langevin()), 1)
    seen = set()
    for _ in range(5):
        sampler.step(1)
        seen.add(sampler.simulation.context.getParameter(LAMBDA))
    assert seen <= {0.0, 0.5, 1.0}
    assert sampler.simulation.context.getParameter(LAMBDA) == states[sampler.currentStateIndex][LAMBDA]


def test_simulated_tempering_of_openmm(small: tuple[Case, HybridSystem], tmp_path: object) -> None:
    case, hybrid = small
    run = simulation(case, hybrid, langevin())
    tempering = app.SimulatedTempering(
        run, numTemperatures=2, minTemperature=300 * unit.kelvin,
        maxTemperature=310 * unit.kelvin, tempChangeInterval=1, reportInterval=10, reportFile=str(tmp_path / "log"),
    )  # fmt: skip
    tempering.step(3)
    assert run.context.getParameter(LAMBDA) == 1.0


# --- openmmtools


@pytest.fixture
def states() -> Iterator[types.ModuleType]:
    """Give openmmtools.states, of which the tests' environment has the files but not all that the package imports."""
    spec = importlib.util.find_spec("openmmtools")
    if spec is None:
        pytest.skip("openmmtools is not installed (pip install --no-deps openmmtools)")
    before = {name for name in sys.modules if name.split(".")[0] == "openmmtools"}
    if not before:
        package = types.ModuleType("openmmtools")
        package.__path__ = list(spec.submodule_search_locations or ())
        sys.modules["openmmtools"] = package
    yield importlib.import_module("openmmtools.states")
    for name in [name for name in sys.modules if name.split(".")[0] == "openmmtools" and name not in before]:
        del sys.modules[name]


@pytest.mark.filterwarnings("ignore")
def test_states_of_openmmtools(states: types.ModuleType, small: tuple[Case, HybridSystem]) -> None:
    case, hybrid = small

    class LambdaState(states.GlobalParameterState):
        lambda_interpolate = states.GlobalParameterState.GlobalParameter(LAMBDA, standard_value=1.0)

    state = LambdaState.from_system(hybrid.system)
    assert state.lambda_interpolate == 1.0
    system = copy.deepcopy(hybrid.system)
    state.lambda_interpolate = 0.35
    state.apply_to_system(system)
    state.check_system_consistency(system)
    assert energy_at(system, case.positions) == pytest.approx(energy_at(hybrid.system, case.positions, 0.35), abs=1e-9)
    with pytest.raises(states.GlobalParameterError):
        state.check_system_consistency(hybrid.system)

    compound = [
        states.CompoundThermodynamicState(
            states.ThermodynamicState(copy.deepcopy(hybrid.system), TEMPERATURE),
            [LambdaState(lambda_interpolate=value)],
        )
        for value in (0.0, 0.5, 1.0)
    ]
    assert compound[0].is_state_compatible(compound[2])
    cache = importlib.import_module("openmmtools.cache").ContextCache(
        platform=mm.Platform.getPlatformByName("Reference")
    )
    contexts = []
    for value, one in zip((0.0, 0.5, 1.0), compound, strict=True):
        context, _ = cache.get_context(one, langevin())
        context.setPositions(case.positions)
        contexts.append(context)
        assert context.getParameter(LAMBDA) == value
        expected = energy_at(hybrid.system, case.positions, value)
        assert energy_and_forces(context)[0] == pytest.approx(expected, abs=1e-6)
        reduced = one.reduced_potential(context)
        kt = (unit.MOLAR_GAS_CONSTANT_R * TEMPERATURE).value_in_unit(unit.kilojoule_per_mole)
        assert reduced == pytest.approx(expected / kt, abs=1e-6)
    assert len(cache) == 1
    energies = states.reduced_potential_at_states(states.SamplerState(case.positions * unit.nanometer), compound, cache)
    expected = [energy_at(hybrid.system, case.positions, value) / kt for value in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(energies, expected, atol=1e-6)
    compound[0].lambda_interpolate = 1.5
    with refusal(mm.OpenMMException, "lambda_interpolate", got="1.5", allowed="0 to 1"):
        compound[0].get_system()
