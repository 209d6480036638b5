"""Forces of a hybrid are told apart by what was recorded, whatever they are called, and whichever come and go."""

import copy
import pickle

import openmm as mm
import pytest

from openmm_nn import HybridSystem, Mechanical, create_hybrid_system, load_potential, native
from openmm_nn.dynamics import multistep_system
from openmm_nn.errors import ParameterError
from tests.systems.hybrid.cases import BACKBONE, Case, peptide_in_water, villin
from tests.systems.hybrid.region_energy import card, energy_and_forces, reference_context

pytestmark = pytest.mark.skipif(not native.available(), reason="the ledger needs the native extension")


def springs(positions):  # type: ignore[no-untyped-def]
    """Every atom on a spring to the first, and the forces of these springs."""
    away = positions - positions[0]
    forces = -100.0 * away
    forces[0] = 100.0 * away.sum(0)
    return 50.0 * (away**2).sum(), forces


def interpolated() -> tuple[Case, HybridSystem]:
    case = peptide_in_water(method="PME", waters=40)
    potential = load_potential(springs, card=card("springs"))
    return case, create_hybrid_system(case.topology, case.system, potential, range(22), charge=0, interpolate=True)


def with_scheme() -> tuple[Case, HybridSystem]:
    case = villin(rigidWater=False)
    potential = load_potential(springs, card=card("springs"))
    embedding = Mechanical(charge_scheme="rcd")
    return case, create_hybrid_system(case.topology, case.system, potential, BACKBONE, charge=0, embedding=embedding)


@pytest.mark.parametrize("make", [interpolated, with_scheme])
def test_names_mean_nothing(make: object) -> None:
    """The names by which forces were once known are given to others, and all of them are taken away."""
    case, hybrid = make()
    roles, terms = hybrid.record.roles_now(), hybrid.ledger(case.positions).terms
    forces = hybrid.system.getForces()
    for old in ("region's own NonbondedForce", "charge scheme rcd, (1, 2)", "NeuralForce", ""):
        for force in forces:
            force.setName(old)
        assert hybrid.record.roles_now() == roles
        assert hybrid.ledger(case.positions).terms == pytest.approx(terms, abs=1e-9)
    assert hybrid.ledger(case.positions).residual == pytest.approx(0.0, abs=1e-3)


def test_forces_come_and_go() -> None:
    case, hybrid = interpolated()
    roles = hybrid.record.roles_now()
    assert roles.count("own") >= 2 and roles[-1] == "potential" and set(roles) == {"classical", "own", "potential"}
    index = next(i for i, f in enumerate(hybrid.system.getForces()) if isinstance(f, mm.CMMotionRemover))
    hybrid.system.removeForce(index)
    left = [role for i, role in enumerate(roles) if i != index]
    assert hybrid.record.roles_now() == left
    # New ones may lie in memory where the removed one lay; they are not taken for it.
    for count in range(1, 6):
        hybrid.system.addForce(mm.CMMotionRemover())
        assert hybrid.record.roles_now() == [*left, *["added"] * count]
    wall = mm.CustomExternalForce("10*x^2")
    wall.addParticle(0, [])
    hybrid.system.addForce(wall)
    assert hybrid.record.roles_now()[-1] == "added"
    ledger = hybrid.ledger(case.positions)
    assert ledger["restraints"] == pytest.approx(10 * case.positions[0, 0] ** 2, rel=1e-9)
    assert ledger.residual == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda hybrid: pickle.loads(pickle.dumps(hybrid))])
def test_copies_know_their_forces(duplicate: object) -> None:
    case = peptide_in_water(method="PME", waters=40)
    potential = load_potential("openmm-nn/hcno-1")
    hybrid = create_hybrid_system(case.topology, case.system, potential, range(22), charge=0, interpolate=True)
    hybrid.system.addForce(mm.CMMotionRemover())
    other = duplicate(hybrid)
    assert other.record.roles_now() == hybrid.record.roles_now()
    assert other.ledger(case.positions).terms == pytest.approx(hybrid.ledger(case.positions).terms, abs=1e-9)


def test_another_copy_of_the_system() -> None:
    case = peptide_in_water(method="PME", waters=40)
    potential = load_potential("openmm-nn/hcno-1")
    hybrid = create_hybrid_system(case.topology, case.system, potential, range(22), charge=0)
    read = mm.XmlSerializer.deserialize(mm.XmlSerializer.serialize(hybrid.system))
    assert hybrid.with_system(read).ledger(case.positions).terms == pytest.approx(
        hybrid.ledger(case.positions).terms, abs=1e-9
    )
    with pytest.raises(ParameterError) as caught:
        hybrid.with_system(case.system)
    assert caught.value.argument == "system"


def test_multiple_time_steps_go_by_roles() -> None:
    """A hybrid whose forces have lost their names has the same energy when it is written for multiple time steps."""
    case = peptide_in_water(method="PME", waters=40, flexibleConstraints=True)
    potential = load_potential(springs, card=card("springs"))
    hybrid = create_hybrid_system(
        case.topology, case.system, potential, range(22), charge=0, embedding=Mechanical(subtract_region=True)
    )
    for force in hybrid.system.getForces():
        force.setName("x")
    wanted, forces = energy_and_forces(reference_context(hybrid.system, case.positions))
    energy, found = energy_and_forces(reference_context(multistep_system(hybrid), case.positions))
    assert energy == pytest.approx(wanted, abs=1e-4)
    assert abs(found - forces).max() < 1e-4 * abs(forces).max()


def test_what_a_hybrid_prints() -> None:
    _, hybrid = interpolated()
    assert repr(hybrid).startswith("HybridSystem(142 particles, mechanical embedding, Region(22 atoms, C6H12N2O2,")
    text = str(hybrid)
    assert "Mechanical(" in text and "potential" in text and "own" in text
    page = hybrid._repr_html_()
    assert page.count("<tr>") == 1 + hybrid.system.getNumForces()
    report = hybrid.boundary_report()
    assert repr(report).startswith("BoundaryReport(") and "<table>" in report._repr_html_()
