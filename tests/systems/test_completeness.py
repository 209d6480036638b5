"""Bonds and hydrogens that a topology lacks, and what lacks none."""

import io
import warnings
from typing import Any

import openmm
import pytest
from openmm import app

import openmm_nn
from openmm_nn.systems.completeness import check_bonds_present, open_valences
from tests import SHARED
from tests.samples import peptide_pdb
from tests.systems.test_electrons import made

HCNO = "openmm-nn/hcno-1"


def without_bonds(topology: app.Topology) -> app.Topology:
    bare = app.Topology()
    for chain in topology.chains():
        new = bare.addChain(chain.id)
        for residue in chain.residues():
            inside = bare.addResidue(residue.name, new, residue.id)
            for atom in residue.atoms():
                bare.addAtom(atom.name, atom.element, inside)
    bare.setPeriodicBoxVectors(topology.getPeriodicBoxVectors())
    return bare


def in_a_box(topology: app.Topology, edge: float = 3.0) -> app.Topology:
    topology.setUnitCellDimensions(openmm.Vec3(edge, edge, edge))
    return topology


@pytest.fixture(scope="module")
def hcno() -> openmm_nn.Potential:
    return openmm_nn.load_potential(HCNO)


def peptide() -> app.Topology:
    pdb = peptide_pdb(SHARED)
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.deleteWater()
    return modeller.topology


def without_hydrogens(topology: app.Topology) -> app.Topology:
    modeller = app.Modeller(topology, [openmm.Vec3(0, 0, 0)] * topology.getNumAtoms())
    modeller.delete([atom for atom in topology.atoms() if atom.element is app.element.hydrogen])
    return modeller.topology


def test_a_box_without_bonds_is_spoken_of(hcno: openmm_nn.Potential) -> None:
    topology = in_a_box(without_bonds(peptide()))
    with pytest.warns(UserWarning, match="22 atoms without bonds in 3 residues: ACE1, ALA2, NME3"):
        openmm_nn.create_system(topology, hcno)
    # The remedy is followed: one molecule, and not a word.
    topology.createStandardBonds()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        system = openmm_nn.create_system(topology, hcno)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    assert [len(molecule) for molecule in context.getMolecules()] == [22]


def test_with_a_barostat_it_is_an_error(hcno: openmm_nn.Potential) -> None:
    topology = in_a_box(without_bonds(peptide()))
    system = openmm.System()
    for atom in topology.atoms():
        system.addParticle(atom.element.mass)
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))
    with pytest.raises(openmm_nn.OpenMMNNError) as caught:
        openmm_nn.add_neural_force(topology, system, hcno)
    assert caught.value.argument == "topology"
    assert "createStandardBonds" in caught.value.remedy


def atoms_of(symbols: str, box: bool = True, one_residue: bool = False) -> app.Topology:
    topology = app.Topology()
    chain = topology.addChain()
    residue = topology.addResidue("X", chain)
    for symbol in symbols.split():
        topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
        residue = residue if one_residue else topology.addResidue("X", chain)
    return in_a_box(topology) if box else topology


@pytest.mark.parametrize(
    "topology",
    [
        atoms_of("Ar Ar Ar"),
        atoms_of("Na Cl Na Cl"),
        atoms_of("Al Al Al Al", one_residue=True),
        atoms_of("Si O O Si O O", one_residue=True),
        atoms_of("Ti O O", one_residue=True),
        atoms_of("C C C C", one_residue=True),
        atoms_of("O H H", box=False, one_residue=True),
    ],
    ids=["argon", "salt", "aluminium", "quartz", "rutile", "graphite", "water in vacuum"],
)
def test_what_has_no_bonds_to_lack(topology: app.Topology) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_bonds_present(topology)


@pytest.mark.parametrize("symbols", ["O H H", "C O O", "N N", "H H", "C H H H Cl"])
def test_what_lacks_bonds(symbols: str) -> None:
    with pytest.warns(UserWarning, match="atoms without bonds"):
        check_bonds_present(atoms_of(symbols, one_residue=True))


def test_a_ligand_whose_bonds_a_file_does_not_give(hcno: openmm_nn.Potential) -> None:
    """Water has standard bonds, the ligand has none."""
    topology = in_a_box(made("CO"))
    for residue, name in zip(topology.residues(), ["LIG"], strict=True):
        residue.name = name
    bare = without_bonds(topology)
    water = bare.addResidue("HOH", next(bare.chains()))
    oxygen, first, second = (bare.addAtom(n, app.Element.getBySymbol(n[0]), water) for n in ("O", "H1", "H2"))
    bare.addBond(oxygen, first)
    bare.addBond(oxygen, second)
    with pytest.warns(UserWarning, match="6 atoms without bonds in 1 residues: LIG"):
        check_bonds_present(bare)


def test_a_peptide_without_hydrogens(hcno: openmm_nn.Potential) -> None:
    topology = without_hydrogens(peptide())
    with pytest.warns(UserWarning, match="lack hydrogens: ACE1, ALA2, NME3"):
        openmm_nn.create_system(topology, hcno)


COMPLETE = """
O=C=O [C-]#[O+] N#N ClC(Cl)(Cl)Cl ClC(Cl)=O S=C=S N#CC#N Fc1c(F)c(F)c(F)c(F)c1F N#CC(C#N)=C(C#N)C#N [O-]C(=O)C(=O)[O-]
c1ccccc1 CC#CC C=C=C CC(=O)NC [Na+].[Cl-] CN=C=O C[N+]#[C-] FC(F)=C(F)F O [Ar]
"""
INCOMPLETE = "c1ccccc1 Cc1ccccc1 c1ccc2ccccc2c1 CC(=O)NC CCO C1CC1 CC(=O)O C=C"


@pytest.mark.parametrize("smiles", COMPLETE.split())
def test_what_lacks_no_hydrogens(smiles: str) -> None:
    assert not open_valences(made(smiles))


@pytest.mark.parametrize("smiles", INCOMPLETE.split())
def test_what_lacks_them(smiles: str) -> None:
    assert len(open_valences(without_hydrogens(made(smiles)))) == 1


def test_carbon_alone_and_crystal_waters() -> None:
    """A sheet of graphite is complete; an oxygen in a residue of water is not."""
    columns, rows = 6, 6
    sheet, atoms = atoms_of("C " * (2 * columns * rows), one_residue=True), []
    atoms = list(sheet.atoms())
    for x in range(columns):
        for y in range(rows):
            first = 2 * (x * rows + y)
            for dx, dy in ((0, 0), (-1, 0), (0, -1)):
                if x + dx >= 0 and y + dy >= 0:
                    sheet.addBond(atoms[first], atoms[2 * ((x + dx) * rows + y + dy) + 1])
    assert not open_valences(sheet)
    water = app.PDBFile(io.StringIO("HETATM    1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O\n"))
    assert [residue.name for residue in open_valences(water.topology)] == ["HOH"]


def test_springs_and_beads_are_not_judged() -> None:
    """A potential that does not ask for elements is no chemistry."""
    topology = in_a_box(without_bonds(peptide()))
    spring: Any = openmm_nn.load_potential(lambda positions: (positions**2).sum())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        openmm_nn.create_system(topology, spring)
