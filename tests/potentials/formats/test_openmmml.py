"""Potentials of OpenMM-ML as potentials of ours, against OpenMM-ML itself."""

import numpy as np
import openmm as mm
import pytest
from openmm import app
from openmmml import MLPotential
from openmmml.mlpotential import MLPotentialImpl, MLPotentialImplFactory

from openmm_nn import available_potentials, load_potential
from openmm_nn.errors import CardError, MissingDependencyError, ModelError
from openmm_nn.testing import check_potential
from tests.platforms import REFERENCE, PlatformCase, energy_of, forces_of
from tests.refusals import refusal
from tests.samples import bare_system, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]
POSITIONS = random_cluster(NUMBERS, seed=5)
K = 35.0  # kJ/mol/nm**2


class Springs(MLPotentialImpl):
    """Springs between all pairs, weighted by Z, at minimum image if periodic, plus the charge and the spin."""

    def __init__(self, name: str) -> None:
        self.name = name

    def addForces(self, topology, system, atoms, forceGroup, charge=0, **args):  # type: ignore[no-untyped-def]
        chosen = list(topology.atoms())
        force = mm.CustomBondForce("k*r^2")
        force.addPerBondParameter("k")
        force.setUsesPeriodicBoundaryConditions(topology.getPeriodicBoxVectors() is not None)
        for i, a in enumerate(chosen):
            for b in chosen[:i]:
                force.addBond(a.index, b.index, [K * a.element.atomic_number * b.element.atomic_number])
        system.addForce(force)
        extra = mm.CustomExternalForce(f"{10.0 * charge}/{len(chosen)}")
        for a in chosen:
            extra.addParticle(a.index)
        system.addForce(extra)

    def getMLLongRange(self) -> bool | None:
        return False


class Factory(MLPotentialImplFactory):
    def createImpl(self, name, **args):  # type: ignore[no-untyped-def]
        return Springs(name)


MLPotential.registerImplFactory("springs-of-the-tests", Factory())


def expected(positions: np.ndarray, box: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    energy, forces = 0.0, np.zeros_like(positions)
    for i in range(len(positions)):
        for j in range(i):
            d = positions[i] - positions[j]
            if box is not None:
                d = d - np.diag(box) * np.round(d / np.diag(box))
            k = K * NUMBERS[i] * NUMBERS[j]
            energy += k * d @ d
            forces[i] -= 2.0 * k * d
            forces[j] += 2.0 * k * d
    return energy, forces


def test_object(platform: PlatformCase, engine: str) -> None:
    potential = load_potential(MLPotential("springs-of-the-tests"))
    assert potential.card.long_range is False
    assert potential.card.inputs == ("positions", "box", "atomic_numbers", "charge")
    energy, forces = expected(POSITIONS)
    system = bare_system(len(NUMBERS))
    system.addForce(potential.create_force(atomic_numbers=NUMBERS, charge=2))
    context = platform.context(system, POSITIONS)
    platform.check_energy(energy_of(context), energy + 20.0)
    platform.check_forces(forces_of(context), forces)


def test_periodic() -> None:
    potential = load_potential("openmmml/springs-of-the-tests")
    box = np.diag([0.5, 0.55, 0.6])
    for size in (1.0, 1.2):
        result = potential.evaluate(POSITIONS, NUMBERS, box=size * box)
        energy, forces = expected(POSITIONS, size * box)
        np.testing.assert_allclose(result.energy, energy, rtol=1e-10)
        np.testing.assert_allclose(result.forces, forces, rtol=1e-9, atol=1e-8)


def test_contract() -> None:
    check_potential(load_potential("openmmml/springs-of-the-tests"), NUMBERS, POSITIONS, tolerance=1e-5)


def test_a_multiplicity_that_nobody_hears() -> None:
    with pytest.warns(UserWarning, match="is not told the multiplicity"):
        load_potential("openmmml/springs-of-the-tests").evaluate(POSITIONS, NUMBERS, multiplicity=3)


def test_names() -> None:
    names = {entry.name for entry in available_potentials()}
    assert {"openmmml/ani2x", "openmmml/mace-off23-small"} <= names
    assert "openmmml/openmm-nn" not in names
    with refusal(ModelError, "source", got="no-such", allowed="openmmml/ani2x"):
        load_potential("openmmml/no-such")
    with refusal(CardError, "card"):
        load_potential(MLPotential("springs-of-the-tests"), card=load_potential(lambda positions: positions.sum()).card)


def test_package_of_the_potential_is_missing() -> None:
    potential = load_potential("openmmml/mace-off23-small")
    with refusal(MissingDependencyError, "potential of OpenMM-ML", got="mace"):
        potential.evaluate(POSITIONS, NUMBERS)


def test_ase_potential_of_openmm_ml() -> None:
    """A calculator given to us directly agrees with the same one through OpenMM-ML."""
    from ase.calculators.lj import LennardJones

    direct = load_potential(LennardJones(sigma=2.0, epsilon=0.01, rc=5.0))
    topology = app.Topology()
    residue = topology.addResidue("R", topology.addChain())
    for number in NUMBERS:
        topology.addAtom("X", app.Element.getByAtomicNumber(number), residue)
    calculator = LennardJones(sigma=2.0, epsilon=0.01, rc=5.0)
    system = MLPotential("ase").createSystem(topology, calculator=calculator)
    context = REFERENCE.context(system, POSITIONS)
    # OpenMM-ML converts with ASE's constants, of another CODATA year than OpenMM's.
    np.testing.assert_allclose(direct.evaluate(POSITIONS, NUMBERS).energy, energy_of(context), rtol=1e-6)
