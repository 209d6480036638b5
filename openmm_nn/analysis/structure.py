"""MDTraj's own observables of the region, gathered by one call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import as_atoms, as_trajectory

if TYPE_CHECKING:
    import mdtraj
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["RadialDistribution", "StructureSummary", "compute_structure", "compute_water_rdf"]

_SHELL = 0.35  # nm: water whose oxygen comes this close can be bonded by a hydrogen bond
_LARGEST_SASA = 20_000  # atoms


@dataclass(frozen=True)
class RadialDistribution:
    """A radial distribution function.

    Parameters
    ----------
    radii
        (n,) float64, nm.
    values
        (n,) float64.
    """

    radii: Array
    values: Array


@dataclass(frozen=True)
class StructureSummary:
    """Observables of the region in every frame, as MDTraj computes them.

    Parameters
    ----------
    time
        (n_frames,) float64, ps.
    rmsd
        (n_frames,) float64, nm: of the heavy atoms to the first frame, or that of a reference, superposed.
    rmsf
        (n_region,) float64, nm: of each atom about its mean place, after the heavy atoms are superposed on those of the
        first frame.
    rg
        (n_frames,) float64, nm: radius of gyration of the region.
    dihedrals
        Name, such as ``phi ALA2``, to (n_frames,) float64 in radians.
    hydrogen_bonds
        Kind (``within``, ``given``, ``accepted``: by the region, to what is outside) to (n_frames,) int64, by the
        criterion of Wernet and Nilsson.
    sasa
        (n_frames,) float64, nm²: of the region, beside everything but water; None for solutes too large.
    dssp
        (n_frames, n_residues) of ``H``, ``E``, ``C``, ``NA``; None without a protein of five residues or more.
    rdf
        Oxygens of water around the region's heavy atoms; None without water or without a box.
    """

    time: Array
    rmsd: Array
    rmsf: Array
    rg: Array
    dihedrals: dict[str, Array]
    hydrogen_bonds: dict[str, NDArray[np.int64]]
    sasa: Array | None
    dssp: NDArray[np.str_] | None
    rdf: RadialDistribution | None


def compute_structure(
    traj: Any, region: str | Iterable[int] | None = None, *, reference: Any = None
) -> StructureSummary:
    """Let MDTraj look at the region of a trajectory.

    Parameters
    ----------
    traj
        mdtraj.Trajectory with a topology; its molecules whole.
    region
        An MDTraj selection or atom indices; all atoms by default.
    reference
        mdtraj.Trajectory of the same atoms, to whose first frame the RMSD is; ``traj`` by default.

    Returns
    -------
    StructureSummary
        Of `mdtraj.rmsd`, `rmsf`, `compute_rg`, `compute_phi` and the like, `wernet_nilsson`, `shrake_rupley`,
        `compute_dssp` and `compute_rdf`.

    Raises
    ------
    ParticleError
        If the region has no atom, or one that does not exist.

    Examples
    --------
    >>> import mdtraj
    >>> from openmm_nn.analysis import compute_structure
    >>> topology = mdtraj.Topology()
    >>> residue = topology.add_residue("O2", topology.add_chain())
    >>> atoms = [topology.add_atom("O", mdtraj.element.oxygen, residue) for _ in range(2)]
    >>> summary = compute_structure(mdtraj.Trajectory([[[0.0, 0.0, 0.0], [0.12, 0.0, 0.0]]], topology))
    >>> summary.rg.round(3)
    array([0.06])
    """
    import mdtraj

    traj = as_trajectory(traj)
    atoms = as_atoms(traj, region, "region")
    # A region can be several molecules, and these in several images: those of the first one's surroundings are taken.
    whole = whole_region(traj, atoms)
    heavy = np.array([i for i, atom in enumerate(whole.topology.atoms) if atom.element.number != 1], dtype=np.int64)
    heavy = heavy if len(heavy) else np.arange(whole.n_atoms)
    target = whole
    if reference is not None:
        target = whole_region(as_trajectory(reference, atoms=traj.n_atoms, argument="reference")[0], atoms)
    return StructureSummary(
        np.asarray(traj.time, dtype=np.float64),
        mdtraj.rmsd(whole, target, 0, atom_indices=heavy).astype(np.float64),
        # Without a reference MDTraj superposes nothing.
        mdtraj.rmsf(whole.superpose(whole, 0, atom_indices=heavy), None).astype(np.float64),
        np.asarray(mdtraj.compute_rg(whole), dtype=np.float64),
        _dihedrals(traj, set(atoms.tolist())),
        _hydrogen_bonds(traj, atoms),
        _sasa(traj, atoms),
        _dssp(traj),
        compute_water_rdf(traj, atoms),
    )


def whole_region(traj: mdtraj.Trajectory, atoms: NDArray[np.int64]) -> mdtraj.Trajectory:
    """Slice a region out of a trajectory, its molecules whole and next to each other.

    Parameters
    ----------
    traj
        The trajectory.
    atoms
        (n,) int64.

    Returns
    -------
    mdtraj.Trajectory
        Of the region, in the order of its atoms; a copy.
    """
    sliced = traj.atom_slice(atoms)
    if sliced.unitcell_vectors is None or sliced.topology.n_bonds == 0:
        return sliced
    molecules = sliced.topology.find_molecules()
    if len(molecules) == 1:
        return sliced.make_molecules_whole(inplace=False)
    anchor = [max(molecules, key=len)]
    return sliced.image_molecules(inplace=False, anchor_molecules=anchor, make_whole=True)


def _dihedrals(traj: mdtraj.Trajectory, inside: set[int]) -> dict[str, Array]:
    """The named dihedrals that have at least two atoms in the region."""
    import mdtraj

    found: dict[str, Array] = {}
    for name in ("phi", "psi", "omega", "chi1", "chi2", "chi3", "chi4", "chi5"):
        indices, values = getattr(mdtraj, f"compute_{name}")(traj)
        for column, members in enumerate(indices):
            if len(inside.intersection(members.tolist())) >= 2:
                # φ and ω belong to the residue of their third atom, ψ and χ to that of their second.
                residue = traj.topology.atom(members[2 if name in ("phi", "omega") else 1]).residue
                found[f"{name} {residue.name}{residue.resSeq}"] = values[:, column].astype(np.float64)
    return found


def _hydrogen_bonds(traj: mdtraj.Trajectory, atoms: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Counts by `mdtraj.wernet_nilsson`, among the region and the residues that come near it."""
    import mdtraj

    counts = {kind: np.zeros(traj.n_frames, dtype=np.int64) for kind in ("within", "given", "accepted")}
    if traj.topology.n_bonds == 0:
        return counts
    polar = [int(atom) for atom in atoms if traj.topology.atom(atom).element.number in (7, 8, 16, 9)]
    others = np.setdiff1d(np.arange(traj.n_atoms), atoms)
    hosts = {atom.residue.index for atom in (traj.topology.atom(int(i)) for i in atoms)}
    near: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * traj.n_frames
    if polar and len(others):
        near = mdtraj.compute_neighbors(traj, _SHELL, np.array(polar), haystack_indices=others)
    for frame, neighbours in enumerate(near):
        residues = hosts | {traj.topology.atom(int(i)).residue.index for i in neighbours}
        chosen = [atom.index for index in sorted(residues) for atom in traj.topology.residue(index).atoms]
        bonds = mdtraj.wernet_nilsson(traj[frame].atom_slice(chosen), exclude_water=False)[0]
        inside = np.isin(np.array(chosen), atoms)
        for donor, _, acceptor in bonds:
            if inside[donor] or inside[acceptor]:
                kind = "within" if inside[donor] and inside[acceptor] else "given" if inside[donor] else "accepted"
                counts[kind][frame] += 1
    return counts


def _sasa(traj: mdtraj.Trajectory, atoms: NDArray[np.int64]) -> Array | None:
    """Area of the region by `mdtraj.shrake_rupley`, with all that is not water, and water that is in the region."""
    import mdtraj

    # An empty selection is an array of floats.
    dry = np.union1d(traj.topology.select("not water"), atoms).astype(np.int64)
    if len(dry) > _LARGEST_SASA:
        return None
    areas = mdtraj.shrake_rupley(traj.atom_slice(dry), mode="atom")
    return np.asarray(areas[:, np.isin(dry, atoms)].sum(axis=1), dtype=np.float64)


def _dssp(traj: mdtraj.Trajectory) -> NDArray[np.str_] | None:
    import mdtraj

    protein = traj.topology.select("protein")
    if len(protein) == 0:
        return None
    sliced = traj.atom_slice(protein)
    return mdtraj.compute_dssp(sliced) if sliced.n_residues >= 5 else None


def compute_water_rdf(
    traj: Any, region: str | Iterable[int] | None = None, *, longest: float = 1.0, width: float = 0.01
) -> RadialDistribution | None:
    """Return how the oxygens of water are distributed around the region's heavy atoms.

    Parameters
    ----------
    traj
        mdtraj.Trajectory with a topology.
    region
        An MDTraj selection or atom indices; all atoms that are not water by default.
    longest
        nm; half the smallest height of the box if that is less.
    width
        Of a bin, nm.

    Returns
    -------
    RadialDistribution or None
        By `mdtraj.compute_rdf`; None without water outside the region, or without a box.

    Examples
    --------
    >>> import mdtraj
    >>> from openmm_nn.analysis import compute_water_rdf
    >>> topology = mdtraj.Topology()
    >>> residue = topology.add_residue("O2", topology.add_chain())
    >>> atoms = [topology.add_atom("O", mdtraj.element.oxygen, residue) for _ in range(2)]
    >>> compute_water_rdf(mdtraj.Trajectory([[[0.0, 0.0, 0.0], [0.12, 0.0, 0.0]]], topology)) is None
    True
    """
    import mdtraj

    traj = as_trajectory(traj)
    if traj.unitcell_vectors is None:
        return None
    atoms = as_atoms(traj, traj.topology.select("not water") if region is None else region, "region")
    oxygens = np.setdiff1d(traj.topology.select("water and element O"), atoms)
    heavy = [int(atom) for atom in atoms if traj.topology.atom(int(atom)).element.number != 1]
    if not len(oxygens) or not heavy:
        return None
    heights = traj.unitcell_volumes / np.linalg.norm(
        np.cross(traj.unitcell_vectors[:, [1, 2, 0]], traj.unitcell_vectors[:, [2, 0, 1]]), axis=2
    ).max(axis=1)
    reach = min(longest, 0.5 * float(heights.min()))
    pairs = traj.topology.select_pairs(np.array(heavy), oxygens)
    radii, values = mdtraj.compute_rdf(traj, pairs, r_range=(0.0, reach), bin_width=width)
    return RadialDistribution(np.asarray(radii, dtype=np.float64), np.asarray(values, dtype=np.float64))
