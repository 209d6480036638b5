"""XML with the model inside, copies, and what is refused."""

import base64
import copy
import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import openmm as mm
import pytest

from openmm_nn import Link, load_potential
from tests import ROOT, oracle
from tests.models import ModelSet
from tests.platforms import REFERENCE, PlatformCase, energy_of, forces_of
from tests.samples import BOXES, Region, bare_system, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]
READER = """
import sys
import numpy as np
import openmm_nn
import openmm as mm
system = mm.XmlSerializer.deserialize(open(sys.argv[1]).read())
context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
context.setPositions(np.load(sys.argv[2]))
state = context.getState(getEnergy=True, getForces=True)
print(state.getPotentialEnergy()._value.hex())
print(" ".join(v.hex() for v in state.getForces(asNumpy=True)._value.ravel().tolist()))
"""


def fresh_process(xml: str, positions: np.ndarray, folder: pathlib.Path) -> tuple[str, str]:
    """Energy and forces, in hexadecimal, by a process that knows nothing but the file."""
    (folder / "system.xml").write_text(xml)
    np.save(folder / "positions.npy", positions)
    environment = {k: v for k, v in os.environ.items() if k != "OPENMM_NN_ENGINE"}
    environment["PYTHONPATH"] = str(ROOT)
    result = subprocess.run(
        [sys.executable, "-c", READER, str(folder / "system.xml"), str(folder / "positions.npy")],
        capture_output=True,
        encoding="utf-8",
        cwd=folder,
        env=environment,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    energy, forces = result.stdout.splitlines()[-2:]
    return energy, forces


def hexadecimal(context: mm.Context) -> tuple[str, str]:
    return energy_of(context).hex(), " ".join(v.hex() for v in forces_of(context).ravel().tolist())


@pytest.mark.process
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["plain", "edges", "edges-forces", "parameter"])
def test_same_bits_in_a_fresh_process(
    models: ModelSet, native: str, tmp_path: pathlib.Path, kind: str, dtype: str
) -> None:
    positions = random_cluster(NUMBERS, seed=31)
    system = bare_system(6)
    potential = models.pair(kind, dtype=dtype, offset=True)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS, properties={"threads": "1"}))
    here = hexadecimal(REFERENCE.context(system, positions))
    assert fresh_process(mm.XmlSerializer.serialize(system), positions, tmp_path) == here


@pytest.mark.process
def test_torchforce_model_in_a_fresh_process(models: ModelSet, native: str, tmp_path: pathlib.Path) -> None:
    positions = random_cluster(NUMBERS, seed=31)
    system = bare_system(6)
    system.addForce(models.torchforce("parameter").create_force())
    here = hexadecimal(REFERENCE.context(system, positions))
    assert fresh_process(mm.XmlSerializer.serialize(system), positions, tmp_path) == here


def everything(models: ModelSet) -> tuple[mm.System, np.ndarray]:
    """A force with all of what it can hold."""
    region = Region()
    system = region.system(BOXES["triclinic"])
    force = models.pair("parameter", unit="angstrom", offset=True).create_force(
        atomic_numbers=region.numbers[:7],
        region=region.atoms[:7],
        links=[Link(region.atoms[6], region.atoms[7], "ratio", 0.71)],
        bonds=region.bonds[:6],
        force_group=5,
        properties={"precision": "double"},
    )
    force.setName("the neural one & <more>")
    force.setScaleParameter("lambda_nn", 0.625)
    force.addEnergyParameterDerivative("lambda_nn")
    force.addEnergyParameterDerivative("strength")
    system.addForce(force)
    return system, region.positions


def check_everything(system: mm.System, positions: np.ndarray, expected: tuple[str, str]) -> None:
    force = system.getForce(system.getNumForces() - 1)
    assert force.getName() == "the neural one & <more>"
    assert force.getForceGroup() == 5
    context = REFERENCE.context(system, positions)
    assert hexadecimal(context) == expected
    assert dict(context.getParameters()) == {"strength": 1.5, "tilt": -2.0, "lambda_nn": 0.625}
    derivatives = dict(context.getState(getParameterDerivatives=True).getEnergyParameterDerivatives())
    assert derivatives["strength"] != 0.0 and derivatives["lambda_nn"] != 0.0
    assert derivatives.get("tilt", 0.0) == 0.0
    assert sorted(len(m) for m in context.getMolecules()) == [1] * 6 + [3, 5]


def test_round_trip_keeps_everything(models: ModelSet, native: str) -> None:
    system, positions = everything(models)
    expected = hexadecimal(REFERENCE.context(system, positions))
    xml = mm.XmlSerializer.serialize(system)
    read = mm.XmlSerializer.deserialize(xml)
    check_everything(read, positions, expected)
    assert mm.XmlSerializer.serialize(read) == xml


def test_deepcopy_keeps_everything(models: ModelSet, native: str) -> None:
    system, positions = everything(models)
    expected = hexadecimal(REFERENCE.context(system, positions))
    duplicate = copy.deepcopy(system)
    del system
    check_everything(duplicate, positions, expected)


def test_deepcopy_of_a_force(models: ModelSet, native: str) -> None:
    system, positions = everything(models)
    expected = energy_of(REFERENCE.context(system, positions), {5})
    duplicate = copy.deepcopy(system.getForce(system.getNumForces() - 1))
    other = Region().system(BOXES["triclinic"])
    other.addForce(duplicate)
    assert energy_of(REFERENCE.context(other, positions), {5}) == expected


def test_bytes_are_base64_and_shared(models: ModelSet, native: str) -> None:
    """The file's own bytes, in base64, once a force."""
    path = models.pair_file("edges")
    system = bare_system(6)
    system.addForce(load_potential(path).create_force(atomic_numbers=NUMBERS))
    xml = mm.XmlSerializer.serialize(system)
    longest = max(re.findall(r"[A-Za-z0-9+/=]{200,}", xml), key=len)
    assert base64.b64decode(longest, validate=True) == path.read_bytes()
    assert load_potential(path).sha256 in xml
    assert re.search(r"<Force[^>]*version=\"\d+\"|<Force[^>]* type=\"[^\"]*NeuralForce\"", xml)


def test_changed_byte_is_refused(models: ModelSet, native: str) -> None:
    path = models.pair_file("edges")
    system = bare_system(6)
    force = load_potential(path).create_force(atomic_numbers=NUMBERS)
    force.setName("solute potential")
    system.addForce(force)
    xml = mm.XmlSerializer.serialize(system)
    longest = max(re.findall(r"[A-Za-z0-9+/=]{200,}", xml), key=len)
    content = bytearray(base64.b64decode(longest))
    content[len(content) // 2] ^= 1
    with pytest.raises(mm.OpenMMException, match=r"(?is)model.*sha-?256"):
        mm.XmlSerializer.deserialize(xml.replace(longest, base64.b64encode(bytes(content)).decode()))


def test_changed_hash_or_broken_base64_is_refused(models: ModelSet, native: str) -> None:
    potential = models.pair("edges")
    system = bare_system(6)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS))
    xml = mm.XmlSerializer.serialize(system)
    flipped = ("0" if potential.sha256[0] != "0" else "1") + potential.sha256[1:]
    with pytest.raises(mm.OpenMMException, match=r"(?i)sha-?256|hash"):
        mm.XmlSerializer.deserialize(xml.replace(potential.sha256, flipped))
    longest = max(re.findall(r"[A-Za-z0-9+/=]{200,}", xml), key=len)
    with pytest.raises(mm.OpenMMException):
        mm.XmlSerializer.deserialize(xml.replace(longest, longest[:100] + "*" + longest[101:]))


def test_newer_format_version_is_refused(models: ModelSet, native: str) -> None:
    system = bare_system(6)
    system.addForce(models.pair("edges").create_force(atomic_numbers=NUMBERS))
    xml = mm.XmlSerializer.serialize(system)
    newer, count = re.subn(r"(<Force[^>]*NeuralForce[^>]* version=\")\d+", r"\g<1>999", xml)
    if not count:
        newer, count = re.subn(r"(<Force[^>]* version=\")\d+(\"[^>]*NeuralForce)", r"\g<1>999\2", xml)
    if not count:
        newer, count = re.subn(r"(<Force(?=[^>]*NeuralForce)[^>]*? version=\")\d+", r"\g<1>999", xml)
    assert count == 1
    with pytest.raises(mm.OpenMMException, match=r"(?i)version"):
        mm.XmlSerializer.deserialize(newer)


def callable_system(models: ModelSet) -> mm.System:
    module = models.pair_module("plain").eval()
    card = dataclasses.replace(models.pair_card("plain"), format="callable")
    system = bare_system(6)
    system.addForce(load_potential(module.forward, card=card).create_force(atomic_numbers=NUMBERS))
    return system


def test_callable_in_xml_is_refused(models: ModelSet, native: str) -> None:
    with pytest.raises(Exception, match=r"(?s)callable.*export_potential") as info:
        mm.XmlSerializer.serialize(callable_system(models))
    assert isinstance(info.value, (mm.OpenMMException, ValueError))


def test_callable_is_copied_within_the_process(models: ModelSet, platform: PlatformCase, native: str) -> None:
    system = callable_system(models)
    duplicate = copy.deepcopy(system)
    del system
    positions = random_cluster(NUMBERS, seed=31)
    energy, forces = oracle.pair_energy_forces(positions, NUMBERS)
    context = platform.context(duplicate, positions)
    platform.check_energy(energy_of(context), energy)
    platform.check_forces(forces_of(context), forces)


def test_xml_of_the_python_engine_is_refused(models: ModelSet, python_engine: str) -> None:
    system = bare_system(6)
    system.addForce(models.pair("edges").create_force(atomic_numbers=NUMBERS))
    with pytest.raises(Exception, match=r"(?i)pickle|native|serializ|XML"):
        mm.XmlSerializer.serialize(system)


def test_checkpoint_of_a_state(models: ModelSet, native: str) -> None:
    """A State written to XML has the parameters of the force."""
    system = bare_system(6)
    system.addForce(models.pair("parameter").create_force(atomic_numbers=NUMBERS))
    context = REFERENCE.context(system, random_cluster(NUMBERS, seed=31))
    context.setParameter("strength", 0.125)
    state = context.getState(getPositions=True, getParameters=True)
    read = mm.XmlSerializer.deserialize(mm.XmlSerializer.serialize(state))
    assert dict(read.getParameters()) == {"strength": 0.125, "tilt": -2.0}
