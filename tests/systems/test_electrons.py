"""Charge and electrons that a structure implies, against formulas counted by hand and charges written in SMILES."""

import warnings
from typing import Any

import openmm
import pytest
from openmm import app

import openmm_nn
from openmm_nn.systems.electrons import Molecules, settle_charge

HCNO = "openmm-nn/hcno-1"


def made(smiles: str, box: float | None = None) -> app.Topology:
    """The topology of molecules that are written in SMILES, a residue each."""
    chem = pytest.importorskip("rdkit.Chem")
    molecule = chem.AddHs(chem.MolFromSmiles(smiles))
    topology = app.Topology()
    chain = topology.addChain()
    residues: dict[int, Any] = {}
    pieces = chem.GetMolFrags(molecule)
    place = {atom: number for number, piece in enumerate(pieces) for atom in piece}
    atoms = []
    order = [index for piece in pieces for index in piece]
    molecule = chem.RenumberAtoms(molecule, order)
    place = {new: place[old] for new, old in enumerate(order)}
    for atom in molecule.GetAtoms():
        number = place[atom.GetIdx()]
        if number not in residues:
            residues[number] = topology.addResidue("MOL", chain)
        residue = residues[number]
        atoms.append(topology.addAtom(atom.GetSymbol(), app.Element.getByAtomicNumber(atom.GetAtomicNum()), residue))
    for bond in molecule.GetBonds():
        topology.addBond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()])
    if box is not None:
        topology.setUnitCellDimensions(openmm.Vec3(box, box, box))
    return topology


def neural_force(topology: app.Topology, potential: openmm_nn.Potential, **options: int) -> Any:
    system = openmm.System()
    for atom in topology.atoms():
        system.addParticle(atom.element.mass)
    return openmm_nn.add_neural_force(topology, system, potential, **options)


@pytest.fixture(scope="module")
def hcno() -> openmm_nn.Potential:
    return openmm_nn.load_potential(HCNO)


QUIET = [
    "O",
    "CO",
    "O=C=O",
    "[C-]#[O+]",
    "N#N",
    "C#C",
    "c1nnn[nH]1",
    "C[N+](=O)[O-]",
    "CC(=O)NCC(=O)NC",
    "O.O.O",
    "CC(=O)O.CN",
]


@pytest.mark.parametrize("smiles", QUIET)
def test_neutral_molecules_pass_without_a_word(smiles: str, hcno: openmm_nn.Potential) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        openmm_nn.create_system(made(smiles, 3.0), hcno)


@pytest.mark.parametrize(
    "smiles, charge, in_remedy",
    [
        ("CC(=O)[O-]", 0, "charge=-1"),
        ("C[NH3+]", 0, "charge=1"),
        ("CC(=O)[O-]", 1, None),
        ("C[CH2]", 0, "multiplicity=2"),
        ("[OH]", 0, "multiplicity=2"),
        ("O", 1, "charge=0"),
    ],
)
def test_an_odd_number_of_electrons_is_no_singlet(
    smiles: str, charge: int, in_remedy: str | None, hcno: openmm_nn.Potential
) -> None:
    """C2H3O2 has 31 electrons, CH6N 19, C2H5 17, OH 9, and water less one 9."""
    topology = made(smiles)
    if in_remedy is None:
        with pytest.warns(UserWarning, match=r"imply -1 e"):
            openmm_nn.create_system(topology, hcno, charge=charge)
        return
    with pytest.raises(openmm_nn.OpenMMNNError) as caught:
        openmm_nn.create_system(topology, hcno, charge=charge)
    assert caught.value.argument == "charge"
    assert in_remedy in caught.value.remedy
    # The remedy is followed.
    name, value = in_remedy.split("=")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        force = neural_force(topology, hcno, **{"charge": charge, name: int(value)})
    assert (force.getCharge() if name == "charge" else force.getMultiplicity()) == int(value)


@pytest.mark.parametrize("smiles, charge", [("CC(=O)[O-]", -1), ("C[NH3+]", 1), ("[O-]C(=O)C(=O)[O-]", -2)])
def test_the_charge_that_is_not_given_is_guessed_with_a_warning(
    smiles: str, charge: int, hcno: openmm_nn.Potential
) -> None:
    with (
        pytest.warns(UserWarning, match=f"Give charge={charge} if"),
        pytest.warns(UserWarning, match="is not told the charge.*neutral closed-shell"),
    ):
        force = neural_force(made(smiles), hcno)
    assert force.getCharge() == charge


def test_an_even_number_is_no_alibi(hcno: openmm_nn.Potential) -> None:
    """Oxalate has an even number of electrons with charge 0 too; so has a zwitterion, whose charges add up to 0."""
    with pytest.warns(UserWarning, match=r"imply -2 e"):
        openmm_nn.create_system(made("[O-]C(=O)C(=O)[O-]"), hcno, charge=0)
    with pytest.warns(UserWarning, match=r"charged groups .* add up to zero"):
        openmm_nn.create_system(made("[NH3+]CC(=O)[O-]"), hcno)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        openmm_nn.create_system(made("[NH3+]CC(=O)[O-]"), hcno, charge=0)


def test_a_potential_that_is_told_hears_it() -> None:
    settled = settle_charge(Molecules.of_topology(made("CC(=O)[O-]")), -1, 1)
    assert settled == -1
    with pytest.warns(UserWarning, match="Give charge=-1"):
        assert settle_charge(Molecules.of_topology(made("CC(=O)[O-]")), None, 1) == -1


@pytest.mark.parametrize("numbers", [[11, 11, 11], [26], [13], [29, 29, 8], [18, 18]])
def test_metals_and_noble_gases_are_left_alone(numbers: list[int]) -> None:
    """Their electrons pair as they like, or are all paired."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert settle_charge(Molecules.of(numbers, [], ["x"] * len(numbers)), 0, 1) == 0


def test_a_capped_aspartate_side_chain(hcno: openmm_nn.Potential) -> None:
    """CH2-COO- with a link hydrogen is C2H3O2: 31 electrons if it had no charge, 32 with -1."""
    topology = made("CCC(=O)[O-]")
    atoms = list(topology.atoms())
    assert [atom.element.symbol for atom in atoms[:5]] == ["C", "C", "C", "O", "O"]
    near: dict[int, list[int]] = {atom.index: [] for atom in atoms}
    for bond in topology.bonds():
        near[bond[0].index].append(bond[1].index)
        near[bond[1].index].append(bond[0].index)
    region = [1, 2, 3, 4, *(other for other in near[1] if atoms[other].element.symbol == "H")]
    system = openmm.System()
    force = openmm.NonbondedForce()
    for atom in atoms:
        system.addParticle(atom.element.mass)
        force.addParticle(-0.14 if atom.index in region else 0.0, 0.3, 0.1)
    system.addForce(force)
    with pytest.raises(openmm_nn.OpenMMNNError) as caught:
        openmm_nn.create_hybrid_system(topology, system, hcno, region, charge=0)
    assert caught.value.argument == "charge"
    assert "31 electrons" in caught.value.got
    assert "C2H3O2" in caught.value.got
    assert "charge=-1" in caught.value.remedy
    with pytest.warns(UserWarning, match="is not told the charge"):
        hybrid = openmm_nn.create_hybrid_system(topology, system, hcno, region, charge=-1)
    assert hybrid.boundary_report().charge == -1
    with pytest.warns(UserWarning, match="Give charge=-1"):
        assert openmm_nn.create_hybrid_system(topology, system, hcno, region).boundary_report().charge == -1


def test_a_force_field_knows_which_of_two_closed_shells() -> None:
    """Paraquat has two charges, and its reduced form has the same bonds and none."""
    paraquat = Molecules.of_topology(made("C[n+]1ccc(cc1)-c1cc[n+](C)cc1"))
    with pytest.warns(UserWarning, match=r"Give charge=2 if"):
        assert settle_charge(paraquat, None, 1, classical=1.999) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert settle_charge(paraquat, 2, 1, classical=1.999) == 2


def test_a_term_on_a_part_of_a_molecule_has_no_electrons_to_count(hcno: openmm_nn.Potential) -> None:
    topology = made("CCO")
    system = openmm.System()
    for atom in topology.atoms():
        system.addParticle(atom.element.mass)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        openmm_nn.add_neural_force(topology, system, hcno, [0])
