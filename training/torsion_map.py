"""The relaxed phi/psi map of alanine dipeptide in vacuum, 24 x 24, by GFN2-xTB and by a potential.

    python -m training.torsion_map --reference training/reference/alanine_dipeptide_map.npz   # GFN2-xTB, minutes

Both torsions are held by a stiff restraint, whose energy is not counted, while everything else is relaxed.  The
potential is relaxed from the geometries of the reference.  Minima are found by free relaxations from the low points of
both maps, and paired where they relax into one another.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit.Chem.rdMolTransforms import SetDihedralDeg
from scipy.ndimage import minimum_filter
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training import sample
from training.label import Labeller
from training.scans import Surface, dihedrals, restrained

logger = logging.getLogger(__name__)
SMILES = "CC(=O)N[C@@H](C)C(=O)NC"
#: Atoms of C-N-CA-C and N-CA-C-N in the order of the SMILES.
PHI, PSI = (1, 3, 4, 6), (3, 4, 6, 8)
GRID = np.arange(-180, 180, 15)
KCAL = 23.060547830619


def relaxed(surface: Surface, start: NDArray, phi: float, psi: float, steps: int) -> tuple[float, NDArray]:
    """Relax from `start` (Angstrom) with both torsions held (degrees); energy without the restraint, and positions."""
    positions = restrained(surface, start, (PHI, PSI), (phi, psi), steps)[-1]
    return surface(positions)[0], positions


def reference_map(steps: int = 40) -> dict[str, NDArray]:
    """GFN2-xTB energies (24, 24), eV, positions (24, 24, n_atoms, 3), Angstrom, and atomic numbers."""
    rdkit = sample.embed(SMILES, 1, 5)
    if rdkit is None:
        raise RuntimeError("RDKit could not embed alanine dipeptide")
    numbers = np.array([a.GetAtomicNum() for a in rdkit.GetAtoms()])
    surface = Labeller(numbers).surface
    conformer = rdkit.GetConformer()
    n = len(GRID)
    energies = np.full((n, n), np.inf)
    positions = np.zeros((n, n, len(numbers), 3))
    # Two sweeps, forth and back along psi, so that each point is reached from both sides; the lower one is kept.
    for sweep in range(2):
        for i in range(n):
            order = range(n) if (i + sweep) % 2 == 0 else range(n - 1, -1, -1)
            for j in order:
                SetDihedralDeg(conformer, *PHI, float(GRID[i]))
                SetDihedralDeg(conformer, *PSI, float(GRID[j]))
                energy, x = relaxed(surface, conformer.GetPositions(), GRID[i], GRID[j], steps)
                conformer.SetPositions(x)
                if energy < energies[i, j]:
                    energies[i, j], positions[i, j] = energy, x
            logger.info("sweep %d, phi %d", sweep, GRID[i])
    return {"numbers": numbers, "energies": energies, "positions": positions.astype(np.float32)}


def minima(energies: NDArray) -> list[tuple[int, int]]:
    """Grid points (phi, psi in degrees) lower than their eight neighbours, lowest first."""
    lowest = energies == minimum_filter(energies, size=3, mode="wrap")
    found = sorted(map(tuple, np.argwhere(lowest)), key=lambda ij: energies[ij])
    return [(int(GRID[i]), int(GRID[j])) for i, j in found]


@dataclass(frozen=True)
class Minimum:
    """Where a free relaxation ends: phi and psi in degrees, energy in eV, positions in Angstrom."""

    phi: float
    psi: float
    energy: float
    positions: NDArray

    def is_at(self, other: Minimum) -> bool:
        """Whether these are one and the same."""
        return max(abs((a - b + 180) % 360 - 180) for a, b in ((self.phi, other.phi), (self.psi, other.psi))) < 10.0


def settle(surface: Surface, start: NDArray) -> Minimum:
    """Relax freely from `start`, Angstrom."""

    def value(flat: NDArray) -> tuple[float, NDArray]:
        energy, forces = surface(flat.reshape(-1, 3))
        return energy, -np.ravel(forces)

    options = {"maxiter": 1500, "ftol": 1e-13, "gtol": 1e-5}
    found = minimize(value, np.ravel(start).astype(np.float64), jac=True, method="L-BFGS-B", options=options)
    x = found.x.reshape(-1, 3)
    phi, psi = np.degrees(dihedrals(torch.tensor(x), torch.tensor([PHI, PSI])).numpy())
    return Minimum(float(phi), float(psi), float(found.fun), x)


def pair_minima(own: Surface, theirs: Surface, starts: list[NDArray]) -> dict[str, list]:
    """Pair the minima of two surfaces: a pair relaxes into one another, each on the surface of the other.

    `starts` (Angstrom) are relaxed freely on both.  Pairs are [[phi, psi, energy], [phi, psi, energy]] of the reference
    (`theirs`) and the potential (`own`), energies in kcal/mol above the first pair's, the reference's lowest; what has
    no partner stands by itself.
    """

    def distinct(found: list[Minimum]) -> list[Minimum]:
        kept: list[Minimum] = []
        for m in sorted(found, key=lambda m: m.energy):
            if not any(m.is_at(k) for k in kept):
                kept.append(m)
        return kept

    reference = distinct([settle(theirs, x) for x in starts])
    potential = distinct([settle(own, x) for x in starts])
    partners: list[tuple[Minimum, Minimum]] = []
    for m in reference:
        partner = settle(own, m.positions)
        if settle(theirs, partner.positions).is_at(m):
            partners.append((m, partner))
    zero = partners[0] if partners else (reference[0], potential[0])

    def row(m: Minimum, lowest: Minimum) -> list[float]:
        return [round(m.phi), round(m.psi), round((m.energy - lowest.energy) * KCAL, 2)]

    return {
        "minima": [[row(a, zero[0]), row(b, zero[1])] for a, b in partners],
        "minima_of_the_reference_alone": [row(m, zero[0]) for m in reference if not any(m is a for a, _ in partners)],
        "minima_of_the_potential_alone": [
            row(m, zero[1]) for m in potential if not any(m.is_at(b) for _, b in partners)
        ],
    }


def compare(surface: Surface, reference: Path, steps: int = 60) -> dict[str, object]:
    """Compare the map of a potential with the reference; energies in kcal/mol above each map's minimum."""
    data = np.load(reference)
    target = (data["energies"] - data["energies"].min()) * KCAL
    energies = np.zeros_like(target)
    for i, phi in enumerate(GRID):
        for j, psi in enumerate(GRID):
            start = data["positions"][i, j].astype(np.float64)
            energies[i, j] = relaxed(surface, start, phi, psi, steps)[0]
    energies = (energies - energies.min()) * KCAL
    low = target < 6.0
    difference = energies[low] - target[low]
    # The lowest points of a grid of 15 degrees are where relaxations begin, no minima yet.
    starts = [data["positions"][_at(m)] for m in {*minima(energies), *minima(target)}]
    return {
        "points_below_6": int(low.sum()),
        "rmse_below_6": float(np.sqrt((difference**2).mean())),
        "rmse_below_6_best_shift": float(difference.std()),
        "mae_below_6": float(np.abs(difference).mean()),
        **pair_minima(surface, Labeller(data["numbers"]).surface, starts),
        "map": np.round(energies, 3).tolist(),
        "reference_map": np.round(target, 3).tolist(),
    }


def _at(point: tuple[int, int]) -> tuple[int, int]:
    return int((point[0] + 180) // 15), int((point[1] + 180) // 15)


def main() -> None:
    """Command line: make the reference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    arguments.reference.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(arguments.reference, **reference_map())


if __name__ == "__main__":
    main()
