"""Constant-energy dynamics of a hybrid with two cut bonds: no drift beyond its error, and errors of second order."""

import importlib.metadata
import json
import pathlib
from collections.abc import Sequence

import numpy as np
import openmm as mm
import pytest
import torch
from openmm import app, unit

from hybrid.cases import Case, nanometres, select, villin
from hybrid.region_energy import card
from openmm_nn import Potential, create_hybrid_system, load_potential
from openmm_nn.native import build

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESIDUES = range(6, 12)
CUT = "(resid 1 and name C O) or resid 2 or (resid 3 and not name C O)"  # of the fragment: two bonds CA-C


def fragment(case: Case, residues: Sequence[int]) -> Case:
    """Some residues of a protein, with the classical terms that join no other atom. Its ends stay open."""
    atoms = [atom.index for atom in case.topology.atoms() if atom.residue.index in residues]
    new = {atom: index for index, atom in enumerate(atoms)}
    system = mm.System()
    for atom in atoms:
        system.addParticle(case.system.getParticleMass(atom))
    numbers = {
        mm.HarmonicBondForce: ("Bond", 2),
        mm.HarmonicAngleForce: ("Angle", 3),
        mm.PeriodicTorsionForce: ("Torsion", 4),
    }
    for force in case.system.getForces():
        if type(force) in numbers:
            kind, number = numbers[type(force)]
            part = type(force)()
            for index in range(getattr(force, f"getNum{kind}s")()):
                term = getattr(force, f"get{kind}Parameters")(index)
                if new.keys() >= set(term[:number]):
                    getattr(part, f"add{kind}")(*(new[atom] for atom in term[:number]), *term[number:])
            system.addForce(part)
        elif isinstance(force, mm.NonbondedForce):
            part = mm.NonbondedForce()
            for atom in atoms:
                part.addParticle(*force.getParticleParameters(atom))
            for index in range(force.getNumExceptions()):
                first, second, *values = force.getExceptionParameters(index)
                if new.keys() >= {first, second}:
                    part.addException(new[first], new[second], *values)
            system.addForce(part)
    modeller = app.Modeller(case.topology, case.positions * unit.nanometer)
    modeller.delete([atom for atom in case.topology.atoms() if atom.index not in new])
    return Case(modeller.topology, system, nanometres(modeller.positions))


class Network:
    """Springs between atoms that are near to each other at first sight, link hydrogens among them."""

    def __init__(self) -> None:
        self.pairs: torch.Tensor | None = None

    def __call__(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Energy in kJ/mol and forces in kJ/mol/nm."""
        x = positions.detach()
        if self.pairs is None:
            distance = torch.cdist(x, x)
            self.pairs = torch.triu((distance < 0.27).int(), 1).nonzero()
            self.rest = distance[self.pairs[:, 0], self.pairs[:, 1]]
            self.strength = torch.where(self.rest < 0.18, 2.0e5, 2.0e4)
        delta = x[self.pairs[:, 0]] - x[self.pairs[:, 1]]
        length = delta.norm(dim=1)
        pull = (-self.strength * (length - self.rest) / length)[:, None] * delta
        forces = torch.zeros_like(x)
        forces.index_add_(0, self.pairs[:, 0], pull)
        forces.index_add_(0, self.pairs[:, 1], -pull)
        return (0.5 * self.strength * (length - self.rest) ** 2).sum(), forces


def total_energies(
    case: Case, potential: Potential, *, step: float, picoseconds: float, seed: int, platform: str, link: str
) -> tuple[np.ndarray, np.ndarray]:
    """Times in ps and total energies in kJ/mol, every 5 fs, after 1 ps at 300 K."""
    hybrid = create_hybrid_system(case.topology, case.system, potential, select(case, CUT), link=link, charge=0)
    assert len(hybrid.links) == 2
    properties = {"Threads": "1"} if platform == "CPU" else {}
    start = mm.LangevinMiddleIntegrator(300.0, 5.0, 0.0005)
    start.setRandomNumberSeed(seed)
    context = mm.Context(hybrid.system, start, mm.Platform.getPlatformByName(platform), properties)
    context.setPositions(case.positions)
    mm.LocalEnergyMinimizer.minimize(context, 10.0, 200)
    context.setVelocitiesToTemperature(300.0, seed)
    start.step(2000)
    state = context.getState(getPositions=True, getVelocities=True)
    integrator = mm.VerletIntegrator(step * 1e-3)
    run = mm.Context(hybrid.system, integrator, mm.Platform.getPlatformByName(platform), properties)
    run.setPositions(state.getPositions())
    run.setVelocities(state.getVelocities())
    energies = []
    for _ in range(round(picoseconds / 0.005)):
        integrator.step(round(5 / step))
        now = run.getState(getEnergy=True)
        energies.append((now.getPotentialEnergy() + now.getKineticEnergy())._value)
    return 0.005 * np.arange(len(energies)), np.array(energies)


def drift(times: np.ndarray, energies: np.ndarray) -> tuple[float, float]:
    """Slope in kJ/mol/ps and its standard error, from 20 blocks."""
    slope, intercept = np.polyfit(times, energies, 1)
    residual = energies - slope * times - intercept
    blocks = np.array([block.mean() for block in np.array_split(residual, 20)])
    centres = np.array([block.mean() for block in np.array_split(times, 20)])
    return float(slope), float(blocks.std(ddof=2) / np.sqrt(((centres - centres.mean()) ** 2).sum()))


def measure(
    potential: object, *, picoseconds: float, platform: str, link: str, seeds: Sequence[int] = (1, 2, 3)
) -> dict[str, object]:
    """Drifts and deviations at three seeds and two steps."""
    case = fragment(villin(method="NoCutoff", waters=0), RESIDUES)
    drifts, deviations = [], {}
    for step in (0.5, 0.25):
        spreads = []
        for seed in seeds:
            times, energies = total_energies(
                case, potential(), step=step, picoseconds=picoseconds, seed=seed, platform=platform, link=link
            )
            slope, error = drift(times, energies)
            drifts.append({"step_fs": step, "seed": seed, "slope_kJ/mol/ps": slope, "standard_error": error})
            spreads.append(float(energies.std()))
        deviations[step] = spreads
    ratio = float(np.mean(deviations[0.5]) / np.mean(deviations[0.25]))
    return {"drifts": drifts, "deviations_kJ/mol": {str(k): v for k, v in deviations.items()}, "ratio": ratio}


def check(result: dict[str, object]) -> None:
    """No slope beyond three standard errors; the deviation falls by 3 to 5 when the step is halved."""
    for entry in result["drifts"]:
        assert abs(entry["slope_kJ/mol/ps"]) <= 3 * entry["standard_error"], entry
    assert 3.0 < result["ratio"] < 5.0


@pytest.mark.parametrize("link", ["fixed", "ratio"])
@pytest.mark.filterwarnings("ignore:charge")
def test_energy_is_conserved_with_two_cuts(link: str) -> None:
    """Two picoseconds, too few for a standard error of the slope: the energy moves by less than it fluctuates."""
    result = measure(
        lambda: load_potential(Network(), card=card("network")),
        picoseconds=2.0,
        platform="Reference",
        link=link,
        seeds=(1, 2),
    )
    spreads = [spread for values in result["deviations_kJ/mol"].values() for spread in values]
    for entry, spread in zip(result["drifts"], spreads, strict=True):
        assert 2.0 * abs(entry["slope_kJ/mol/ps"]) < spread, entry
    assert 3.0 < result["ratio"] < 5.0


POTENTIALS = {
    "network": (lambda: load_potential(Network(), card=card("network")), "Reference"),
    "hcno-1": (lambda: load_potential("openmm-nn/hcno-1"), "CPU"),
}


@pytest.mark.soak
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("name", POTENTIALS)
@pytest.mark.filterwarnings("ignore:charge")
def test_energy_is_conserved_for_20_ps(name: str) -> None:
    """At three seeds; what was found is kept with the hash of the sources that it speaks for."""
    potential, platform = POTENTIALS[name]
    result = measure(potential, picoseconds=20.0, platform=platform, link="fixed")
    path = ROOT / "tests" / "reference" / "soak_hybrid_energy.json"
    record = json.loads(path.read_text()) if path.is_file() else {}
    record[name] = {
        "what": f"hybrid of {name} with two cut bonds in vacuum, 92 atoms, 20 ps of constant energy on {platform}",
        "command": "make soak",
        "native_sources_sha256": build.current_build_info()["sources"],
        "versions": {package: importlib.metadata.version(package) for package in ("openmm-nn", "openmm", "torch")},
        **result,
    }
    path.write_text(json.dumps(record, indent=2) + "\n")
    check(result)
