"""How a region is named, filled up and described."""

import numpy as np
import openmm as mm
import pytest
from openmm import app, unit

from openmm_nn import HybridSystem, create_hybrid_system, select_region
from openmm_nn.errors import ParameterError, ParticleError
from tests.refusals import Pieces, refusal
from tests.systems.hybrid.cases import SIDE_CHAIN, make_hybrid, peptide_in_water, villin
from tests.systems.hybrid.region_energy import zero_potential

WATER = "resid 70"


def make(region: object, **options: object) -> HybridSystem:
    case = villin(rigidWater=False)
    return make_hybrid(case.topology, case.system, zero_potential(), region, **options)


def water_atoms() -> list[int]:
    return [atom.index for atom in villin(rigidWater=False).topology.atoms() if atom.residue.index == 70]


def test_selection_indices_mask_and_generator_name_the_same_region() -> None:
    atoms = water_atoms()
    mask = np.zeros(villin(rigidWater=False).topology.getNumAtoms(), dtype=bool)
    mask[atoms] = True
    for region in (
        WATER,
        atoms,
        np.array(atoms),
        mask,
        list(mask),
        (i for i in atoms),
        set(atoms),
        range(atoms[0], atoms[-1] + 1),
    ):
        assert make(region).region.indices == tuple(atoms)


def test_the_order_of_indices_is_kept() -> None:
    atoms = water_atoms()[::-1]
    assert make(atoms).region.indices == tuple(atoms)
    assert make(atoms).region.elements == ("H", "H", "O")


def test_a_generator_is_read_once_and_constraints_go() -> None:
    case = villin(rigidWater=True)
    atoms = water_atoms()
    with pytest.warns(UserWarning, match="3 constraints in the region were removed"):
        hybrid = create_hybrid_system(case.topology, case.system, zero_potential(), (i for i in atoms))
    assert hybrid.system.getNumConstraints() == case.system.getNumConstraints() - 3


@pytest.mark.filterwarnings("ignore:charge")
def test_expansion() -> None:
    oxygen = water_atoms()[0]
    assert make([oxygen], expand="residue").region.indices == tuple(water_atoms())
    assert make([oxygen], expand="molecule").region.indices == tuple(water_atoms())
    protein = make([0], expand="molecule").region
    assert len(protein) == 582
    assert not protein.cut_bonds


def test_what_a_region_reports() -> None:
    region = make(SIDE_CHAIN, charge=0).region
    assert region.formula == "C7H7"
    assert region.atomic_numbers.count(6) == 7
    assert len(region.cut_bonds) == 1
    case = villin(rigidWater=False)
    force = next(f for f in case.system.getForces() if isinstance(f, mm.NonbondedForce))
    total = sum(force.getParticleParameters(i)[0].value_in_unit(unit.elementary_charge) for i in region.atoms)
    assert region.classical_charge == pytest.approx(total, abs=1e-12)
    assert region.guessed_charge == 0
    assert "C7H7" in str(region)
    assert "guessed charge +0 e" in str(region)


def test_bonds_that_the_topology_lacks_come_from_the_system() -> None:
    """Without any bond in the topology, the force field's bonds and constraints still hold the molecules together."""
    case = peptide_in_water(waters=60)
    bare = app.Topology()
    bare.setPeriodicBoxVectors(case.topology.getPeriodicBoxVectors())
    for chain in case.topology.chains():
        new_chain = bare.addChain()
        for residue in chain.residues():
            new_residue = bare.addResidue(residue.name, new_chain)
            for atom in residue.atoms():
                bare.addAtom(atom.name, atom.element, new_residue)
    hybrid = create_hybrid_system(
        bare, case.system, zero_potential(), select_region(bare, case.system, [0], expand="molecule")
    )
    assert hybrid.region.indices == tuple(range(22))
    water = create_hybrid_system(
        bare,
        case.system,
        zero_potential(),
        select_region(bare, case.system, [22], expand="molecule"),
        remove_constraints=True,
    )
    assert water.region.indices == (22, 23, 24)


@pytest.mark.parametrize(
    "region, got, allowed, remedy",
    [
        ("resname XYZ", "'resname XYZ'", "at least one atom", ()),
        ([], "[]", "at least one atom", ()),
        ("foo bar", "'foo bar'", "'resname LIG'", "LEU, SER, ASP"),
        ("(name CA", "'(name CA'", "'resname LIG'", "LEU, SER, ASP"),
        ("mass > CA", ("'mass > CA'", "CA"), ("numbers", "mass"), ()),
        ([5, 6, 5], "5", "once", ()),
        ([5, 100000], "100000", "0 to 883", ()),
        ([-1], "-1", "0 and above", ()),
        ([1.5], "1.5", "integers", ()),
        ([True, False], ("mask", "2"), "884", ()),
        (7, "int", ("selection", "indices", "mask"), "[index]"),
    ],
)
def test_bad_regions(region: object, got: Pieces, allowed: Pieces, remedy: Pieces) -> None:
    with refusal(ParticleError, "region", got=got, allowed=allowed, remedy=remedy):
        make(region)


def test_unknown_expansion() -> None:
    with refusal(ParameterError, "expand", got="'chain'", allowed="None, 'residue', 'molecule'"):
        make([0], expand="chain")


def test_topology_of_another_system() -> None:
    case = villin(rigidWater=False)
    system = mm.System()
    system.addParticle(1.0)
    with refusal(ParticleError, "topology", got=("884 atoms", "1 particles")):
        create_hybrid_system(case.topology, system, zero_potential(), [0])


def test_warnings_point_to_the_line_of_the_caller() -> None:
    """Of constraints, of the charge that is guessed, and of the potential that is not told of it."""
    case = villin(rigidWater=True, constraints=app.HBonds)
    with pytest.warns(UserWarning, match="constraints|charge") as caught:
        create_hybrid_system(case.topology, case.system, zero_potential(), "resid 4 and not (name N H CA HA C O)")
    assert len(caught) == 3
    assert {warning.filename for warning in caught} == {__file__}
