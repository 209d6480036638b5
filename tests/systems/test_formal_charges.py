"""Formal charges from bonds, against the charges that are written in SMILES; RDKit only adds the hydrogens."""

import importlib.util
import pathlib

import pytest
from openmm import app

from openmm_nn.systems.formal_charges import formal_charges, topology_formal_charges

Chem = pytest.importorskip("rdkit.Chem")

NEUTRAL = """
O CO C=O O=C=O C#N C[N+]#[C-] [C-]#[O+] N#N C#C N#[N+][O-] CN=[N+]=[N-] C=[N+]=[N-] c1nnn[nH]1 C1CO1 OO C=C=C
O=C=C=C=O [O-][O+]=O C=[O+][O-] C[N+](=O)[O-] O=[N+]([O-])O c1cc[n+]([O-])cc1 C[N+](C)(C)[O-] CN=C=S CS(C)=O
CS(N)(=O)=O O=S=O O=S(=O)=O S=C=S S=C(N)N c1ccsc1 CSSC OP(=O)(O)O CP(C)C C=P(C)(C)C OB(O)O FC(F)(F)F FS(F)(F)(F)(F)F
ClP(Cl)(Cl)(Cl)Cl [NH3+]CC(=O)[O-] C[N+](C)(C)CC(=O)[O-] C[C@H]([NH3+])C(=O)N[C@@H](C)C(=O)[O-]
Cn1cnc2c1c(=O)n(C)c(=O)n2C c1ccc2ccccc2c1
"""
CATIONS = """
[NH4+] [OH3+] C[NH3+] C[N+](C)(C)C NC(N)=[NH2+] CC(N)=[NH2+] c1c[nH]c[nH+]1 c1cc[nH+]cc1 C[n+]1ccccc1
CCCC[n+]1ccn(C)c1 C[C+]=O C[S+](C)C C[P+](C)(C)C [Na+] CC(=O)N[C@@H](CCCNC(N)=[NH2+])C(=O)NC
CN(C)c1ccc2nc3ccc(N(C)C)cc3[s+]c2c1
"""
ANIONS = """
[OH-] C[O-] CC(=O)[O-] [O-]C=O c1ccccc1[O-] [O-]c1ccc([N+](=O)[O-])cc1 Nc1ccc([O-])cc1 [O-][N+](=O)[O-] O=N[O-]
[N-]=[N+]=[N-] [C-]#N [S-]C#N C[S-] O=C([O-])O CC(=O)[CH2-] CC(=O)C=C[O-] [NH2-] C1=C[N-]C=N1 C[N-]C(C)=O
CS(=O)(=O)[O-] COP(=O)([O-])OC [O-]Cl(=O)(=O)=O F[B-](F)(F)F F[P-](F)(F)(F)(F)F [Cl-] [I-] C(#N)[N-]C#N
FC(F)(F)S(=O)(=O)[N-]S(=O)(=O)C(F)(F)F
"""
OTHERS = {
    "O=C([O-])[O-]": -2,
    "[O-]C(=O)C(=O)[O-]": -2,
    "COP(=O)([O-])[O-]": -2,
    "[O-]S(=O)(=O)[O-]": -2,
    "[O-]S(=O)(=O)[S-]": -2,
    "F[Si-2](F)(F)(F)(F)F": -2,
    "[Mg+2]": 2,
    "[Zn+2]": 2,
    "Nc1ncnc2c1ncn2C1OC(COP(=O)([O-])OP(=O)([O-])OP(=O)([O-])[O-])C(O)C1O": -4,
    # the zinc of a protein, bonded as a CONECT record has it: two thiolates
    "C[S-].C[S-].[Zn+2]": 0,
}
UNKNOWN = ["[CH3]", "C[CH2]", "[CH3+]", "[CH3-]", "[Fe]", "[H]", "[CH2]CC[CH2]"]


def graph(smiles: str) -> tuple[list[int], list[tuple[int, int]], int]:
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    return [atom.GetAtomicNum() for atom in molecule.GetAtoms()], bonds, Chem.GetFormalCharge(molecule)


@pytest.mark.parametrize("smiles", [*NEUTRAL.split(), *CATIONS.split(), *ANIONS.split(), *OTHERS])
def test_the_sum_is_the_charge_of_the_molecule(smiles: str) -> None:
    numbers, bonds, charge = graph(smiles)
    found = formal_charges(numbers, bonds)
    assert None not in found
    assert sum(found) == charge
    if smiles in OTHERS:
        assert charge == OTHERS[smiles]


@pytest.mark.parametrize("smiles", UNKNOWN)
def test_no_charge_is_made_up(smiles: str) -> None:
    numbers, bonds, _ = graph(smiles)
    assert formal_charges(numbers, bonds) == (None,) * len(numbers)


def test_every_molecule_of_the_bundled_potential_is_neutral() -> None:
    training = pytest.importorskip("training.molecules")
    for molecule in training.molecule_set():
        numbers, bonds, charge = graph(molecule.smiles)
        assert charge == 0
        assert sum(formal_charges(numbers, bonds)) == 0, molecule.smiles


def test_contacts_of_metals_are_no_bonds() -> None:
    """Zinc between two thiolates, bonded to both as CONECT records have it."""
    numbers, bonds, _ = graph("C[S-].C[S-].[Zn+2]")
    sulphurs = [index for index, number in enumerate(numbers) if number == 16]
    zinc = numbers.index(30)
    found = formal_charges(numbers, [*bonds, *((zinc, sulphur) for sulphur in sulphurs)])
    assert [found[index] for index in (*sulphurs, zinc)] == [-1, -1, 2]


def test_elements_without_partners_are_no_ions() -> None:
    """Argon, a sheet of carbon with open edges, and beads without elements."""
    assert formal_charges([18] * 4, []) == (0,) * 4
    sheet = [(i, i + 1) for i in range(9)]
    assert formal_charges([6] * 10, sheet) == (0,) * 10
    assert formal_charges([0, 0], [(0, 1)]) == (None, None)


@pytest.mark.parametrize(
    "name, charge",
    [("T4-lysozyme-L99A-implicit/receptor", 8), ("dhfr/JAC", -11), ("cb7-b2/complex-vacuum", 0)],
)
def test_proteins_have_the_charge_of_their_force_field(name: str, charge: int) -> None:
    """The sum of Amber's partial charges of openmmtools' systems, read from the files and rounded."""
    spec = importlib.util.find_spec("openmmtools")
    if spec is None or spec.origin is None:
        pytest.skip("openmmtools, whose data are needed, is not installed")
    parameters = app.AmberPrmtopFile(str(pathlib.Path(spec.origin).parent / "data" / f"{name}.prmtop"))
    partial = [float(value) for value in parameters._prmtop._raw_data["CHARGE"]]
    assert round(sum(partial) / 18.2223) == charge
    assert sum(topology_formal_charges(parameters.topology)) == charge


def test_what_a_file_states_is_taken() -> None:
    topology = app.Topology()
    residue = topology.addResidue("RAD", topology.addChain())
    carbon = topology.addAtom("C", app.element.carbon, residue, formalCharge=-1)
    for name in ("H1", "H2", "H3"):
        topology.addBond(carbon, topology.addAtom(name, app.element.hydrogen, residue, formalCharge=0))
    iron = topology.addAtom("FE", app.element.iron, residue, formalCharge=3)
    assert topology_formal_charges(topology) == (-1, 0, 0, 0, 3)
    iron.formalCharge = None
    assert topology_formal_charges(topology)[-1] is None


def test_thousands_of_atoms_take_seconds() -> None:
    """A chain of glycines in one molecule, with both ends charged."""
    numbers, bonds, charge = graph("[NH3+]" + "CC(=O)N" * 400 + "CC(=O)[O-]")
    found = formal_charges(numbers, bonds)
    assert sum(found) == charge == 0
    assert sorted(value for value in found if value) == [-1, 1]
