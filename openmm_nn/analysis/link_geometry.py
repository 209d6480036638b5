"""The geometry of cut bonds: their lengths and the angles at both of their ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ParticleError
from .arrays import as_atoms, as_trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LinkGeometry", "compute_link_geometry"]


@dataclass(frozen=True)
class LinkGeometry:
    """What the bonds that a region's boundary cuts do in a run.

    Parameters
    ----------
    bonds
        (n_links, 2) int64: the atoms Q in the region and M outside.
    lengths
        (n_frames, n_links) float64, nm: Q to M.
    angles
        (n_angles, 3) int64: X-Q-M, with X bonded to Q, and Q-M-Y, with Y bonded to M.
    values
        (n_frames, n_angles) float64, radians.
    """

    bonds: NDArray[np.int64]
    lengths: NDArray[np.float64]
    angles: NDArray[np.int64]
    values: NDArray[np.float64]


def compute_link_geometry(traj: Any, links: Iterable[Any]) -> LinkGeometry:
    """Measure the cut bonds, and the angles that contain them, in every frame.

    These are where a hybrid strains: the bond is the force field's, the atoms on one side the potential's.

    Parameters
    ----------
    traj
        mdtraj.Trajectory, whose topology has bonds.
    links
        `openmm_nn.Link` objects, as `HybridSystem.links` has them, or pairs (Q, M) of atom indices.

    Returns
    -------
    LinkGeometry
        By `mdtraj.compute_distances` and `compute_angles`, at minimum image.

    Raises
    ------
    ParticleError
        If an atom does not exist, or the topology has no bonds.

    Examples
    --------
    >>> import mdtraj
    >>> from openmm_nn.analysis import compute_link_geometry
    >>> topology = mdtraj.Topology()
    >>> residue = topology.add_residue("X", topology.add_chain())
    >>> atoms = [topology.add_atom("C", mdtraj.element.carbon, residue) for _ in range(3)]
    >>> topology.add_bond(atoms[0], atoms[1]); topology.add_bond(atoms[1], atoms[2])
    >>> traj = mdtraj.Trajectory([[[0.15, 0, 0], [0, 0, 0], [0, 0.15, 0]]], topology)
    >>> geometry = compute_link_geometry(traj, [(0, 1)])
    >>> geometry.angles.tolist(), geometry.lengths.round(3).tolist()
    ([[0, 1, 2]], [[0.15]])
    """
    import mdtraj

    traj = as_trajectory(traj)
    pairs = [(link.inside, link.outside) if hasattr(link, "inside") else tuple(link) for link in links]
    if not pairs:
        none = np.empty((traj.n_frames, 0))
        return LinkGeometry(np.empty((0, 2), dtype=np.int64), none, np.empty((0, 3), dtype=np.int64), none)
    as_atoms(traj, [atom for both in pairs for atom in both], "links")
    if traj.topology is None or traj.topology.n_bonds == 0:
        raise ParticleError(
            "traj.topology", "no bonds", "the bonds of the structure", "load it with a topology that has them"
        )
    neighbours: dict[int, set[int]] = {}
    for first, second in traj.topology.bonds:
        neighbours.setdefault(first.index, set()).add(second.index)
        neighbours.setdefault(second.index, set()).add(first.index)
    angles = []
    for inside, outside in pairs:
        angles += [(atom, inside, outside) for atom in sorted(neighbours.get(inside, set()) - {outside})]
        angles += [(inside, outside, atom) for atom in sorted(neighbours.get(outside, set()) - {inside})]
    bonds, triples = np.array(pairs, dtype=np.int64), np.array(angles, dtype=np.int64).reshape(-1, 3)
    values = mdtraj.compute_angles(traj, triples) if len(triples) else np.empty((traj.n_frames, 0))
    lengths = mdtraj.compute_distances(traj, bonds)
    return LinkGeometry(bonds, lengths.astype(np.float64), triples, values.astype(np.float64))
