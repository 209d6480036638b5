"""Hybrid runs: step by step with the classical System, on every platform, under a barostat."""

import numpy as np
import openmm as mm
import pytest
from openmm import unit

from openmm_nn import HybridSystem, create_hybrid_system, load_potential
from tests.platforms import PLATFORMS, PlatformCase
from tests.systems.hybrid.cases import (
    BACKBONE,
    SIDE_CHAIN,
    Case,
    lysozyme,
    make_hybrid,
    peptide_in_water,
    select,
    villin,
)
from tests.systems.hybrid.region_energy import (
    RegionModel,
    card,
    energy_and_forces,
    reference_context,
    region_system,
    zero_potential,
)

STEPS = 100


def identical(case: Case, atoms: list[int], **options: object) -> HybridSystem:
    """The hybrid of a potential that is E_MM(R)."""
    model = RegionModel(region_system(case.system, atoms), atoms, case.positions)
    return make_hybrid(
        case.topology,
        case.system,
        load_potential(model, card=card()),
        atoms,
        charge=0,
        bonded_rule="all-atoms",
        **options,
    )


@pytest.mark.parametrize("region", ["whole", "cut"])
@pytest.mark.filterwarnings("ignore:charge")
def test_hybrid_and_classical_dynamics_agree_step_by_step(region: str) -> None:
    case = peptide_in_water(waters=60) if region == "whole" else villin(waters=20)
    hybrid = identical(case, list(range(22)) if region == "whole" else select(case, BACKBONE))
    contexts = [reference_context(system, case.positions) for system in (case.system, hybrid.system)]
    for context in contexts:
        context.setVelocitiesToTemperature(300.0, 11)
    for _ in range(STEPS // 10):
        for context in contexts:
            context.getIntegrator().setStepSize(0.0005)
            context.getIntegrator().step(10)
        first, second = (context.getState(getPositions=True).getPositions(asNumpy=True)._value for context in contexts)
        assert np.abs(first - second).max() < 1e-6


CASES = {
    "peptide": lambda: (peptide_in_water(waters=200), list(range(22))),
    "LJPME": lambda: (peptide_in_water(method="LJPME", waters=200), list(range(22))),
    "TIP4P-Ew": lambda: (peptide_in_water("tip4pew", waters=200), list(range(22))),
    "OBC2": lambda: (peptide_in_water("obc2", "NoCutoff", waters=0), list(range(22))),
    "GBn2": lambda: (peptide_in_water("gbn2", "NoCutoff", waters=0), list(range(22))),
    "lysozyme": lambda: lysozyme("OBC2")[::2],
    "side chain": lambda: (villin(), select(villin(), SIDE_CHAIN)),
    "two cuts": lambda: (villin(), select(villin(), BACKBONE)),
    "CHARMM36": lambda: (villin("charmm36"), select(villin("charmm36"), BACKBONE)),
}

# Every platform and precision for two of them; for the others those whose arithmetic differs most from Reference, on
# which test_identity has them all.
MATRIX = [
    (name, platform)
    for name in CASES
    for platform in PLATFORMS
    if name in ("peptide", "two cuts") or str(platform) in ("CPU", "OpenCL-mixed")
]


@pytest.mark.parametrize("name, platform", MATRIX, ids=str)
@pytest.mark.filterwarnings("ignore:charge")
def test_classical_energy_and_forces_on_every_platform(name: str, platform: PlatformCase) -> None:
    """Each platform against its own classical System, in its precision."""
    case, atoms = CASES[name]()
    hybrid = identical(case, atoms)
    results = []
    for system in (case.system, hybrid.system):
        context = platform.context(system, case.positions)
        context.computeVirtualSites()
        results.append(energy_and_forces(context))
    (energy, forces), (hybrid_energy, hybrid_forces) = results
    double = platform.name == "Reference" or (platform.name == "OpenCL" and platform.double)
    assert hybrid_energy == pytest.approx(energy, abs=1e-4 if double else 2e-6 * max(abs(energy), 1e4))
    # Or as well as the platform knows the classical forces: in single precision implicit solvent is off by more.
    reference = reference_context(case.system, case.positions)
    reference.computeVirtualSites()
    own = np.abs(forces - energy_and_forces(reference)[1]).max()
    scale = np.linalg.norm(forces, axis=1).max()
    assert np.abs(hybrid_forces - forces).max() < max((1e-5 if double else 1e-4) * scale, own)


def test_a_barostat_keeps_the_region_whole(engine: str) -> None:
    """Trial moves scale molecules; a region that had lost its bonds would be torn apart."""
    assert engine
    case = peptide_in_water(waters=400)
    hybrid = create_hybrid_system(case.topology, case.system, zero_potential(), range(22))
    classical = sorted(map(sorted, reference_context(case.system).getMolecules()))
    assert sorted(map(sorted, reference_context(hybrid.system).getMolecules())) == classical
    for index in range(22):
        hybrid.system.setParticleMass(index, 0.0)
    hybrid.system.addForce(mm.MonteCarloBarostat(1.0 * unit.bar, 300.0, 1))
    context = mm.Context(
        hybrid.system,
        mm.LangevinMiddleIntegrator(300.0, 5.0, 0.0005),
        mm.Platform.getPlatformByName("CPU"),
        {"Threads": "1"},
    )
    context.setPositions(case.positions)
    context.getIntegrator().step(40)
    moved = context.getState(getPositions=True).getPositions(asNumpy=True)._value[:22]
    before = case.positions[:22]
    volume = context.getState().getPeriodicBoxVolume()._value
    assert volume != pytest.approx(case.system.getDefaultPeriodicBoxVectors()[0][0]._value ** 3, rel=1e-6)
    np.testing.assert_allclose(moved - moved[0], before - before[0], atol=1e-5)
