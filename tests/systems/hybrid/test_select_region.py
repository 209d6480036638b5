"""select_region: what is chosen, which cuts are sound, what a larger region adds, and how a Region is shown."""

import copy
import pickle

import numpy as np
import openmm as mm
import pytest
from openmm import app, unit

from openmm_nn import Region, add_neural_force, create_hybrid_system, load_potential, select_region
from openmm_nn.errors import BoundaryError, ParameterError, ParticleError
from tests import oracle
from tests.models import ModelSet
from tests.systems.hybrid.cases import SIDE_CHAIN, peptide_in_water, select, villin
from tests.systems.hybrid.region_energy import energy_and_forces, reference_context, zero_potential

METHYL = "resname ALA and name CB HB1 HB2 HB3"


def methyl(**options: object) -> Region:
    case = peptide_in_water(waters=30)
    return select_region(case.topology, case.system, METHYL, **options)


def test_what_is_chosen() -> None:
    """Numbers that the structure's own atoms give."""
    case, region = peptide_in_water(waters=30), methyl()
    atoms = [atom for atom in case.topology.atoms() if atom.residue.name == "ALA" and atom.name in METHYL.split()]
    assert region.indices == tuple(atom.index for atom in atoms) == (10, 11, 12, 13)
    assert list(region) == [10, 11, 12, 13] and len(region) == 4
    assert region.atomic_numbers == (6, 1, 1, 1) and region.formula == "CH3"
    assert region.bonds == ((10, 11), (10, 12), (10, 13)) and region.cut_bonds == ((10, 8),)
    assert [(link.inside, link.outside, link.rule) for link in region.links] == [(10, 8, "fixed")]
    assert region.links[0].value == pytest.approx(0.075 + 0.032, abs=1e-12)  # Pyykkö's radii of C and H
    assert methyl(link="ratio").links[0].value == pytest.approx(0.107 / 0.15, abs=1e-12)
    assert methyl(link_distances={(10, 8): 1.09 * unit.angstrom}).links[0].value == pytest.approx(0.109, abs=1e-12)


def test_atoms_index_arrays() -> None:
    case, region = peptide_in_water(waters=30), methyl()
    assert region.atoms.dtype == np.int64
    np.testing.assert_array_equal(case.positions[region.atoms], [case.positions[i] for i in (10, 11, 12, 13)])
    quantity = case.positions * unit.nanometer
    assert quantity[region.atoms].shape == (4, 3)
    with pytest.raises(ValueError, match="read-only"):
        region.atoms[0] = 3
    force = mm.CustomExternalForce("x")
    assert [force.addParticle(atom, []) for atom in region.atoms] == [0, 1, 2, 3]


def test_a_refused_cut_is_said_and_not_raised() -> None:
    case = peptide_in_water(waters=30)
    region = select_region(case.topology, case.system, "resname ALA")
    assert [(cut.inside, cut.outside) for cut in region.cuts] == [(6, 4), (14, 16)]
    assert all(cut.refusal is not None and "amide" in cut.refusal.got for cut in region.cuts)
    text = str(region)
    assert text.count("amide bond") == 2 and "allow_cuts=[(6, 4)]" in text and "  no  " in text
    for call in (
        region.check_cuts,
        lambda: create_hybrid_system(case.topology, case.system, zero_potential(), region),
        lambda: add_neural_force(case.topology, copy.deepcopy(case.system), zero_potential(), region),
    ):
        with pytest.raises(BoundaryError) as caught:
            call()
        assert caught.value.argument == "region" and "allow_cuts=[(6, 4)]" in caught.value.remedy


def test_the_remedy_of_a_refused_cut_works() -> None:
    case = peptide_in_water(waters=30)
    allowed = select_region(case.topology, case.system, "resname ALA", allow_cuts=[(6, 4), (14, 16)])
    allowed.check_cuts()
    hybrid = create_hybrid_system(case.topology, case.system, zero_potential(), allowed, charge=0)
    assert hybrid.links == allowed.links and len(hybrid.links) == 2


def test_what_a_larger_region_would_add() -> None:
    """Printed before, and exactly that afterwards."""
    case, region = peptide_in_water(waters=30), methyl()
    assert region.expansions == {"residue": (6, 7, 8, 9, 14, 15), "molecule": (*range(10), *range(14, 22))}
    for name, added in region.expansions.items():
        grown = select_region(case.topology, case.system, region, expand=name)
        assert set(grown) == set(region) | set(added)
    whole = select_region(case.topology, case.system, region, expand="molecule")
    assert whole.expansions == {"residue": (), "molecule": ()} and str(whole).count("nothing") == 2
    assert "no bond is cut" in str(whole)


def test_text_and_table() -> None:
    region = methyl()
    assert repr(region) == "Region(4 atoms, CH3, guessed charge +0 e, 1 cut bond)"
    text = str(region)
    for part in ("CH3", "-0.0016 e", "ALA2:CB (atom 10)", "may be cut", "  yes", "expand='residue'", "6 atoms"):
        assert part in text, part
    page = region._repr_html_()
    assert page.count("<table>") == page.count("</table>") == 2 and "ALA2:CA (atom 8)" in page


def test_html_is_escaped() -> None:
    topology, system = app.Topology(), mm.System()
    topology.addAtom("<b>", app.element.argon, topology.addResidue("A&B", topology.addChain()))
    system.addParticle(40.0)
    page = select_region(topology, system, [0])._repr_html_()
    assert "<b>" not in page and "A&amp;B1:&lt;b&gt;" in page


def test_a_region_of_another_system_is_refused() -> None:
    case, other, region = peptide_in_water(waters=30), villin(rigidWater=False), methyl()
    with pytest.raises(ParticleError) as caught:
        create_hybrid_system(other.topology, other.system, zero_potential(), region)
    assert caught.value.argument == "region" and "select_region" in caught.value.remedy
    # The same atoms in a System with other charges are the same region, whose charges are read anew.
    charged = copy.deepcopy(case.system)
    force = next(each for each in charged.getForces() if isinstance(each, mm.NonbondedForce))
    for atom in region:
        force.setParticleParameters(atom, 0.25, *force.getParticleParameters(atom)[1:])
    hybrid = create_hybrid_system(case.topology, charged, zero_potential(), region, charge=0)
    assert hybrid.region.classical_charge == pytest.approx(1.0, abs=1e-9)


def test_arguments_in_another_order_are_told() -> None:
    case = peptide_in_water(waters=30)
    potential = load_potential(lambda positions: (positions**2).sum())
    for call, argument in (
        (lambda: select_region(case.system, case.topology, METHYL), "topology"),
        (lambda: create_hybrid_system(case.topology, potential, case.system, METHYL), "system"),
        (lambda: add_neural_force(case.system, potential, case.topology), "topology"),
    ):
        with pytest.raises(ParameterError) as caught:
            call()
        assert caught.value.argument == argument and "topology, system, potential, region" in caught.value.remedy


def test_options_that_do_not_exist() -> None:
    for options, argument in (
        ({"expand": "chain"}, "expand"),
        ({"link": "free"}, "link"),
        ({"allow_cuts": [(0, 1)]}, "allow_cuts"),
        ({"link_distances": {(10, 8): 20.0}}, "link_distances"),
    ):
        with pytest.raises(ParameterError) as caught:
            methyl(**options)
        assert caught.value.argument == argument


def test_a_copy_is_the_same_region() -> None:
    region = methyl()
    for other in (copy.deepcopy(region), pickle.loads(pickle.dumps(region)), methyl()):
        assert other == region and str(other) == str(region)


def test_add_neural_force_takes_the_links_of_a_region(models: ModelSet) -> None:
    """The energy on top of the System is that of the atoms and of hydrogens on the cut bonds, by equations alone."""
    case = peptide_in_water(method="NoCutoff", waters=30)
    region = select_region(case.topology, case.system, METHYL, link_distances={(10, 8): 0.11})
    system = copy.deepcopy(case.system)
    before, _ = energy_and_forces(reference_context(system, case.positions))
    force = add_neural_force(case.topology, system, models.pair("plain"), region)
    after, _ = energy_and_forces(reference_context(system, case.positions))
    x = case.positions
    out = (x[8] - x[10]) / np.linalg.norm(x[8] - x[10])
    places = np.array([*x[region.atoms], x[10] + 0.11 * out])
    expected, _ = oracle.pair_energy_forces(places, [6, 1, 1, 1, 1])
    assert after - before == pytest.approx(expected, abs=1e-6 * max(1.0, abs(expected)))
    assert force.getNumLinks() == 1


def test_a_hybrid_is_scaled_and_takes_parameters(models: ModelSet) -> None:
    """The neural term alone is multiplied; defaults of its parameters are those given."""
    case = peptide_in_water(method="NoCutoff", waters=30)
    atoms = select(case, "resname ACE ALA NME")
    potential = load_potential("openmm-nn/hcno-1")

    def energies(**options: object) -> dict[str, float]:
        hybrid = create_hybrid_system(case.topology, case.system, potential, atoms, charge=0, **options)
        half = hybrid.ledger(case.positions, parameters={"s": 0.5})
        return {"NN": hybrid.ledger(case.positions)["NN"], "half": half["NN"]}

    plain, scaled = energies(), energies(scale=("s", 0.25))
    assert plain["half"] == plain["NN"]
    assert scaled["NN"] == pytest.approx(0.25 * plain["NN"], rel=1e-9)
    assert scaled["half"] == pytest.approx(0.5 * plain["NN"], rel=1e-9)
    with pytest.raises(ParameterError) as caught:
        energies(scale=("s", 0.25), interpolate=True)
    assert caught.value.argument == "scale"


def test_a_hybrid_takes_parameters(models: ModelSet) -> None:
    """E = strength^2 E_pair + tilt, whose card says strength 1.5 and tilt -2 kJ/mol; E_pair by equations alone."""
    case = peptide_in_water(method="NoCutoff", waters=30)
    region = select_region(case.topology, case.system, "resname ACE ALA NME")
    potential = models.pair("parameter")
    pair, _ = oracle.pair_energy_forces(case.positions[region.atoms], region.atomic_numbers)
    for parameters, wanted in ((None, 2.25 * pair - 2.0), ({"strength": 2.0}, 4.0 * pair - 2.0)):
        hybrid = create_hybrid_system(
            case.topology, case.system, potential, region, charge=0, parameters=parameters
        )  # fmt: skip
        assert hybrid.ledger(case.positions)["NN"] == pytest.approx(wanted, abs=1e-6)
    with pytest.raises(ParameterError):
        create_hybrid_system(case.topology, case.system, potential, region, charge=0, parameters={"unknown": 1.0})


def test_a_side_chain_of_a_protein() -> None:
    case = villin(rigidWater=False)
    region = select_region(case.topology, case.system, SIDE_CHAIN)
    assert region.formula == "C7H7" and len(region.cut_bonds) == 1
    assert len(region.expansions["molecule"]) + len(region) == 582
