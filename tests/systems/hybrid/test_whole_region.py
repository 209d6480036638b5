"""A hybrid whose region is long: right where it is accepted, refused where the classical terms act on other images."""

import numpy as np
import openmm as mm
import pytest
import torch
from openmm import app, unit

from openmm_nn import Mechanical, create_hybrid_system, load_potential
from tests import oracle
from tests.models import ModelSet
from tests.platforms import REFERENCE, PlatformCase, energy_of
from tests.systems.hybrid.region_energy import COULOMB, card, region_system

CHARGES = np.array([0.5, *[0.0] * 14, -0.5])
BONDS = [(i, i + 1) for i in range(15)]
TRICLINIC = np.array([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [-0.3, 0.4, 1.0]])


def chain(end: list[float]) -> np.ndarray:
    """Sixteen carbons from the origin to `end`, nm."""
    positions = np.linspace(np.zeros(3), np.array(end), 16)
    positions[1:-1:2] += 0.02
    return positions


def polar_chain(box: np.ndarray) -> tuple[app.Topology, mm.System]:
    """Charges of half an elementary charge at both ends, PME, no dispersion."""
    topology, system, nonbonded = app.Topology(), mm.System(), mm.NonbondedForce()
    residue = topology.addResidue("CHN", topology.addChain())
    atoms = [topology.addAtom(f"C{i}", app.element.carbon, residue) for i in range(16)]
    for charge in CHARGES:
        system.addParticle(12.0)
        nonbonded.addParticle(charge, 0.3, 0.0)
    for first, second in BONDS:
        topology.addBond(atoms[first], atoms[second])
    nonbonded.setNonbondedMethod(mm.NonbondedForce.PME)
    nonbonded.setEwaldErrorTolerance(1e-5)
    nonbonded.setCutoffDistance(0.45 * np.diag(box).min())
    nonbonded.setUseDispersionCorrection(False)
    system.addForce(nonbonded)
    vectors = [mm.Vec3(*row) for row in box.tolist()]
    system.setDefaultPeriodicBoxVectors(*vectors)
    topology.setPeriodicBoxVectors(vectors * unit.nanometer)
    return topology, system


def coulomb(positions: torch.Tensor) -> torch.Tensor:
    first, second = np.triu_indices(16, 1)
    charges = torch.tensor(CHARGES)
    return COULOMB * (charges[first] * charges[second] / (positions[first] - positions[second]).norm(dim=1)).sum()


@pytest.mark.parametrize(
    "box, end",
    [
        (4.2 * np.eye(3), [2.07, 0.0, 0.0]),
        (np.diag([3.0, 3.0, 5.0]), [0.1, 0.2, 2.45]),
        (4.0 * TRICLINIC, [1.2, -1.1, 0.9]),
        (4.0 * TRICLINIC, [1.9, 1.9, 0.1]),  # its own image by OpenMM's rounding, and not the shortest one
    ],
)
@pytest.mark.filterwarnings("ignore:charge")
def test_a_potential_that_is_coulombs_law_gives_the_classical_energy(
    platform: PlatformCase, box: np.ndarray, end: list[float]
) -> None:
    """What is left by the classical terms are the periodic images; together with the potential that is all of PME."""
    topology, system = polar_chain(box)
    own = card("Coulomb")
    potential = load_potential(coulomb, card=type(own)(**{**own.__dict__, "outputs": ("energy",)}))
    hybrid = create_hybrid_system(topology, system, potential, range(16))
    classical = energy_of(REFERENCE.context(system, chain(end)))
    assert energy_of(platform.context(hybrid.system, chain(end))) == pytest.approx(classical, abs=0.03)


@pytest.mark.parametrize(
    "box, end, error",
    [
        (2.4 * np.eye(3), [2.07, 0.0, 0.0], -88.5),
        (4.0 * np.eye(3), [2.07, 0.0, 0.0], -1.22),
        (4.0 * TRICLINIC, [2.1, 0.2, 0.0], -1.72),
    ],
)
@pytest.mark.filterwarnings("ignore:charge")
def test_what_would_be_wrong_is_refused(
    platform: PlatformCase, engine: str, box: np.ndarray, end: list[float], error: float
) -> None:
    """The zero exceptions act on the nearest image of the two ends, and the potential sees them where they are."""
    positions, ends = chain(end), np.array(end)
    image = ends - box[0]
    removed, seen = (float(np.prod(CHARGES[[0, 15]])) * COULOMB / np.linalg.norm(v) for v in (image, ends))
    assert removed - seen == pytest.approx(error, rel=0.01)
    topology, system = polar_chain(box)
    own = card("Coulomb")
    potential = load_potential(coulomb, card=type(own)(**{**own.__dict__, "outputs": ("energy",)}))
    hybrid = create_hybrid_system(topology, system, potential, range(16))
    with pytest.raises(mm.OpenMMException, match="half the box"):
        energy_of(platform.context(hybrid.system, positions))


@pytest.mark.parametrize("box", [2.4 * np.eye(3), 2.4 * TRICLINIC])
@pytest.mark.filterwarnings("ignore:charge")
def test_the_remedy_works(models: ModelSet, platform: PlatformCase, box: np.ndarray) -> None:
    """With the box the potential sees every image, and its energy takes the place of the region's classical one."""
    topology, system = polar_chain(box)
    positions = chain([2.07, 0.0, 0.0])
    embedding = Mechanical(periodic=True)
    hybrid = create_hybrid_system(topology, system, models.pair("edges"), range(16), embedding=embedding)
    neural, _ = oracle.pair_energy_forces(positions, [6] * 16, box)
    classical = energy_of(REFERENCE.context(system, positions))
    removed = energy_of(REFERENCE.context(region_system(system, range(16)), positions))
    expected = classical - removed + neural
    assert energy_of(platform.context(hybrid.system, positions)) == pytest.approx(expected, abs=0.05)
