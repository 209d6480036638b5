"""Labels in memory: grouped by the number of atoms, so that a batch is a dense array without padding."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.model import ELEMENTS


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


class Labels:
    """The labels of some molecules of a manifest.

    Parameters
    ----------
    folder : Path
        What `make_data.py` wrote.
    split : str or None
        "train", "validation", "test", or None for everything.
    """

    def __init__(self, folder: Path, split: str | None = None) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        self.entries = [e for e in manifest["entries"] if split is None or e["split"] == split]
        rows: dict[int, list[tuple[NDArray, ...]]] = {}
        for index, entry in enumerate(self.entries):
            data = np.load(folder / f"{entry['key']}.npz")
            count = len(data["energies"])
            columns = (data["positions"], np.tile(data["numbers"], (count, 1)), data["energies"], data["forces"])
            row = (*columns, np.full(count, index), data["kinds"], data["temperatures"])
            rows.setdefault(len(data["numbers"]), []).append(row)
        self.blocks = {
            n: Block(*(torch.from_numpy(np.concatenate(column)) for column in zip(*r, strict=True)))
            for n, r in sorted(rows.items())
        }
        for block in self.blocks.values():
            block.numbers, block.kinds = block.numbers.long(), block.kinds.long()

    def __len__(self) -> int:
        return sum(len(b.energies) for b in self.blocks.values())

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

    def batches(self, pairs: int, generator: np.random.Generator | None = None) -> Iterator[tuple[Block, Tensor]]:
        """(block, row indices) with about `pairs` ordered pairs of atoms a batch, shuffled if a generator is given."""
        plan: list[tuple[int, NDArray]] = []
        for n, block in self.blocks.items():
            order = np.arange(len(block.energies)) if generator is None else generator.permutation(len(block.energies))
            size = max(2, pairs // (n * n + 4 * n))
            plan += [(n, order[start : start + size]) for start in range(0, len(order), size)]
        for index in range(len(plan)) if generator is None else generator.permutation(len(plan)):
            n, rows = plan[index]
            yield self.blocks[n], torch.from_numpy(rows)
