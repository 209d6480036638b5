"""What the tests of the bundled potential share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from openmm_nn.potentials.bundled import BUNDLED

MODEL = BUNDLED["openmm-nn/hcno-1"]
KCAL = 23.060547830619


@dataclass(frozen=True)
class Kept:
    """The kept sample of the labels."""

    smiles: np.ndarray
    splits: np.ndarray
    molecule: np.ndarray
    first: np.ndarray
    numbers: np.ndarray
    positions: np.ndarray
    energies: np.ndarray
    forces: np.ndarray
    kinds: np.ndarray

    def atoms(self, label: int) -> slice:
        return slice(int(self.first[label]), int(self.first[label + 1]))

    def molecule_of(self, label: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions (float64, Angstrom) and atomic numbers."""
        atoms = self.atoms(label)
        return torch.tensor(self.positions[atoms], dtype=torch.float64), torch.tensor(
            self.numbers[atoms].astype(np.int64)
        )

    def labels_of(self, split: str) -> np.ndarray:
        return np.where(self.splits[self.molecule] == split)[0]


def all_edges(x: torch.Tensor, cutoff: float = 5.0) -> torch.Tensor:
    distances = torch.cdist(x, x) + 1e3 * torch.eye(len(x), dtype=x.dtype)
    return torch.stack(torch.where(distances < cutoff))


def energies(model: torch.nn.Module, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Member energies (4,) of one molecule, eV."""
    edges = all_edges(x.detach())
    atomic = model(x, z, edges, x.new_zeros(edges.shape[1], 3))
    return atomic.double().sum(1)


def energy_and_forces(model: torch.nn.Module, x: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean energy, eV, and forces, eV/Angstrom."""
    y = x.clone().requires_grad_()
    energy = energies(model, y, z).mean()
    (gradient,) = torch.autograd.grad(energy, y)
    return energy.detach(), -gradient
