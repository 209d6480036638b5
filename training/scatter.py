"""Geometries where no molecule is, for the potential to be high there: crushed, torn and scattered.

Kinds:

``scatter`` a minimum shaken by up to 0.5 Angstrom a coordinate, followed along its forces far too far (as the first
            step of a minimiser does, which knows no scale), with every coordinate scaled, or with some bonds crushed
            or torn
``hole``    made by `holes.py`: where a minimiser went with a trained potential

Their errors count for less the higher they lie (`train.losses`): that they are high matters, hardly how high.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rdkit import Chem

from training.sample import Positions, side_of


def scattered(
    molecule: Chem.Mol,
    minimum: Positions,
    forces: Callable[[Positions], Positions],
    samples: int,
    rng: np.random.Generator,
    first: int = 0,
) -> list[Positions]:
    """`samples` geometries, of the four sorts in turn.

    Parameters
    ----------
    molecule : RDKit molecule
    minimum : ndarray, shape (n_atoms, 3), Angstrom
    forces : callable
        Of positions; their direction is followed.
    first : int
        Number of the first, which says of what sort it is.
    """
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]
    frames = []
    for index in range(first, first + samples):
        x = minimum + rng.normal(size=minimum.shape) * np.exp(rng.uniform(np.log(0.02), np.log(0.2)))
        sort = index % 4
        if sort == 0:
            x = minimum + rng.normal(size=minimum.shape) * rng.uniform(0.1, 0.5)
        elif sort == 1 or not bonds:
            direction = forces(x)
            x = x + direction / np.linalg.norm(direction) * np.exp(rng.uniform(np.log(0.3), np.log(10.0)))
        elif sort == 2:
            centre = x.mean(0)
            x = centre + (x - centre) * np.exp(rng.uniform(np.log(0.55), np.log(2.5), 3 if rng.random() < 0.5 else 1))
        else:
            for bond in rng.permutation(len(bonds))[: int(rng.integers(1, 5))]:
                j, k = bonds[bond]
                moved = side_of(molecule, j, k)
                if j in moved:  # in a ring
                    moved = [k]
                length = rng.uniform(0.45, 0.85) if rng.random() < 0.6 else rng.uniform(1.3, 3.0)
                x[moved] += (length - 1.0) * (x[k] - x[j])
        frames.append(x)
    return frames
