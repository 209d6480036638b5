"""The classes of the extension in Python: they come back from OpenMM as themselves, and read what they are given."""

import copy
import gc
import pathlib
import pickle
import re
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import openmm as mm
import pytest
from openmm import unit

from openmm_nn import ModelCard, Potential, load_potential, native
from tests.models import ModelSet
from tests.refusals import check_parts, refusal

MakeForce = Callable[[], mm.Force]

pytestmark = pytest.mark.usefixtures("native")


@pytest.fixture
def potential() -> Potential:
    return load_potential(lambda positions: (positions**2).sum())


def charges() -> mm.NonbondedForce:
    force = mm.NonbondedForce()
    for charge in (0.5, -0.5, 0.25):
        force.addParticle(charge, 0.3, 0.1)
    return force


def system_of(*forces: mm.Force) -> mm.System:
    system = mm.System()
    for _ in range(3):
        system.addParticle(1.0)
    for force in forces:
        system.addForce(force)
    return system


@pytest.fixture
def system(potential: Potential) -> mm.System:
    variable = mm.CustomCVForce("a")
    variable.addCollectiveVariable("a", potential.create_force(region=[1]))
    transfer = mm.ATMForce("u0")
    transfer.addForce(native.RegionForce(charges(), [2, 0]))
    return system_of(
        charges(), potential.create_force(region=[0, 2]), native.RegionForce(charges(), [0, 1]), variable, transfer
    )


WAYS = {
    "same": lambda system: system,
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "clone": mm.XmlSerializer.clone,
    "xml": lambda system: mm.XmlSerializer.deserialize(mm.XmlSerializer.serialize(system)),
    "pickle": lambda system: pickle.loads(pickle.dumps(system)),
    "context": lambda system: mm.Context(
        system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference")
    ).getSystem(),
}


@pytest.mark.parametrize("way", ["same", "deepcopy", "copy", "clone", "context"])
def test_forces_of_a_system_are_of_their_own_class(system: mm.System, way: str) -> None:
    got = WAYS[way](system)
    assert [type(force) for force in got.getForces()] == [
        mm.NonbondedForce,
        native.NeuralForce,
        native.RegionForce,
        mm.CustomCVForce,
        mm.ATMForce,
    ]
    _, neural, region, variable, transfer = got.getForces()
    assert (neural.getParticles(), region.getParticles()) == ((0, 2), (0, 1))
    assert variable.getCollectiveVariable(0).getParticles() == (1,)
    assert type(transfer.getForce(0)) is native.RegionForce
    assert all(isinstance(force, mm.Force) for force in got.getForces())


@pytest.mark.parametrize("way", ["xml", "pickle"])
def test_regions_of_a_file_are_of_their_own_class(way: str) -> None:
    got = WAYS[way](system_of(native.RegionForce(charges(), [1, 2])))
    assert type(got.getForce(0)) is native.RegionForce
    assert got.getForce(0).getParticleParameters(0) == (1, -0.5, 0.3, 0.1)


@pytest.mark.parametrize("way", list(WAYS)[1:-1])
def test_copies_own_what_they_stand_for(way: str) -> None:
    force = native.RegionForce(charges(), [0, 1])
    other = WAYS[way](force)
    del force
    gc.collect()
    assert type(other) is native.RegionForce
    assert other.thisown
    assert other.getParticles() == (0, 1)
    system = system_of(other)
    assert not other.thisown
    assert not system.getForce(0).thisown


@pytest.mark.parametrize("way", list(WAYS)[1:-1])
def test_integrators_are_of_their_own_class(way: str) -> None:
    other = WAYS[way](native.MultistepLangevinIntegrator(300.0, 1.0, 0.002, [(0, 1), (1, 2)]))
    assert type(other) is native.MultistepLangevinIntegrator
    assert other.thisown
    assert other.getGroups() == ((0, 1), (1, 2))
    compound = mm.CompoundIntegrator()
    compound.addIntegrator(other)
    assert type(compound.getIntegrator(0)) is native.MultistepLangevinIntegrator


def test_classes_that_nobody_knows_stay_forces() -> None:
    """A class of C++ that OpenMM's wrapper has not heard of, as other plugins have them, is an openmm.Force."""
    sample = object.__new__(native.load()._AnyForce)
    sample.this = mm.HarmonicBondForce().this
    assert type(sample) is mm.Force
    assert sample.getName() == "HarmonicBondForce"


def test_defaults_of_parameters_through_the_system(potential: Potential) -> None:
    region = native.RegionForce(charges(), [0, 1])
    neural = potential.create_force(region=[0, 2])
    neural.setScaleParameter("mix", 1.0)
    region.setScale(1.0, -1.0)
    region.setScaleParameter("mix", 1.0)
    system = system_of(neural, region)
    for force in system.getForces():
        assert (force.getNumGlobalParameters(), force.getGlobalParameterName(0)) == (1, "mix")
        force.setGlobalParameterDefaultValue(0, 0.25)
        force.addEnergyParameterDerivative("mix")
        assert force.getEnergyParameterDerivativeName(0) == "mix"
    context = mm.Context(copy.deepcopy(system), mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    positions = np.array([[0.1, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.3]])
    context.setPositions(positions)
    squares = positions[0] @ positions[0] + positions[2] @ positions[2]
    r = float(np.linalg.norm(positions[0] - positions[1]))
    pair = 138.93545764438198 * -0.25 / r + 4 * 0.1 * ((0.3 / r) ** 12 - (0.3 / r) ** 6)
    state = context.getState(energy=True, parameterDerivatives=True)
    assert state.getPotentialEnergy()._value == pytest.approx(0.25 * squares + 0.75 * pair, abs=1e-6)
    assert state.getEnergyParameterDerivatives()["mix"] == pytest.approx(squares - pair, abs=1e-6)


def test_scale_parameters_come_after_those_of_the_model() -> None:
    potential = load_potential(
        lambda positions, k: k * (positions**2).sum(), card=ModelCard.torchforce(parameters={"k": 2.0})
    )
    force = potential.create_force()
    force.setScaleParameter("mix", 0.5)
    names = [force.getGlobalParameterName(index) for index in range(force.getNumGlobalParameters())]
    assert names == ["k", "mix"]
    with pytest.raises(mm.OpenMMException, match="'mix' is the scale parameter"):
        force.addGlobalParameter("mix", 1.0)
    assert copy.deepcopy(force).getNumGlobalParameters() == 2


@pytest.mark.parametrize("value", [-1e-9, 1.5, np.nan, np.inf])
def test_values_outside_the_range_are_refused(potential: Potential, value: float) -> None:
    region = native.RegionForce(charges(), [0, 1])
    for force in (potential.create_force(), region):
        force.setScaleParameter("mix", 1.0)
        force.setScaleRange(0.0, 1.0)
        with refusal(mm.OpenMMException, "mix", allowed="0 to 1"):
            force.setGlobalParameterDefaultValue(0, value)
        assert force.getGlobalParameterDefaultValue(0) == 1.0
        context = mm.Context(system_of(force), mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
        context.setPositions(np.eye(3))
        context.setParameter("mix", value)
        with refusal(mm.OpenMMException, "mix", allowed="0 to 1"):
            context.getState(energy=True)


def test_a_wider_range_is_asked_for_and_kept(potential: Potential) -> None:
    for force in (potential.create_force(), native.RegionForce(charges(), [0, 1])):
        assert force.getScaleRange() == (-np.inf, np.inf)
        force.setScaleParameter("mix", 1.0)
        force.setScaleRange(-0.5, np.inf)
        force.setGlobalParameterDefaultValue(0, 1.5)
        assert copy.deepcopy(force).getScaleRange() == (-0.5, np.inf)
        with refusal(mm.OpenMMException, "setScaleRange", got="1 to 0"):
            force.setScaleRange(1.0, 0.0)


@pytest.mark.parametrize(
    "given, kind",
    [
        ([2**32 + 1], OverflowError),
        ([-(2**40)], OverflowError),
        ([True, False], TypeError),
        (np.array([True, False]), TypeError),
        ([1.0], TypeError),
        (["1"], TypeError),
        (1, TypeError),
    ],
    ids=str,
)
def test_indices_that_are_none(potential: Potential, given: object, kind: type[Exception]) -> None:
    force = potential.create_force(region=[1])
    with pytest.raises(kind) as info:
        force.setParticles(given)
    check_parts(str(info.value), "NeuralForce_setParticles", allowed=re.compile("integers|sequence"))
    assert force.getParticles() == (1,)


@pytest.mark.parametrize("given", [[2, 0], (2, 0), np.array([2, 0]), range(2, -1, -2), np.array([2, 0], np.uint8)])
def test_indices_of_every_kind(potential: Potential, given: object) -> None:
    force = potential.create_force()
    force.setParticles(given)
    assert force.getParticles() == (2, 0)


@pytest.mark.parametrize("groups", [[(0, 1), (1, 2)], [[0, 1], [1, 2]], np.array([[0, 1], [1, 2]])], ids=str)
def test_groups_of_every_kind(groups: object) -> None:
    integrator = native.MultistepLangevinIntegrator(300, 1, 0.002, groups)
    assert integrator.getGroups() == ((0, 1), (1, 2))


@pytest.mark.parametrize(
    "groups", [[(0,)], [0, 1], [(0, 1, 2)], ["01"], 3, [(0, True)], [(0, 2**40)], [(0, 1.0)]], ids=str
)
def test_groups_that_are_none(groups: object) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)) as info:
        native.MultistepLangevinIntegrator(300, 1, 0.002, groups)
    check_parts(str(info.value), "new_MultistepLangevinIntegrator")


def test_quantities(potential: Potential) -> None:
    integrator = native.MultistepLangevinIntegrator(
        300 * unit.kelvin, 2 / unit.nanosecond, 2 * unit.femtosecond, [(0, 1)]
    )
    assert integrator.getFriction().value_in_unit(unit.picosecond**-1) == pytest.approx(0.002)
    assert integrator.getStepSize().value_in_unit(unit.picosecond) == pytest.approx(0.002)
    integrator.setFriction(3 / unit.nanosecond)
    assert integrator.getFriction().value_in_unit(unit.picosecond**-1) == pytest.approx(0.003)
    force = potential.create_force(region=[0])
    force.setEnergyOffset(1 * unit.kilocalorie_per_mole)
    assert force.getEnergyOffset() == pytest.approx(4.184)
    force.addLink(0, 1, "fixed", 1.09 * unit.angstrom)
    assert force.getLinkParameters(0) == (0, 1, "fixed", pytest.approx(0.109))
    for wrong in (
        lambda: force.setEnergyOffset(1 * unit.nanometer),
        lambda: force.addLink(0, 1, "fixed", 1 * unit.kelvin),
        lambda: integrator.setTemperature(1 * unit.picosecond),
        lambda: native.MultistepLangevinIntegrator(300, 1 * unit.kelvin, 0.002, [(0, 1)]),
    ):
        with pytest.raises(TypeError, match="not compatible"):
            wrong()


def test_properties_name_all_that_exist(potential: Potential) -> None:
    force = potential.create_force()
    names = "concurrent, cuda_graphs, device, geometry, precision, threads"
    with refusal(mm.OpenMMException, "setProperty", got="'gpu'", allowed=names):
        force.setProperty("gpu", "0")
    force.setProperty("geometry", "host")


@pytest.mark.process
@pytest.mark.process
def test_the_library_alone_reads_files(models: ModelSet, tmp_path: pathlib.Path) -> None:
    """A program that never imports the package reads and runs a System once it has loaded the plugin's library."""
    system = system_of(models.pair("plain").create_force(atomic_numbers=[1, 6, 8]))
    (tmp_path / "system.xml").write_text(mm.XmlSerializer.serialize(system))
    script = """
import sys
import openmm
text = open(sys.argv[2]).read()
try:
    openmm.XmlSerializer.deserialize(text)
except openmm.OpenMMException as error:
    print("before:", error)
openmm.Platform.loadPluginLibrary(sys.argv[1])
system = openmm.XmlSerializer.deserialize(text)
context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
context.setPositions([[0, 0, 0], [0.11, 0, 0], [0, 0.12, 0]])
print(context.getState(energy=True).getPotentialEnergy()._value, "openmm_nn" in sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(native.library()), str(tmp_path / "system.xml")],
        capture_output=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    before, after = result.stdout.splitlines()
    assert "NeuralForce" in before
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    context.setPositions([[0, 0, 0], [0.11, 0, 0], [0, 0.12, 0]])
    energy, imported = after.split()
    assert float(energy) == pytest.approx(context.getState(energy=True).getPotentialEnergy()._value, abs=1e-4)
    assert imported == "False"
