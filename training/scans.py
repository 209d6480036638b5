"""Geometries along coordinates that matter by themselves: two molecules on a line, and the backbone of a peptide.

Kinds:

``scan``      two molecules, randomly turned, or stacked or T-shaped where both have a ring, along a line from
              5 Angstrom between their closest atoms to far inside contact
``backbone``  the torsions phi and psi of a peptide held at random values while GFN2-xTB relaxes the rest: frames on the
              way, and the last one
``stack``     two rings face to face, displaced or T-shaped, at distances from contact to where they feel nothing
``descent``   the free way down the GFN2-xTB surface of a peptide from a held backbone, half of them at positive phi,
              and displacements at its start
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem.rdMolTransforms import SetDihedralDeg
from scipy.optimize import minimize

from training.sample import Positions, random_rotation

#: Of the restraint that holds a torsion, eV.
STIFFNESS = 40.0
Surface = Callable[[NDArray], tuple[float, NDArray]]
BACKBONE = Chem.MolFromSmarts("[CX3](=O)[NX3][CX4][CX3](=O)[NX3]")


def scans(molecule: Chem.Mol, minimum: Positions, samples: int, rng: np.random.Generator) -> list[Positions]:
    """`samples` lines of five distances each; none unless there are two molecules.

    Distances are those of the closest atoms: three between 1.7 and 5 Angstrom, two between 0.6 and 1.7.
    """
    fragments = [list(f) for f in Chem.GetMolFrags(molecule)]
    if len(fragments) != 2:
        return []
    rings = [[r for r in molecule.GetRingInfo().AtomRings() if set(r) <= set(f)] for f in fragments]
    frames = []
    for _ in range(samples):
        shape = rng.random() if rings[0] and rings[1] else 1.0
        parts = []
        for fragment, ring in zip(fragments, rings, strict=True):
            x = minimum[fragment] + rng.normal(size=(len(fragment), 3)) * 0.02
            if shape < 0.75:
                chosen = ring[int(rng.integers(len(ring)))]
                centre = minimum[list(chosen)].mean(0)
                x = (x - centre) @ _onto_plane(minimum[list(chosen)] - centre, rng).T
            else:
                x = (x - x.mean(0)) @ random_rotation(rng).T
            parts.append(x)
        first, second = parts
        if 0.45 <= shape < 0.75:  # T-shaped: the second ring stands on edge
            second = second[:, [2, 0, 1]]
        tilt = 0.15 * rng.normal(size=3) if shape < 0.75 else np.zeros(3)
        second = second @ _small_rotation(tilt).T
        slide = np.append(rng.normal(size=2) * 0.9, 0.0) if rng.random() < 0.7 else np.zeros(3)
        for gap in [*rng.uniform(1.7, 5.0, 3), *rng.uniform(0.6, 1.7, 2)]:
            moved = second + slide + [0.0, 0.0, _height(first, second + slide, float(gap))]
            x = minimum.copy()
            x[fragments[0]], x[fragments[1]] = first, moved
            frames.append(x)
    return frames


def stacks(molecule: Chem.Mol, minimum: Positions, samples: int, rng: np.random.Generator) -> list[Positions]:
    """Two rings of two molecules, hardly deformed; none unless both have one.

    A third lies face to face and a third displaced, their planes 3 to 6 Angstrom apart, and a third is T-shaped, their
    centres 4.2 to 7.5 Angstrom apart.
    """
    fragments = [list(f) for f in Chem.GetMolFrags(molecule)]
    rings = [[r for r in molecule.GetRingInfo().AtomRings() if set(r) <= set(f)] for f in fragments]
    if len(fragments) != 2 or not all(rings):
        return []
    frames = []
    for index in range(samples):
        shape = index % 3
        parts = []
        for fragment, ring in zip(fragments, rings, strict=True):
            chosen = list(ring[int(rng.integers(len(ring)))])
            x = minimum[fragment] + rng.normal(size=(len(fragment), 3)) * 0.01
            centre = minimum[chosen].mean(0)
            parts.append((x - centre) @ _onto_plane(minimum[chosen] - centre, rng).T)
        first, second = parts
        if rng.random() < 0.5:
            second = second * [1.0, -1.0, -1.0]  # a half turn: the other face
        if shape == 2:
            second = second[:, [2, 0, 1]]
        second = second @ _small_rotation(0.08 * rng.normal(size=3)).T
        reach = 0.3 if shape == 0 else 2.5 if shape == 1 else 0.8
        distance = rng.uniform(4.2, 7.5) if shape == 2 else rng.uniform(3.0, 6.0)
        x = minimum.copy()
        x[fragments[0]] = first
        x[fragments[1]] = second + np.append(rng.uniform(-reach, reach, 2), distance)
        frames.append(x)
    return frames


def _height(first: Positions, second: Positions, gap: float) -> float:
    """Find how far to lift `second` along z for its closest atom to be at `gap`: the largest root, exact."""
    apart = second[None] - first[:, None]
    beside = (apart[..., :2] ** 2).sum(-1)
    near = beside < gap**2
    if not near.any():
        return 0.0
    return float((np.sqrt(gap**2 - beside[near]) - apart[..., 2][near]).max())


def _onto_plane(ring: Positions, rng: np.random.Generator) -> Positions:
    """Rotation that puts the plane of `ring` onto xy, turned about z at random."""
    _, _, axes = np.linalg.svd(ring)
    if np.linalg.det(axes) < 0:
        axes[2] = -axes[2]
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return np.asarray(turn @ axes)


def _small_rotation(vector: Positions) -> Positions:
    generator = np.array([[0, -vector[2], vector[1]], [vector[2], 0, -vector[0]], [-vector[1], vector[0], 0]])
    q, r = np.linalg.qr(np.eye(3) + generator)
    return np.asarray(q * np.sign(np.diag(r)))


def dihedrals(x: torch.Tensor, atoms: torch.Tensor) -> torch.Tensor:
    """Torsions in radians, IUPAC sign."""
    a, b, c, d = (x[atoms[:, k]] for k in range(4))
    axis = c - b
    first = torch.linalg.cross(b - a, axis)
    second = torch.linalg.cross(axis, d - c)
    unit = axis / torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    return torch.atan2((torch.linalg.cross(first, second) * unit).sum(-1), (first * second).sum(-1))


def restrained(
    surface: Surface, start: NDArray, torsions: Sequence[tuple[int, ...]], degrees: Sequence[float], steps: int
) -> list[Positions]:
    """Relax from `start` (Angstrom) with `torsions` held stiffly at `degrees`: the geometries visited."""
    targets = torch.tensor(np.radians(degrees))
    atoms = torch.tensor(torsions)
    path: list[Positions] = []

    def value(flat: NDArray) -> tuple[float, NDArray]:
        energy, forces = surface(flat.reshape(-1, 3))
        x = torch.tensor(flat.reshape(-1, 3), dtype=torch.float64, requires_grad=True)
        restraint = STIFFNESS * (1 - torch.cos(dihedrals(x, atoms) - targets)).sum()
        (gradient,) = torch.autograd.grad(restraint, x)
        return energy + float(restraint.detach()), -forces.ravel() + gradient.numpy().ravel()

    result = minimize(
        value,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "gtol": 2e-3},
        callback=lambda flat: path.append(flat.reshape(-1, 3).copy()),
    )
    return [*path, result.x.reshape(-1, 3)]


def backbones(
    molecule: Chem.Mol, surface: Surface, samples: int, rng: np.random.Generator, steps: int = 30
) -> list[Positions]:
    """Frames after 4 and 12 steps and at the end of `samples` relaxations; none unless there is a backbone."""
    frames = []
    for _ in range(samples):
        path = held_backbone(molecule, surface, rng, steps)
        frames += [path[k] for k in (4, 12) if k < len(path) - 4] + path[-1:]
    return frames


def held_backbone(
    molecule: Chem.Mol, surface: Surface, rng: np.random.Generator, steps: int, positive: bool = False
) -> list[Positions]:
    """One relaxation with phi and psi held at random values, phi between 20 and 140 degrees if `positive`."""
    matches = molecule.GetSubstructMatches(BACKBONE)
    if not matches or molecule.GetNumConformers() == 0:
        return []
    torsions = [t for c, _, n, a, d, _, m in matches for t in ((c, n, a, d), (n, a, d, m))]
    names = [c.GetId() for c in molecule.GetConformers()]
    copy = Chem.Mol(molecule, False, int(rng.choice(names)))
    conformer = copy.GetConformer()
    targets = rng.uniform(-180, 180, len(torsions))
    if positive:
        targets[::2] = rng.uniform(20, 140, len(torsions) // 2)
    free = [k for k, (_, b, c, _) in enumerate(torsions) if not copy.GetBondBetweenAtoms(b, c).IsInRing()]
    held, degrees = [torsions[k] for k in free], [float(targets[k]) for k in free]
    for torsion, angle in zip(held, degrees, strict=True):
        SetDihedralDeg(conformer, *torsion, angle)
    return restrained(surface, conformer.GetPositions(), held, degrees, steps)
