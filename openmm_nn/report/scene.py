"""The structure that can be turned in the page: the region, its surroundings, and how both move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..geometry import minimum_image
from ..model.card_values import element_symbol
from ..runs import RunDirectory
from ..runs.reading import read_table

if TYPE_CHECKING:
    import mdtraj
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["make_scene"]

_FRAMES = 40
_SOLUTE = 0.4  # nm: residues that are not water are shown if they come so close to the region in the first frame
_WATER = 0.35
_MOST_SOLUTE = 600  # atoms
_MOST_WATERS = 36
_MOST_REGION = 1500


def make_scene(run: RunDirectory) -> dict[str, Any] | None:
    """Describe the structure for the page's viewer.

    Parameters
    ----------
    run
        The directory.

    Returns
    -------
    dict or None
        Elements, bonds and frames of coordinates in pm, superposed on the region; None without a structure.
    """
    import mdtraj

    read = run.trajectory(_FRAMES)
    if read is not None and (read.region or not run.region):
        traj, region = read.frames, np.array(read.region, dtype=np.int64)
    else:
        topology = run.topology_file("offending") or run.topology_file("minimised") or run.topology_file()
        if topology is None:
            return None
        traj, region = mdtraj.load(str(topology))[0], np.array(run.region, dtype=np.int64)
    if not len(region):
        region = traj.topology.select("not water")
        region = region if len(region) else np.arange(traj.n_atoms)
    if len(region) > _MOST_REGION:
        region = region[:_MOST_REGION]
    return _describe(run, traj, region)


def _describe(run: RunDirectory, traj: mdtraj.Trajectory, region: NDArray[np.int64]) -> dict[str, Any]:
    topology = traj.topology
    bonds = [(bond.atom1.index, bond.atom2.index) for bond in topology.bonds]
    solute, waters = _surroundings(traj, region)
    core = np.concatenate([region, solute])
    places = {int(atom): place for place, atom in enumerate(core)}
    inner = [[places[i], places[j]] for i, j in bonds if i in places and j in places]
    hydrogens: dict[int, list[int]] = {int(atom): [] for atom in waters}
    for i, j in bonds:
        for one, other in ((i, j), (j, i)):
            if one in hydrogens:
                hydrogens[one].append(other)
    links = [(places[q], places[m], rule, value) for q, m, rule, value in _links(run) if q in places and m in places]
    heavy = np.array([i for i in range(len(region)) if topology.atom(int(region[i])).element.number != 1])
    heavy = heavy if len(heavy) >= 3 else np.arange(len(region))
    tree = _tree(len(core), inner)
    frames, reference = [], None
    for frame in range(traj.n_frames):
        xyz = traj.xyz[frame].astype(np.float64)
        box = None if traj.unitcell_vectors is None else traj.unitcell_vectors[frame].astype(np.float64)
        main = _whole(xyz[core], box, tree)
        shown, outer = _waters(xyz, main[: len(region)], waters, hydrogens, box)
        centre = main[heavy].mean(axis=0)
        main, outer = main - centre, outer - centre
        if reference is None:
            reference = main[heavy]
        turn = _rotation(main[heavy], reference)
        main, outer = main @ turn, outer @ turn
        caps = [_cap(main[q], main[m], rule, value) for q, m, rule, value in links]
        frames.append({"t": float(traj.time[frame]), "x": _picometres(main), "w": _picometres(outer), "c":
                       _picometres(np.array(caps).reshape(-1, 3)), "n": shown})  # fmt: skip
    return {
        "elements": [element_symbol(topology.atom(int(atom)).element.number) for atom in core],
        "names": [str(topology.atom(int(atom))) for atom in core],
        "region": len(region),
        "bonds": inner,
        "links": [[q, m] for q, m, _, _ in links],
        "sigma": _sigma(run, len(region)),
        "frames": frames,
    }


def _surroundings(traj: mdtraj.Trajectory, region: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Atoms of residues near the region that are not water, and all water oxygens outside of it."""
    import mdtraj

    topology = traj.topology
    water = topology.select("water")
    oxygens = np.setdiff1d(topology.select("water and element O"), region)
    others = np.setdiff1d(np.setdiff1d(np.arange(traj.n_atoms), water), region)
    if not len(others):
        return np.empty(0, dtype=np.int64), oxygens
    near = mdtraj.compute_neighbors(traj[0], _SOLUTE, region, haystack_indices=others)[0]
    residues = list(dict.fromkeys(topology.atom(int(atom)).residue.index for atom in near))
    inside = set(region.tolist())
    atoms = [atom.index for index in residues for atom in topology.residue(index).atoms if atom.index not in inside]
    return np.array(atoms[:_MOST_SOLUTE], dtype=np.int64), oxygens


def _tree(count: int, bonds: list[list[int]]) -> list[tuple[int, int]]:
    """Parents before children, along bonds; atoms that no bond reaches hang on the first atom."""
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for i, j in bonds:
        neighbours[i].append(j)
        neighbours[j].append(i)
    order: list[tuple[int, int]] = []
    seen = [False] * count
    for root in range(count):
        if seen[root]:
            continue
        seen[root] = True
        if root:
            order.append((0, root))
        stack = [root]
        while stack:
            parent = stack.pop()
            for child in neighbours[parent]:
                if not seen[child]:
                    seen[child] = True
                    order.append((parent, child))
                    stack.append(child)
    return order


def _shift(vector: Array, box: Array | None) -> Array:
    """Nearest image of a vector, in a reduced box."""
    return vector if box is None else minimum_image(vector, box)


def _whole(xyz: Array, box: Array | None, tree: list[tuple[int, int]]) -> Array:
    """Make the core whole: every atom at the image nearest to the atom that it is bonded to."""
    if box is None:
        return xyz
    whole = xyz.copy()
    for parent, child in tree:
        whole[child] = whole[parent] + _shift(xyz[child] - whole[parent], box)
    return whole


def _waters(
    xyz: Array, region: Array, oxygens: NDArray[np.int64], hydrogens: dict[int, list[int]], box: Array | None
) -> tuple[int, Array]:
    """Waters near the region: how many, and (3 n, 3) coordinates of O, H, H."""
    if not len(oxygens):
        return 0, np.empty((0, 3))
    offsets = _shift(xyz[oxygens][:, None] - region[None], box)
    distances = np.linalg.norm(offsets, axis=2)
    closest = distances.argmin(axis=1)
    nearest = distances[np.arange(len(oxygens)), closest]
    chosen = [k for k in np.argsort(nearest)[:_MOST_WATERS] if nearest[k] < _WATER]
    rows = []
    for k in chosen:
        oxygen = region[closest[k]] + offsets[k, closest[k]]
        bonded = (hydrogens[int(oxygens[k])] + [int(oxygens[k])] * 2)[:2]
        rows += [oxygen, *(oxygen + _shift(xyz[h] - xyz[oxygens[k]], box) for h in bonded)]
    return len(chosen), np.array(rows).reshape(-1, 3)


def _rotation(mobile: Array, reference: Array) -> Array:
    """Rotation that superposes points whose centre is the origin (Kabsch); rows times it."""
    u, _, vt = np.linalg.svd(mobile.T @ (reference - reference.mean(axis=0)))
    sign = np.sign(np.linalg.det(u @ vt)) or 1.0
    return np.asarray(u @ np.diag([1.0, 1.0, sign]) @ vt)


def _links(run: RunDirectory) -> list[tuple[int, int, str, float]]:
    rows = [row for row in run.record.get("links") or () if isinstance(row, dict)]
    return [(int(row["inside"]), int(row["outside"]), str(row.get("rule")), float(row.get("value", 0.109)))
            for row in rows]  # fmt: skip


def _cap(inside: Array, outside: Array, rule: str, value: float) -> Array:
    """Where a link atom is."""
    vector = outside - inside
    return inside + vector * (value if rule == "ratio" else value / max(float(np.linalg.norm(vector)), 1e-9))


def _sigma(run: RunDirectory, count: int) -> list[float] | None:
    values = read_table(run.path / "analysis" / "uncertainty_atoms.csv").get("sigma_F_kJ/mol/nm")
    return None if values is None or len(values) != count else [float(f"{value:.3g}") for value in values]


def _picometres(xyz: Array) -> list[int]:
    return [int(value) for value in np.rint(1000 * xyz).ravel()]
