"""RegionForce with periodic images: the energy that OpenMM's NonbondedForce gives the region alone in the same box."""

import copy

import numpy as np
import openmm as mm
import pytest
from openmm import unit

from openmm_nn import native
from tests.engine.test_region_force import REGION, context_of, make
from tests.platforms import REFERENCE, PlatformCase, energy_of, forces_of

METHODS = ("Ewald", "PME", "LJPME")


def charged(method: str, *, total: float, automatic: bool = False) -> tuple[mm.System, mm.NonbondedForce, np.ndarray]:
    """The particles of `make`, with a region of given charge; optionally with OpenMM's own choice of grid."""
    system, force, positions = make(method, rectangular=method == "Ewald")
    charges = [force.getParticleParameters(index)[0]._value for index in REGION]
    for index, charge in zip(REGION, charges, strict=True):
        _, sigma, epsilon = force.getParticleParameters(index)
        force.setParticleParameters(index, charge + (total - sum(charges)) / len(REGION), sigma, epsilon)
    if automatic:
        force.setEwaldErrorTolerance(5e-4)
        force.setPMEParameters(0.0, 0, 0, 0)
        force.setLJPMEParameters(0.0, 0, 0, 0)
    return system, force, positions


def isolated(system: mm.System, force: mm.NonbondedForce) -> mm.System:
    """The System of all particles, of which only those of the region have charges and wells."""
    alone = copy.deepcopy(system)
    own = alone.getForce(0)
    for index in range(force.getNumParticles()):
        if index not in REGION:
            own.setParticleParameters(index, 0.0, 1.0, 0.0)
    for index in range(force.getNumExceptions()):
        first, second, *_ = force.getExceptionParameters(index)
        if not {first, second} <= set(REGION):
            own.setExceptionParameters(index, first, second, 0.0, 1.0, 0.0)
    return alone


def with_region(system: mm.System, force: mm.NonbondedForce, *, pairs: bool, images: bool) -> mm.System:
    """A System with nothing but a RegionForce."""
    alone = copy.deepcopy(system)
    alone.removeForce(0)
    region = native.load().RegionForce(force, REGION)
    region.setIncludesPairs(pairs)
    region.setIncludesImages(images)
    alone.addForce(region)
    return alone


@pytest.mark.parametrize("automatic", [False, True], ids=["fine grid", "automatic grid"])
@pytest.mark.parametrize("total", [0.0, 1.0, -2.0])
@pytest.mark.parametrize("method", METHODS)
def test_pairs_and_images_are_the_region_alone_in_its_box(method: str, total: float, automatic: bool) -> None:
    """To rounding, whatever the grid: the sums are the same. Charged regions have the neutralising plasma."""
    system, force, positions = charged(method, total=total, automatic=automatic)
    expected = context_of(isolated(system, force), positions, REFERENCE)
    context = context_of(with_region(system, force, pairs=True, images=True), positions, REFERENCE)
    assert energy_of(context) == pytest.approx(energy_of(expected), abs=1e-8 * max(1.0, abs(energy_of(expected))))
    forces = forces_of(expected)
    np.testing.assert_allclose(forces_of(context), forces, atol=1e-8 * np.abs(forces).max())


@pytest.mark.parametrize("method", METHODS)
def test_pairs_and_images_add_up(method: str) -> None:
    system, force, positions = charged(method, total=1.0)
    energies = {
        (pairs, images): energy_of(
            context_of(with_region(system, force, pairs=pairs, images=images), positions, REFERENCE)
        )
        for pairs, images in ((True, True), (True, False), (False, True), (False, False))
    }
    assert energies[True, True] == pytest.approx(energies[True, False] + energies[False, True], abs=1e-7)
    assert abs(energies[False, True]) > 1.0
    assert energies[False, False] == 0.0


def test_images_are_converged_ewald() -> None:
    """A fine grid gives the image energy of a sum over many wave vectors, and of one with another alpha."""
    energies = {}
    for method, alpha in (("PME", 4.0), ("PME", 5.0), ("Ewald", None)):
        system, force, positions = make(method, rectangular=True)
        if alpha is None:
            force.setEwaldErrorTolerance(1e-7)
        else:
            force.setPMEParameters(alpha, 90, 90, 90)
        energies[method, alpha] = energy_of(
            context_of(with_region(system, force, pairs=False, images=True), positions, REFERENCE)
        )
    first, *others = energies.values()
    assert others == pytest.approx([first] * 2, abs=2e-4)


@pytest.mark.parametrize("method", METHODS)
def test_forces_of_images_are_the_gradient(method: str) -> None:
    """Four-point differences; the derivative of the mesh is exact up to its own rounding."""
    system, force, positions = charged(method, total=1.0)
    context = context_of(with_region(system, force, pairs=False, images=True), positions, REFERENCE)
    forces, step = forces_of(context), 1e-4
    for particle in REGION[:4]:
        for axis in range(3):
            energies = []
            for times in (-2, -1, 1, 2):
                moved = positions.copy()
                moved[particle, axis] += times * step
                context.setPositions(moved)
                energies.append(energy_of(context))
            slope = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * step)
            assert -slope == pytest.approx(forces[particle, axis], abs=1e-6 * np.abs(forces).max() + 1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_images_on_every_platform(method: str, platform: PlatformCase) -> None:
    """Taking the images out of that platform's own energy of the region alone leaves the pairs."""
    system, force, positions = charged(method, total=1.0, automatic=method != "Ewald")
    whole = isolated(system, force)
    region = native.load().RegionForce(force, REGION)
    region.setIncludesImages(True)
    region.setScale(-1.0, 0.0)
    whole.addForce(region)
    context = context_of(whole, positions, platform)
    reference = context_of(with_region(system, force, pairs=True, images=False), positions, REFERENCE)
    scale = max(abs(energy_of(reference)), np.abs(forces_of(reference)).max())
    # In double OpenCL's sums are limited by their fixed-point accumulation. The CPU platform does not tell the grid of
    # its dispersion, whose error is that of any two grids.
    limit = 1e-9 if platform.name == "Reference" else 5e-6 if platform.double and platform.name != "CPU" else 2e-5
    if (platform.name, method) == ("CPU", "LJPME"):
        limit = 1e-4
    assert abs(energy_of(context)) < limit * scale
    assert np.abs(forces_of(context)).max() < limit * scale


def test_the_box_may_change() -> None:
    system, force, positions = charged("PME", total=1.0)
    box = np.array([[2.9, 0.0, 0.0], [0.3, 2.8, 0.0], [-0.4, 0.5, 3.0]])
    contexts = [
        context_of(one, positions, REFERENCE)
        for one in (isolated(system, force), with_region(system, force, pairs=True, images=True))
    ]
    for context in contexts:
        context.setPeriodicBoxVectors(*(box * unit.nanometer))
    energies = [energy_of(context) for context in contexts]
    assert energies[1] == pytest.approx(energies[0], abs=1e-8 * abs(energies[0]))


def test_ewald_sums_are_for_rectangular_boxes() -> None:
    system, force, positions = make("Ewald", rectangular=True)
    alone = with_region(system, force, pairs=False, images=True)
    alone.setDefaultPeriodicBoxVectors(mm.Vec3(2.6, 0, 0), mm.Vec3(0.4, 2.7, 0), mm.Vec3(-0.5, 0.6, 2.5))
    with pytest.raises(mm.OpenMMException, match=r"box is triclinic and the method Ewald.*use PME"):
        energy_of(context_of(alone, positions, REFERENCE))


def test_methods_without_images_have_none() -> None:
    system, force, positions = make("CutoffPeriodic")
    energies = [
        energy_of(context_of(with_region(system, force, pairs=True, images=images), positions, REFERENCE))
        for images in (False, True)
    ]
    assert energies[0] == energies[1] != 0.0


def test_xml_and_copies_keep_the_images() -> None:
    system, force, positions = charged("LJPME", total=1.0)
    alone = with_region(system, force, pairs=False, images=True)
    text = mm.XmlSerializer.serialize(alone)
    again = mm.XmlSerializer.deserialize(text)
    assert mm.XmlSerializer.serialize(again) == text
    region = native.load().RegionForce.cast(again.getForce(0))
    assert (region.getIncludesPairs(), region.getIncludesImages()) == (False, True)
    expected = energy_of(context_of(alone, positions, REFERENCE))
    for other in (again, copy.deepcopy(alone)):
        assert energy_of(context_of(other, positions, REFERENCE)) == expected


def test_xml_of_the_first_version_is_read() -> None:
    system, force, positions = make("PME")
    alone = with_region(system, force, pairs=True, images=False)
    text = mm.XmlSerializer.serialize(alone)
    new = ("includesPairs", "includesImages", "ewaldTolerance", "nx", "ny", "nz", "ljnx", "ljny", "ljnz")
    start = text.index('type="RegionForce"')
    head, tag = text[:start], text[start:]
    opening, rest = tag[: tag.index(">")], tag[tag.index(">") :]
    kept = [part for part in opening.split(" ") if part.split("=")[0] not in new]
    old = head + " ".join(kept).replace('version="3"', 'version="1"') + rest
    head, tag = old[: old.rindex("<Force ")], old[old.rindex("<Force ") :]
    opening, rest = tag[: tag.index(">")], tag[tag.index(">") :]
    kept = [part for part in opening.split(" ") if part.split("=")[0] not in new]
    old = head + " ".join(kept).replace('version="3"', 'version="1"') + rest
    assert "includesPairs" not in old
    expected = energy_of(context_of(alone, positions, REFERENCE))
    assert energy_of(context_of(mm.XmlSerializer.deserialize(old), positions, REFERENCE)) == expected
