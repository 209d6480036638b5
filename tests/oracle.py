"""What the tests compare with: plain NumPy in double precision, written from the equations and nothing else."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

DEPTH, STEEPNESS, MINIMUM, CUTOFF = 20.0, 8.0, 0.2, 0.6  # kJ/mol, 1/nm, nm, nm


def heights(box: Array) -> Array:
    """Distances (3,) between opposite faces of a box (3, 3) whose rows are its vectors."""
    volume = abs(np.linalg.det(box))
    return np.array([volume / np.linalg.norm(np.cross(box[(k + 1) % 3], box[(k + 2) % 3])) for k in range(3)])


def images(box: Array | None, reach: float) -> tuple[NDArray[np.int64], Array]:
    """All lattice indices (M, 3) and vectors (M, 3) that could bring an atom of the box within `reach` nm."""
    if box is None:
        return np.zeros((1, 3), dtype=np.int64), np.zeros((1, 3))
    counts = np.ceil(reach / heights(box)).astype(int) + 2
    index = np.array(list(itertools.product(*(range(-c, c + 1) for c in counts))), dtype=np.int64)
    return index, index @ box


def edges(positions: ArrayLike, cutoff: float, box: Array | None = None) -> list[tuple[int, int, tuple[int, int, int]]]:
    """Every directed pair (i, j, S) with |x_j - x_i + S box| < cutoff, sorted, by trying all images."""
    x = np.asarray(positions, dtype=float)
    extent = float(np.ptp(x, axis=0).max()) if len(x) else 0.0
    index, vectors = images(box, cutoff + 2.0 * extent)
    found = []
    for i in range(len(x)):
        for j in range(len(x)):
            for s in np.flatnonzero(np.linalg.norm(x[j] - x[i] + vectors, axis=1) < cutoff):
                if i != j or index[s].any():
                    found.append((i, j, (int(index[s][0]), int(index[s][1]), int(index[s][2]))))
    return sorted(found)


def pair_energy_forces(
    positions: ArrayLike,
    numbers: Sequence[int],
    box: Array | None = None,
    *,
    member: tuple[float, float] = (1.0, 0.0),
    cutoff: float = CUTOFF,
    window: float | None = None,
) -> tuple[float, Array]:
    """Energy (kJ/mol) and forces (N, 3) (kJ/mol/nm) of the pair potential of `models.pairwise`, all images counted.

    `window` is the rc of the potential where it is not the cutoff of the edges.
    """
    x = np.asarray(positions, dtype=float)
    rc = cutoff if window is None else window
    weight = 1.0 + np.asarray(numbers, dtype=float) / 20.0
    _, vectors = images(box, rc + 2.0 * float(np.ptp(x, axis=0).max()))
    energy, forces = 0.0, np.zeros_like(x)
    for i in range(len(x)):
        for j in range(len(x)):
            d = x[j] - x[i] + vectors
            r = np.linalg.norm(d, axis=1)
            keep = (r < rc) & (r > 1e-12)
            d, r = d[keep], r[keep]
            e = np.exp(-STEEPNESS * (r - MINIMUM - member[1]))
            morse = DEPTH * member[0] * (e * e - 2.0 * e)
            slope = DEPTH * member[0] * (-2.0 * STEEPNESS) * (e * e - e)
            u = 1.0 - (r / rc) ** 2
            w = 0.5 * weight[i] * weight[j]
            energy += float(np.sum(w * morse * u**3))
            derivative = w * (slope * u**3 + morse * 3.0 * u**2 * (-2.0 * r / rc**2))
            pull = np.sum((derivative / r)[:, None] * d, axis=0)
            forces[i] += pull
            forces[j] -= pull
    return energy, forces


def pair_energy(positions: ArrayLike, numbers: Sequence[int], box: Array | None = None, **options: float) -> float:
    """Energy of `pair_energy_forces`."""
    return pair_energy_forces(positions, numbers, box, **options)[0]  # type: ignore[arg-type]


def nearest(vector: ArrayLike, box: Array | None) -> Array:
    """The shortest periodic image of a vector (3,), by trying all images within three boxes."""
    d = np.asarray(vector, dtype=float)
    if box is None:
        return d
    for axis in (2, 1, 0):
        d = d - np.round(d[axis] / box[axis, axis]) * box[axis]
    candidates = d + np.array(list(itertools.product(range(-3, 4), repeat=3))) @ box
    return np.asarray(candidates[np.argmin(np.linalg.norm(candidates, axis=1))])


def place_link(q: ArrayLike, m: ArrayLike, rule: str, value: float, box: Array | None = None) -> Array:
    """Where the hydrogen of a cut bond Q-M goes (PHYSICS, cut bonds)."""
    origin = np.asarray(q, dtype=float)
    bond = nearest(np.asarray(m, dtype=float) - origin, box)
    if rule == "ratio":
        return origin + value * bond
    return origin + value * bond / np.linalg.norm(bond)


def central_differences(energy: Callable[[Array], float], positions: ArrayLike, step: float = 1e-4) -> Array:
    """Forces (N, 3) by fourth-order central differences of an energy of positions (N, 3)."""
    x = np.array(positions, dtype=float)
    forces = np.zeros_like(x)
    for k in np.ndindex(*x.shape):
        values = []
        for multiple in (-2, -1, 1, 2):
            y = x.copy()
            y[k] += multiple * step
            values.append(energy(y))
        forces[k] = -(values[0] - 8.0 * values[1] + 8.0 * values[2] - values[3]) / (12.0 * step)
    return forces
