"""Which atoms are meant: selections, indices, masks, and parts of a topology, each told apart from the others."""

import re
from typing import Any

import mdtraj
import numpy as np
import pytest
import torch
from openmm import app

import openmm_nn
from openmm_nn import create_hybrid_system
from openmm_nn.selection import select_atoms
from tests.refusals import refusal

RESIDUES = (("59", " ", "ALA"), ("60", " ", "GLY"), ("60", "A", "SER"), ("60", "B", "LIG"), ("61", " ", "4XX"))


@pytest.fixture
def topology() -> app.Topology:
    made = app.Topology()
    chain = made.addChain("L")
    for number, code, name in RESIDUES:
        residue = made.addResidue(name, chain, number, code)
        for atom in ("N", "CA"):
            made.addAtom(atom, app.Element.getBySymbol(atom[0]), residue)
    return made


@pytest.mark.parametrize(
    "selection, atoms",
    [
        ("resSeq 60", (2, 3)),
        ("resSeq 60A", (4, 5)),
        ("resSeq '60B'", (6, 7)),
        ("resSeq 60A 61", (4, 5, 8, 9)),
        ("resSeq 60A to 60B", (4, 5, 6, 7)),
        ("resSeq 60 to 61", (2, 3, 4, 5, 6, 7, 8, 9)),
        ("(resSeq 59 or resSeq 60B) and name CA", (1, 7)),
        ("residue == 60A", (4, 5)),
        ("resname 4XX", (8, 9)),
        ("resname ALA 4XX", (0, 1, 8, 9)),
        ("not resSeq 60A", (0, 1, 2, 3, 6, 7, 8, 9)),
        ("chainid 0 and resid 1", (2, 3)),
    ],
)
def test_a_residue_is_one_residue(topology: app.Topology, selection: str, atoms: tuple[int, ...]) -> None:
    assert select_atoms(topology, selection) == atoms


@pytest.mark.parametrize(
    "selection, got, in_remedy",
    [
        ("resSeq 60C", "residue 60C", "insertion code"),
        ("resid 60A", "60A after resid", "number after resid"),
        ("index 3A", "3A after index", "number after index"),
        ("chainid L", "L after chainid", "chainid 0"),
    ],
)
def test_a_name_where_a_number_belongs_is_refused(
    topology: app.Topology, selection: str, got: str, in_remedy: str
) -> None:
    with pytest.raises(openmm_nn.OpenMMNNError) as caught:
        select_atoms(topology, selection)
    assert got in caught.value.got
    assert in_remedy in caught.value.remedy


def test_the_other_insertion_codes_are_listed(topology: app.Topology) -> None:
    with pytest.raises(openmm_nn.OpenMMNNError) as caught:
        select_atoms(topology, "resSeq 60C")
    assert caught.value.allowed == "residues that it has, such as 60, 60A, 60B"


MASK = [False, True, True, False, False, False, False, False, False, True]
INDICES = (1, 2, 9)


@pytest.mark.parametrize(
    "given",
    [
        MASK,
        tuple(MASK),
        np.array(MASK),
        [np.bool_(value) for value in MASK],
        np.array(MASK, dtype=object),
        torch.tensor(MASK),
        list(torch.tensor(MASK)),
        (value for value in MASK),
        list(INDICES),
        np.array(INDICES),
        np.array(INDICES, dtype=np.uint8),
        torch.tensor(INDICES),
        list(torch.tensor(INDICES)),
        {9, 2, 1},
        iter(INDICES),
        np.flatnonzero(MASK),
    ],
    ids=lambda given: type(given).__name__,
)
def test_masks_and_indices_of_any_library(topology: app.Topology, given: Any) -> None:
    assert select_atoms(topology, given) == INDICES


def test_masks_and_indices_of_pandas(topology: app.Topology) -> None:
    pandas = pytest.importorskip("pandas")
    for given in (pandas.Series(MASK), pandas.Series(INDICES), pandas.Index(INDICES)):
        assert select_atoms(topology, given) == INDICES


@pytest.mark.parametrize(
    "given, got",
    [
        ([int(value) for value in MASK], "10 numbers that are all 0 or 1"),
        (np.array(MASK).astype(int), "10 numbers that are all 0 or 1"),
        (torch.tensor(MASK).int(), "10 numbers that are all 0 or 1"),
        ([1, 1, 0], "3 numbers that are all 0 or 1"),
        (np.array(MASK).astype(float), "the number 0.0"),
        ([1.0, 2.0], "the number 1.0"),
        (torch.tensor([1.0]), "the number 1.0"),
        (MASK[:-1], "a mask of 9 values"),
        (np.array([*MASK, True]), "a mask of 11 values"),
        ([True, 2], "truth values among indices"),
        ([0, -1], "index -1"),
        (np.array([-1]), "index -1"),
        ([0, 10], "index 10"),
        ([3, 3], "repeated index 3"),
        (np.argwhere(MASK), "an array of shape (3, 1)"),
        (np.array(MASK)[None], "an array of shape (1, 10)"),
        (np.nonzero(MASK), "array([1, 2, 9])"),
        (np.array(4), "an array of shape ()"),
        (4, "a int"),
        (None, "a NoneType"),
        (b"\x01\x02", "a bytes"),
        ({1: "C"}, "a dict"),
        (["1", "2"], "'1'"),
        ([], "empty"),
        ([False] * 10, "empty"),
    ],
    ids=str,
)
def test_what_is_neither_is_refused_by_its_reason(topology: app.Topology, given: Any, got: str) -> None:
    with pytest.raises(openmm_nn.OpenMMNNError) as caught:
        select_atoms(topology, given, argument="region")
    assert caught.value.argument == "region"
    assert got in caught.value.got


def test_atoms_residues_and_chains(topology: app.Topology) -> None:
    residues = list(topology.residues())
    converted = mdtraj.Topology.from_openmm(topology)
    assert select_atoms(topology, residues[1].atoms()) == (2, 3)
    assert select_atoms(topology, residues[1]) == (2, 3)
    assert select_atoms(topology, [residues[3], residues[0]]) == (6, 7, 0, 1)
    assert select_atoms(topology, next(topology.chains())) == tuple(range(10))
    assert select_atoms(topology, next(residues[2].atoms())) == (4,)
    assert select_atoms(topology, converted.residue(4)) == (8, 9)
    assert select_atoms(topology, [converted.atom(5), converted.atom(0)]) == (5, 0)


def test_atoms_of_another_topology_are_refused(topology: app.Topology) -> None:
    """As they are left over after Modeller has removed a residue: the indices have moved."""
    modeller = app.Modeller(topology, np.zeros((10, 3)))
    ligand = [residue for residue in topology.residues() if residue.name == "LIG"]
    modeller.delete([next(topology.residues())])
    with pytest.raises(openmm_nn.OpenMMNNError) as caught:
        select_atoms(modeller.topology, ligand)
    assert "another topology" in caught.value.got
    again = [residue for residue in modeller.topology.residues() if residue.name == "LIG"]
    assert select_atoms(modeller.topology, again) == (4, 5)


def test_a_region_is_given_in_the_same_ways() -> None:
    """Two of four argons, by an iterator of atoms, a mask of torch and a residue each."""
    import openmm

    topology, system, force = app.Topology(), openmm.System(), openmm.NonbondedForce()
    chain = topology.addChain()
    for _ in range(4):
        topology.addAtom("AR", app.element.argon, topology.addResidue("AR", chain))
        force.addParticle(0.0, 0.34, 1.0)
        system.addParticle(39.9)
    system.addForce(force)
    potential = openmm_nn.load_potential(lambda positions: (positions**2).sum())
    atoms = list(topology.atoms())
    for region in (iter(atoms[2:]), torch.tensor([False, False, True, True]), [atom.residue for atom in atoms[2:]]):
        assert create_hybrid_system(topology, system, potential, region).region.indices == (2, 3)


def test_a_force_without_topology_takes_indices_of_any_library(models: Any) -> None:
    pair = models.pair("plain")
    for atoms in (torch.tensor([4, 2]), np.array([4, 2]), (index for index in (4, 2))):
        assert list(pair.create_force(atomic_numbers=[1, 8], region=atoms).getParticles()) == [4, 2]
    for atoms in (torch.tensor([True, True]), list(torch.tensor([True, False])), [True, False]):
        with refusal(openmm_nn.OpenMMNNError, "region", got=re.compile("truth value|mask")):
            pair.create_force(atomic_numbers=[1, 8], region=atoms)
