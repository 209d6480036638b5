"""Machine code inside XML is run only when its hash is trusted."""

import base64
import copy
import hashlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import openmm as mm
import pytest

from openmm_nn import Potential, load_potential, trust_hash
from openmm_nn.errors import ModelError
from openmm_nn.model.trust import is_trusted
from tests import ROOT
from tests.platforms import REFERENCE, energy_of
from tests.potentials.aoti.packages import NUMBERS, Packages, changed
from tests.samples import bare_system, random_cluster

# Compiling a package takes long on a machine that is busy.
pytestmark = [pytest.mark.process, pytest.mark.timeout(1200)]

READER = """
import sys
import numpy as np
import openmm_nn
import openmm as mm
system = mm.XmlSerializer.deserialize(open("system.xml").read())
if sys.argv[1:]:
    openmm_nn.trust_hash(sys.argv[1])
context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
context.setPositions(np.load("positions.npy"))
print(context.getState(getEnergy=True).getPotentialEnergy()._value.hex())
"""


@pytest.fixture
def written(packages: Packages, native: str, tmp_path: pathlib.Path) -> tuple[pathlib.Path, str, str]:
    """A folder with a System in XML, the hash of the package inside, and the energy in hexadecimal."""
    positions = random_cluster(NUMBERS, seed=31)
    potential = packages("committee")
    system = bare_system(6)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS))
    (tmp_path / "system.xml").write_text(mm.XmlSerializer.serialize(system))
    np.save(tmp_path / "positions.npy", positions)
    return tmp_path, str(potential.sha256), energy_of(REFERENCE.context(system, positions)).hex()


def read(folder: pathlib.Path, *arguments: str, trusted: str = "") -> subprocess.CompletedProcess[str]:
    """Read the System in a fresh process."""
    environment = {k: v for k, v in os.environ.items() if k not in ("OPENMM_NN_ENGINE", "OPENMM_NN_TRUST")}
    environment |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    if trusted:
        environment["OPENMM_NN_TRUST"] = trusted
    return subprocess.run(
        [sys.executable, "-c", READER, *arguments],
        capture_output=True,
        encoding="utf-8",
        cwd=folder,
        env=environment,
        timeout=120,
        check=False,
    )


def test_refused_in_a_fresh_process(written: tuple[pathlib.Path, str, str]) -> None:
    folder, sha256, _ = written
    result = read(folder, trusted="0" * 64)
    assert result.returncode != 0
    said = result.stderr.splitlines()[-1]
    for word in ("machine code", sha256, f"openmm_nn.trust_hash('{sha256}')", "OPENMM_NN_TRUST"):
        assert word in said


def test_the_same_bits_once_trusted(written: tuple[pathlib.Path, str, str]) -> None:
    folder, sha256, energy = written
    result = read(folder, sha256)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-1] == energy
    assert sorted(path.name for path in folder.iterdir()) == ["positions.npy", "system.xml"]


def test_trusted_by_the_environment(written: tuple[pathlib.Path, str, str]) -> None:
    folder, sha256, energy = written
    result = read(folder, trusted=f"{'0' * 64}, {sha256.upper()}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-1] == energy


def test_code_exchanged_inside_the_xml(packages: Packages, native: str) -> None:
    """Other code has another hash, and the XML says which it was written with."""
    system = bare_system(6)
    potential = packages("committee")
    system.addForce(potential.create_force(atomic_numbers=NUMBERS))
    xml = mm.XmlSerializer.serialize(system)
    assert potential.data is not None
    other = changed(potential.data, extra="another")
    forged = xml.replace(base64.b64encode(potential.data).decode(), base64.b64encode(other).decode())
    assert forged != xml
    with pytest.raises(mm.OpenMMException, match="changed after it was written"):
        mm.XmlSerializer.deserialize(forged)
    forged = forged.replace(str(potential.sha256), hashlib.sha256(other).hexdigest())
    read_back = mm.XmlSerializer.deserialize(forged)
    with pytest.raises(mm.OpenMMException, match="this one is not"):
        REFERENCE.context(read_back, random_cluster(NUMBERS, seed=31))
    # Said to be TorchScript, it is no more welcome.
    disguised = mm.XmlSerializer.deserialize(forged.replace("aotinductor", "torchscript"))
    with pytest.raises(mm.OpenMMException, match="this one is not"):
        REFERENCE.context(disguised, random_cluster(NUMBERS, seed=31))


def test_a_copy_in_this_process_needs_no_more(packages: Packages, native: str) -> None:
    positions = random_cluster(NUMBERS, seed=31)
    system = bare_system(6)
    system.addForce(packages("committee").create_force(atomic_numbers=NUMBERS))
    energy = energy_of(REFERENCE.context(system, positions))
    assert energy_of(REFERENCE.context(copy.deepcopy(system), positions)) == energy
    again = mm.XmlSerializer.deserialize(mm.XmlSerializer.serialize(system))
    assert energy_of(REFERENCE.context(again, positions)) == energy


def test_naming_a_file_trusts_it(packages: Packages, engine: str, tmp_path: pathlib.Path) -> None:
    original = packages("committee")
    assert original.data is not None
    data = changed(original.data, extra=f"named {engine}")
    unnamed = Potential(original.card, data=data)
    positions = random_cluster(NUMBERS, seed=31)
    with pytest.raises(ModelError, match=rf"not trusted: {unnamed.sha256}.*trust_hash"):
        unnamed.evaluate(positions, NUMBERS)
    system = bare_system(6)

    def run() -> None:
        system.addForce(unnamed.create_force(atomic_numbers=NUMBERS))
        REFERENCE.context(system, positions)

    with pytest.raises((ModelError, mm.OpenMMException), match="trust"):
        run()
    (tmp_path / "named.pt2").write_bytes(data)
    named = load_potential(tmp_path / "named.pt2")
    assert named.sha256 == unnamed.sha256 and is_trusted(str(named.sha256))
    assert unnamed.evaluate(positions, NUMBERS).energy == original.evaluate(positions, NUMBERS).energy


def test_trust_hash(packages: Packages, native: str) -> None:
    original = packages("spring")
    assert original.data is not None
    potential = Potential(original.card, data=changed(original.data, extra="by its hash"))
    assert potential.sha256 is not None and not is_trusted(potential.sha256)
    trust_hash(potential.sha256.upper())
    assert potential.evaluate([[1.0, 2.0, 3.0]]).energy == pytest.approx(12.5 * 14.0, rel=1e-6)
    system = bare_system(1)
    system.addForce(potential.create_force())
    assert energy_of(REFERENCE.context(system, [[1.0, 2.0, 3.0]])) == pytest.approx(12.5 * 14.0, rel=1e-6)


def test_the_model_of_a_context_is_not_replaced_by_untrusted_code(packages: Packages, native: str) -> None:
    positions = random_cluster(NUMBERS, seed=31)
    potential = packages("committee")
    assert potential.data is not None
    force = potential.create_force(atomic_numbers=NUMBERS)
    system = bare_system(6)
    index = system.addForce(force)
    context = REFERENCE.context(system, positions)
    energy = energy_of(context)
    living = type(force).cast(context.getSystem().getForce(index))
    living.setModel(changed(potential.data, extra="replaced"), potential.card.to_json())
    with pytest.raises(mm.OpenMMException, match="this one is not"):
        living.updateModelInContext(context)
    assert energy_of(context) == energy
