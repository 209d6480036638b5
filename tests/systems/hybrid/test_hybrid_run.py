"""A hybrid of a real peptide in real water, run: it stays whole, and the water costs the model nothing."""

import pathlib

import numpy as np
import openmm as mm
import pytest
import torch
from openmm import app, unit

from openmm_nn import ModelCard, Potential, add_neural_force, create_hybrid_system, export_potential, load_potential
from tests import oracle
from tests.models import ElasticNetwork, ModelSet
from tests.models.generate import script
from tests.platforms import REFERENCE, PlatformCase, energy_of, positions_of
from tests.samples import amber_system, cut_to_waters, peptide_atoms, peptide_pdb

SELECTION = "resname ACE ALA NME"


@pytest.fixture(scope="module")
def pdb(shared: pathlib.Path) -> app.PDBFile:
    return peptide_pdb(shared)


@pytest.fixture(scope="module")
def classical(pdb: app.PDBFile) -> mm.System:
    return amber_system(pdb.topology)


@pytest.fixture(scope="module")
def elastic(pdb: app.PDBFile, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A file of an elastic network of the peptide."""
    x = np.array(pdb.getPositions(asNumpy=True)._value)[peptide_atoms(pdb.topology)]
    path = tmp_path_factory.mktemp("elastic") / "elastic.pt"
    card = ModelCard(
        name="elastic", inputs=("positions",), outputs=("energy",), frame="invariant", dtype="float64", long_range=False
    )
    export_potential(script(ElasticNetwork(torch.tensor(x, dtype=torch.float64))), path, card)
    return path


def lengths(positions: np.ndarray, topology: app.Topology, atoms: list[int]) -> np.ndarray:
    """Bond lengths of the peptide in nm, without any image."""
    inside = set(atoms)
    pairs = [(a.index, b.index) for a, b in topology.bonds() if a.index in inside and b.index in inside]
    assert len(pairs) == 21
    return np.array([np.linalg.norm(positions[a] - positions[b]) for a, b in pairs])


def test_barostat_keeps_the_peptide_whole(
    elastic: pathlib.Path, pdb: app.PDBFile, classical: mm.System, platform: PlatformCase, engine: str
) -> None:
    """Starting across a corner of the box, with a barostat that moves molecules every other step."""
    topology = pdb.topology
    atoms = peptide_atoms(topology)
    hybrid = create_hybrid_system(topology, classical, load_potential(elastic), SELECTION)
    system = hybrid.system
    assert system.getNumParticles() == classical.getNumParticles()
    barostat = mm.MonteCarloBarostat(1.0, 300.0, 2)
    barostat.setRandomNumberSeed(1)
    system.addForce(barostat)
    positions = np.array(pdb.getPositions(asNumpy=True)._value)
    positions = positions - positions[atoms].mean(axis=0)
    # Minimized on the CPU: OpenMM's own minimizer does not run on every OpenCL device.
    start = PlatformCase("CPU", "double").context(system, positions)
    mm.LocalEnergyMinimizer.minimize(start, 100.0, 15)
    positions = positions_of(start)
    integrator = mm.LangevinMiddleIntegrator(300.0, 5.0, 0.0005)
    integrator.setRandomNumberSeed(1)
    context = platform.context(system, positions, integrator)
    reference = platform.context(classical, positions)
    assert sorted(map(tuple, context.getMolecules())) == sorted(map(tuple, reference.getMolecules()))
    del reference
    context.setVelocitiesToTemperature(300.0, 1)
    steps = 80 if platform.name != "CPU" else 200
    volumes = [context.getState().getPeriodicBoxVolume()._value]
    for _ in range(4):
        context.getIntegrator().step(steps // 4)
        state = context.getState(getEnergy=True)
        volumes.append(state.getPeriodicBoxVolume()._value)
        for wrapped in (False, True):
            assert lengths(positions_of(context, wrapped=wrapped), topology, atoms).max() < 0.2
    assert len(set(volumes)) > 1
    assert np.isfinite(energy_of(context))


def counted(
    potential: Potential, topology: app.Topology, system: mm.System, positions: np.ndarray, platform: PlatformCase
) -> dict[str, float]:
    """Work of one evaluation of the neural part."""
    hybrid = create_hybrid_system(topology, system, potential, SELECTION)
    force = neural_force(hybrid.system)
    context = platform.context(hybrid.system, positions, mm.VerletIntegrator(1e-6))
    context.getIntegrator().step(1)
    before = force.getStatistics(context)
    context.getIntegrator().step(4)
    after = force.getStatistics(context)
    assert after["evaluations"] - before["evaluations"] == 4
    return {key: (after[key] - before[key]) / 4.0 for key in ("atoms", "edges", "bytes")}


def neural_force(system: mm.System) -> mm.Force:
    from openmm_nn import native

    module = native.load()
    found = [f for f in system.getForces() if module.NeuralForce.isinstance(f)]
    assert len(found) == 1
    return module.NeuralForce.cast(found[0])


def test_work_does_not_depend_on_the_water(
    models: ModelSet, pdb: app.PDBFile, classical: mm.System, platform: PlatformCase, native: str
) -> None:
    """Atoms, edges and bytes of an evaluation are the same in 40 waters and in 749."""
    if platform.name == "Reference" or (platform.precision == "double" and platform.name == "OpenCL"):
        small = cut_to_waters(pdb, 150)
        large = cut_to_waters(pdb, 300)
    else:
        small = cut_to_waters(pdb, 40)
        large = app.Modeller(pdb.topology, pdb.positions)
    potential = models.pair("edges")
    work = []
    for modeller in (small, large):
        x = np.array(modeller.positions.value_in_unit(unit.nanometer))
        system = amber_system(modeller.topology, method=app.CutoffPeriodic)
        work.append(counted(potential, modeller.topology, system, x, platform))
    assert work[0] == work[1]
    assert work[0]["atoms"] == 22
    x = np.array(pdb.getPositions(asNumpy=True)._value)[peptide_atoms(pdb.topology)]
    assert work[0]["edges"] == len(oracle.edges(x, 0.6))
    # At least positions in and forces out; not a copy of the whole System.
    assert 22 * 3 * 4 <= work[0]["bytes"] < 200000


def test_no_water_reaches_the_model(models: ModelSet, pdb: app.PDBFile, platform: PlatformCase, engine: str) -> None:
    from tests.counting import counting_potential

    modeller = cut_to_waters(pdb, 60)
    x = np.array(modeller.positions.value_in_unit(unit.nanometer))
    counter, potential = counting_potential(models)
    system = amber_system(modeller.topology, method=app.CutoffPeriodic)
    hybrid = create_hybrid_system(modeller.topology, system, potential, SELECTION)
    context = platform.context(hybrid.system, x, mm.VerletIntegrator(1e-5))
    before = len(counter.atoms)
    context.getIntegrator().step(5)
    assert counter.atoms[before:] == [22] * 5


def test_virtual_site_water(models: ModelSet, pdb: app.PDBFile, platform: PlatformCase, engine: str) -> None:
    """TIP4P-Ew around the region: the virtual sites are the environment's, and the neural energy is the region's."""
    modeller = cut_to_waters(pdb, 60)
    field = app.ForceField("amber14-all.xml", "amber14/tip4pew.xml")
    modeller.addExtraParticles(field)
    system = field.createSystem(
        modeller.topology, nonbondedMethod=app.CutoffPeriodic, nonbondedCutoff=0.9, rigidWater=True
    )
    assert any(system.isVirtualSite(i) for i in range(system.getNumParticles()))
    numbers = [a.element.atomic_number for a in modeller.topology.atoms() if a.residue.name in ("ACE", "ALA", "NME")]
    atoms = peptide_atoms(modeller.topology)
    force = add_neural_force(modeller.topology, system, models.pair("plain"), atoms, force_group=9)
    assert force.getForceGroup() == 9
    x = np.array(modeller.positions.value_in_unit(unit.nanometer))
    context = platform.context(system, x, mm.VerletIntegrator(1e-4))
    context.computeVirtualSites()
    context.getIntegrator().step(10)
    expected = oracle.pair_energy(positions_of(context)[atoms], numbers)
    np.testing.assert_allclose(energy_of(context, {9}), expected, rtol=1e-9 if platform.double else 2e-5)


def test_input_is_not_changed(models: ModelSet, pdb: app.PDBFile, engine: str) -> None:
    modeller = cut_to_waters(pdb, 20)
    system = amber_system(modeller.topology, method=app.CutoffPeriodic)
    before = mm.XmlSerializer.serialize(system)
    bonds = list(modeller.topology.bonds())
    hybrid = create_hybrid_system(modeller.topology, system, models.pair("plain"), SELECTION)
    assert mm.XmlSerializer.serialize(system) == before
    assert list(modeller.topology.bonds()) == bonds
    assert list(hybrid.region.atoms) == peptide_atoms(modeller.topology)
    assert list(hybrid.links) == []


@pytest.mark.parametrize("form", ["selection", "indices", "mask", "generator"])
def test_forms_of_a_region(models: ModelSet, pdb: app.PDBFile, engine: str, form: str) -> None:
    """However the region is said, it is the same region."""
    modeller = cut_to_waters(pdb, 10)
    atoms = peptide_atoms(modeller.topology)
    mask = np.zeros(modeller.topology.getNumAtoms(), dtype=bool)
    mask[atoms] = True
    regions = {"selection": SELECTION, "indices": atoms, "mask": mask, "generator": (i for i in atoms)}
    system = amber_system(modeller.topology, method=app.CutoffPeriodic)
    hybrid = create_hybrid_system(modeller.topology, system, models.pair("plain"), regions[form], force_group=3)
    x = np.array(modeller.positions.value_in_unit(unit.nanometer))
    numbers = [a.element.atomic_number for a in modeller.topology.atoms()][:22]
    expected = oracle.pair_energy(x[atoms], numbers)
    REFERENCE.check_energy(energy_of(REFERENCE.context(hybrid.system, x), {3}), expected)
