"""A region with cut bonds is examined as its force shows it to the potential."""

import openmm
import pytest
from openmm import app, unit

import openmm_nn
from openmm_nn import create_hybrid_system, load_potential, preflight
from openmm_nn.systems.capped import capped_region
from tests import SHARED
from tests.samples import cut_to_waters, peptide_pdb

SIDE_CHAIN = "resname ALA and name CB HB1 HB2 HB3"


@pytest.fixture(scope="module")
def peptide() -> tuple[app.Topology, openmm.System, object]:
    modeller = cut_to_waters(peptide_pdb(SHARED), 0)
    forcefield = app.ForceField("amber14-all.xml")
    system = forcefield.createSystem(modeller.topology, nonbondedMethod=app.NoCutoff)
    return modeller.topology, system, modeller.positions


def test_the_capped_cluster_has_the_energy_of_the_force(peptide: tuple) -> None:
    """Positions with link atoms, evaluated outside of OpenMM, against the force in a Context."""
    topology, system, positions = peptide
    potential = load_potential("openmm-nn/hcno-1")
    hybrid = create_hybrid_system(topology, system, potential, SIDE_CHAIN)
    assert len(hybrid.links) == 1
    capped = capped_region(potential.card, topology, hybrid.region.indices, hybrid.links, positions)
    assert sorted(capped.numbers) == [1, 1, 1, 1, 6]
    assert len(capped.bonds) == 4
    alone = openmm.System()
    for _ in topology.atoms():
        alone.addParticle(1.0)
    alone.addForce(potential.create_force(topology, hybrid.region))
    context = openmm.Context(alone, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    context.setPositions(positions)
    energy = context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    assert potential.evaluate(capped.positions, capped.numbers).energy == pytest.approx(energy, abs=1e-2)


def test_preflight_takes_a_region(peptide: tuple) -> None:
    topology, system, positions = peptide
    potential = load_potential("openmm-nn/hcno-1")
    hybrid = create_hybrid_system(topology, system, potential, SIDE_CHAIN)
    for region in (hybrid.region, SIDE_CHAIN):
        report = preflight(topology, potential, positions, region, checks=["charge_and_spin", "committee_sigma"])
        assert report.formula == "CH4"
        assert [check.verdict for check in report] == ["pass", "pass"]
    with pytest.raises(openmm_nn.errors.BoundaryError) as caught:
        preflight(topology, potential, positions, "resname ALA", checks=["rotation"])
    assert caught.value.argument == "region"
    whole = preflight(topology, potential, positions, region="all", checks=["charge_and_spin"])
    assert whole.atoms == 22
