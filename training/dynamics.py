"""Dynamics with the network alone: many molecules side by side in one graph, to see that none falls apart.

    python -m training.validate ... --only dynamics endurance conservation --minutes 30 --keep runs/

Runs are long.  With `--keep`, what was done is kept on disk, by the hash of the potential and the kind of run, and the
same command goes on where it stopped.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import Tensor

from training import sample
from training.model import Committee

logger = logging.getLogger(__name__)
KCAL = 23.060547830619
#: eV/(Angstrom g/mol) in Angstrom/fs^2, and the Boltzmann constant in eV/K.
ACCELERATION = 9.648533e-3
BOLTZMANN = 8.617333e-5
#: A bond is broken when it is longer than this multiple of its first length.
BROKEN = 1.45
#: Seconds between two points at which a run is kept.
SAVE = 20.0


@dataclass(frozen=True)
class Keep:
    """Where runs are kept (None: nowhere), and the time (of `time.time`) at which they stop for now."""

    folder: Path | None = None
    deadline: float = float("inf")
    name: str = "run"

    def part(self, name: str) -> Keep:
        """One run of several."""
        return Keep(self.folder, self.deadline, f"{self.name}-{name}")

    def load(self) -> dict[str, object] | None:
        """Return what was kept, if anything was."""
        path = None if self.folder is None else self.folder / f"{self.name}.pt"
        return torch.load(path, weights_only=False) if path is not None and path.exists() else None

    def save(self, state: dict[str, object]) -> None:
        """Keep `state`, replacing what was kept, all or nothing."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            torch.save(state, self.folder / f"{self.name}.part")
            (self.folder / f"{self.name}.part").replace(self.folder / f"{self.name}.pt")


class Ensemble:
    """Molecules that do not see each other, moved together: positions in float64, the network in its own precision.

    They are evaluated in batches of similar size, padded by atoms far from everything, which feel no force and add a
    constant to the energy.

    Parameters
    ----------
    model : Committee
    molecules : sequence of RDKit molecules with one conformer each
    """

    def __init__(self, model: Committee, molecules: list[Chem.Mol], batch: int = 6) -> None:
        self.model = model
        self.sizes = [m.GetNumAtoms() for m in molecules]
        first = np.concatenate([[0], np.cumsum(self.sizes)])
        self.positions = torch.tensor(np.concatenate([m.GetConformers()[0].GetPositions() for m in molecules]))
        numbers = torch.tensor([a.GetAtomicNum() for m in molecules for a in m.GetAtoms()])
        self.masses = torch.tensor([sample.MASSES[int(z)] for z in numbers], dtype=torch.float64).unsqueeze(1)
        self.owner = torch.repeat_interleave(torch.arange(len(molecules)), torch.tensor(self.sizes))
        order = sorted(range(len(molecules)), key=lambda k: self.sizes[k])
        # Of every batch: which molecules, their atoms' indices into a list with the padding at its end, their elements.
        self.padding = max(self.sizes)
        padded = torch.cat([numbers, torch.ones(self.padding, dtype=torch.int64)])
        self.far = 1e3 * torch.arange(1, self.padding + 1, dtype=torch.float64).unsqueeze(1).repeat(1, 3)
        self.batches: list[tuple[list[int], Tensor, Tensor]] = []
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            width = max(self.sizes[k] for k in chosen)
            index = torch.tensor(
                [[*range(first[k], first[k + 1]), *range(first[-1], first[-1] + width - self.sizes[k])] for k in chosen]
            )
            self.batches.append((chosen, index, padded[index]))
        self.bonds = torch.tensor(
            [
                [int(start) + b.GetBeginAtomIdx(), int(start) + b.GetEndAtomIdx()]
                for start, m in zip(first, molecules, strict=False)
                for b in m.GetBonds()
            ]
        )
        self.lengths = self.bond_lengths()

    def bond_lengths(self) -> Tensor:
        """Lengths of all bonds, Angstrom."""
        return (self.positions[self.bonds[:, 0]] - self.positions[self.bonds[:, 1]]).norm(dim=1)

    def energies_and_forces(self) -> tuple[NDArray[np.float64], Tensor]:
        """Energy of every molecule (eV) and forces (eV/Angstrom)."""
        dtype = self.model.mix.dtype
        energies = np.zeros(len(self.sizes))
        forces = torch.zeros(len(self.positions) + self.padding, 3, dtype=torch.float64)
        every = torch.cat([self.positions, self.far])
        for chosen, index, numbers in self.batches:
            x = every[index].to(dtype).requires_grad_()
            energy = self.model.energies(x, numbers).mean(0)
            (gradient,) = torch.autograd.grad(energy.sum(), x)
            energies[chosen] = energy.detach().double().numpy()
            forces[index.flatten()] = -gradient.double().view(-1, 3)
        return energies, forces[: len(self.positions)]

    def run(
        self,
        steps: int,
        step: float,
        temperature: float,
        friction: float,
        seed: int,
        report: int,
        keep: Keep | None = None,
    ) -> dict[str, list[NDArray]]:
        """BAOAB Langevin dynamics (velocity Verlet where the friction is zero), `step` in fs, friction in 1/fs.

        Velocities are drawn at `temperature`.  Returns, every `report` steps: potential and kinetic energy of every
        molecule (eV), and the longest bond relative to its first length; as far as the deadline of `keep` lets it.
        """
        keep = Keep() if keep is None else keep
        generator = torch.Generator().manual_seed(seed)
        thermal = torch.sqrt(BOLTZMANN * temperature * ACCELERATION / self.masses)
        v = thermal * torch.randn(self.positions.shape, generator=generator, dtype=torch.float64)
        decay = float(np.exp(-friction * step))
        log: dict[str, list[NDArray]] = {"potential": [], "kinetic": [], "stretch": []}
        first = 1
        state = keep.load()
        if state is not None:
            self.positions, v, log, first = state["positions"], state["velocities"], state["log"], state["next"]
            generator.set_state(state["generator"])
        _, f = self.energies_and_forces()
        saved = time.time()
        for index in range(first, steps + 1):
            v = v + 0.5 * step * ACCELERATION * f / self.masses
            self.positions = self.positions + 0.5 * step * v
            if friction > 0:
                noise = torch.randn(v.shape, generator=generator, dtype=torch.float64)
                v = decay * v + float(np.sqrt(1 - decay**2)) * thermal * noise
            self.positions = self.positions + 0.5 * step * v
            energies, f = self.energies_and_forces()
            v = v + 0.5 * step * ACCELERATION * f / self.masses
            if index % report == 0:
                kinetic = (0.5 * self.masses * v * v).sum(1) / ACCELERATION
                owned = torch.zeros(len(self.sizes), dtype=torch.float64).index_add(0, self.owner, kinetic)
                stretch = torch.zeros(len(self.sizes), dtype=torch.float64).scatter_reduce(
                    0, self.owner[self.bonds[:, 0]], self.bond_lengths() / self.lengths, "amax"
                )
                log["potential"].append(energies)
                log["kinetic"].append(owned.numpy())
                log["stretch"].append(stretch.numpy())
                late = time.time() > keep.deadline
                if late or index == steps or time.time() - saved > SAVE:
                    at = {"positions": self.positions, "velocities": v, "log": log, "next": index + 1}
                    keep.save({**at, "generator": generator.get_state()})
                    saved = time.time()
                if late:
                    break
        return log


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
    model: Committee, entries: list[dict], picoseconds: float, count: int, largest: int, keep: Keep
) -> dict[str, object]:
    """Langevin dynamics of held-out molecules at 300 K, 0.5 fs, float32: which bonds break, how warm they are."""
    chosen = [(e, sample.embed(e["smiles"], 1, e["seed"])) for e in pick(entries, count, largest)]
    molecules = [m for _, m in chosen if m is not None]
    ensemble = Ensemble(model, molecules)
    report = 100
    log = ensemble.run(round(picoseconds * 2000), 0.5, 300.0, 0.001, 7, report, keep)
    stretch = np.stack(log["stretch"])
    kinetic = np.stack(log["kinetic"])[len(log["kinetic"]) // 4 :].mean(0)
    freedom = 3 * np.array(ensemble.sizes)
    names = [e["smiles"] for e, m in chosen if m is not None]
    broken = [n for n, s in zip(names, stretch.max(0), strict=True) if not s < BROKEN]
    return {
        "molecules": len(names),
        "picoseconds": len(stretch) * report * 0.5e-3,
        "picoseconds_wanted": picoseconds,
        "broken": broken,
        "finite": bool(np.isfinite(np.stack(log["potential"])).all()),
        "longest_relative_bond": round(float(stretch.max()), 3),
        "mean_temperature": round(float((2 * kinetic / (freedom * BOLTZMANN)).mean()), 1),
        "smiles": names,
    }


def conservation(
    model: Committee, picoseconds: float, keep: Keep, smiles: str = "CC(=O)NC(C)C(=O)NC"
) -> dict[str, object] | None:
    """Total energy of alanine dipeptide without a thermostat, three seeds, 0.5 and 0.25 fs; None if barely begun."""
    result: dict[str, object] = {"picoseconds_wanted": picoseconds, "molecule": smiles}
    rdkit = sample.embed(smiles, 1, 3)
    if rdkit is None:
        raise RuntimeError(f"RDKit could not embed {smiles}")
    start = Ensemble(model, 3 * [rdkit])
    start.run(4000, 0.5, 300.0, 0.01, 11, 500, keep.part("start"))
    deviations = {}
    for step in (0.5, 0.25):
        ensemble = Ensemble(model, 3 * [rdkit])
        ensemble.positions = start.positions.clone()
        report = round(5 / step)
        log = ensemble.run(round(picoseconds * 1000 / step), step, 300.0, 0.0, 5, report, keep.part(f"{step}"))
        total = (np.stack(log["potential"]) + np.stack(log["kinetic"])) * KCAL * 4.184
        if len(total) < 100:
            return None
        t = np.arange(1, len(total) + 1) * report * step * 1e-3
        result["picoseconds"] = min(float(t[-1]), float(result.get("picoseconds", np.inf)))
        rows = []
        for column in total.T:
            slope, intercept = np.polyfit(t, column, 1)
            residual = column - slope * t - intercept
            # The residuals are correlated; blocks of 1/20 of the run are taken as independent.
            blocks = np.array([b.mean() for b in np.array_split(residual, 20)])
            centres = np.array([b.mean() for b in np.array_split(t, 20)])
            error = blocks.std(ddof=2) / np.sqrt(((centres - centres.mean()) ** 2).sum())
            rows.append(
                {
                    "slope_kJ_per_ps": round(float(slope), 6),
                    "standard_error": round(float(error), 6),
                    "std_kJ": round(float(column.std()), 5),
                }
            )
        deviations[step] = float(np.mean([r["std_kJ"] for r in rows]))
        result[f"{step} fs"] = rows
    result["std_ratio"] = round(deviations[0.5] / deviations[0.25], 2)
    return result
