"""A long-ranged potential with the box brings its own periodic images: the classical ones are taken out, exactly."""

import dataclasses

import numpy as np
import openmm as mm
import pytest
import torch

from openmm_nn import HybridSystem, Mechanical, Potential, create_hybrid_system, load_potential, native
from openmm_nn.errors import NativeExtensionError, UnsupportedError
from tests.platforms import PlatformCase
from tests.refusals import refusal
from tests.systems.hybrid.cases import BACKBONE, Case, make_hybrid, peptide_in_water, select, villin
from tests.systems.hybrid.region_energy import bonded_part, card, energy_and_forces, reference_context, zero_potential

METHODS = ("Ewald", "PME", "LJPME")
LAMBDA = "lambda_interpolate"


def periodic_region(system: mm.System, atoms: list[int]) -> mm.System:
    """E_MM(R) with images, from plain OpenMM: the region's bonded terms and its own NonbondedForce in the same box."""
    inside = set(atoms)
    part = bonded_part(system, inside.issuperset)
    for force in system.getForces():
        if not isinstance(force, mm.NonbondedForce):
            continue
        own = mm.XmlSerializer.clone(force)
        own.setUseDispersionCorrection(False)
        own.setExceptionsUsePeriodicBoundaryConditions(True)
        for index in range(own.getNumParticles()):
            if index not in inside:
                own.setParticleParameters(index, 0.0, 1.0, 0.0)
        for index in range(own.getNumExceptions()):
            first, second, *_ = own.getExceptionParameters(index)
            if not {first, second} <= inside:
                own.setExceptionParameters(index, first, second, 0.0, 1.0, 0.0)
        part.addForce(own)
    return part


class PeriodicRegionModel:
    """A potential that is E_MM(R) with its images, of the positions (n, 3) of the region and the box, in nm."""

    def __init__(self, system: mm.System, atoms: list[int], positions: np.ndarray) -> None:
        self.context = reference_context(periodic_region(system, atoms))
        self.atoms = atoms
        self.positions = np.array(positions)

    def __call__(self, positions: torch.Tensor, box: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        number = len(self.atoms)
        self.positions[self.atoms] = positions.detach().numpy()[:number]
        self.context.setPeriodicBoxVectors(*(mm.Vec3(*row) for row in box.numpy().tolist()))
        self.context.setPositions(self.positions)
        energy, forces = energy_and_forces(self.context)
        result = np.zeros(tuple(positions.shape))
        result[:number] = forces[self.atoms]
        return torch.tensor(energy, dtype=torch.float64), torch.tensor(result)


def periodic_card(long_range: bool | None = True) -> object:
    return dataclasses.replace(
        card("periodic", long_range=long_range),
        inputs=("positions", "box"),
        periodic="always",
        frame="absolute",
    )


def periodic_potential(case: Case, atoms: list[int]) -> Potential:
    return load_potential(PeriodicRegionModel(case.system, atoms, case.positions), card=periodic_card())


def make(case: Case, atoms: list[int], **options: object) -> HybridSystem:
    return make_hybrid(case.topology, case.system, periodic_potential(case, atoms), atoms, charge=0, **options)


def compare(first: mm.Context, second: mm.Context) -> None:
    """Energies to 1e-4 kJ/mol, forces to 1e-4 relative."""
    (energy, forces), (other, other_forces) = energy_and_forces(first), energy_and_forces(second)
    assert other == pytest.approx(energy, abs=1e-4)
    assert np.abs(other_forces - forces).max() < 1e-4 * min(np.abs(forces).max(), 1000.0)


@pytest.mark.parametrize("subtract", [False, True], ids=["exceptions", "subtracted"])
@pytest.mark.parametrize("method", METHODS)
def test_the_periodic_region_gives_back_the_classical_system(method: str, subtract: bool) -> None:
    case = peptide_in_water(method=method, waters=60, rigidWater=False)
    hybrid = make(case, list(range(22)), subtract_region=subtract)
    compare(reference_context(case.system, case.positions), reference_context(hybrid.system, case.positions))


@pytest.mark.parametrize("subtract", [False, True], ids=["exceptions", "subtracted"])
@pytest.mark.parametrize("selection", ["resname Cl", "resid 23", BACKBONE], ids=["ions", "charged residue", "two cuts"])
@pytest.mark.filterwarnings("ignore:charge", "ignore:the cut bond")
def test_charged_regions(selection: str, subtract: bool) -> None:
    """Their share of the neutralising plasma goes too."""
    case = villin(rigidWater=False)
    atoms = select(case, selection)
    options = {"bonded_rule": "all-atoms", "subtract_region": subtract}
    if selection == "resid 23":
        # A lysine or arginine with both its peptide bonds: what is cut does not matter here.
        bonds = [(b[0].index, b[1].index) for b in case.topology.bonds()]
        options["allow_cuts"] = [b for b in bonds if (b[0] in atoms) != (b[1] in atoms)]
    hybrid = make(case, atoms, **options)
    compare(reference_context(case.system, case.positions), reference_context(hybrid.system, case.positions))


def test_a_triclinic_box() -> None:
    case = peptide_in_water(waters=60, rigidWater=False)
    system = mm.XmlSerializer.clone(case.system)
    system.setDefaultPeriodicBoxVectors(mm.Vec3(3.4, 0, 0), mm.Vec3(1.1, 3.2, 0), mm.Vec3(-0.9, 1.2, 3.1))
    tilted = Case(case.topology, system, case.positions)
    hybrid = make(tilted, list(range(22)))
    compare(reference_context(system, case.positions), reference_context(hybrid.system, case.positions))


@pytest.mark.parametrize("subtract", [False, True], ids=["exceptions", "subtracted"])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_left_is_the_total_less_the_periodic_region(method: str, subtract: bool) -> None:
    """E(hybrid) = E_MM(all) - E_MM(R with images) + E_NN, with E_NN = 0."""
    case = peptide_in_water(method=method, waters=60, rigidWater=False)
    atoms = [*range(22), *range(31, 34)]
    nothing = load_potential(lambda positions, box: (positions.new_zeros(()), torch.zeros_like(positions)),
                             card=periodic_card())  # fmt: skip
    hybrid = create_hybrid_system(
        case.topology,
        case.system,
        nothing,
        atoms,
        embedding=Mechanical(subtract_region=subtract),
    )
    total, total_forces = energy_and_forces(reference_context(case.system, case.positions))
    region, region_forces = energy_and_forces(reference_context(periodic_region(case.system, atoms), case.positions))
    left, left_forces = energy_and_forces(reference_context(hybrid.system, case.positions))
    assert left == pytest.approx(total - region, abs=1e-6)
    np.testing.assert_allclose(left_forces, total_forces - region_forces, atol=1e-4)


@pytest.mark.parametrize("subtract", [False, True], ids=["exceptions", "subtracted"])
@pytest.mark.parametrize("method", METHODS)
def test_interpolation(method: str, subtract: bool) -> None:
    """At zero the System is classical, images included; at one it is the hybrid; the derivative is exact."""
    case = peptide_in_water(method=method, waters=60, rigidWater=False)
    nothing = load_potential(lambda positions, box: (positions.new_zeros(()), torch.zeros_like(positions)),
                             card=periodic_card())  # fmt: skip
    both = [
        create_hybrid_system(
            case.topology,
            case.system,
            nothing,
            range(22),
            embedding=Mechanical(subtract_region=subtract),
            interpolate=flag,
        )
        for flag in (True, False)
    ]
    context = reference_context(both[0].system, case.positions)
    ends = []
    for value, system in ((0.0, case.system), (1.0, both[1].system)):
        context.setParameter(LAMBDA, value)
        energy, forces = energy_and_forces(context)
        expected, expected_forces = energy_and_forces(reference_context(system, case.positions))
        assert energy == pytest.approx(expected, abs=1e-6)
        np.testing.assert_allclose(forces, expected_forces, atol=1e-6 * np.abs(expected_forces).max())
        ends.append(energy)
    for value in (0.0, 0.3, 1.0):
        context.setParameter(LAMBDA, value)
        state = context.getState(getEnergy=True, getParameterDerivatives=True)
        assert state.getEnergyParameterDerivatives()[LAMBDA] == pytest.approx(ends[1] - ends[0], abs=1e-4)
        assert state.getPotentialEnergy()._value == pytest.approx((1 - value) * ends[0] + value * ends[1], abs=1e-6)


@pytest.mark.parametrize("interpolate", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_the_ledger_has_no_images_left(method: str, interpolate: bool) -> None:
    case = peptide_in_water(method=method, waters=60, rigidWater=False)
    hybrid = make(case, list(range(22)), interpolate=interpolate)
    ledger = hybrid.ledger(case.positions)
    assert abs(ledger.residual) < 1e-3
    assert abs(ledger["images"]) < 1e-6
    if interpolate:
        plain = create_hybrid_system(case.topology, case.system, zero_potential(), range(22)).ledger(case.positions)
        partly = hybrid.ledger(case.positions, parameters={LAMBDA: 0.25})
        assert partly["images"] == pytest.approx(0.75 * plain["images"], abs=1e-6)
        assert abs(partly.residual) < 1e-3


def test_on_every_platform(platform: PlatformCase) -> None:
    """Each platform against its own classical System, in its precision."""
    case = peptide_in_water(waters=200)
    system = mm.XmlSerializer.clone(case.system)
    # The potential sums on Reference: with the automatic grid, which OpenCL enlarges, it would differ by grid errors.
    next(f for f in system.getForces() if isinstance(f, mm.NonbondedForce)).setPMEParameters(3.0, 40, 40, 40)
    hybrid = make(Case(case.topology, system, case.positions), list(range(22)))
    (energy, forces), (other, other_forces) = (
        energy_and_forces(platform.context(one, case.positions)) for one in (system, hybrid.system)
    )
    double = platform.name == "Reference" or (platform.name == "OpenCL" and platform.double)
    assert other == pytest.approx(energy, abs=1e-4 if double else 2e-6 * max(abs(energy), 1e4))
    assert np.abs(other_forces - forces).max() < (1e-5 if double else 1e-4) * np.linalg.norm(forces, axis=1).max()


def test_a_cluster_keeps_its_classical_images() -> None:
    """A long-ranged potential that is not given the box sees no images."""
    case = peptide_in_water(waters=60)
    energies = [
        energy_and_forces(reference_context(create_hybrid_system(
            case.topology, case.system, zero_potential(long_range=far), range(22)).system, case.positions))[0]
        for far in (False, True)
    ]  # fmt: skip
    assert energies[0] == energies[1]


def test_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    case = peptide_in_water(waters=30)
    system = mm.XmlSerializer.clone(case.system)
    force = next(f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
    force.addGlobalParameter("charging", 1.0)
    force.addParticleParameterOffset("charging", 3, 0.1, 0.0, 0.0)
    with refusal(UnsupportedError, "long_range", got=("NonbondedForce", "'charging'")):
        make(Case(case.topology, system, case.positions), list(range(22)))
    monkeypatch.setattr(native, "available", lambda: False)
    with refusal(NativeExtensionError, "long_range", got="RegionForce", remedy="openmm_nn.native.build"):
        make(case, list(range(22)))
