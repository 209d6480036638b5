"""Periodic systems that foreign potentials are tested with."""

import numpy as np

__all__ = ["cluster_of_waters", "rock_salt", "to_lattice", "water_box"]

MONOMER = np.array([[0.0, 0.0, 0.0], [0.09572, 0.0, 0.0], [-0.023999, 0.092663, 0.0]])  # O, H, H; nm


def _rotation(rng: np.random.Generator) -> np.ndarray:
    q = rng.normal(size=4)
    w, x, y, z = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def water_box(side: int = 4, seed: int = 0) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Positions (N, 3) and box (3, 3) in nm, and atomic numbers, of side**3 waters at 1 g/mL, turned at random.

    Molecules are scattered over periodic images, as after a run, and atoms are moved off their equilibrium.
    """
    rng = np.random.default_rng(seed)
    edge = side * (0.0299) ** (1.0 / 3.0)  # 0.0299 nm**3 a molecule
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)
    centres = (grid + 0.5 + rng.uniform(-0.06, 0.06, grid.shape)) * (edge / side)
    box = np.diag([edge] * 3)
    molecules = []
    for centre in centres:
        atoms = (MONOMER - MONOMER.mean(axis=0)) @ _rotation(rng).T + rng.normal(0.0, 0.003, (3, 3))
        molecules.append(atoms + centre + rng.integers(-1, 2, 3) @ box)
    return np.concatenate(molecules), [8, 1, 1] * side**3, box


def rock_salt(
    first: int = 11, second: int = 17, lattice: float = 0.564, seed: int = 1
) -> tuple[np.ndarray, list[int], np.ndarray]:
    """A triclinic cell of rock salt smaller than the cutoffs: positions and reduced box in nm, atomic numbers."""
    half = 0.5 * lattice
    box = np.array([[2 * half, 0.0, 0.0], [0.0, 2 * half, 0.0], [half, 0.0, half]])
    sites = np.array([[0.0, 0.0, 0.0], [half, half, 0.0], [half, 0.0, 0.0], [0.0, half, 0.0]])
    jitter = np.random.default_rng(seed).normal(0.0, 0.01, sites.shape)
    return sites + jitter, [first, first, second, second], box


def cluster_of_waters(count: int = 3, seed: int = 2) -> tuple[np.ndarray, list[int]]:
    """Positions (N, 3) in nm and atomic numbers of some waters, not periodic."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0, 0.0], [0.3, 0.0, 0.02], [0.1, 0.28, -0.05], [0.2, 0.1, 0.29], [-0.2, 0.2, 0.2]])
    molecules = [MONOMER @ _rotation(rng).T + centre + rng.normal(0.0, 0.003, (3, 3)) for centre in centres[:count]]
    return np.concatenate(molecules), [8, 1, 1] * count


def to_lattice(positions: np.ndarray, box: np.ndarray, seed: int = 3) -> np.ndarray:
    """The same positions, every atom moved by a lattice vector of its own."""
    return positions + np.random.default_rng(seed).integers(-2, 3, positions.shape) @ box
