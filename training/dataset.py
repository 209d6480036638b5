"""Labels in memory: grouped by the number of atoms, so that a batch is a dense array without padding.

    python -m training.dataset --labels labels/ --out packed/ --split train validation

packs labels into two small files for a run on another machine: `manifest.json` and `packed.npz`, with positions to
2^-16 Angstrom and forces to float16 (half a thousandth of each).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.model import ELEMENTS

#: Kinds of geometry: `sample.py`, `scans.py` and `scatter.py` say what they are.
KINDS = (
    "relax", "minimum", "modes", "langevin", "torsion", "stretch", "contact", "scan", "backbone", "stack", "descent",
    "scatter", "hole",
)  # fmt: skip
#: Those where no molecule is, and those that reach there or far inside contact: neither is in a mean error.
NOWHERE = [KINDS.index(kind) for kind in ("scatter", "hole")]
WALL = [KINDS.index(kind) for kind in ("contact", "scan")] + NOWHERE
#: Positions of a packed set are whole multiples of this, Angstrom.
RESOLUTION = 2.0**-16
PACKED = "packed.npz"


@dataclass
class Block:
    """All labels with one number of atoms n: arrays whose first dimension is the label."""

    positions: Tensor  # (m, n, 3) float32, Angstrom
    numbers: Tensor  # (m, n) int64
    energies: Tensor  # (m,) float64, eV, total
    forces: Tensor  # (m, n, 3) float32, eV/Angstrom
    molecule: Tensor  # (m,) int64, index into Labels.keys
    kinds: Tensor  # (m,) int64
    temperatures: Tensor  # (m,) float32
    heights: Tensor  # (m,) float32, eV an atom above the lowest label of the molecule

    def to(self, device: str) -> Block:
        """Return a copy on `device`."""
        return Block(**{name: value.to(device) for name, value in vars(self).items()})


class Labels:
    """The labels of some molecules of a manifest.

    Parameters
    ----------
    folder : Path
        What `make_data.py` wrote, or `pack`.
    split : str or None
        "train", "validation", "test", or None for everything.
    """

    def __init__(self, folder: Path, split: str | None = None) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        self.entries = [e for e in manifest["entries"] if split is None or e["split"] == split]
        rows: dict[int, list[tuple[NDArray, ...]]] = {}
        packed = unpack(folder) if (folder / PACKED).exists() else None
        for index, entry in enumerate(self.entries):
            data = np.load(folder / f"{entry['key']}.npz") if packed is None else packed[entry["key"]]
            count = len(data["energies"])
            columns = (data["positions"], np.tile(data["numbers"], (count, 1)), data["energies"], data["forces"])
            heights = (data["energies"] - data["energies"].min()).astype(np.float32) / len(data["numbers"])
            row = (*columns, np.full(count, index), data["kinds"], data["temperatures"], heights)
            rows.setdefault(len(data["numbers"]), []).append(row)
        self.blocks = {
            n: Block(*(torch.from_numpy(np.concatenate(column)) for column in zip(*r, strict=True)))
            for n, r in sorted(rows.items())
        }
        for block in self.blocks.values():
            block.numbers, block.kinds = block.numbers.long(), block.kinds.long()

    def __len__(self) -> int:
        return sum(len(b.energies) for b in self.blocks.values())

    def to(self, device: str) -> None:
        """Move everything to `device`."""
        self.blocks = {n: block.to(device) for n, block in self.blocks.items()}

    def offsets(self) -> dict[int, float]:
        """Fit the reference energy of every element, eV: least squares of the total energies on the composition."""
        counts, energies = [], []
        for block in self.blocks.values():
            counts.append(torch.stack([(block.numbers == z).sum(1) for z in ELEMENTS], 1).double())
            energies.append(block.energies)
        solution = torch.linalg.lstsq(torch.cat(counts), torch.cat(energies).unsqueeze(1), driver="gelsd").solution[
            :, 0
        ]
        return {z: float(value) for z, value in zip(ELEMENTS, solution, strict=True)}

    def subtract(self, offsets: dict[int, float]) -> None:
        """Take the reference energies out of `energies`, once."""
        for block in self.blocks.values():
            for z, value in offsets.items():
                block.energies = block.energies - value * (block.numbers == z).sum(1)

    def batches(self, pairs: int) -> Iterator[tuple[Block, Tensor]]:
        """(block, row indices) of everything once, with about `pairs` ordered pairs of atoms a batch."""
        for n, block in self.blocks.items():
            yield from ((block, rows) for rows in torch.arange(len(block.energies)).split(batch_size(n, pairs)))


@dataclass
class Epoch:
    """One pass in the order in which it is gone through: every batch is a part of these rows, all of one block."""

    rows: Tensor  # (sum,) int64, rows of the block
    draws: Tensor  # (members, sum) float32, random weights, not normalised
    batches: list[tuple[int, int, int]]  # (n, first, last) into the columns

    def to(self, device: str) -> Epoch:
        """Return a copy on `device`: two transfers for a whole pass."""
        return Epoch(self.rows.to(device), self.draws.to(device), self.batches)


def batch_size(n: int, pairs: int) -> int:
    """Labels of n atoms in a batch of about `pairs` ordered pairs of atoms."""
    return max(2, pairs // (n * n + 4 * n))


def epoch(labels: Labels, pairs: int, members: int, seed: tuple[int, ...]) -> Epoch:
    """Shuffle the labels into batches, those of each n all of one size: the last is filled up with some of the first.

    The draws are from a Gamma distribution, which makes the weights of a label Dirichlet's once they are normalised.
    """
    generator = np.random.default_rng(seed)
    parts: list[tuple[int, NDArray]] = []
    for n, block in labels.blocks.items():
        count = len(block.energies)
        size = min(count, batch_size(n, pairs))
        order = generator.permutation(count)
        order = np.concatenate([order, order[: -count % size]])
        parts += [(n, part) for part in order.reshape(-1, size)]
    parts = [parts[k] for k in generator.permutation(len(parts))]
    ends = np.cumsum([len(part) for _, part in parts]).tolist()
    draws = generator.gamma(0.7, size=(members, ends[-1])).astype(np.float32) + 1e-4
    batches = [(n, end - len(part), end) for (n, part), end in zip(parts, ends, strict=True)]
    return Epoch(torch.from_numpy(np.concatenate([part for _, part in parts])), torch.from_numpy(draws), batches)


def pack(folder: Path, out: Path, splits: list[str]) -> None:
    """Write the labels of these parts of the split, and no others, into few and small files."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["entries"] = [e for e in manifest["entries"] if e["split"] in splits]
    if not manifest["entries"]:
        raise ValueError(f"splits: {splits} has no molecule of {folder}; choose of train, validation, test")
    columns: dict[str, list[NDArray]] = {}
    for entry in manifest["entries"]:
        data = np.load(folder / f"{entry['key']}.npz")
        steps = np.round(data["positions"] / RESOLUTION).astype("<i4").reshape(-1, 1)
        columns.setdefault("positions", []).append(steps.view(np.uint8))
        columns.setdefault("forces", []).append(data["forces"].reshape(-1, 3).astype(np.float16))
        for name in ("numbers", "energies", "kinds", "temperatures"):
            columns.setdefault(name, []).append(data[name])
    arrays = {name: np.concatenate(column) for name, column in columns.items()}
    # Byte by byte, which is what compresses.
    arrays["positions"] = np.ascontiguousarray(arrays["positions"].T)
    arrays["forces"] = np.ascontiguousarray(arrays["forces"].view(np.uint8).reshape(-1, 2).T)
    out.mkdir(parents=True, exist_ok=True)
    (out / "manifest.json").write_text(json.dumps(manifest) + "\n")
    np.savez_compressed(out / PACKED, **arrays)


def unpack(folder: Path) -> dict[str, dict[str, NDArray]]:
    """Read what `pack` wrote, by the key of the molecule."""
    entries = json.loads((folder / "manifest.json").read_text())["entries"]
    arrays = dict(np.load(folder / PACKED))
    steps = np.ascontiguousarray(arrays["positions"].T).view("<i4").reshape(-1, 3)
    arrays["positions"] = (steps * RESOLUTION).astype(np.float32)
    arrays["forces"] = np.ascontiguousarray(arrays["forces"].T).view(np.float16).reshape(-1, 3).astype(np.float32)
    result = {}
    atom = row = number = 0
    for entry in entries:
        n, count = entry["atoms"], entry["labels"]
        atoms, rows = slice(atom, atom + n * count), slice(row, row + count)
        data = {name: arrays[name][atoms].reshape(count, n, 3) for name in ("positions", "forces")}
        data |= {name: arrays[name][rows] for name in ("energies", "kinds", "temperatures")}
        data["numbers"] = arrays["numbers"][number : number + n]
        result[entry["key"]] = data
        atom, row, number = atom + n * count, row + count, number + n
    return result


def main() -> None:
    """Command line: pack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", nargs="+", default=["train", "validation"])
    arguments = parser.parse_args()
    pack(arguments.labels, arguments.out, arguments.split)


if __name__ == "__main__":
    main()
