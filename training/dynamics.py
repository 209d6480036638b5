"""Dynamics of molecules that training never saw, by the native force, to see that none falls apart.

    python -m training.validate ... --only dynamics endurance conservation --minutes 30 --keep runs/

Several molecules are one region, each held in its place by its centre of mass, which no force inside it feels: one
evaluation for all of them costs much less than one for each.  Runs are long.  With `--keep`, what was done is kept on
disk, by the hash of the potential and the kind of run, and the same command goes on where it stopped.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit
from rdkit import Chem

from openmm_nn import Potential, create_system
from training import sample

#: kJ/(mol K)
GAS_CONSTANT = unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin)
#: A bond is broken when it is longer than this multiple of its length at the start, at a minimum.
BROKEN = 1.45
#: Between the places of two molecules, nm, three times the cutoff and the size of the largest; kJ/(mol nm^2).
SPACING, HOLD = 3.0, 500.0
#: Seconds between two points at which a run is kept.
SAVE = 20.0
#: Of the runs without a thermostat.
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Keep:
    """Where runs are kept (None: nowhere), and the time (of `time.time`) at which they stop for now."""

    folder: Path | None = None
    deadline: float = float("inf")
    name: str = "run"

    def part(self, name: str) -> Keep:
        """One run of several."""
        return Keep(self.folder, self.deadline, f"{self.name}-{name}")

    def load(self) -> dict | None:
        """Return what was kept, if anything was."""
        path = None if self.folder is None else self.folder / f"{self.name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else None

    def save(self, state: dict) -> None:
        """Keep `state`, replacing what was kept, all or nothing."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = self.folder / f"{self.name}.part"
            partial.write_text(json.dumps(state), encoding="utf-8")
            partial.replace(self.folder / f"{self.name}.json")


class Ensemble:
    """Molecules far from each other that a potential moves together.

    Parameters
    ----------
    potential : Potential
    molecules : sequence of RDKit molecules
        The first conformer of each is relaxed with the potential.
    properties : dict, optional
        Of the force.
    """

    def __init__(
        self, potential: Potential, molecules: list[Chem.Mol], properties: dict[str, str] | None = None
    ) -> None:
        self.sizes = [m.GetNumAtoms() for m in molecules]
        first = np.concatenate([[0], np.cumsum(self.sizes)])
        side = int(np.ceil(len(molecules) ** (1 / 3)))
        topology = app.Topology()
        chain = topology.addChain()
        hold = openmm.CustomCentroidBondForce(1, f"{HOLD / 2} * ((x1 - x)^2 + (y1 - y)^2 + (z1 - z)^2)")
        for name in "xyz":
            hold.addPerBondParameter(name)
        bonds, positions = [], []
        for k, molecule in enumerate(molecules):
            residue = topology.addResidue("MOL", chain)
            for atom in molecule.GetAtoms():
                topology.addAtom(atom.GetSymbol(), app.Element.getByAtomicNumber(atom.GetAtomicNum()), residue)
            masses = np.array([sample.MASSES[a.GetAtomicNum()] for a in molecule.GetAtoms()])
            place = SPACING * np.array([k % side, k // side % side, k // side**2], dtype=float)
            x = 0.1 * molecule.GetConformers()[0].GetPositions()
            positions.append(x - masses @ x / masses.sum() + place)
            hold.addBond([hold.addGroup(list(range(first[k], first[k + 1])))], place)
            bonds += [[first[k] + b.GetBeginAtomIdx(), first[k] + b.GetEndAtomIdx()] for b in molecule.GetBonds()]
        self.bonds = np.array(bonds)
        self.bond_owner = np.searchsorted(first, self.bonds[:, 0], side="right") - 1
        self.system = create_system(topology, potential, remove_cm_motion=False, properties=properties)
        self.system.addForce(hold)
        context = self.context(openmm.VerletIntegrator(0.001))
        context.setPositions(np.concatenate(positions))
        openmm.LocalEnergyMinimizer.minimize(context, 1.0, 500)
        self.positions = _positions(context.getState(positions=True))
        self.lengths = self.bond_lengths(self.positions)

    def context(self, integrator: openmm.Integrator) -> openmm.Context:
        """Make a Context on the CPU platform."""
        platform = openmm.Platform.getPlatformByName("CPU")
        return openmm.Context(self.system, integrator, platform, {"Threads": "1"})

    def bond_lengths(self, positions: NDArray) -> NDArray:
        """Lengths of all bonds, nm."""
        return np.linalg.norm(positions[self.bonds[:, 0]] - positions[self.bonds[:, 1]], axis=1)

    def run(
        self,
        integrator: openmm.Integrator,
        temperature: float,
        steps: int,
        report: int,
        keep: Keep,
        seed: int,
        start: openmm.State | None = None,
        verlet: bool = False,
    ) -> dict[str, Any]:
        """Run from `start`, or from velocities drawn at `temperature`, as far as the deadline of `keep` lets it.

        Returns, every `report` steps: potential and kinetic energy (kJ/mol) of all, and the longest bond of every
        molecule relative to its length at the start; the `state` at the end; and with `verlet`, by how much what the
        steps of that integrator conserve is more than the total energy.
        """
        context = self.context(integrator)
        log: dict[str, list] = {"potential": [], "kinetic": [], "stretch": [], "beyond": []}
        done = 0
        kept = keep.load()
        if kept is None and start is None:
            context.setPositions(self.positions)
            context.setVelocitiesToTemperature(temperature, seed)
        elif kept is None:
            context.setState(start)
        else:
            log, done = kept["log"], kept["steps"]
            context.setState(openmm.XmlSerializer.deserialize(kept["state"]))
        saved = time.time()
        while done < steps:
            integrator.step(report)
            done += report
            state = context.getState(positions=True, energy=True)
            if verlet:
                log["beyond"].append(self.beyond(context))
            stretch = np.zeros(len(self.sizes))
            np.maximum.at(stretch, self.bond_owner, self.bond_lengths(_positions(state)) / self.lengths)
            log["potential"].append(state.getPotentialEnergy()._value)
            log["kinetic"].append(state.getKineticEnergy()._value)
            log["stretch"].append(np.round(stretch, 4).tolist())
            late = time.time() > keep.deadline
            if late or done >= steps or time.time() - saved > SAVE:
                at = openmm.XmlSerializer.serialize(context.getState(positions=True, velocities=True))
                keep.save({"steps": done, "log": log, "state": at})
                saved = time.time()
            if late:
                break
        return {**{k: np.array(v) for k, v in log.items()}, "state": context.getState(positions=True, velocities=True)}

    def beyond(self, context: openmm.Context) -> float:
        """What Verlet's steps of h conserve to fourth order, less the total energy, kJ/mol.

        It is h^2 (v.(d^2U/dx^2).v / 12 - F.F/m / 24) (Hairer, Lubich, Wanner, Acta Numerica 12, 399 (2003),
        doi:10.1017/S0962492902000144).  The second derivatives along v are those of the forces along a line.
        """
        h = context.getIntegrator().getStepSize()._value
        state = context.getState(positions=True, velocities=True, forces=True)
        masses = np.array([[self.system.getParticleMass(i)._value] for i in range(self.system.getNumParticles())])
        now = np.array(state.getForces(asNumpy=True)._value)
        velocities = np.array(state.getVelocities(asNumpy=True)._value) + 0.5 * h * now / masses
        sides = []
        for side in (-h, h):
            context.setPositions(_positions(state) + side * velocities)
            sides.append(np.array(context.getState(forces=True).getForces(asNumpy=True)._value))
        context.setState(state)
        curvature = (velocities * (sides[0] - sides[1])).sum() / (2 * h)
        return float(h**2 * (curvature / 12 - (now**2 / masses).sum() / 24))


def _positions(state: openmm.State) -> NDArray:
    return np.array(state.getPositions(asNumpy=True)._value)


def pick(entries: list[dict], count: int, largest: int = 22) -> list[dict]:
    """Choose held-out molecules: the classes in turn, those with bonds only, between 5 and `largest` atoms."""
    by_group: dict[str, list[dict]] = {}
    for entry in entries:
        if "." not in entry["smiles"] and 5 <= entry["atoms"] <= largest:
            by_group.setdefault(entry["group"], []).append(entry)
    chosen: list[dict] = []
    turn = 0
    while len(chosen) < count and any(len(v) > turn for v in by_group.values()):
        chosen += [v[turn] for v in by_group.values() if len(v) > turn]
        turn += 1
    return chosen[:count]


def stability(
    potential: Potential, entries: list[dict], picoseconds: float, count: int, largest: int, keep: Keep
) -> dict[str, object] | None:
    """Langevin dynamics of held-out molecules at 300 K, 0.5 fs, 1/ps: which bonds break, how warm they are."""
    molecules = {e["smiles"]: sample.embed(e["smiles"], 1, e["seed"]) for e in pick(entries, count, largest)}
    missing = [smiles for smiles, molecule in molecules.items() if molecule is None]
    if missing:
        raise RuntimeError(f"RDKit could not embed {', '.join(missing)}")
    ensemble = Ensemble(potential, [m for m in molecules.values() if m is not None])
    kept = keep.load()
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.5e-3)
    # A run that goes on must not repeat its random numbers.
    integrator.setRandomNumberSeed(7 + (0 if kept is None else kept["steps"]))
    report = 100
    log = ensemble.run(integrator, 300.0, round(picoseconds * 2000), report, keep, 7)
    kinetic = log["kinetic"][len(log["kinetic"]) // 4 :].mean()
    return {
        "molecules": len(molecules),
        "atoms": sum(ensemble.sizes),
        "picoseconds": round(len(log["stretch"]) * report * 0.5e-3, 3),
        "picoseconds_wanted": picoseconds,
        "broken": [s for s, worst in zip(molecules, log["stretch"].max(0), strict=True) if not worst < BROKEN],
        "finite": bool(np.isfinite(log["potential"]).all()),
        "longest_relative_bond": round(float(log["stretch"].max()), 3),
        "mean_temperature": round(float(2 * kinetic / (3 * sum(ensemble.sizes) * GAS_CONSTANT)), 1),
        "smiles": list(molecules),
    }


def conservation(
    potential: Potential, picoseconds: float, keep: Keep, smiles: str = "CC(=O)NC(C)C(=O)NC"
) -> dict[str, object] | None:
    """Total energy of alanine dipeptide without a thermostat, three seeds, 0.5 and 0.25 fs; None if barely begun.

    20 ps at 300 K come before each seed's runs.  The total energy differs from what Verlet's steps conserve by a term
    of second order in the step, which moves as slowly as the vibrations of one molecule exchange their energy, over
    more than the 20 ps of a run: that is part of the error of a slope, and is seen between seeds, not inside one run.
    """
    result: dict[str, object] = {"picoseconds_wanted": picoseconds, "molecule": smiles, "dtype": potential.card.dtype}
    rdkit = sample.embed(smiles, 1, 3)
    if rdkit is None:
        raise RuntimeError(f"RDKit could not embed {smiles}")
    ensemble = Ensemble(potential, [rdkit])
    starts = {}
    for seed in SEEDS:
        warm = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.5e-3)
        warm.setRandomNumberSeed(seed)
        log = ensemble.run(warm, 300.0, 40000, 500, keep.part(f"start-{seed}"), seed)
        if len(log["kinetic"]) < 80:
            return None
        starts[seed] = log["state"]
    deviations: dict[float, float] = {}
    reached = picoseconds
    for step in (0.5, 0.25):
        report = round(20 / step)
        rows = []
        for seed in SEEDS:
            integrator = openmm.VerletIntegrator(1e-3 * step)
            steps = round(picoseconds * 1000 / step)
            part = keep.part(f"{step}-{seed}")
            log = ensemble.run(integrator, 300.0, steps, report, part, seed, starts[seed], verlet=True)
            total = log["potential"] + log["kinetic"]
            if len(total) < 100:
                return None
            t = np.arange(1, len(total) + 1) * report * step * 1e-3
            reached = min(reached, round(float(t[-1]), 3))
            slope, error = drift(t, total)
            conserved, conserved_error = drift(t, total + log["beyond"])
            rows.append(
                {
                    "slope_kJ_per_ps": round(slope, 6),
                    "standard_error_by_blocks": round(error, 6),
                    "std_kJ": round(float(total.std()), 5),
                    "conserved_slope_kJ_per_ps": round(conserved, 7),
                    "conserved_standard_error": round(conserved_error, 7),
                    "conserved_std_kJ": round(float((total + log["beyond"]).std()), 6),
                }
            )
        slopes = np.array([r["slope_kJ_per_ps"] for r in rows])
        within = np.sqrt(np.mean([r["standard_error_by_blocks"] ** 2 for r in rows]))
        error = max(float(slopes.std(ddof=1)), float(within))
        deviations[step] = float(np.mean([r["std_kJ"] for r in rows]))
        result[f"{step} fs"] = {
            "runs": rows,
            "standard_error_of_a_slope": round(error, 6),
            "mean_slope": round(float(slopes.mean()), 6),
            "standard_error_of_the_mean": round(error / len(rows) ** 0.5, 6),
        }
    result["picoseconds"] = reached
    result["std_ratio"] = round(deviations[0.5] / deviations[0.25], 2)
    return result


def drift(time_ps: NDArray, energy: NDArray) -> tuple[float, float]:
    """Slope of an energy and its standard error: the largest of those from 20, 10 and 5 blocks of the run."""
    slope, intercept = np.polyfit(time_ps, energy, 1)
    residual = energy - slope * time_ps - intercept
    errors = []
    for count in (20, 10, 5):
        blocks = np.array([b.mean() for b in np.array_split(residual, count)])
        centres = np.array([b.mean() for b in np.array_split(time_ps, count)])
        errors.append(blocks.std(ddof=2) / np.sqrt(((centres - centres.mean()) ** 2).sum()))
    return float(slope), float(max(errors))
