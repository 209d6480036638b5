"""Several regions of one System, in any order, each plain, interpolated or subtracted.

With no bond between the regions R1 and R2, the energy is

    E = E_MM + sum over k of [f_k E_NN(R_k) - f_k E_MM(R_k)]

with f_k = lambda_k where region k is interpolated, else 1; E_MM(R_k) is that of `region_energy`, which knows only
OpenMM's XML. So dE/dlambda_k = E_NN(R_k) - E_MM(R_k).
"""

import itertools

import numpy as np
import openmm as mm
import pytest
import torch

from openmm_nn import HybridSystem, create_hybrid_system, load_potential, native
from openmm_nn.errors import ParameterError, UnsupportedError
from tests.refusals import refusal
from tests.systems.hybrid.cases import BACKBONE, Case, make_hybrid, peptide_in_water, select, villin
from tests.systems.hybrid.region_energy import card, energy_and_forces, reference_context, region_system, zero_potential

METHODS = ("NoCutoff", "CutoffNonPeriodic", "CutoffPeriodic", "Ewald", "PME", "LJPME")
MODES = ("plain", "interpolated", "subtracted", "interpolated and subtracted")
PEPTIDE, WATERS = range(22), [22, 23, 24, 31, 32, 33]
REGIONS = {"peptide": PEPTIDE, "waters": WATERS}
STRENGTHS = {"peptide": 30.0, "waters": 50.0}
LAMBDAS = {"peptide": 0.3, "waters": 0.8}


def springs(strength: float) -> object:
    """E = k sum |x - mean|^2: a potential that both regions could have."""

    def energy(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        centred = positions - positions.mean(dim=0)
        return strength * (centred**2).sum(), -2.0 * strength * centred

    return load_potential(energy, card=card("springs"))


def spring_energy(region: object, strength: float, positions: np.ndarray) -> tuple[float, np.ndarray]:
    x = positions[list(region)]
    d = x - x.mean(axis=0)
    forces = np.zeros_like(positions)
    forces[list(region)] = -2.0 * strength * d
    return strength * float((d**2).sum()), forces


def options(name: str, mode: str) -> dict[str, object]:
    return {
        "interpolate": f"lambda_{name}" if "interpolated" in mode else False,
        "subtract_region": "subtracted" in mode,
        "charge": 0,
    }


def add(case: Case, system: mm.System, name: str, mode: str) -> HybridSystem:
    return make_hybrid(case.topology, system, springs(STRENGTHS[name]), REGIONS[name], **options(name, mode))


def build(case: Case, modes: dict[str, str]) -> HybridSystem:
    system = case.system
    for name, mode in modes.items():
        hybrid = add(case, system, name, mode)
        system = hybrid.system
    return hybrid


def parts(case: Case) -> dict[str, tuple[float, np.ndarray]]:
    """E_NN(R) - E_MM(R) of each region, and its forces."""
    result = {}
    for name, region in REGIONS.items():
        classical = energy_and_forces(reference_context(region_system(case.system, region), case.positions))
        neural = spring_energy(region, STRENGTHS[name], case.positions)
        result[name] = (neural[0] - classical[0], neural[1] - classical[1])
    return result


def check(case: Case, modes: dict[str, str], context: mm.Context, energy_bound: float, force_bound: float) -> None:
    energy, forces = energy_and_forces(reference_context(case.system, case.positions))
    differences = parts(case)
    for name, mode in modes.items():
        factor = LAMBDAS[name] if "interpolated" in mode else 1.0
        if "interpolated" in mode:
            assert context.getParameter(f"lambda_{name}") == 1.0
            context.setParameter(f"lambda_{name}", factor)
        energy += factor * differences[name][0]
        forces = forces + factor * differences[name][1]
    got, got_forces = energy_and_forces(context)
    assert got == pytest.approx(energy, abs=energy_bound)
    assert np.abs(got_forces - forces).max() < force_bound * np.abs(forces).max()
    state = context.getState(parameterDerivatives=True)
    expected = {f"lambda_{n}": differences[n][0] for n, mode in modes.items() if "interpolated" in mode}
    assert dict(state.getEnergyParameterDerivatives()) == pytest.approx(expected, abs=energy_bound)


@pytest.mark.parametrize("order", list(itertools.permutations(REGIONS)), ids="-".join)
@pytest.mark.parametrize("modes", list(itertools.product(MODES, MODES)), ids=" then ".join)
def test_two_regions_in_every_mode_and_order(modes: tuple[str, str], order: tuple[str, str]) -> None:
    case = peptide_in_water(method="PME", waters=30, rigidWater=False)
    chosen = dict(zip(order, modes, strict=True))
    hybrid = build(case, chosen)
    check(case, chosen, reference_context(hybrid.system, case.positions), 1e-4, 1e-6)


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
@pytest.mark.parametrize("method", METHODS)
def test_two_regions_under_every_method(method: str, platform: str) -> None:
    case = peptide_in_water(method=method, waters=30, rigidWater=False, switchDistance=0.7)
    chosen = {"waters": "interpolated", "peptide": "interpolated and subtracted"}
    hybrid = build(case, chosen)
    context = mm.Context(hybrid.system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName(platform))
    context.setPositions(case.positions)
    exact = platform == "Reference"
    check(case, chosen, context, 1e-4 if exact else 0.05, 1e-6 if exact else 1e-4)


def test_three_regions() -> None:
    case = peptide_in_water(method="PME", waters=30, rigidWater=False)
    system = build(case, {"peptide": "interpolated", "waters": "subtracted"}).system
    third = [40, 41, 42]
    hybrid = create_hybrid_system(case.topology, system, springs(20.0), third, interpolate="lambda_third", charge=0)
    context = reference_context(hybrid.system, case.positions)
    energy = energy_and_forces(reference_context(case.system, case.positions))[0]
    energy += sum(difference for difference, _ in parts(case).values())
    neural = spring_energy(third, 20.0, case.positions)[0]
    own = energy_and_forces(reference_context(region_system(case.system, third), case.positions))[0]
    for value in (1.0, 0.25, 0.0):
        context.setParameter("lambda_third", value)
        assert energy_and_forces(context)[0] == pytest.approx(energy + value * (neural - own), abs=1e-4)


@pytest.mark.parametrize("rules", [("plain", "plain"), ("interpolated", "interpolated"), ("subtracted", "plain")])
@pytest.mark.filterwarnings("ignore:charge")
def test_regions_that_share_a_cut_bond(rules: tuple[str, str]) -> None:
    """The link atom of each region hangs on an atom of the other; the bond between them stays classical."""
    case = villin(waters=20, rigidWater=False)
    halves = ("(resid 6 and name C O) or (resid 7 and not name C O)", BACKBONE)
    energies = []
    for potential in (zero_potential(), springs(10.0)):
        for order in ((0, 1), (1, 0)):
            system = case.system
            for half in order:
                mode = {"interpolate": f"half_{half}"} if rules[half] == "interpolated" else {}
                hybrid = make_hybrid(
                    case.topology, system, potential, halves[half], bonded_rule="all-atoms",
                    subtract_region=rules[half] == "subtracted", **mode,
                )  # fmt: skip
                system = hybrid.system
            energies.append(energy_and_forces(reference_context(system, case.positions)))
    for first, second in (energies[:2], energies[2:]):
        assert first[0] == pytest.approx(second[0], abs=1e-6)
        np.testing.assert_allclose(first[1], second[1], atol=1e-6 * np.abs(first[1]).max())
    expected = energy_and_forces(reference_context(case.system, case.positions))[0]
    for half in halves:
        own = region_system(case.system, select(case, half))
        expected -= energy_and_forces(reference_context(own, case.positions))[0]
    assert energies[0][0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
@pytest.mark.filterwarnings("ignore:charge")
def test_two_interpolated_regions_of_charmm(platform: str) -> None:
    """CMAP, and a CustomNonbondedForce, whose exclusions the CPU platform wants to be those of the NonbondedForce."""
    case = villin("charmm36", method="CutoffNonPeriodic", rigidWater=False)
    regions = {"half": 0.3, "waters": 0.6}
    system = case.system
    for name, region in zip(regions, (BACKBONE, "resid 70 81 119"), strict=True):
        system = make_hybrid(
            case.topology, system, zero_potential(), region, interpolate=name, bonded_rule="all-atoms", charge=0
        ).system
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName(platform))
    context.setPositions(case.positions)
    expected = energy_and_forces(reference_context(case.system, case.positions))[0]
    for (name, value), region in zip(regions.items(), (BACKBONE, "resid 70 81 119"), strict=True):
        context.setParameter(name, value)
        own = region_system(case.system, select(case, region))
        expected -= value * energy_and_forces(reference_context(own, case.positions))[0]
    assert energy_and_forces(context)[0] == pytest.approx(expected, abs=1e-4 if platform == "Reference" else 0.2)


@pytest.mark.parametrize("modes", list(itertools.product(MODES, MODES)), ids=" then ".join)
def test_ledger_of_the_second_region(modes: tuple[str, str]) -> None:
    case = peptide_in_water(method="PME", waters=30, rigidWater=False)
    chosen = dict(zip(REGIONS, modes, strict=True))
    hybrid = build(case, chosen)
    values = {f"lambda_{name}": LAMBDAS[name] for name, mode in chosen.items() if "interpolated" in mode}
    ledger = hybrid.ledger(case.positions, parameters=values)
    assert abs(ledger.residual) < 1e-3
    factors = {name: values.get(f"lambda_{name}", 1.0) for name in chosen}
    neural = {name: spring_energy(REGIONS[name], STRENGTHS[name], case.positions)[0] for name in chosen}
    assert ledger["NN"] == pytest.approx(sum(factors[name] * neural[name] for name in chosen), abs=1e-4)
    own = energy_and_forces(reference_context(region_system(case.system, WATERS), case.positions))[0]
    assert ledger["RR removed"] == pytest.approx(-factors["waters"] * own, abs=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_atoms_of_another_region_are_refused(mode: str) -> None:
    case = peptide_in_water(method="PME", waters=30, rigidWater=False)
    system = build(case, {"waters": mode}).system
    with pytest.raises(UnsupportedError) as caught:
        create_hybrid_system(case.topology, system, springs(1.0), [*WATERS[:3], 40, 41, 42], charge=0)
    error = caught.value
    assert error.argument == "region"
    assert error.got.startswith("3 atoms (22, 23, 24) that ")
    assert error.allowed == "regions of one System that share no atoms"


def test_the_remedy_for_corrections_works() -> None:
    """A neural force that is a correction is kept by ignore_forces, as the refusal says."""
    case = peptide_in_water(method="PME", waters=30, rigidWater=False)
    system = mm.XmlSerializer.clone(case.system)
    correction = springs(2.0).create_force(topology=case.topology)
    system.addForce(correction)
    with refusal(UnsupportedError, "region", got="6 atoms (22", remedy="ignore_forces=('NeuralForce',)"):
        create_hybrid_system(case.topology, system, springs(1.0), WATERS, charge=0)
    hybrid = create_hybrid_system(case.topology, system, springs(1.0), WATERS, charge=0, ignore_forces=("NeuralForce",))
    expected = energy_and_forces(reference_context(system, case.positions))[0]
    expected += spring_energy(WATERS, 1.0, case.positions)[0]
    expected -= energy_and_forces(reference_context(region_system(case.system, WATERS), case.positions))[0]
    assert energy_and_forces(reference_context(hybrid.system, case.positions))[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["", "2nd", "lambda-1", "λ", 1, 0.5, None])
def test_names_that_are_none(name: object) -> None:
    case = peptide_in_water(method="PME", waters=30, rigidWater=False)
    with pytest.raises(ParameterError) as caught:
        create_hybrid_system(case.topology, case.system, springs(1.0), WATERS, charge=0, interpolate=name)
    assert (caught.value.argument, caught.value.got) == ("interpolate", repr(name))


def test_names_in_use_are_refused_and_the_remedy_works() -> None:
    case = peptide_in_water(method="PME", waters=30, rigidWater=False)
    first = create_hybrid_system(case.topology, case.system, springs(30.0), PEPTIDE, charge=0, interpolate=True)
    with pytest.raises(ParameterError) as caught:
        create_hybrid_system(case.topology, first.system, springs(50.0), WATERS, charge=0, interpolate=True)
    assert caught.value.argument == "interpolate"
    assert "interpolate='lambda_interpolate_2'" in caught.value.remedy
    second = create_hybrid_system(
        case.topology, first.system, springs(50.0), WATERS, charge=0, interpolate="lambda_interpolate_2"
    )
    context = reference_context(second.system, case.positions)
    assert set(context.getParameters()) == {"lambda_interpolate", "lambda_interpolate_2"}
    for value in ("k", "r"):
        system = mm.XmlSerializer.clone(case.system)
        bias = mm.CustomBondForce("k*r")
        bias.addGlobalParameter("k", 1.0)
        system.addForce(bias)
        with refusal(ParameterError, "interpolate", got="CustomBondForce"):
            create_hybrid_system(case.topology, system, springs(1.0), WATERS, charge=0, interpolate=value)


@pytest.mark.parametrize("mode", ["interpolated", "interpolated and subtracted"])
@pytest.mark.parametrize("value", [-0.01, 1.01])
def test_values_outside_zero_to_one_are_refused_unless_asked_for(mode: str, value: float) -> None:
    case = peptide_in_water(method="PME", waters=30, rigidWater=False)
    hybrid = build(case, {"waters": mode})
    context = reference_context(hybrid.system, case.positions)
    context.setParameter("lambda_waters", value)
    for groups in (-1, 1 << 0):
        with refusal(mm.OpenMMException, "lambda_waters", got=f"{value:g}", allowed="0 to 1", remedy="setScaleRange"):
            context.getState(energy=True, groups=groups)
    for force in hybrid.system.getForces():
        if isinstance(force, (native.NeuralForce, native.RegionForce)):
            force.setScaleRange(-1.0, 2.0)
    context = reference_context(hybrid.system, case.positions)
    context.setParameter("lambda_waters", value)
    classical = energy_and_forces(reference_context(case.system, case.positions))[0]
    expected = classical + value * parts(case)["waters"][0]
    assert energy_and_forces(context)[0] == pytest.approx(expected, abs=1e-4)
