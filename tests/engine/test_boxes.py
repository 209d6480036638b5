"""Periodic boxes: which are believed, and that every place that takes one asks."""

import io
import pathlib

import numpy as np
import openmm as mm
import pytest
from openmm import app, unit

from openmm_nn import ModelCard, add_neural_force, create_hybrid_system, create_system, load_potential, preflight
from openmm_nn.errors import OpenMMNNError, ParameterError
from openmm_nn.geometry import as_box, check_system_box, topology_box
from openmm_nn.runs import RunFile, prepare
from tests.models import ModelSet
from tests.platforms import PlatformCase, energy_of
from tests.samples import bare_system, make_periodic

ROOT_DATA = pathlib.Path(app.__file__).parent / "data"
UNIT = 0.1 * np.eye(3)  # CRYST1 of 1 Å: nm
NAN = np.diag([3.0, np.nan, 3.0])

# Cell edges (nm) that X-ray diffraction gives: R. W. G. Wyckoff, Crystal Structures (1963).
DIAMOND = 0.35668
FCC = np.array([[1.0, 0.0, 0.0], [0.5, np.sqrt(3) / 2, 0.0], [0.5, np.sqrt(3) / 6, np.sqrt(2 / 3)]])
CRYSTALS = {
    "diamond": (DIAMOND * np.eye(3), [6] * 8),
    "diamond, primitive": (DIAMOND / np.sqrt(2) * FCC, [6] * 2),
    "copper, primitive": (0.36147 / np.sqrt(2) * FCC, [29]),
    "beryllium": (np.array([[0.22866, 0, 0], [-0.11433, 0.19803, 0], [0, 0, 0.35833]]), [4] * 2),
    "graphite": (np.array([[0.2461, 0, 0], [-0.12305, 0.21313, 0], [0, 0, 0.6708]]), [6] * 4),
    "lithium hydride": (0.4083 * np.eye(3), [3] * 4 + [1] * 4),
    "polyethylene": (np.diag([0.7417, 0.4945, 0.2547]), [6] * 4 + [1] * 8),
    "ice Ih": (np.array([[0.4498, 0, 0], [-0.2249, 0.38954, 0], [0, 0, 0.7338]]), [8] * 4 + [1] * 8),
    # At pressures of shock waves and anvils: ice X at 100 GPa, diamond at 100 GPa, hydrogen at 150 GPa.
    "ice X": (0.2735 * np.eye(3), [8] * 2 + [1] * 4),
    "diamond, 100 GPa": (0.3370 * np.eye(3), [6] * 8),
    "hydrogen, 150 GPa": (0.2560 * np.eye(3), [1] * 8),
    "water": (3.0 * np.eye(3), [8, 1, 1] * 902),
    "a molecule in vacuum": (np.diag([5.0, 6.0, 7.0]), [6, 1, 1, 1, 1]),
    "a chain of carbon": (np.diag([2.0, 2.0, 0.128]), [6]),
}
IMPOSSIBLE = {
    "CRYST1 of 1 Å": UNIT,
    "nm taken for Å": 0.3 * np.eye(3),
    "narrower than a bond": np.diag([9.0, 9.0, 0.05]),
    "no volume": np.diag([3.0, 0.0, 3.0]),
    "left-handed": np.diag([3.0, 3.0, -3.0]),
    "not a number": NAN,
    "not finite": np.diag([3.0, np.inf, 3.0]),
    "not of OpenMM's form": np.array([[3.0, 0.1, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]]),
    "two vectors": np.eye(3)[:2],
}


@pytest.mark.parametrize("name", list(CRYSTALS))
def test_real_crystals_are_believed(name: str) -> None:
    box, numbers = CRYSTALS[name]
    np.testing.assert_allclose(np.linalg.det(as_box(box, numbers)), abs(np.linalg.det(box)), rtol=1e-12)


@pytest.mark.parametrize("name", list(IMPOSSIBLE))
def test_what_cannot_be_a_box_is_not(name: str) -> None:
    with pytest.raises(ParameterError) as caught:
        as_box(IMPOSSIBLE[name], [6, 7, 8, 1] * 20, argument="cell", remedy="do this")
    assert (caught.value.argument, caught.value.remedy) == ("cell", "do this")


def test_the_smallest_box_of_one_atom() -> None:
    """1 Å is too narrow for any atom, a hydrogen included; the limit of density is that of the module's head."""
    for number in (1, 2, 6, 92):
        with pytest.raises(ParameterError):
            as_box(UNIT, [number])
    edge = np.cbrt(22 / 700)
    as_box(1.001 * edge * np.eye(3), [1] * 22)
    with pytest.raises(ParameterError):
        as_box(0.999 * edge * np.eye(3), [1] * 22)


def test_an_unreduced_box_is_the_same_lattice() -> None:
    box = as_box([[2.0, 0.0, 0.0], [5.5, 2.0, 0.0], [-3.1, 4.9, 2.0]])
    np.testing.assert_allclose(box, [[2.0, 0.0, 0.0], [-0.5, 2.0, 0.0], [-0.1, 0.9, 2.0]], atol=1e-12)


def boxed(vectors: np.ndarray | None) -> tuple[app.Topology, np.ndarray]:
    """Eight waters, with a box that a file may have."""
    topology, rng = app.Topology(), np.random.default_rng(0)
    chain, positions = topology.addChain(), []
    for index in range(8):
        residue = topology.addResidue("HOH", chain)
        atoms = [topology.addAtom(n, app.Element.getBySymbol(n[0]), residue) for n in ("O", "H1", "H2")]
        topology.addBond(atoms[0], atoms[1])
        topology.addBond(atoms[0], atoms[2])
        corner = 0.35 * np.array([index & 1, index >> 1 & 1, index >> 2])
        positions += [corner + np.array(atom) for atom in ([0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0])]
    if vectors is not None:
        topology.setPeriodicBoxVectors([mm.Vec3(*row) for row in vectors.tolist()] * unit.nanometer)
    return topology, np.array(positions) + rng.uniform(0, 1e-3, (24, 3))


def pair_potential(models: ModelSet) -> object:
    return models.pair("edges")


@pytest.mark.parametrize("vectors", [UNIT, NAN, np.diag([4.0, 4.0, 0.05])], ids=["1 Å", "nan", "thin"])
def test_every_place_that_takes_a_box_asks(models: ModelSet, vectors: np.ndarray) -> None:
    topology, positions = boxed(vectors)
    potential = pair_potential(models)
    numbers = [8, 1, 1] * 8
    classical = bare_system(24, box=vectors)
    make_periodic(classical)
    places = {
        "topology_box": (lambda: topology_box(topology), "topology"),
        "check_system_box": (lambda: check_system_box(classical, topology), "system"),
        "create_system": (lambda: create_system(topology, potential), "topology"),
        "create_force": (lambda: potential.create_force(topology=topology), "topology"),
        "add_neural_force": (lambda: add_neural_force(topology, classical, potential, region=[0, 1, 2]), "system"),
        "create_hybrid_system": (lambda: create_hybrid_system(topology, classical, potential, [0, 1, 2]), "system"),
        "evaluate": (lambda: potential.evaluate(positions, numbers, box=vectors), "box"),
        "preflight": (lambda: preflight(topology, potential, positions, box=vectors), "box"),
    }
    for name, (action, argument) in places.items():
        with pytest.raises(OpenMMNNError) as caught:
            action()
        assert caught.value.argument == argument, name


def test_where_the_box_is_not_used_it_does_not_matter(models: ModelSet) -> None:
    """The structure of an NMR file as a cluster, in vacuum or implicit solvent."""
    topology, positions = boxed(UNIT)
    potential = pair_potential(models)
    plain, _ = boxed(None)
    energies = []
    for given, periodic in ((plain, None), (topology, False)):
        system = create_system(given, potential, periodic=periodic)
        context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
        context.setPositions(positions)
        energies.append(energy_of(context))
    assert energies[0] == energies[1]
    classical = bare_system(24)
    assert create_hybrid_system(topology, classical, potential, [0, 1, 2]).system.getNumForces() == 1


def test_the_remedy_works(models: ModelSet) -> None:
    topology, _ = boxed(UNIT)
    potential = pair_potential(models)
    with pytest.raises(ParameterError) as caught:
        create_system(topology, potential)
    assert "topology.setPeriodicBoxVectors(None)" in caught.value.remedy and "CRYST1" in caught.value.allowed
    topology.setPeriodicBoxVectors(None)
    assert not create_system(topology, potential).usesPeriodicBoundaryConditions()


def test_a_context_asks_too(models: ModelSet, platform: PlatformCase, engine: str) -> None:
    """A box that only the Context has, and one that collapses in a run."""
    topology, positions = boxed(2.0 * np.eye(3))
    system = create_system(topology, pair_potential(models))
    context = platform.context(system, positions)
    energy_of(context)
    context.setPeriodicBoxVectors(*(mm.Vec3(*row) for row in (0.2 * np.eye(3)).tolist()))
    context.setPositions(positions)
    with pytest.raises((mm.OpenMMException, OpenMMNNError), match="box"):
        energy_of(context)


def test_openmms_default_box_is_one_that_was_not_set() -> None:
    """Amber users give the box to the Context: the System then has OpenMM's 2 nm, whatever the number of atoms."""
    pdb = app.PDBFile(str(ROOT_DATA / "test.pdb"))
    system = bare_system(pdb.topology.getNumAtoms())
    make_periodic(system)
    check_system_box(system, pdb.topology)


@pytest.mark.parametrize("name", ["test.pdb", "tip3p.pdb", "spce.pdb", "DPPC.pdb", "POPC.pdb"])
def test_no_false_alarm_for_structures_of_openmm(name: str) -> None:
    topology_box(app.PDBFile(str(ROOT_DATA / name)).topology)


PDB = """\
CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1
ATOM      1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O
ATOM      2  H1  HOH A   1       0.957   0.000   0.000  1.00  0.00           H
ATOM      3  H2  HOH A   1      -0.240   0.927   0.000  1.00  0.00           H
END
"""
RUN = """\
structure:
  file: water.pdb
potential:
  name: openmm-nn/hcno-1
dynamics:
  temperature: 300 K
  timestep: 0.5 fs
produce:
  length: 1 ps
"""


def test_run_files(tmp_path: pathlib.Path) -> None:
    """The error names the line; and both remedies work."""
    assert app.PDBFile(io.StringIO(PDB)).topology.getPeriodicBoxVectors() is not None
    (tmp_path / "water.pdb").write_text(PDB)
    (tmp_path / "run.yaml").write_text(RUN)
    with pytest.raises(OpenMMNNError) as caught:
        prepare(RunFile.load(tmp_path / "run.yaml"))
    assert "line 2" in str(caught.value) and "CRYST1" in caught.value.remedy
    (tmp_path / "water.pdb").write_text(PDB.split("\n", 1)[1])
    assert not prepare(RunFile.load(tmp_path / "run.yaml")).system.usesPeriodicBoundaryConditions()
    (tmp_path / "water.pdb").write_text(PDB)
    text = RUN.replace("water.pdb\n", "water.pdb\n  box: [3 nm, 3 nm, 3 nm]\n")
    (tmp_path / "run.yaml").write_text(text)
    assert prepare(RunFile.load(tmp_path / "run.yaml")).system.usesPeriodicBoundaryConditions()


def test_a_card_that_is_never_given_a_box() -> None:
    topology, _ = boxed(UNIT)
    potential = load_potential(lambda positions: (positions**2).sum(), card=ModelCard.torchforce(periodic=False))
    create_system(topology, potential)
