"""The three rules, for every bonded force type, on a molecule whose terms are counted by hand."""

import numpy as np
import openmm as mm
import pytest
from openmm import app

from openmm_nn import Mechanical, create_hybrid_system
from openmm_nn.errors import ParameterError
from tests.systems.hybrid.region_energy import energy_and_forces, reference_context, zero_potential

# 0-1-2-3-4-5 is a chain of carbons with two hydrogens each; hydrogens of carbon c are 6 + 2c and 7 + 2c.
CARBONS = 6
BONDS = [(i, i + 1) for i in range(CARBONS - 1)]
BONDS += [(i, CARBONS + 2 * i + k) for i in range(CARBONS) for k in (0, 1)]
NUMBER = 3 * CARBONS
REGION = [0, 1, 2, *range(6, 12)]  # cut between 2 and 3


def make_topology() -> app.Topology:
    topology = app.Topology()
    residue = topology.addResidue("HEX", topology.addChain())
    atoms = [topology.addAtom(f"C{i}", app.element.carbon, residue) for i in range(CARBONS)]
    atoms += [topology.addAtom(f"H{i}", app.element.hydrogen, residue) for i in range(2 * CARBONS)]
    for i, j in BONDS:
        topology.addBond(atoms[i], atoms[j])
    # An end carbon has two hydrogens here, so what is single is stated.
    for bond in topology._bonds:
        bond.type = app.topology.Single
    return topology


@pytest.fixture
def positions() -> np.ndarray:
    rng = np.random.default_rng(3)
    chain = np.array([[0.13 * i, 0.05 * (i % 2), 0.0] for i in range(CARBONS)])
    hydrogens = np.array(
        [chain[i] + [0.0, 0.08 * (1 if i % 2 else -1), 0.06 * s] for i in range(CARBONS) for s in (-1, 1)]
    )
    return np.concatenate([chain, hydrogens]) + rng.normal(scale=0.005, size=(NUMBER, 3))


def harmonic_bonds() -> mm.Force:
    force = mm.HarmonicBondForce()
    for i, j in BONDS:
        force.addBond(i, j, 0.15, 1000.0)
    return force


def custom_bonds() -> mm.Force:
    force = mm.CustomBondForce("scale*k*(r-r0)^2")
    force.addGlobalParameter("scale", 1.5)
    force.addEnergyParameterDerivative("scale")
    force.addPerBondParameter("k")
    force.addPerBondParameter("r0")
    force.setName("bonds")
    for i, j in BONDS:
        force.addBond(i, j, [100.0 + i, 0.1])
    return force


ANGLES = [(0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 2, 10), (10, 2, 11), (2, 3, 12), (6, 0, 1)]


def harmonic_angles() -> mm.Force:
    force = mm.HarmonicAngleForce()
    for angle in ANGLES:
        force.addAngle(*angle, 1.9, 100.0)
    force.setForceGroup(3)
    return force


def custom_angles() -> mm.Force:
    force = mm.CustomAngleForce("k*(theta-1.9)^2")
    force.addPerAngleParameter("k")
    for number, angle in enumerate(ANGLES):
        force.addAngle(*angle, [10.0 + number])
    return force


# Two middle atoms in R; one in R; none; an improper about 2 (in R) and one about 3 (not in R); one that is neither.
TORSIONS = [(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (1, 10, 2, 3), (2, 12, 4, 3), (0, 2, 5, 1), (6, 0, 2, 11)]


def periodic_torsions() -> mm.Force:
    force = mm.PeriodicTorsionForce()
    for number, torsion in enumerate(TORSIONS):
        force.addTorsion(*torsion, 2, 0.3, 5.0 + number)
    return force


def rb_torsions() -> mm.Force:
    force = mm.RBTorsionForce()
    for number, torsion in enumerate(TORSIONS):
        force.addTorsion(*torsion, 1.0 + number, 2.0, 3.0, 1.0, 0.5, 0.2)
    return force


def custom_torsions() -> mm.Force:
    force = mm.CustomTorsionForce("k*cos(theta)")
    force.addPerTorsionParameter("k")
    for number, torsion in enumerate(TORSIONS):
        force.addTorsion(*torsion, [3.0 + number])
    return force


CMAPS = [(6, 0, 1, 2, 0, 1, 2, 3), (0, 1, 2, 3, 1, 2, 3, 4), (1, 2, 3, 4, 2, 3, 4, 5)]


def cmaps() -> mm.Force:
    force = mm.CMAPTorsionForce()
    grid = np.random.default_rng(1).normal(size=64)
    force.addMap(8, grid)
    for torsions in CMAPS:
        force.addTorsion(0, *torsions)
    return force


COMPOUNDS = [(0, 1, 2, 3), (0, 1, 4, 5), (1, 2, 3, 4), (6, 0, 1, 2)]


def compound_bonds() -> mm.Force:
    force = mm.CustomCompoundBondForce(4, "k*distance(p1,p4)^2*angle(p1,p2,p3)*table(distance(p2,p3))")
    force.addPerBondParameter("k")
    for number, atoms in enumerate(COMPOUNDS):
        force.addBond(atoms, [10.0 + number])
    return force


def centroid_bonds() -> mm.Force:
    force = mm.CustomCentroidBondForce(2, "k*distance(g1,g2)^2")
    force.addPerBondParameter("k")
    for group in ([0, 1], [2], [3, 4], [0], [2, 3]):
        force.addGroup(group, [1.0 + atom for atom in group])
    for pair in ((0, 1), (0, 2), (1, 3), (0, 4)):
        force.addBond(pair, [5.0])
    return force


# Terms that touch R, and those that each rule removes.
CASES = {
    harmonic_bonds: (9, dict.fromkeys(("capped", "all-atoms", "gromacs"), 8)),
    custom_bonds: (9, dict.fromkeys(("capped", "all-atoms", "gromacs"), 8)),
    harmonic_angles: (7, {"capped": 5, "all-atoms": 3, "gromacs": 5}),
    custom_angles: (7, {"capped": 5, "all-atoms": 3, "gromacs": 5}),
    periodic_torsions: (7, {"capped": 3, "all-atoms": 1, "gromacs": 4}),
    rb_torsions: (7, {"capped": 3, "all-atoms": 1, "gromacs": 4}),
    custom_torsions: (7, {"capped": 3, "all-atoms": 1, "gromacs": 4}),
    cmaps: (3, {"capped": 1, "all-atoms": 0, "gromacs": 1}),
    compound_bonds: (4, {"capped": 2, "all-atoms": 1, "gromacs": 2}),
    centroid_bonds: (4, {"capped": 2, "all-atoms": 2, "gromacs": 2}),
}


def make_system(builder: object) -> mm.System:
    system = mm.System()
    for index in range(NUMBER):
        system.addParticle(12.0 if index < CARBONS else 1.0)
    force = builder()
    if isinstance(force, mm.CustomCompoundBondForce):
        force.addTabulatedFunction("table", mm.Continuous1DFunction(np.linspace(1.0, 2.0, 9), 0.0, 2.0))
    system.addForce(force)
    return system


@pytest.mark.parametrize("rule", ["capped", "all-atoms", "gromacs"])
@pytest.mark.parametrize("builder", CASES, ids=lambda builder: builder.__name__)
def test_terms_removed_and_kept(builder: object, rule: str, positions: np.ndarray) -> None:
    system = make_system(builder)
    before = mm.XmlSerializer.serialize(system)
    hybrid = create_hybrid_system(
        make_topology(),
        system,
        zero_potential(),
        REGION,
        embedding=Mechanical(bonded_rule=rule),
        ignore_forces=0,
    )
    assert mm.XmlSerializer.serialize(system) == before

    (row,) = hybrid.boundary_report().terms
    assert (row.touching, row.removed) == CASES[builder]
    old, new = system.getForce(0), hybrid.system.getForce(0)
    assert type(new) is type(old)
    assert (new.getName(), new.getForceGroup()) == (old.getName(), old.getForceGroup())
    count = {"Angle": "getNumAngles", "Torsion": "getNumTorsions"}
    getter = next((name for key, name in count.items() if hasattr(old, name)), "getNumBonds")
    assert getattr(new, getter)() == getattr(old, getter)() - row.removed[rule]


@pytest.mark.parametrize("rule", ["capped", "all-atoms", "gromacs"])
@pytest.mark.parametrize("builder", CASES, ids=lambda builder: builder.__name__)
def test_what_is_removed_is_the_difference_in_energy(builder: object, rule: str, positions: np.ndarray) -> None:
    """Parameters and tables survive: the energy falls by that of the removed terms, evaluated one by one."""
    system = make_system(builder)
    hybrid = create_hybrid_system(
        make_topology(),
        system,
        zero_potential(),
        REGION,
        embedding=Mechanical(bonded_rule=rule),
        ignore_forces=0,
    )
    total, forces = energy_and_forces(reference_context(system, positions))
    left, left_forces = energy_and_forces(reference_context(hybrid.system, positions))
    removed, removed_forces = energy_of_removed(system.getForce(0), hybrid.system.getForce(0), positions)
    assert left == pytest.approx(total - removed, abs=1e-9)
    np.testing.assert_allclose(left_forces, forces - removed_forces, atol=1e-7)


def energy_of_removed(old: mm.Force, new: mm.Force, positions: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy of the terms of `old` that `new` lacks, by OpenMM's XML."""
    import xml.etree.ElementTree as ElementTree

    first = ElementTree.fromstring(mm.XmlSerializer.serialize(old))
    second = ElementTree.fromstring(mm.XmlSerializer.serialize(new))
    kept = [_signature(term) for part in _lists(second) for term in part]
    for part in _lists(first):
        for term in list(part):
            if _signature(term) in kept:
                kept.remove(_signature(term))
                part.remove(term)
    assert not kept
    system = mm.System()
    for _ in range(NUMBER):
        system.addParticle(1.0)
    system.addForce(mm.XmlSerializer.deserialize(ElementTree.tostring(first, encoding="unicode")))
    return energy_and_forces(reference_context(system, positions))


def _signature(term: object) -> tuple[object, ...]:
    return tuple(sorted(term.attrib.items()))


def _lists(root: object) -> list[object]:
    return [part for part in root if part.tag in ("Bonds", "Angles", "Torsions")]


@pytest.mark.parametrize("builder", CASES, ids=lambda builder: builder.__name__)
def test_without_cuts_all_rules_agree(builder: object) -> None:
    system = make_system(builder)
    texts = set()
    for rule in ("capped", "all-atoms", "gromacs"):
        hybrid = create_hybrid_system(
            make_topology(),
            system,
            zero_potential(),
            range(NUMBER),
            embedding=Mechanical(bonded_rule=rule),
            ignore_forces=0,
        )
        texts.add(mm.XmlSerializer.serialize(hybrid.system.getForce(0)))
    assert len(texts) == 1


def test_derivatives_and_global_parameters_survive(positions: np.ndarray) -> None:
    hybrid = create_hybrid_system(make_topology(), make_system(custom_bonds), zero_potential(), REGION, ignore_forces=0)
    context = reference_context(hybrid.system, positions)
    energy = context.getState(getEnergy=True).getPotentialEnergy()._value
    derivative = context.getState(getParameterDerivatives=True).getEnergyParameterDerivatives()["scale"]
    assert derivative == pytest.approx(energy / 1.5, rel=1e-12)


def test_restraints_are_named_and_can_be_kept() -> None:
    system = make_system(harmonic_bonds)
    restraint = mm.CustomBondForce("50*(r-0.4)^2")
    restraint.setName("pull")
    restraint.addBond(6, 10, [])  # hydrogens of carbons 0 and 2: four bonds apart
    restraint.addBond(6, 8, [])  # of carbons 0 and 1: a 1-4 pair
    system.addForce(restraint)
    with pytest.raises(ParameterError) as caught:
        create_hybrid_system(make_topology(), system, zero_potential(), REGION)
    assert "2 terms" in caught.value.got
    assert "keep=('pull',)" in caught.value.remedy
    hybrid = create_hybrid_system(make_topology(), system, zero_potential(), REGION, ignore_forces=("pull",))
    assert hybrid.system.getForce(1).getNumBonds() == 0
    kept = create_hybrid_system(make_topology(), system, zero_potential(), REGION, keep=("pull",))
    assert kept.system.getForce(1).getNumBonds() == 2
