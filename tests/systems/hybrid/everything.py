"""A small System with every kind of classical term, and E_MM(R) of it, from equations and plain OpenMM alone."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import openmm as mm
from openmm import app, unit

from tests.systems.hybrid.cases import Case
from tests.systems.hybrid.region_energy import bonded_part, energy_and_forces, nonbonded_part, reference_context

METHODS = ("NoCutoff", "CutoffNonPeriodic", "CutoffPeriodic", "Ewald", "PME", "LJPME")
PERIODIC = METHODS[2:]
RECTANGULAR = np.diag([2.6, 2.7, 2.5])
TRICLINIC = np.array([[2.6, 0.0, 0.0], [0.4, 2.7, 0.0], [-0.5, 0.6, 2.5]])
# OpenMM's own Ewald sum takes rectangular boxes only.
SHAPES = ("rectangular", "triclinic")
BOXES = [(method, shape) for method in METHODS for shape in SHAPES if (method, shape) != ("Ewald", "triclinic")]

CHAIN = 6  # atoms of each of two chains
COUNT = 40
REGION = [*range(CHAIN), *range(2 * CHAIN, 2 * CHAIN + 4)]  # a chain and the four loose particles nearest to it


def _exceptions(first: int) -> list[tuple[int, int, float]]:
    """Pairs one to three bonds apart in a chain, and by how much they are scaled."""
    scales = {1: 0.0, 2: 0.0, 3: 0.5}
    return [(first + i, first + i + n, scale) for n, scale in scales.items() for i in range(CHAIN - n)]


def nonbonded(method: str) -> mm.NonbondedForce:
    """Charged Lennard-Jones particles; PME and LJPME with grids and alphas that are given."""
    rng = np.random.default_rng(5)
    force = mm.NonbondedForce()
    for index in range(COUNT):
        force.addParticle((-1) ** index * (0.2 + 0.05 * (index // 2 % 5)), rng.uniform(0.2, 0.3), rng.uniform(0.1, 1.0))
    for first in (0, CHAIN):
        for i, j, scale in _exceptions(first):
            (qi, si, ei), (qj, sj, ej) = (values(force.getParticleParameters(k)) for k in (i, j))
            force.addException(i, j, scale * qi * qj, 0.5 * (si + sj), scale * np.sqrt(ei * ej))
    force.setNonbondedMethod(getattr(mm.NonbondedForce, method))
    force.setCutoffDistance(0.8)
    force.setUseDispersionCorrection(False)
    force.setEwaldErrorTolerance(1e-5)
    if method in ("PME", "LJPME"):
        force.setPMEParameters(4.0, 60, 60, 60)
        force.setLJPMEParameters(3.5, 60, 60, 60)
    return force


def custom_nonbonded(method: str) -> mm.CustomNonbondedForce:
    """A second pair term with the exclusions of `nonbonded`."""
    force = mm.CustomNonbondedForce("strength*a*exp(-r/0.15); a=a1*a2")
    force.addPerParticleParameter("a")
    force.addGlobalParameter("strength", 30.0)
    for index in range(COUNT):
        force.addParticle([1.0 + 0.1 * (index % 7)])
    for first in (0, CHAIN):
        for i, j, _ in _exceptions(first):
            force.addExclusion(i, j)
    kind = mm.CustomNonbondedForce
    if method != "NoCutoff":
        force.setNonbondedMethod(kind.CutoffPeriodic if method in PERIODIC else kind.CutoffNonPeriodic)
        force.setCutoffDistance(0.8)
    return force


def make(method: str = "PME", shape: str = "rectangular", *, custom: bool = True) -> Case:
    """Two chains of six carbons and 28 loose particles."""
    rng = np.random.default_rng(5)
    box = RECTANGULAR if shape == "rectangular" else TRICLINIC
    topology, system = app.Topology(), mm.System()
    chain = topology.addChain()
    for number in (0, 1):
        residue = topology.addResidue(f"M{number}", chain)
        atoms = [topology.addAtom(f"C{i}", app.element.carbon, residue) for i in range(CHAIN)]
        for one, other in itertools.pairwise(atoms):
            topology.addBond(one, other, app.topology.Single)
    for index in range(COUNT - 2 * CHAIN):
        topology.addAtom(f"A{index}", app.element.argon, topology.addResidue("AR", chain))
    topology.setPeriodicBoxVectors(box * unit.nanometer)
    system.setDefaultPeriodicBoxVectors(*(box * unit.nanometer))
    for _ in range(COUNT):
        system.addParticle(12.0)
    bonds, angles, torsions = mm.HarmonicBondForce(), mm.HarmonicAngleForce(), mm.PeriodicTorsionForce()
    for first in (0, CHAIN):
        for i in range(first, first + CHAIN - 1):
            bonds.addBond(i, i + 1, 0.15, 1000.0 + i)
        for i in range(first, first + CHAIN - 2):
            angles.addAngle(i, i + 1, i + 2, 1.9, 100.0 + i)
        for i in range(first, first + CHAIN - 3):
            torsions.addTorsion(i, i + 1, i + 2, i + 3, 3, 0.4, 5.0 + i)
    for force in (bonds, angles, torsions, nonbonded(method), *([custom_nonbonded(method)] if custom else [])):
        system.addForce(force)

    zigzag = np.array([[0.125 * i, 0.08 * (i % 2), 0.03 * i * (i % 3)] for i in range(CHAIN)])
    grid = np.array([(i, j, k) for i in range(4) for j in range(4) for k in range(4)]) / 4 @ box
    origins = np.array([[0.35, 0.40, 0.40], [1.55, 1.50, 1.40]]) @ box / box[0, 0]
    chains = np.concatenate([origin + zigzag for origin in origins])
    free = [x for x in grid if np.linalg.norm(nearest(chains - x, box), axis=1).min() > 0.35]
    loose = np.array(free)[rng.permutation(len(free))[: COUNT - 2 * CHAIN]]
    loose += rng.uniform(-0.05, 0.05, loose.shape)
    centre = chains[:CHAIN].mean(axis=0)
    apart = nearest(loose - centre, box)
    order = np.argsort(np.linalg.norm(apart, axis=1))
    loose[order[:4]] = centre + apart[order[:4]]
    if method in PERIODIC:
        loose[order[1]] += box[0] - box[2]  # pairs count at minimum image
    return Case(topology, system, np.concatenate([chains, loose[order]]))


def nearest(vectors: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Vectors (N, 3) brought near by whole box vectors."""
    vectors = np.array(vectors)
    for axis in (2, 1, 0):
        vectors -= np.round(vectors[:, axis, None] / box[axis, axis]) * box[axis]
    return vectors


def values(quantities: Sequence[unit.Quantity]) -> list[float]:
    """In OpenMM's units."""
    return [float(quantity.value_in_unit_system(unit.md_unit_system)) for quantity in quantities]


def force_of(system: mm.System, kind: type) -> mm.Force:
    """The first force of a kind."""
    return next(force for force in system.getForces() if isinstance(force, kind))


# --- E_MM(R)


def custom_pairs(
    system: mm.System,
    force: mm.CustomNonbondedForce,
    atoms: Sequence[int],
    x: np.ndarray,
    parameters: Mapping[str, float],
) -> tuple[float, np.ndarray]:
    """Energy and forces of the region's pairs: those of a System that has no other particles."""
    place = {atom: number for number, atom in enumerate(atoms)}
    alone, small = mm.System(), mm.CustomNonbondedForce(force.getEnergyFunction())
    alone.setDefaultPeriodicBoxVectors(*system.getDefaultPeriodicBoxVectors())
    for index in range(force.getNumPerParticleParameters()):
        small.addPerParticleParameter(force.getPerParticleParameterName(index))
    for index in range(force.getNumGlobalParameters()):
        small.addGlobalParameter(force.getGlobalParameterName(index), force.getGlobalParameterDefaultValue(index))
    for index in range(force.getNumTabulatedFunctions()):
        table = copy.deepcopy(force.getTabulatedFunction(index))
        small.addTabulatedFunction(force.getTabulatedFunctionName(index), table)
    for index in range(force.getNumComputedValues()):
        small.addComputedValue(*force.getComputedValueParameters(index))
    for atom in atoms:
        alone.addParticle(1.0)
        small.addParticle(force.getParticleParameters(atom))
    for index in range(force.getNumExclusions()):
        i, j = force.getExclusionParticles(index)
        if i in place and j in place:
            small.addExclusion(place[i], place[j])
    for index in range(force.getNumInteractionGroups()):
        sides = [[place[a] for a in side if a in place] for side in force.getInteractionGroupParameters(index)]
        small.addInteractionGroup(*sides)
    small.setNonbondedMethod(force.getNonbondedMethod())
    small.setCutoffDistance(force.getCutoffDistance())
    small.setUseSwitchingFunction(force.getUseSwitchingFunction())
    small.setSwitchingDistance(force.getSwitchingDistance())
    alone.addForce(small)
    context = reference_context(alone, x[list(atoms)])
    for name, value in parameters.items():
        if name in context.getParameters():
            context.setParameter(name, value)
    energy, inner = energy_and_forces(context)
    forces = np.zeros_like(x)
    forces[list(atoms)] = inner
    return energy, forces


def own_energy(
    system: mm.System, atoms: Sequence[int], x: np.ndarray, parameters: Mapping[str, float] | None = None
) -> tuple[float, np.ndarray]:
    """E_MM(R) in kJ/mol and its forces (N, 3), of a region without cut bonds.

    Terms of `NonbondedForce` are written out as pairs (`region_energy`), those of each CustomNonbondedForce are the
    energy of a System of the region's particles alone, and bonded terms are found in OpenMM's XML.
    """
    parameters = parameters or {}
    part = bonded_part(system, set(atoms).issuperset)
    for force in system.getForces():
        if isinstance(force, mm.NonbondedForce):
            part.addForce(nonbonded_part(system, force, atoms))
    context = reference_context(part, x)
    for name, value in parameters.items():
        if name in context.getParameters():
            context.setParameter(name, value)
    energy, forces = energy_and_forces(context)
    for force in system.getForces():
        if isinstance(force, mm.CustomNonbondedForce):
            more, extra = custom_pairs(system, force, atoms, x, parameters)
            energy, forces = energy + more, forces + extra
    return energy, forces
