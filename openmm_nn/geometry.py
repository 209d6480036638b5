"""Periodic boxes and the molecules of a region, in numpy. Lengths in nm; rows of a box are reduced box vectors."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ParameterError
from .units import in_nanometers

__all__ = ["WholeMaker", "as_box", "minimum_image", "nearest_image", "smallest_height"]

Array = NDArray[np.float64]

_NEIGHBOURS = np.array(list(itertools.product((-1, 0, 1), repeat=3)), dtype=np.float64)


def as_box(value: Any) -> Array:
    """Check and reduce box vectors.

    Parameters
    ----------
    value
        (3,3): a Quantity, or numbers in nm; rows are the vectors, a along x and b in the xy plane.

    Returns
    -------
    numpy.ndarray
        (3,3) float64, nm, reduced as OpenMM wants it.

    Raises
    ------
    ParameterError
        If these are no box vectors of OpenMM's form.

    Examples
    --------
    >>> from openmm_nn.geometry import as_box
    >>> as_box([[2, 0, 0], [1.5, 2, 0], [0, 0, 2]])[1].tolist()
    [-0.5, 2.0, 0.0]
    """
    allowed = "three vectors in nm, a along x, b in the xy plane, with positive diagonal"
    remedy = "give topology.getPeriodicBoxVectors(), or leave box out for a cluster"
    try:
        box = in_nanometers(value)
    except (TypeError, ValueError) as error:
        raise ParameterError("box", repr(value), allowed, remedy) from error
    good = box.shape == (3, 3) and bool(np.all(np.isfinite(box)))
    if not good or np.any(np.triu(box, 1) != 0.0) or np.any(np.diag(box) <= 0.0):
        raise ParameterError("box", repr(value), allowed, remedy)
    box[2] -= box[1] * np.round(box[2, 1] / box[1, 1])
    box[2] -= box[0] * np.round(box[2, 0] / box[0, 0])
    box[1] -= box[0] * np.round(box[1, 0] / box[0, 0])
    return box


def smallest_height(box: Array) -> float:
    """Return the smallest distance between opposite faces of a box.

    Parameters
    ----------
    box
        (3,3) float64, nm.

    Returns
    -------
    float
        nm.

    Examples
    --------
    >>> import numpy as np
    >>> from openmm_nn.geometry import smallest_height
    >>> round(smallest_height(np.diag([3.0, 2.0, 4.0])), 12)
    2.0
    """
    return float(np.min(1.0 / np.linalg.norm(np.linalg.inv(box), axis=0)))


def minimum_image(delta: Array, box: Array) -> Array:
    """Shift displacements into the rectangular cell around the origin.

    Parameters
    ----------
    delta
        (..., 3) float64, nm.
    box
        (3,3) float64, nm.

    Returns
    -------
    numpy.ndarray
        (..., 3): the true nearest image of displacements shorter than half the smallest height of the box.

    Examples
    --------
    >>> import numpy as np
    >>> from openmm_nn.geometry import minimum_image
    >>> minimum_image(np.array([2.75, 0.0, 0.0]), np.diag([3.0, 3.0, 3.0])).tolist()
    [-0.25, 0.0, 0.0]
    """
    result = np.array(delta, dtype=np.float64)
    for axis in (2, 1, 0):
        result -= np.round(result[..., axis : axis + 1] / box[axis, axis]) * box[axis]
    return result


def nearest_image(delta: Array, box: Array) -> Array:
    """Return the shortest of all periodic images of one displacement, in triclinic boxes too.

    Parameters
    ----------
    delta
        (3,) float64, nm.
    box
        (3,3) float64, nm.

    Returns
    -------
    numpy.ndarray
        (3,) float64, nm.

    Examples
    --------
    >>> import numpy as np
    >>> from openmm_nn.geometry import nearest_image
    >>> box = np.array([[2.0, 0.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 2.0]])
    >>> nearest_image(np.array([0.9, 0.9, 0.0]), box).round(6).tolist()
    [-0.1, -1.1, 0.0]
    """
    images = minimum_image(delta, box) + _NEIGHBOURS @ box
    # Of equally near images the reduced one (the middle of the list) is kept, as the native engine does.
    squares = np.einsum("ij,ij->i", images, images)
    middle = len(images) // 2
    best = int(np.argmin(squares))
    nearest: Array = images[best if squares[best] < squares[middle] else middle]
    return nearest


class WholeMaker:
    """Puts the broken molecules of a region together.

    Bonded atoms go to the minimum image along the bond graph, starting at the first atom of each molecule in the order
    given; then every further molecule, by its centroid, to the nearest image of the first one's.

    Parameters
    ----------
    atoms
        Number of atoms of the region.
    bonds
        Pairs of their indices.

    Examples
    --------
    >>> import numpy as np
    >>> from openmm_nn.geometry import WholeMaker
    >>> whole, spread = WholeMaker(2, [(0, 1)]).apply(np.array([[0.1, 0, 0], [2.9, 0, 0]]), np.diag([3.0, 3.0, 3.0]))
    >>> whole[1].round(6).tolist(), spread
    ([-0.1, 0.0, 0.0], 0.0)
    """

    def __init__(self, atoms: int, bonds: Iterable[tuple[int, int]]) -> None:
        neighbours: list[list[int]] = [[] for _ in range(atoms)]
        for first, second in bonds:
            neighbours[first].append(second)
            neighbours[second].append(first)
        seen = [False] * atoms
        self._components: list[list[tuple[int, int]]] = []
        for start in range(atoms):
            if seen[start]:
                continue
            seen[start] = True
            steps = [(start, -1)]
            queue = deque([start])
            while queue:
                parent = queue.popleft()
                for atom in neighbours[parent]:
                    if not seen[atom]:
                        seen[atom] = True
                        steps.append((atom, parent))
                        queue.append(atom)
            self._components.append(steps)

    @property
    def components(self) -> Sequence[Sequence[int]]:
        """Atom indices of every molecule of the region."""
        return [[atom for atom, _ in steps] for steps in self._components]

    def apply(self, positions: Array, box: Array) -> tuple[Array, float]:
        """Make a region whole.

        Parameters
        ----------
        positions
            (N,3) float64, nm.
        box
            (3,3) float64, nm.

        Returns
        -------
        positions : numpy.ndarray
            (N,3) float64, nm; a copy.
        spread : float
            Largest distance in nm of a molecule's centroid from the first one's.
        """
        whole = np.array(positions, dtype=np.float64)
        first: Array | None = None
        spread = 0.0
        for steps in self._components:
            for atom, parent in steps:
                if parent >= 0:
                    whole[atom] = whole[parent] + minimum_image(whole[atom] - whole[parent], box)
            atoms = [atom for atom, _ in steps]
            centroid: Array = whole[atoms].mean(axis=0)
            if first is None:
                first = centroid
                continue
            delta = nearest_image(centroid - first, box)
            spread = max(spread, float(np.linalg.norm(delta)))
            whole[atoms] += first + delta - centroid
        return whole, spread
