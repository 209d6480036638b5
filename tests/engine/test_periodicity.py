"""What a region in a periodic box looks like to the model: whole, at the nearest image, or with the box."""

import numpy as np
import openmm as mm
import pytest

from tests import oracle
from tests.models import TORCHFORCE_K, ModelSet
from tests.platforms import REFERENCE, PlatformCase, energy_of, forces_of
from tests.samples import BOXES, MOLECULE_POSITIONS, Region, bare_system, make_periodic, random_lattice

SHAPES = list(BOXES)
GROUP = {0}


def region_force(models: ModelSet, region: Region, kind: str = "plain", **options: bool) -> mm.Force:
    potential = models.pair(kind, wide=kind == "plain")
    return potential.create_force(
        atomic_numbers=region.numbers, region=region.atoms, bonds=region.bonds, periodic=options.get("periodic")
    )


def wide_oracle(positions: np.ndarray, numbers: list[int]) -> tuple[float, np.ndarray]:
    return oracle.pair_energy_forces(positions, numbers, window=6.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_any_atom_by_any_lattice_vector(models: ModelSet, platform: PlatformCase, engine: str, shape: str) -> None:
    region, box = Region(), BOXES[shape]
    system = region.system(box)
    system.addForce(region_force(models, region))
    energy, forces = wide_oracle(MOLECULE_POSITIONS, region.numbers)
    context = platform.context(system)
    for seed in range(4):
        positions = region.positions + random_lattice(region.count, box, seed)
        context.setPositions(positions)
        platform_energy_close(platform, energy_of(context, GROUP), energy)
        platform_forces_close(platform, forces_of(context, GROUP), region.expand(forces))


def platform_energy_close(platform: PlatformCase, energy: float, expected: float) -> None:
    # In single precision a coordinate two boxes away has itself lost three more bits.
    np.testing.assert_allclose(energy, expected, rtol=1e-10 if platform.double else 5e-5)


def platform_forces_close(platform: PlatformCase, forces: np.ndarray, expected: np.ndarray) -> None:
    largest = np.abs(expected).max()
    np.testing.assert_allclose(forces, expected, atol=(1e-10 if platform.double else 5e-5) * largest + 1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["edges", "box"])
def test_any_atom_by_any_lattice_vector_periodic(
    models: ModelSet, platform: PlatformCase, engine: str, shape: str, kind: str
) -> None:
    region, box = Region(), BOXES[shape]
    system = region.system(box)
    system.addForce(region_force(models, region, kind, periodic=True))
    energy, forces = oracle.pair_energy_forces(MOLECULE_POSITIONS, region.numbers, box)
    context = platform.context(system)
    for seed in range(3):
        context.setPositions(region.positions + random_lattice(region.count, box, seed))
        platform_energy_close(platform, energy_of(context, GROUP), energy)
        platform_forces_close(platform, forces_of(context, GROUP), region.expand(forces))


@pytest.mark.parametrize("shape", SHAPES)
def test_whole_molecules_on_the_total_energy(models: ModelSet, platform: PlatformCase, engine: str, shape: str) -> None:
    """A whole molecule, as getMolecules() has it, may be shifted without a change of the total energy."""
    region, box = Region(), BOXES[shape]
    system = classical(region, box)
    system.addForce(region_force(models, region))
    context = platform.context(system, region.positions)
    molecules = context.getMolecules()
    assert sorted(len(m) for m in molecules) == [1] * 6 + [3, 5]
    energy, forces = energy_of(context), forces_of(context)
    for seed in range(3):
        shifts = random_lattice(len(molecules), box, seed)
        positions = region.positions.copy()
        for molecule, shift in zip(molecules, shifts, strict=True):
            positions[list(molecule)] += shift
        context.setPositions(positions)
        if platform.double:
            np.testing.assert_allclose(energy_of(context), energy, rtol=0, atol=1e-6)
            np.testing.assert_allclose(forces_of(context), forces, rtol=0, atol=1e-6 * np.abs(forces).max())
        else:
            np.testing.assert_allclose(energy_of(context), energy, rtol=1e-4, atol=1e-2)
            np.testing.assert_allclose(forces_of(context), forces, rtol=0, atol=1e-4 * np.abs(forces).max())


def classical(region: Region, box: np.ndarray, *, bonds: bool = True) -> mm.System:
    """Charges and bonds, so that there is something to be consistent with."""
    system = bare_system(region.count, box=box)
    nonbonded = mm.NonbondedForce()
    for i in range(region.count):
        nonbonded.addParticle(0.2 * (-1.0) ** i, 0.05, 0.1)
    nonbonded.setNonbondedMethod(mm.NonbondedForce.CutoffPeriodic)
    nonbonded.setCutoffDistance(0.8)
    nonbonded.setExceptionsUsePeriodicBoundaryConditions(True)
    for a in range(len(region.atoms)):
        for b in range(a):
            nonbonded.addException(region.atoms[a], region.atoms[b], 0.0, 1.0, 0.0)
    system.addForce(nonbonded)
    if bonds:
        spring = mm.HarmonicBondForce()
        for i, j in region.bonds:
            spring.addBond(i, j, 0.1, 1000.0)
        system.addForce(spring)
    return system


@pytest.mark.parametrize("environment_bonds", [False, True])
def test_molecules_are_the_same_with_and_without(models: ModelSet, engine: str, environment_bonds: bool) -> None:
    """Also where a bond of the region is known to the neural force alone."""
    region, box = Region(), BOXES["rectangular"]
    without = REFERENCE.context(classical(region, box), region.positions).getMolecules()
    system = classical(region, box, bonds=environment_bonds)
    system.addForce(region_force(models, region))
    found = REFERENCE.context(system, region.positions).getMolecules()
    assert sorted(map(sorted, found)) == sorted(map(sorted, without))


def test_molecules_of_a_bare_force(models: ModelSet, engine: str) -> None:
    """With no bonds given the force makes no molecules."""
    region = Region()
    system = region.system(BOXES["rectangular"])
    potential = models.pair("plain")
    system.addForce(potential.create_force(atomic_numbers=region.numbers, region=region.atoms))
    assert len(REFERENCE.context(system, region.positions).getMolecules()) == region.count


@pytest.mark.parametrize("shape", SHAPES)
def test_hand_computed_image(models: ModelSet, platform: PlatformCase, engine: str, shape: str) -> None:
    """Two unbonded atoms: the distance is written out, image by image."""
    box = BOXES[shape]
    system = bare_system(2, box=box)
    make_periodic(system)
    system.addForce(models.pair("plain", wide=True).create_force(atomic_numbers=[1, 8]))
    separation = np.array([0.21, -0.13, 0.17])
    first = np.array([0.05, 1.9, 0.1])
    r = float(np.sqrt(0.21**2 + 0.13**2 + 0.17**2))
    e = np.exp(-8.0 * (r - 0.2))
    expected = 1.05 * 1.4 * 20.0 * (e * e - 2.0 * e) * (1.0 - (r / 6.0) ** 2) ** 3
    context = platform.context(system)
    for steps in [(0, 0, 0), (1, 0, 0), (0, -1, 0), (0, 0, 1), (1, 1, 1), (-2, 1, -1)]:
        other = first + separation + np.array(steps) @ box
        context.setPositions(np.array([first, other]))
        platform_energy_close(platform, energy_of(context, GROUP), expected)


@pytest.mark.filterwarnings("ignore")
def test_true_nearest_image_where_reducing_is_not_enough(models: ModelSet, engine: str) -> None:
    """Beyond half the box height the sequentially reduced image may not be the nearest; the engine tries the others."""
    box = np.array([[2.0, 0.0, 0.0], [0.95, 1.5, 0.0], [-0.95, 0.7, 1.6]])
    system = bare_system(2, box=box)
    make_periodic(system)
    system.addForce(models.pair("plain", wide=True).create_force(atomic_numbers=[1, 8]))
    context = REFERENCE.context(system, np.array([[0.0, 0.0, 0.0], [0.2, 0.0, 0.0]]))
    energy_of(context, GROUP)
    rng = np.random.default_rng(0)
    differing = 0
    for _ in range(200):
        d = rng.uniform(-2.0, 2.0, 3)
        reduced = d.copy()
        for axis in (2, 1, 0):
            reduced -= np.round(reduced[axis] / box[axis, axis]) * box[axis]
        shortest = oracle.nearest(d, box)
        if np.linalg.norm(reduced) < np.linalg.norm(shortest) + 1e-3:
            continue
        differing += 1
        context.setPositions(np.array([[0.0, 0.0, 0.0], d]))
        expected, _ = wide_oracle(np.array([[0.0, 0.0, 0.0], shortest]), [1, 8])
        np.testing.assert_allclose(energy_of(context, GROUP), expected, rtol=1e-9)
    assert differing > 5


def test_absolute_frame_is_left_alone(models: ModelSet, platform: PlatformCase, engine: str) -> None:
    """The positions of an external field are not imaged: a lattice vector changes the energy."""
    region, box = Region(), BOXES["triclinic"]
    system = region.system(box)
    system.addForce(models.torchforce("harmonic").create_force(region=region.atoms))
    positions = region.positions + random_lattice(region.count, box, 1)
    context = platform.context(system, positions)
    x = positions[region.atoms]
    platform.check_energy(energy_of(context, GROUP), TORCHFORCE_K * float(np.sum(x**2)))
    platform.check_forces(forces_of(context, GROUP), region.expand(-2.0 * TORCHFORCE_K * x))


def test_far_from_the_origin_in_float32(models: ModelSet, engine: str) -> None:
    """Centred in double before the cast: a float32 model does not care where the region is."""
    region = Region()
    potential = models.pair("plain", dtype="float32")
    system = bare_system(8)
    system.addForce(potential.create_force(atomic_numbers=region.numbers))
    context = REFERENCE.context(system, MOLECULE_POSITIONS)
    energy = energy_of(context)
    context.setPositions(MOLECULE_POSITIONS + np.array([4096.0, -8192.0, 512.0]))
    np.testing.assert_allclose(energy_of(context), energy, rtol=2e-7)


@pytest.mark.parametrize("periodic, handed", [(None, 0.0), (True, 1.0)])
def test_the_box_is_handed_over_when_asked_for(models: ModelSet, engine: str, periodic: bool, handed: float) -> None:
    """A card that allows both: a cluster by default in a periodic System, with a box of zeros."""
    region, box = Region(), BOXES["rectangular"]
    positions = region.positions.copy()
    positions[region.atoms[5:]] = MOLECULE_POSITIONS[5:] + np.array([0.0, 0.0, 1.5])  # nearer to the next image
    system = region.system(box)
    force = models.pair("box").create_force(
        atomic_numbers=region.numbers, region=region.atoms, bonds=region.bonds, periodic=bool(periodic)
    )
    assert force.usesPeriodicBoundaryConditions() == bool(handed)
    system.addForce(force)
    whole = positions[region.atoms] - np.where(np.arange(8) >= 5, 1.0, 0.0)[:, None] * box[2]
    expected, _ = oracle.pair_energy_forces(whole, region.numbers, box if handed else None)
    np.testing.assert_allclose(energy_of(REFERENCE.context(system, positions), GROUP), expected, rtol=1e-10)


def test_changing_box(models: ModelSet, platform: PlatformCase, engine: str) -> None:
    region, box = Region(), BOXES["triclinic"]
    system = region.system(box)
    system.addForce(region_force(models, region, "edges", periodic=True))
    context = platform.context(system, region.positions)
    for factor in (1.0, 1.1, 0.95):
        context.setPeriodicBoxVectors(*(mm.Vec3(*row) for row in (factor * box).tolist()))
        x = region.positions * factor
        context.setPositions(x)
        expected, _ = oracle.pair_energy_forces(x[region.atoms], region.numbers, factor * box)
        platform_energy_close(platform, energy_of(context, GROUP), expected)
