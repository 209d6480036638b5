"""SevenNet-0, with the weights of its package, in OpenMM against SevenNet's own calculator."""

import pathlib
import re
import subprocess
import sys
import warnings

import numpy as np
import openmm as mm
import pytest

from openmm_nn import Potential, load_potential
from openmm_nn.errors import ParticleError, UnsupportedError
from openmm_nn.testing import check_potential
from tests.platforms import REFERENCE, energy_of
from tests.potentials.formats.agreement import Record, compare_with_ase
from tests.potentials.formats.boxes import cluster_of_waters, rock_salt, to_lattice, water_box
from tests.refusals import refusal
from tests.samples import bare_system

pytest.importorskip("sevenn", reason="the extra 'sevennet' is not installed: pip install 'openmm-nn[sevennet]'")


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The file that SevenNet deploys."""
    path = tmp_path_factory.mktemp("sevennet") / "deployed_serial.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sevenn.scripts.deploy import deploy
        from sevenn.util import pretrained_name_to_path

        deploy(pretrained_name_to_path("7net-0"), str(path))
    return path


@pytest.fixture(scope="module")
def potential(deployed: pathlib.Path) -> Potential:
    return load_potential(deployed)


@pytest.fixture(scope="module")
def calculator() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator("7net-0", device="cpu")


def test_card(potential: Potential) -> None:
    card = potential.card
    assert (card.length_unit, card.energy_unit, card.cutoff, card.dtype) == ("angstrom", "eV", 5.0, "float32")
    assert card.periodic == "optional" and card.frame == "invariant" and card.long_range is False
    assert len(card.elements) == 89
    assert {"H", "O", "Na", "Cl"} <= set(card.elements)
    assert set(card.energy_offset) == set(card.elements)
    assert card.energy_offset["O"] < -5.0


def test_small_water_box(potential: Potential, calculator: object, record: Record) -> None:
    """8 molecules in 0.62 nm, on different images: several images of every pair."""
    positions, numbers, box = water_box(2)
    record(compare_with_ase(potential, calculator, positions, numbers, box)).check(1e-5, 1e-4)


@pytest.mark.soak
def test_water_box(potential: Potential, calculator: object, record: Record) -> None:
    """64 molecules, periodic, molecules on different images."""
    positions, numbers, box = water_box()
    assert len(numbers) == 192
    record(compare_with_ase(potential, calculator, positions, numbers, box)).check(1e-5, 1e-4)


def test_crystal(potential: Potential, calculator: object, record: Record) -> None:
    """A triclinic cell of 0.56 nm and a cutoff of 0.5 nm: several images of every pair."""
    positions, numbers, box = rock_salt()
    record(compare_with_ase(potential, calculator, to_lattice(positions, box), numbers, box)).check(1e-5, 1e-4)


def test_cluster(potential: Potential, calculator: object, record: Record) -> None:
    positions, numbers = cluster_of_waters()
    record(compare_with_ase(potential, calculator, positions, numbers)).check(1e-5, 1e-4)


@pytest.mark.soak
def test_contract(potential: Potential) -> None:
    positions, numbers, box = rock_salt()
    check_potential(potential, numbers, positions, box=box, platform="CPU", tolerance=3e-4)


def test_double_precision_takes_the_file_as_it_is(potential: Potential) -> None:
    """The file's own numbers are single precision: asked for double, the rest is in double and the energy the same."""
    positions, numbers, box = rock_salt()
    energies = []
    for precision in ("single", "double"):
        system = bare_system(len(numbers), box=box)
        system.addForce(
            potential.create_force(atomic_numbers=numbers, periodic=True, properties={"precision": precision})
        )
        energies.append(energy_of(REFERENCE.context(system, positions)))
    np.testing.assert_allclose(energies[0], energies[1], rtol=0, atol=0.01)


@pytest.mark.process
def test_file_needs_no_sevennet(potential: Potential, tmp_path: pathlib.Path) -> None:
    """A System with it, read from XML in a process that cannot import SevenNet, has the same energy."""
    positions, numbers, box = rock_salt()
    system = bare_system(len(numbers), box=box)
    system.addForce(potential.create_force(atomic_numbers=numbers, periodic=True))
    (tmp_path / "system.xml").write_text(mm.XmlSerializer.serialize(system))
    np.save(tmp_path / "positions.npy", positions)
    code = (
        "import sys; sys.modules['sevenn'] = sys.modules['e3nn'] = None\n"
        "import numpy as np, openmm as mm, openmm_nn, openmm_nn.native as n; n.load()\n"
        "s = mm.XmlSerializer.deserialize(open('system.xml').read())\n"
        "c = mm.Context(s, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName('Reference'))\n"
        "c.setPositions(np.load('positions.npy')); print(repr(c.getState(getEnergy=True).getPotentialEnergy()._value))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(float(done.stdout), energy_of(REFERENCE.context(system, positions)), rtol=0, atol=1e-3)


@pytest.mark.soak
def test_name(potential: Potential) -> None:
    named = load_potential("sevennet/7net-0")
    assert named.card.name == "sevennet/7net-0"
    positions, numbers = cluster_of_waters()
    one, two = (p.evaluate(positions, numbers).energy for p in (named, potential))
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-3)


@pytest.mark.soak
def test_committee(potential: Potential, deployed: pathlib.Path) -> None:
    """Two files, the second a stranger: the mean and the deviation of what each says alone."""
    other = load_potential("sevennet/7net-l3i5")
    both = load_potential([deployed, "sevennet/7net-l3i5"])
    assert both.card.committee_size == 2
    positions, numbers = cluster_of_waters()
    alone = [p.evaluate(positions, numbers) for p in (potential, other)]
    found = both.evaluate(positions, numbers)
    energies = [result.energy for result in alone]
    assert abs(energies[0] - energies[1]) > 1.0
    np.testing.assert_allclose(found.energy, np.mean(energies), rtol=0, atol=1e-2)
    np.testing.assert_allclose(found.energy_std, np.std(energies, ddof=1), rtol=0, atol=1e-2)
    forces = np.array([result.forces for result in alone])
    scale = np.abs(forces).max()
    np.testing.assert_allclose(found.forces, forces.mean(axis=0), rtol=0, atol=1e-4 * scale)
    deviation = np.sqrt(forces.var(axis=0, ddof=1).sum(axis=1))
    np.testing.assert_allclose(found.forces_std, deviation, rtol=0, atol=1e-4 * scale)


def test_element_outside(potential: Potential) -> None:
    with refusal(ParticleError, "region", got="Po"):
        potential.create_force(atomic_numbers=[84])


def test_checkpoint(tmp_path: pathlib.Path) -> None:
    from sevenn.util import pretrained_name_to_path

    with refusal(UnsupportedError, re.compile(".*"), got="checkpoint", remedy="sevenn get_model"):
        load_potential(pretrained_name_to_path("7net-0"))
