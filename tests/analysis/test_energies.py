"""Energies of frames: across the boundary, in the ledger, and among a committee."""

import mdtraj
import numpy as np
import openmm as mm
import pytest
from openmm import unit

from openmm_nn import HybridSystem, Mechanical, create_hybrid_system, load_potential
from openmm_nn.analysis import compute_interaction_energy, compute_ledger, compute_uncertainty
from openmm_nn.errors import ParticleError, UnsupportedError
from tests.refusals import refusal
from tests.systems.hybrid.cases import SIDE_CHAIN, Case, peptide_in_water, villin
from tests.systems.hybrid.region_energy import COULOMB

BUNDLED = "openmm-nn/hcno-1"


def frames(case: Case, count: int, seed: int = 1) -> mdtraj.Trajectory:
    noise = np.random.default_rng(seed).normal(scale=0.002, size=(count, len(case.positions), 3))
    traj = mdtraj.Trajectory(case.positions + noise, mdtraj.Topology.from_openmm(case.topology))
    if case.system.usesPeriodicBoundaryConditions():
        vectors = np.array([row._value for row in case.system.getDefaultPeriodicBoxVectors()])
        traj.unitcell_vectors = np.repeat(vectors[None], count, axis=0).astype(np.float32)
    return traj


def hybrid_of(case: Case, region: object = range(22)) -> HybridSystem:
    return create_hybrid_system(case.topology, case.system, load_potential(BUNDLED), region, charge=0)


@pytest.mark.parametrize("method", ["NoCutoff", "CutoffPeriodic", "PME", "LJPME"])
def test_interaction_is_the_ledgers(method: str) -> None:
    case = peptide_in_water(method=method, waters=60, rigidWater=False)
    traj, hybrid = frames(case, 2), hybrid_of(case)
    ledger = compute_ledger(traj, hybrid, platform="Reference")
    energy = compute_interaction_energy(traj, hybrid.system, range(22), platform="Reference")
    assert energy.total == pytest.approx(ledger.terms["RE"], abs=2e-3)
    classical = compute_interaction_energy(traj, case.system, range(22), platform="Reference")
    assert classical.coulomb == pytest.approx(energy.coulomb, abs=1e-3)
    assert classical.van_der_waals == pytest.approx(energy.van_der_waals, abs=1e-3)
    assert np.abs(ledger.residual).max() < 2e-3


def test_interaction_is_a_sum_over_pairs() -> None:
    case = peptide_in_water(method="NoCutoff", waters=30, rigidWater=False)
    traj = frames(case, 2)
    energy = compute_interaction_energy(traj, case.system, range(22), platform="Reference")
    force = next(force for force in case.system.getForces() if isinstance(force, mm.NonbondedForce))
    parameters = np.array([
        [value.value_in_unit_system(unit.md_unit_system) for value in force.getParticleParameters(index)]
        for index in range(force.getNumParticles())
    ])  # fmt: skip
    inner, outer = parameters[:22, None], parameters[None, 22:]
    for frame, x in enumerate(traj.xyz.astype(float)):
        r = np.linalg.norm(x[:22, None] - x[None, 22:], axis=2)
        coulomb = COULOMB * (inner[..., 0] * outer[..., 0] / r).sum()
        sixth = (0.5 * (inner[..., 1] + outer[..., 1]) / r) ** 6
        wells = 4 * np.sqrt(inner[..., 2] * outer[..., 2]) * (sixth**2 - sixth)
        assert energy.coulomb[frame] == pytest.approx(coulomb, abs=1e-3)
        assert energy.van_der_waals[frame] == pytest.approx(wells.sum(), abs=1e-3)


@pytest.mark.filterwarnings("ignore:charge")
def test_interaction_across_a_cut_bond_and_without_a_force() -> None:
    case = villin(waters=20, rigidWater=False)
    traj, hybrid = frames(case, 1), hybrid_of(case, SIDE_CHAIN)
    energy = compute_interaction_energy(traj, hybrid.system, hybrid.region.atoms, platform="Reference")
    assert energy.total == pytest.approx(compute_ledger(traj, hybrid, platform="Reference").terms["RE"], abs=2e-3)
    bare = mm.System()
    bare.addParticle(1.0)
    with refusal(UnsupportedError, "system", got="without nonbonded forces"):
        compute_interaction_energy(mdtraj.Trajectory(np.zeros((1, 1, 3)), None), bare, [0])
    with refusal(ParticleError, "region", got="index 9999"):
        compute_interaction_energy(traj, hybrid.system, [9999])


def test_deviation_of_a_committee() -> None:
    case = peptide_in_water(method="PME", waters=20)
    traj, potential = frames(case, 3), load_potential(BUNDLED)
    uncertainty = compute_uncertainty(traj, hybrid_of(case).system, platform="Reference")
    numbers = [atom.element.atomic_number for atom in case.topology.atoms()][:22]
    for frame in range(3):
        alone = potential.evaluate(traj.xyz[frame, :22].astype(float), numbers)
        assert uncertainty.members[frame].mean() == pytest.approx(alone.energy, abs=1e-2)
        assert uncertainty.energy[frame] == pytest.approx(alone.energy_std, abs=1e-2)
        assert uncertainty.forces[frame] == pytest.approx(alone.forces_std, rel=1e-3, abs=1e-2)
    assert uncertainty.atoms.tolist() == list(range(22))
    assert uncertainty.links.shape == (3, 0)
    assert uncertainty.by_atom == pytest.approx(np.sqrt((uncertainty.forces**2).mean(axis=0)))


@pytest.mark.filterwarnings("ignore:charge")
def test_deviation_from_xml_and_of_link_atoms() -> None:
    case = villin(waters=5)
    hybrid = hybrid_of(case, SIDE_CHAIN)
    traj = frames(case, 1)
    system = mm.XmlSerializer.deserialize(mm.XmlSerializer.serialize(hybrid.system))
    found = compute_uncertainty(traj, system, platform="Reference")
    direct = compute_uncertainty(traj, hybrid.system, platform="Reference")
    assert found.links.shape == (1, 1)
    assert found.links[0, 0] > 0
    assert found.forces == pytest.approx(direct.forces)


def test_one_member_and_no_member() -> None:
    case = peptide_in_water(method="PME", waters=20)
    single = create_hybrid_system(
        case.topology,
        case.system,
        load_potential(lambda x: (x**2).sum()),
        range(22),
        embedding=Mechanical(long_range=False),
    )
    with refusal(UnsupportedError, "system", got="a potential of one member"):
        compute_uncertainty(frames(case, 1), single.system, platform="Reference")
    with refusal(UnsupportedError, "system", got="without a neural force"):
        compute_uncertainty(frames(case, 1), case.system, platform="Reference")
    with refusal(ParticleError, "traj", got="22 atoms", allowed="82"):
        compute_ledger(frames(case, 1).atom_slice(range(22)), single)
