from __future__ import annotations

import numpy as np
import openmm
import pytest
from bundled_support import MODEL
from openmm import app, unit

import openmm_nn

NAME = "openmm-nn/hcno-1"
BROKEN = 1.45


def minima(kept, count):
    """Labels of minima of held-out molecules in one piece, the classes mixed, one a molecule."""
    chosen, seen = [], set()
    for label in kept.labels_of("test"):
        molecule = int(kept.molecule[label])
        atoms = int(kept.first[label + 1] - kept.first[label])
        if "." not in str(kept.smiles[molecule]) and molecule not in seen and 5 <= atoms <= 40:
            seen.add(molecule)
            chosen.append(int(label))
    order = np.random.default_rng(2).permutation(len(chosen))
    return [chosen[i] for i in order[:count]]


def simulation(kept, label, seed=1, step=0.5, friction=1.0):
    atoms = kept.atoms(label)
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for index, number in enumerate(kept.numbers[atoms]):
        topology.addAtom(f"A{index}", app.Element.getByAtomicNumber(int(number)), residue)
    system = openmm_nn.create_system(topology, openmm_nn.load_potential(NAME))
    if friction > 0:
        integrator = openmm.LangevinMiddleIntegrator(300, friction, step * 1e-3)
        integrator.setRandomNumberSeed(seed)
    else:
        integrator = openmm.VerletIntegrator(step * 1e-3)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"))
    context.setPositions(kept.positions[atoms] * 0.1)
    openmm.LocalEnergyMinimizer.minimize(context, 1.0, 300)
    context.setVelocitiesToTemperature(300, seed)
    return context, integrator


def positions(context):
    return context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)


def stretched(context, integrator, picoseconds, step=0.5):
    """Longest relative bond seen; bonds are the pairs within 1.25 times the sum of covalent radii at the start."""
    radii = {1: 0.31, 6: 0.76, 7: 0.71, 8: 0.66}
    masses = [context.getSystem().getParticleMass(i)._value for i in range(context.getSystem().getNumParticles())]
    numbers = [min(radii, key=lambda z, m=m: abs({1: 1.0, 6: 12.0, 7: 14.0, 8: 16.0}[z] - m)) for m in masses]
    x = positions(context)
    d = np.linalg.norm(x[:, None] - x, axis=-1)
    limit = np.array([[1.25 * (radii[a] + radii[b]) for b in numbers] for a in numbers])
    i, j = np.where(np.triu(d < limit, 1))
    longest = 0.0
    for _ in range(round(picoseconds / 0.05)):
        integrator.step(round(50 / step))
        y = positions(context)
        longest = max(longest, float((np.linalg.norm(y[i] - y[j], axis=1) / d[i, j]).max()))
    return longest


def test_it_is_listed():
    entry = next(e for e in openmm_nn.available_potentials() if e.name == NAME)
    assert entry.card is not None
    assert entry.card.committee_size == 4
    assert entry.missing == ""
    assert openmm_nn.load_potential(NAME).card == openmm_nn.load_potential(MODEL).card


def test_evaluates_as_labelled(kept):
    potential = openmm_nn.load_potential(NAME)
    label = minima(kept, 1)[0]
    atoms = kept.atoms(label)
    result = potential.evaluate(kept.positions[atoms] * 0.1, kept.numbers[atoms].astype(int))
    # The reference energies are in the card: the total energy is that of GFN2-xTB.
    assert result.energy == pytest.approx(kept.energies[label] * 96.48533, abs=80.0)
    error = (result.forces - kept.forces[atoms] * 964.8533) / 41.84
    assert np.abs(error).mean() < 6.0
    assert result.energy_std is not None
    assert result.energy_std > 0


def test_short_dynamics_of_a_held_out_molecule(kept):
    context, integrator = simulation(kept, minima(kept, 1)[0])
    assert stretched(context, integrator, 1.0) < BROKEN


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_20_ps_of_30_held_out_molecules(kept):
    broken = {}
    for label in minima(kept, 30):
        longest = stretched(*simulation(kept, label), 20.0)
        if not longest < BROKEN:
            broken[str(kept.smiles[kept.molecule[label]])] = longest
    assert not broken


@pytest.mark.soak
@pytest.mark.timeout(21600)
def test_500_ps_of_five_held_out_molecules(kept):
    broken = {}
    for label in minima(kept, 5):
        longest = stretched(*simulation(kept, label), 500.0)
        if not longest < BROKEN:
            broken[str(kept.smiles[kept.molecule[label]])] = longest
    assert not broken


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_energy_is_conserved(kept):
    label = minima(kept, 1)[0]
    deviations = {}
    for step in (0.5, 0.25):
        total = []
        for seed in (1, 2, 3):
            context, integrator = simulation(kept, label, seed=seed, step=step, friction=0.0)
            energies = []
            for _ in range(4000):
                integrator.step(round(5 / step))
                state = context.getState(energy=True)
                energies.append((state.getKineticEnergy() + state.getPotentialEnergy())._value)
            energies = np.array(energies)
            t = 0.005 * np.arange(len(energies))
            slope, intercept = np.polyfit(t, energies, 1)
            residual = energies - slope * t - intercept
            blocks = np.array([b.mean() for b in np.array_split(residual, 20)])
            centres = np.array([b.mean() for b in np.array_split(t, 20)])
            error = blocks.std(ddof=2) / np.sqrt(((centres - centres.mean()) ** 2).sum())
            assert abs(slope) < 3 * error + 1e-4
            total.append(energies.std())
        deviations[step] = np.mean(total)
    assert 3 < deviations[0.5] / deviations[0.25] < 5
