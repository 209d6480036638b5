"""Cuts that no link hydrogen can close: contacts with metals, small rings, environment atoms that are bonded."""

import io
import re

import numpy as np
import openmm as mm
import pytest
from openmm import app, unit

from openmm_nn import select_region
from openmm_nn.errors import BoundaryError
from openmm_nn.systems.hybrid.bond_graph import BondGraph
from openmm_nn.systems.hybrid.bond_orders import bond_kind
from tests.refusals import refusal
from tests.systems.hybrid import molecules
from tests.systems.hybrid.cases import lysozyme, make_hybrid, select, villin
from tests.systems.hybrid.molecules import build
from tests.systems.hybrid.region_energy import reference_context, zero_potential

# Acetone whose carbonyl oxygen is 0.21 nm from Mg2+, as a ligand's CONECT records have it.
ACETONE = """\
HETATM    1  C1  ACN A   1      -1.290   0.000  -0.600  1.00  0.00           C
HETATM    2  C2  ACN A   1       0.000   0.000   0.180  1.00  0.00           C
HETATM    3  C3  ACN A   1       1.290   0.000  -0.600  1.00  0.00           C
HETATM    4  O1  ACN A   1       0.000   0.000   1.400  1.00  0.00           O
HETATM    5  H1  ACN A   1      -2.130   0.000   0.090  1.00  0.00           H
HETATM    6  H2  ACN A   1      -1.340   0.880  -1.240  1.00  0.00           H
HETATM    7  H3  ACN A   1      -1.340  -0.880  -1.240  1.00  0.00           H
HETATM    8  H4  ACN A   1       2.130   0.000   0.090  1.00  0.00           H
HETATM    9  H5  ACN A   1       1.340   0.880  -1.240  1.00  0.00           H
HETATM   10  H6  ACN A   1       1.340  -0.880  -1.240  1.00  0.00           H
HETATM   11 MG    MG A   2       0.000   0.000   3.500  1.00  0.00          MG
CONECT    1    2    5    6    7
CONECT    2    1    3    4
CONECT    3    2    8    9   10
CONECT    4    2   11
CONECT   11    4
END
"""


def system_of(topology: app.Topology) -> mm.System:
    system = mm.System()
    for atom in topology.atoms():
        system.addParticle(atom.element.mass)
    return system


def graph_of(text: str, types: dict[str, object] | None = None, residue: str = "LIG") -> tuple[BondGraph, dict]:
    topology, system, index = build(text, types, residue)
    return BondGraph.of(topology, system), index


def cut(text: str, region: str, **options: object) -> object:
    topology, system, index = build(text)
    return make_hybrid(topology, system, zero_potential(), [index[name] for name in region.split()], **options)


def test_a_carbonyl_beside_magnesium() -> None:
    """No hydrogen at the oxygen; and both of the remedies work."""
    pdb = app.PDBFile(io.StringIO(ACETONE))
    assert (10, 3) in {(max(b[0].index, b[1].index), min(b[0].index, b[1].index)) for b in pdb.topology.bonds()}
    for allowed in ((), [(3, 10)]):
        with pytest.raises(BoundaryError) as caught:
            make_hybrid(pdb.topology, system_of(pdb.topology), zero_potential(), "resname ACN", allow_cuts=allowed)
        error = caught.value
        assert error.argument == "region"
        assert "metal" in error.got and "ACN1:O1" in error.got and "MG2:MG" in error.got
        assert "take the metal and its ligands into the region" in error.remedy
        assert "Modeller" in error.remedy and "allow_cuts" not in error.remedy
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.delete([bond for bond in modeller.topology.bonds() if bond[0].index == 10 or bond[1].index == 10])
    left = make_hybrid(modeller.topology, system_of(modeller.topology), zero_potential(), "resname ACN")
    whole = make_hybrid(pdb.topology, system_of(pdb.topology), zero_potential(), "all")
    assert (len(left.region), left.links) == (10, ())
    assert (len(whole.region), whole.links) == (11, ())


@pytest.mark.parametrize(
    "text, region",
    [
        ("C1-S1=0.181 S1-Zn1=0.23 C1-H1 C1-H2 C1-H3", "C1 S1 H1 H2 H3"),
        ("C1-N1=0.147 N1-Zn1=0.21 C1-H1 C1-H2 C1-H3 N1-H4 N1-H5", "C1 N1 H1 H2 H3 H4 H5"),
        ("C1-N1=0.147 N1-Fe1=0.20 C1-H1 C1-H2 C1-H3 N1-H4 N1-H5", "C1 N1 H1 H2 H3 H4 H5"),
        ("C1-O1=0.143 O1-Na1=0.24 C1-H1 C1-H2 C1-H3", "C1 O1 H1 H2 H3"),
        ("C1-O1=0.143 O1-K1=0.28 C1-H1 C1-H2 C1-H3", "C1 O1 H1 H2 H3"),
        ("C1-O1=0.143 O1-Ca1=0.24 C1-H1 C1-H2 C1-H3", "C1 O1 H1 H2 H3"),
        ("C1-Li1=0.20 C1-H1 C1-H2 C1-H3", "C1 H1 H2 H3"),
        ("C1-Sn1=0.214 C1-H1 C1-H2 C1-H3", "C1 H1 H2 H3"),
        ("C1-Hg1=0.207 C1-H1 C1-H2 C1-H3", "Hg1"),
        ("C1-P1=0.184 P1-Pt1=0.23 C1-H1 C1-H2 C1-H3 P1-H4 P1-H5", "C1 P1 H1 H2 H3 H4 H5"),
        ("H1-Al1=0.16 Al1-C1=0.195", "H1"),
    ],
)
@pytest.mark.parametrize("stated", [None, app.topology.Single])
def test_every_contact_with_a_metal_is_refused(text: str, region: str, stated: object) -> None:
    """With the force field's own bond, the bond of the file, and a file that calls it single."""
    for variant in (text, molecules.without_lengths(text)):
        types = {entry.split("=")[0]: stated for entry in text.split()}
        topology, system, index = build(variant, types)
        with pytest.raises(BoundaryError) as caught:
            make_hybrid(topology, system, zero_potential(), [index[name] for name in region.split()])
        assert "contact with a metal" in caught.value.got
        # A bond that the force field has cannot be left out of the topology.
        assert ("Modeller" in caught.value.remedy) == (variant != text)


def test_only_carbon_can_have_a_hydrogen_in_place_of_a_metal() -> None:
    """Methyllithium becomes methane if that is wanted; a thiolate at zinc would become an acid."""
    hybrid = cut("C1-Li1=0.20 C1-H1 C1-H2 C1-H3", "C1 H1 H2 H3", allow_cuts=[(0, 1)])
    assert len(hybrid.links) == 1
    with refusal(BoundaryError, "region", got="metal"):
        cut("C1-S1=0.181 S1-Zn1=0.23 C1-H1 C1-H2 C1-H3", "C1 S1 H1 H2 H3", allow_cuts=[(1, 2)])


@pytest.mark.parametrize("element", ["Si", "P", "S", "Cl", "Br", "I", "Se", "B", "Ge", "As"])
def test_the_main_group_is_not_taken_for_metals(element: str) -> None:
    graph, index = graph_of(f"C1-{element}1=0.19 C1-H1 C1-H2 C1-H3")
    assert bond_kind(graph, index["C1"], index[f"{element}1"]).kind != "metal"


def ring(count: int) -> str:
    """A ring of CH2 groups with one methyl."""
    bonds = [f"C{i + 1}-C{(i + 1) % count + 1}=0.153" for i in range(count)]
    hydrogens = [f"C{i + 1}-H{i + 1}{k}" for i in range(1, count) for k in "ab"]
    methyl = [f"C1-C{count + 1}=0.153", *(f"C{count + 1}-H{count + 1}{k}" for k in "abc")]
    return " ".join([*bonds, "C1-H1a", *methyl, *hydrogens])


@pytest.mark.parametrize("count", range(3, 12))
def test_rings_of_at_most_eight_atoms_stay_closed(count: int) -> None:
    """Half of the ring in the region: two cuts, which open it; the methyl beside it may be cut off at any size."""
    text = ring(count)
    half = count // 2
    inside = " ".join(name for i in range(2, 2 + half) for name in (f"C{i}", f"H{i}a", f"H{i}b"))
    if count <= 8:
        with pytest.raises(BoundaryError) as caught:
            cut(text, inside)
        assert f"ring of {count} atoms" in caught.value.got
        cuts = [tuple(map(int, pair)) for pair in ring_cuts(text, inside)]
        assert len(cut(text, inside, allow_cuts=cuts).links) == 2
    else:
        assert len(cut(text, inside).links) == 2
    methyl = f"C{count + 1} H{count + 1}a H{count + 1}b H{count + 1}c"
    assert len(cut(text, methyl).links) == 1


def ring_cuts(text: str, inside: str) -> list[tuple[int, int]]:
    topology, system, index = build(text)
    atoms = {index[name] for name in inside.split()}
    return BondGraph.of(topology, system).cut_bonds(atoms)


def test_environment_atoms_that_are_bonded_to_each_other() -> None:
    """The two middle carbons of a chain that the region holds at both ends: their hydrogens would be 0.15 nm apart."""
    carbons = [f"C{i}-C{i + 1}=0.153" for i in range(1, 6)]
    text = " ".join([*carbons, *(f"C{i}-H{i}{k}" for i in range(1, 7) for k in "ab")])
    inside = " ".join(f"C{i} H{i}a H{i}b" for i in (1, 2, 5, 6))
    with pytest.raises(BoundaryError) as caught:
        cut(text, inside)
    assert "C3" in caught.value.got and "C4" in caught.value.got and "bonded" in caught.value.got
    assert len(cut(text, inside, allow_cuts=ring_cuts(text, inside)).links) == 2
    apart = " ".join(f"C{i} H{i}a H{i}b" for i in (1, 5, 6))
    assert len(cut(text, apart).links) == 2


def test_proline_of_a_real_protein() -> None:
    case = villin(rigidWater=False)
    residue = next(atom.residue.index for atom in case.topology.atoms() if atom.residue.name == "PRO")
    with pytest.raises(BoundaryError) as caught:
        make_hybrid(case.topology, case.system, zero_potential(), f"resid {residue} and (name CG HG2 HG3 CB HB2 HB3)")
    assert "ring of 5 atoms" in caught.value.got
    assert {"N", "CA", "CB", "CG", "CD"} <= set(re.findall(r"[A-Z]+", caught.value.got.split("ring of 5 atoms")[1]))


@pytest.mark.parametrize("inside", ["C1' H1' {base}", "C1' H1' C2' H2' H2'' {base}"])
def test_deoxyribose(inside: str) -> None:
    """A nucleotide of DNA by OpenMM's own template: cuts of C1'-O4' and C2'-C3' open the sugar; C1'-N9 does not."""
    topology = adenosine()
    system = app.ForceField("amber14-all.xml").createSystem(topology)
    names = {atom.name: atom.index for atom in topology.atoms()}
    base = [name for name in names if not name.endswith("'") and not name.endswith("''") and "P" not in name]
    base = [name for name in base if name not in ("HO5'", "HO3'")]
    chosen = [names[name] for name in [*inside.replace("{base}", "").split(), *base]]
    with pytest.raises(BoundaryError) as caught:
        make_hybrid(topology, system, zero_potential(), chosen)
    assert "ring of 5 atoms" in caught.value.got and "C1'" in caught.value.got and "O4'" in caught.value.got
    hybrid = make_hybrid(topology, system, zero_potential(), [names[name] for name in base], charge=0)
    assert [link.inside for link in hybrid.links] == [names["N9"]]


def adenosine() -> app.Topology:
    """Deoxyadenosine, a nucleoside, from the force field's template."""
    template = app.ForceField("amber14-all.xml")._templates["DAN"]
    topology = app.Topology()
    residue = topology.addResidue("DA", topology.addChain())
    atoms = [topology.addAtom(atom.name, atom.element, residue) for atom in template.atoms]
    for first, second in template.bonds:
        topology.addBond(atoms[first], atoms[second])
    return topology


STATED = [
    (molecules.ACETAMIDE, "C2 N1", "amide"),
    (molecules.TOLUENE, "C1 C2", "aromatic"),
    (molecules.ANILINE, "C1 N1", "conjugated"),
    (molecules.BUTADIENE, "C1 C2", "double"),
    (molecules.BUTADIENE, "C2 C3", "single"),
    (molecules.BIPHENYL, "C1 C11", "single"),
    (molecules.PROPYNE, "C1 C2", "triple"),
    (molecules.PHOSPHATE, "P1 O2", "double"),
    (molecules.PROPANE, "C1 C2", "single"),
    (molecules.UNITED, "C2 C3", "double"),
    (molecules.PROPANE, "C1 H1", "X-H"),
]


@pytest.mark.parametrize("text, bond, kind", STATED)
@pytest.mark.parametrize("order", [{"type": app.topology.Single}, {"order": 1}, {"order": 7}, {}])
def test_a_stated_single_bond_is_judged_as_one_that_states_nothing(
    text: str, bond: str, kind: str, order: dict[str, object]
) -> None:
    topology, system, index = build(text)
    stated = app.Topology()
    residue = stated.addResidue("LIG", stated.addChain())
    atoms = [stated.addAtom(atom.name, atom.element, residue) for atom in topology.atoms()]
    for first, second in topology.bonds():
        stated.addBond(atoms[first.index], atoms[second.index], **order)
    graph = BondGraph.of(stated, system)
    assert bond_kind(graph, *(index[name] for name in bond.split())).kind == kind


@pytest.mark.parametrize("order, kind", [(1.5, "aromatic"), (2, "double"), (3, "triple"), (4, "aromatic")])
def test_a_stated_order_makes_the_guard_stricter(order: float, kind: str) -> None:
    topology, system, index = build(molecules.PROPANE)
    stated = app.Topology()
    residue = stated.addResidue("LIG", stated.addChain())
    atoms = [stated.addAtom(atom.name, atom.element, residue) for atom in topology.atoms()]
    for first, second in topology.bonds():
        stated.addBond(atoms[first.index], atoms[second.index], order=order)
    graph = BondGraph.of(stated, system)
    assert bond_kind(graph, index["C1"], index["C2"]).kind == kind


def deuterated(topology: app.Topology) -> app.Topology:
    """The same topology with heavy hydrogen in place of all hydrogen."""
    copy = app.Topology()
    chain = copy.addChain()
    atoms = []
    for residue in topology.residues():
        new = copy.addResidue(residue.name, chain, residue.id)
        for atom in residue.atoms():
            element = app.element.deuterium if atom.element.atomic_number == 1 else atom.element
            atoms.append(copy.addAtom(atom.name, element, new))
    for bond in topology.bonds():
        copy.addBond(atoms[bond[0].index], atoms[bond[1].index], bond.type, bond.order)
    copy.setPeriodicBoxVectors(topology.getPeriodicBoxVectors())
    return copy


@pytest.mark.parametrize("text, bond, kind", STATED)
def test_deuterium_is_hydrogen(text: str, bond: str, kind: str) -> None:
    """In the guard of cuts, which counts neighbours and needs to know whether hydrogens are there."""
    topology, system, index = build(text)
    graph = BondGraph.of(deuterated(topology), system)
    assert bond_kind(graph, *(index[name] for name in bond.split())).kind == kind


@pytest.mark.filterwarnings("ignore")
def test_a_deuterated_peptide_is_the_same_hybrid() -> None:
    """Region, formula, elements, cuts, link atoms, boundary report and energy."""
    case = villin(waters=10, rigidWater=False)
    region = select(case, "resid 5 and not (name N H CA HA C O)")
    made = [
        make_hybrid(topology, case.system, zero_potential(), region, charge=0)
        for topology in (case.topology, deuterated(case.topology))
    ]
    light, heavy = made
    assert heavy.region.formula == light.region.formula == "C7H7"
    assert heavy.region.elements == light.region.elements
    assert heavy.region.atomic_numbers == light.region.atomic_numbers
    assert heavy.links == light.links
    assert str(heavy.boundary_report()) == str(light.boundary_report())
    energies = [
        reference_context(hybrid.system, case.positions).getState(energy=True).getPotentialEnergy() for hybrid in made
    ]
    assert energies[0] == energies[1]
    assert np.isfinite(energies[0].value_in_unit(unit.kilojoule_per_mole))


def side_chains(topology: app.Topology) -> dict[str, list[int]]:
    """Atoms of each side chain beyond CA, by residue."""
    backbone = {"N", "CA", "C", "O", "OXT", "H", "HA", "HN", "H1", "H2", "H3"}
    return {
        f"{residue.name}{residue.index}": [atom.index for atom in residue.atoms() if atom.name not in backbone]
        for residue in topology.residues()
        if {"CA", "CB"} <= {atom.name for atom in residue.atoms()}
    }


@pytest.mark.parametrize("protein", ["villin", "lysozyme"])
def test_side_chains_of_real_proteins_may_be_cut_off(protein: str) -> None:
    """At CA-CB, all of them but prolines, which are rings, and bridged cysteines."""
    case = villin(rigidWater=False) if protein == "villin" else lysozyme("OBC2")[0]
    cut_off = 0
    for name, atoms in side_chains(case.topology).items():
        region = select_region(case.topology, case.system, atoms)
        if name.startswith("PRO"):
            with pytest.raises(BoundaryError) as caught:
                make_hybrid(case.topology, case.system, zero_potential(), atoms)
            assert "ring of 5 atoms" in caught.value.got
            continue
        assert len(region.cuts) == 1 and not region.cuts[0].refusal, name
        cut_off += 1
    assert cut_off >= 30
