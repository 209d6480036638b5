"""Periodic boxes and the molecules of a region, in numpy. Lengths in nm; rows of a box are reduced box vectors."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
from numpy.typing import NDArray

from .errors import EvaluationError, ParameterError
from .units import in_nanometers

if TYPE_CHECKING:
    from openmm.app import Topology

__all__ = [
    "WholeMaker",
    "as_box",
    "check_system_box",
    "cluster_error",
    "minimum_image",
    "nearest_image",
    "smallest_height",
    "topology_box",
]

Array = NDArray[np.float64]

# Of an extent: atoms that are exactly half an edge apart, as in crystals, are no reason to stop.
_TOLERANCE = 1e-6

_NEIGHBOURS = np.array(list(itertools.product((-1, 0, 1), repeat=3)), dtype=np.float64)


# A lattice vector joins an atom to one of its own element, and of such bonds only that of hydrogen is shorter than that
# of N2, 0.1098 nm. In static experiments carbon holds up to 250 atoms in a cubic nanometre (diamond 176, at 300 GPa
# 250) and hydrogen up to 700 (at 500 GPa). CRYST1 records of 1 Å, which mean that there is no box, hold a thousand.
_NARROWEST = 0.109
_DENSEST, _DENSEST_HYDROGEN = 250.0, 700.0


def as_box(
    value: Any,
    atomic_numbers: Iterable[int] = (),
    *,
    argument: str = "box",
    remedy: str = "give topology.getPeriodicBoxVectors(), or leave box out for a cluster",
) -> Array:
    """Check and reduce box vectors; every place that takes a box asks here whether it can be one.

    Parameters
    ----------
    value
        (3,3): a Quantity, or numbers in nm; rows are the vectors, a along x and b in the xy plane.
    atomic_numbers
        Of the atoms in the box; 0 where there is no element. They must have room in it: a hydrogen needs 1/700 of a
        cubic nanometre and any other atom 1/250, as at the highest pressures of experiments.
    argument, remedy
        Of the error.

    Returns
    -------
    numpy.ndarray
        (3,3) float64, nm, reduced as OpenMM wants it.

    Raises
    ------
    ParameterError
        If these are no box vectors of OpenMM's form, if the box is narrower than a bond, or if the atoms do not fit
        into it.

    Examples
    --------
    >>> from openmm_nn.geometry import as_box
    >>> as_box([[2, 0, 0], [1.5, 2, 0], [0, 0, 2]])[1].tolist()
    [-0.5, 2.0, 0.0]
    """
    allowed = "three vectors in nm, a along x, b in the xy plane, with positive diagonal"
    try:
        box = in_nanometers(value)
    except (TypeError, ValueError) as error:
        raise ParameterError(argument, repr(value), allowed, remedy) from error
    good = box.shape == (3, 3) and bool(np.all(np.isfinite(box)))
    if not good or np.any(np.triu(box, 1) != 0.0) or np.any(np.diag(box) <= 0.0):
        raise ParameterError(argument, repr(value), allowed, remedy)
    box[2] -= box[1] * np.round(box[2, 1] / box[1, 1])
    box[2] -= box[0] * np.round(box[2, 0] / box[0, 0])
    box[1] -= box[0] * np.round(box[1, 0] / box[0, 0])
    _check_room(box, list(atomic_numbers), argument, remedy)
    return box


def _check_room(box: Array, numbers: list[int], argument: str, remedy: str) -> None:
    volume, edges = float(np.prod(np.diag(box))), " × ".join(f"{edge:.4g}" for edge in np.diag(box))
    hydrogens, atoms = numbers.count(1), len(numbers) - numbers.count(0)
    if hydrogens / _DENSEST_HYDROGEN + (atoms - hydrogens) / _DENSEST > volume * (1.0 + 1e-9):
        raise ParameterError(
            argument,
            f"a box of {edges} nm for {atoms} atoms, {atoms / volume:.4g} in a cubic nanometre",
            "a box that the atoms fit into (water has 100 atoms in a cubic nanometre, diamond 176); a CRYST1 record of "
            "1 Å means that there is none",
            remedy,
        )
    if not smallest_height(box) >= _NARROWEST:
        raise ParameterError(
            argument, f"a box of {edges} nm", f"one that is wider than a bond, {_NARROWEST} nm", remedy
        )


def topology_box(topology: Topology) -> Array | None:
    """Return the box of a topology, checked with its atoms; None if it has none.

    Parameters
    ----------
    topology
        The topology.

    Returns
    -------
    numpy.ndarray or None
        (3,3) float64, nm, reduced.

    Raises
    ------
    ParameterError
        If it cannot be a box of these atoms.

    Examples
    --------
    >>> from openmm.app import Topology
    >>> from openmm_nn.geometry import topology_box
    >>> topology_box(Topology()) is None
    True
    """
    vectors = topology.getPeriodicBoxVectors()
    if vectors is None:
        return None
    remedy = (
        "call topology.setPeriodicBoxVectors(None) if the structure has no box, or with the vectors that it really has"
    )
    return as_box(vectors, _atomic_numbers(topology), argument="topology", remedy=remedy)


def check_system_box(system: openmm.System, topology: Topology) -> None:
    """Refuse a periodic System whose box its atoms do not fit into.

    Parameters
    ----------
    system
        Its default box vectors are looked at if it uses periodic boundary conditions and they were set.
    topology
        Of the System, for the elements.

    Raises
    ------
    ParameterError
        If it cannot be a box of these atoms.
    """
    if not system.usesPeriodicBoundaryConditions():
        return
    box = in_nanometers(system.getDefaultPeriodicBoxVectors())
    if np.array_equal(box, in_nanometers(openmm.System().getDefaultPeriodicBoxVectors())):
        return  # OpenMM's own default: the box will be given to the Context, where the engine looks at it
    remedy = (
        "call topology.setPeriodicBoxVectors(...) with the box that the structure really has, or with None and "
        "nonbondedMethod=NoCutoff if it has none, and make the System again"
    )
    as_box(box, _atomic_numbers(topology), argument="system", remedy=remedy)


def _atomic_numbers(topology: Topology) -> list[int]:
    return [0 if atom.element is None else int(atom.element.atomic_number) for atom in topology.atoms()]


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
    >>> whole, _ = WholeMaker(2, [(0, 1)]).apply(np.array([[0.1, 0, 0], [2.9, 0, 0]]), np.diag([3.0, 3.0, 3.0]))
    >>> whole[1].round(6).tolist()
    [-0.1, 0.0, 0.0]
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

    def apply(self, positions: Array, box: Array) -> tuple[Array, Array]:
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
        offsets : numpy.ndarray
            (M,3) float64, nm: from the centroid of the first molecule to that of each.
        """
        whole = np.array(positions, dtype=np.float64)
        offsets = np.zeros((len(self._components), 3))
        first: Array | None = None
        for index, steps in enumerate(self._components):
            for atom, parent in steps:
                if parent >= 0:
                    whole[atom] = whole[parent] + minimum_image(whole[atom] - whole[parent], box)
            atoms = [atom for atom, _ in steps]
            centroid: Array = whole[atoms].mean(axis=0)
            if first is None:
                first = centroid
                continue
            offsets[index] = nearest_image(centroid - first, box)
            whole[atoms] += first + offsets[index] - centroid
        return whole, offsets


def cluster_error(
    whole: Array, bonds: Iterable[tuple[int, int]], box: Array, name: Callable[[int], str], argument: str = "region"
) -> EvaluationError | None:
    """Return the error for a region, made whole, in which a vector between two atoms is not its minimum image.

    By the rounding that OpenMM uses, a vector is its own minimum image where no component is more than half of the
    box's edge along that axis, in triclinic boxes too. So the region's extents along the axes tell of all pairs.

    Parameters
    ----------
    whole
        (N,3) float64, nm, from `WholeMaker.apply`.
    bonds
        Pairs of atoms.
    box
        (3,3) float64, nm, reduced.
    name
        Names an atom by its index.
    argument
        Of the error.

    Returns
    -------
    EvaluationError or None
        None where all vectors are minimum images.

    Examples
    --------
    >>> import numpy as np
    >>> from openmm_nn.geometry import cluster_error
    >>> chain, box = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.5]]), np.diag([4.0, 4.0, 12.0])
    >>> cluster_error(chain, [], box, str) is None
    True
    """
    extents, edges = np.ptp(whole, axis=0), np.diag(box)
    beyond = np.flatnonzero(~(extents <= 0.5 * edges * (1.0 + _TOLERANCE)))
    if not len(beyond):
        return None
    for first, second in bonds:
        vector = whole[first] - whole[second]
        if np.linalg.norm(vector - minimum_image(vector, box)) > 1e-3:
            return EvaluationError(
                argument,
                "atoms that are bonded to their own periodic image, as in a polymer, a sheet or a crystal: the bond of "
                f"{name(first)} and {name(second)} leads to the next box",
                "molecules that can be made whole, or a potential that is given the box",
                "give {periodic}, with a potential whose card allows it",
                {"periodic": True},
            )
    axis = int(beyond[0])
    ends = name(int(whole[:, axis].argmin())), name(int(whole[:, axis].argmax()))
    return EvaluationError(
        argument,
        f"atoms that reach {extents[axis]:.4g} nm along {'xyz'[axis]}, from {ends[0]} to {ends[1]}",
        f"at most half the box, {edges[axis]:.4g} nm: the potential sees these two where they are, and the other "
        "forces act between nearer images of them",
        "use a larger box, a smaller region, or give the potential the box with {periodic}",
        {"periodic": True},
    )
