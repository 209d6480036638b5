"""Make the labels: every molecule of `molecules.py`, sampled by `sample.py`, labelled by `label.py`.

    python -m training.make_data --out labels/ --workers 2            # everything, about half an hour on two cores
    python -m training.make_data --out labels/ --smiles CCO --scale 5 # one molecule, five times as many geometries

One file a molecule, so that a stopped run goes on where it was; every random number comes from the molecule's own
seed, so the order and the number of workers change nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training import sample, scans, scatter
from training.dataset import KINDS, NOWHERE
from training.label import METHOD, Labeller
from training.molecules import Molecule, molecule_set

logger = logging.getLogger(__name__)

#: Labels whose largest force passes this (eV/Angstrom) are dropped: nothing there is worth learning.
LARGEST_FORCE = 20.0
CONFORMERS = 3
COUNTS = {"modes": 24, "langevin": 36, "torsion": 12, "stretch": 6}
#: Closest atoms, Angstrom, and largest force of kinds that are about the wall or about what is no molecule.
LIMITS = dict.fromkeys(("contact", "scan"), (0.55, 60.0)) | dict.fromkeys(("scatter", "hole"), (0.35, 150.0))
#: Geometries of the kind `contact` in every cluster.
CONTACTS = 40
#: Lines of the kind `scan` in every dimer (five geometries each), and in one whose two molecules both have a ring.
SCANS, RING_SCANS = 16, 50
#: Relaxations of the kind `backbone` in every peptide (up to three geometries each).
BACKBONES = 8
#: Geometries of the kind `stack` in every dimer whose two molecules both have a ring.
STACKS = 90
#: Ways down of the kind `descent` in every peptide (up to seven geometries each).
DESCENTS = 12
#: Geometries of the kind `scatter` in every molecule.
SCATTERED = 32
#: What `label_molecule` made when a file was written; a file of an earlier stage gets the rest added.
STAGE = 4
#: Classes that get other counts than the rest.
COUNTS_BY_GROUP = {
    "cluster": {"modes": 10, "langevin": 48, "torsion": 0, "stretch": 40},
    "peptide": {"modes": 30, "langevin": 60, "torsion": 40, "stretch": 6},
}
#: Molecules with more geometries than the rest: alanine dipeptide, whose torsion map is a test of its own.
EMPHASIS = {"CNC(=O)C(C)NC(C)=O": 6.0}
TEMPERATURES = (300.0, 500.0, 800.0, 1200.0)


class Rows:
    """The labels of one molecule, while they are made."""

    def __init__(self, numbers: NDArray, before: dict[str, NDArray] | None = None) -> None:
        self.numbers = numbers
        self.labeller = Labeller(numbers)
        self.rows: list[tuple[NDArray, float, NDArray, int, float]] = []
        if before is not None:
            columns = (before[name] for name in ("positions", "energies", "forces", "kinds", "temperatures"))
            self.rows = list(zip(*columns, strict=True))

    def add(self, positions: NDArray, kind: str, temperature: float = 0.0) -> None:
        """Label a geometry and keep it, unless atoms coincide or the forces are beyond what is worth learning."""
        # What is stored is what is labelled: the rounding to float32 comes first.
        stored = np.asarray(positions - positions.mean(0), dtype=np.float32)
        distances = np.linalg.norm(stored[:, None] - stored, axis=-1) + 9 * np.eye(len(stored))
        scattered = KINDS.index(kind) in NOWHERE
        closest, largest = LIMITS.get(kind, (0.55, LARGEST_FORCE))
        if distances.min() < closest:
            return
        label = self.labeller.afresh(stored) if scattered else self.labeller(stored)
        if label is not None and np.abs(label[1]).max() < largest:
            self.rows.append((stored, label[0], label[1], KINDS.index(kind), temperature))

    def minima(self) -> list[NDArray]:
        """Geometries of the kind `minimum`."""
        return [r[0].astype(np.float64) for r in self.rows if r[3] == KINDS.index("minimum")]

    def arrays(self) -> dict[str, NDArray] | None:
        """Return the arrays of the file, or None without labels."""
        if not self.rows:
            return None
        return {
            "numbers": self.numbers,
            "positions": np.stack([r[0] for r in self.rows]),
            "energies": np.array([r[1] for r in self.rows]),
            "forces": np.stack([r[2] for r in self.rows]).astype(np.float32),
            "kinds": np.array([r[3] for r in self.rows], dtype=np.int8),
            "temperatures": np.array([r[4] for r in self.rows], dtype=np.float32),
            "stage": np.array(STAGE),
        }


def label_molecule(molecule: Molecule, scale: float = 1.0) -> dict[str, NDArray] | None:
    """All labels of one molecule.

    Returns
    -------
    dict of arrays, or None if the molecule could not be embedded
        numbers (n_atoms,) int64; positions (n, n_atoms, 3) float32, Angstrom; energies (n,) float64, eV;
        forces (n, n_atoms, 3) float32, eV/Angstrom; kinds (n,) int8, index into `KINDS`; temperatures (n,)
        float32, K (0 where it has no meaning); stage (), int64.
    """
    rng = np.random.default_rng(molecule.seed)
    scale = scale * emphasis(molecule)
    counts = {k: round(scale * v) for k, v in COUNTS_BY_GROUP.get(molecule.group, COUNTS).items()}
    rdkit = sample.embed(molecule.smiles, CONFORMERS, molecule.seed)
    if rdkit is None:
        return None
    numbers = np.array([a.GetAtomicNum() for a in rdkit.GetAtoms()])
    rows = Rows(numbers)
    labeller, add = rows.labeller, rows.add

    minima = []
    for conformer in rdkit.GetConformers():
        path = relax(conformer.GetPositions(), labeller)
        for frame in path[:12:4]:
            add(frame, "relax")
        for frame in path[16:-1:15]:
            add(frame, "relax")
        add(path[-1], "minimum")
        minima.append(path[-1])
    for index in range(len(minima)):
        for frame in sample.normal_modes(rdkit, minima[index], -(-counts["modes"] // len(minima)), rng):
            add(frame, "modes")
    for index, temperature in enumerate(TEMPERATURES):
        start = rdkit.GetConformers()[index % rdkit.GetNumConformers()].GetPositions()
        for frame in sample.langevin(rdkit, start, temperature, counts["langevin"] // len(TEMPERATURES), rng):
            add(frame, "langevin", temperature)
    if "." not in molecule.smiles:
        for frame in sample.torsions(rdkit, counts["torsion"], rng):
            add(frame, "torsion")
    for index in range(counts["stretch"]):
        for frame in sample.stretches(rdkit, minima[index % len(minima)], 1, rng):
            add(frame, "stretch")
    if "." in molecule.smiles:
        starts = rows.minima()
        rng = np.random.default_rng((molecule.seed, 1))
        for index in range(round(CONTACTS * scale) if starts else 0):
            for frame in sample.contacts(rdkit, starts[index % len(starts)], 1, rng):
                add(frame, "contact")
    add_scans(molecule, rdkit, rows, scale)
    add_descents(molecule, rdkit, rows, scale)
    add_scattered(molecule, rdkit, rows, scale)
    return rows.arrays()


def add_scans(molecule: Molecule, rdkit: Chem.Mol, rows: Rows, scale: float) -> None:
    """Add the kinds `scan` and `backbone`, with random numbers of their own."""
    starts = rows.minima()
    if "." in molecule.smiles and starts:
        rng = np.random.default_rng((molecule.seed, 2))
        ringed = all(f.GetRingInfo().NumRings() for f in Chem.GetMolFrags(rdkit, asMols=True))
        for index in range(round((RING_SCANS if ringed else SCANS) * scale)):
            for frame in scans.scans(rdkit, starts[index % len(starts)], 1, rng):
                rows.add(frame, "scan")
    if molecule.group == "peptide":
        rng = np.random.default_rng((molecule.seed, 3))
        for frame in scans.backbones(rdkit, rows.labeller.surface, round(BACKBONES * scale), rng):
            rows.add(frame, "backbone")


def add_descents(molecule: Molecule, rdkit: Chem.Mol, rows: Rows, scale: float) -> None:
    """Add the kinds `stack` and `descent`, with random numbers of their own."""
    starts = rows.minima()
    if "." in molecule.smiles:
        rng = np.random.default_rng((molecule.seed, 4))
        for start in starts:
            for frame in scans.stacks(rdkit, start, round(STACKS * scale) // len(starts), rng):
                rows.add(frame, "stack")
    if molecule.group == "peptide":
        rng = np.random.default_rng((molecule.seed, 5))
        for index in range(round(DESCENTS * scale)):
            for start in scans.held_backbone(rdkit, rows.labeller.surface, rng, 15, positive=index % 2 == 0)[-1:]:
                for frame in [start, *sample.normal_modes(rdkit, start, 2, rng)]:
                    rows.add(frame, "descent")
                path = relax(start, rows.labeller, 25)
                for frame in [path[k] for k in (3, 8, 15) if k < len(path) - 1] + path[-1:]:
                    rows.add(frame, "descent")


def add_scattered(molecule: Molecule, rdkit: Chem.Mol, rows: Rows, scale: float) -> None:
    """Add the kind `scatter`, with random numbers of its own."""
    starts = rows.minima()
    rng = np.random.default_rng((molecule.seed, 6))
    for index, start in enumerate(starts):
        samples = -(-round(SCATTERED * scale) // len(starts))
        for frame in scatter.scattered(
            rdkit, start, lambda x: rows.labeller.surface(x)[1], samples, rng, first=index * samples
        ):
            rows.add(frame, "scatter")


def emphasis(molecule: Molecule) -> float:
    """How many times as many geometries a molecule gets."""
    flat = Chem.MolToSmiles(Chem.MolFromSmiles(molecule.smiles), isomericSmiles=False)
    return EMPHASIS.get(flat, 1.0)


def complete(molecule: Molecule, before: dict[str, NDArray], scale: float) -> dict[str, NDArray]:
    """Add to the labels of an earlier stage what it did not have."""
    rdkit = sample.embed(molecule.smiles, CONFORMERS, molecule.seed)
    rows = Rows(before["numbers"], before)
    if rdkit is not None:
        scale = scale * emphasis(molecule)
        if before.get("stage", 1) < 2:
            add_scans(molecule, rdkit, rows, scale)
        if before.get("stage", 1) < 3:
            add_descents(molecule, rdkit, rows, scale)
        add_scattered(molecule, rdkit, rows, scale)
    return rows.arrays() or before


def relax(start: NDArray, labeller: Labeller, steps: int = 60) -> list[NDArray]:
    """Geometries on the way down the GFN2-xTB surface, the last one the lowest."""
    path: list[tuple[float, NDArray]] = []

    def value(flat: NDArray) -> tuple[float, NDArray]:
        label = labeller(flat.reshape(-1, 3))
        if label is None:
            return 1e6, np.zeros_like(flat)
        path.append((label[0], flat.reshape(-1, 3).copy()))
        return label[0], -label[1].ravel()

    if labeller(start) is None:
        return [start]
    minimize(value, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": steps, "gtol": 2e-3})
    lowest = min(range(len(path)), key=lambda i: path[i][0])
    return [x for _, x in path[: lowest + 1]]


def write_labels(target: Path, arrays: dict[str, NDArray]) -> None:
    """Write the file of one molecule, all or nothing."""
    partial = target.with_suffix(".part")
    with partial.open("wb") as stream:
        np.savez(stream, **arrays)
    partial.replace(target)


def _job(task: tuple[Molecule, float, str]) -> tuple[str, int]:
    molecule, scale, out = task
    target = Path(out) / f"{molecule.key}.npz"
    before = dict(np.load(target)) if target.exists() else None
    if before is None or before.get("stage", 1) < STAGE:
        labels = label_molecule(molecule, scale) if before is None else complete(molecule, before, scale)
        if labels is None:
            return molecule.smiles, 0
        write_labels(target, labels)
    return molecule.smiles, len(np.load(target)["energies"])


def write_manifest(molecules: list[Molecule], out: Path) -> dict:
    """Write and return `manifest.json`: what was made, from which molecules, with which versions."""
    entries = []
    for molecule in molecules:
        path = out / f"{molecule.key}.npz"
        if path.exists():
            data = np.load(path)
            kinds = {name: int((data["kinds"] == i).sum()) for i, name in enumerate(KINDS)}
            entries.append(
                {
                    "smiles": molecule.smiles,
                    "key": molecule.key,
                    "group": molecule.group,
                    "split": molecule.split,
                    "seed": molecule.seed,
                    "atoms": len(data["numbers"]),
                    "labels": len(data["energies"]),
                    "kinds": {k: v for k, v in kinds.items() if v},
                }
            )
    manifest = {
        "method": METHOD,
        "versions": {name: version(name) for name in ("tblite", "rdkit", "numpy", "scipy")},
        "molecules": len(entries),
        "labels": sum(e["labels"] for e in entries),
        "labels_by_split": {
            s: sum(e["labels"] for e in entries if e["split"] == s) for s in ("train", "validation", "test")
        },
        "molecules_by_split": {s: sum(e["split"] == s for e in entries) for s in ("train", "validation", "test")},
        "entries": entries,
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def make_data(out: Path, molecules: list[Molecule], workers: int = 2, scale: float = 1.0) -> dict:
    """Label `molecules` into `out`, skipping those already there, and return the manifest."""
    out.mkdir(parents=True, exist_ok=True)
    tasks = [(m, scale, str(out)) for m in molecules]
    started, total = time.time(), 0
    if workers == 1:
        results = map(_job, tasks)
        pool = None
    else:
        pool = multiprocessing.get_context("spawn").Pool(workers)
        results = pool.imap_unordered(_job, tasks, chunksize=4)
    for done, (smiles, count) in enumerate(results, 1):
        total += count
        if count == 0:
            logger.warning("no labels for %s", smiles)
        if done % 20 == 0:
            logger.info("%d of %d molecules, %d labels, %.0f s", done, len(tasks), total, time.time() - started)
    if pool is not None:
        pool.close()
        pool.join()
    return write_manifest(molecules, out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the number of geometries a molecule")
    parser.add_argument("--limit", type=int, default=None, help="only so many molecules")
    parser.add_argument("--smiles", nargs="*", default=None, help="these molecules instead of the whole set")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    chosen = arguments.smiles or []
    molecules = [Molecule(s, "single", "train") for s in chosen] if chosen else molecule_set()
    manifest = make_data(arguments.out, molecules[: arguments.limit], arguments.workers, arguments.scale)
    logger.info("%d labels of %d molecules", manifest["labels"], manifest["molecules"])


if __name__ == "__main__":
    main()
