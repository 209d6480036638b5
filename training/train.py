"""Train the committee on labels made by `make_data.py`.

    python -m training.train --labels labels/ --out run/ --epochs 24 --processes 2

The run is resumed from `run/last.pt` if that exists; `run/curve.jsonl` gets one line an epoch.  A resumed run may be
given another number of epochs: the learning rate follows the fraction that is done.  With `--minutes`, the stretch
ends then, and the learning rate gets to its end with it, however slow the machine is; such a run is not the same
twice.  `--start` begins with the averaged weights and the reference energies of another run.  `--device cuda` uses
a GPU.  On a CPU, several processes of one thread each share a step (the mean of their gradients is applied by all): the
arrays are too small for threads to help much.

Every member is trained by its own energy, and by the forces of a random convex combination of the members, drawn for
every molecule anew (Dirichlet): one backward pass trains all members and keeps each of them a potential of its own.
One member in `members` never sees a given molecule (it has weight zero there), so that the members differ where
data is missing, which is what their spread is for.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.dataset import Block, Labels
from training.model import Committee

logger = logging.getLogger(__name__)
KCAL = 23.060547830619  # kcal/mol per eV
#: Where forces pass this, in eV/Angstrom, their errors count for less.
STEEP = 10.0


def left_out(entries: list[dict], members: int) -> Tensor:
    """Choose the member that never sees each molecule, (n_molecules,); -1 (none) for fewer than 8 molecules."""
    if len(entries) < 8:
        return torch.full((len(entries),), -1)
    return torch.tensor([e["seed"] % members for e in entries])


def energies_and_forces(
    model: Committee, block: Block, rows: Tensor, weights: Tensor, training: bool
) -> tuple[Tensor, Tensor]:
    """Member energies (members, B) and forces (B, n, 3) of the weighted mean, eV and eV/Angstrom."""
    device = next(model.parameters()).device
    positions = block.positions[rows].to(device).requires_grad_()
    energies = model.energies(positions, block.numbers[rows].to(device))
    (gradient,) = torch.autograd.grad((energies * weights).sum(), positions, create_graph=training)
    return energies, -gradient


def evaluate(model: Committee, labels: Labels, pairs: int, limit: int | None = None) -> dict[str, float]:
    """Mean absolute errors of the committee's mean, kcal/mol and kcal/mol/Angstrom."""
    force, energy = [], [torch.zeros(0)]
    deviations: dict[int, list[Tensor]] = {}
    model.eval()
    for done, (block, rows) in enumerate(labels.batches(pairs)):
        if limit is not None and done % max(1, len(labels) // limit) != 0:
            continue
        weights = torch.full((model.members, 1), 1.0 / model.members, device=next(model.parameters()).device)
        predicted, forces = energies_and_forces(model, block, rows, weights, training=False)
        force.append((forces.cpu() - block.forces[rows]).abs().flatten())
        error = predicted.detach().mean(0).cpu().double() - block.energies[rows]
        energy.append(error.abs())
        for molecule, value in zip(block.molecule[rows].tolist(), error, strict=True):
            deviations.setdefault(molecule, []).append(value)
    relative = [(torch.stack(v) - torch.stack(v).median()).abs() for v in deviations.values()]
    model.train()
    return {
        "force_mae": float(torch.cat(force).mean()) * KCAL,
        "energy_mae": float(torch.cat(energy).mean()) * KCAL,
        "relative_energy_mae": float(torch.cat(relative).mean()) * KCAL,
    }


class Trainer:
    """One run: model, averaged weights, optimiser and where it stands."""

    def __init__(
        self, labels: Labels, validation: Labels | None, out: Path, arguments: argparse.Namespace, rank: int = 0
    ) -> None:
        torch.manual_seed(arguments.seed)
        self.rank = rank
        self.labels, self.validation, self.out, self.arguments = labels, validation, out, arguments
        self.shape = {
            "members": 4,
            "channels": arguments.channels,
            "messages": arguments.messages,
            "hidden": arguments.hidden,
        }
        self.model = Committee(**self.shape).to(arguments.device)
        self.average = Committee(**self.shape).to(arguments.device)
        self.average.load_state_dict(self.model.state_dict())
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=arguments.rate, betas=(0.9, 0.99), foreach=True)
        self.epoch, self.batch, self.step, self.seconds = 0, 0, 0, 0.0
        self.done_before = 0.0
        self.stretch = 1
        self.offsets = labels.offsets()
        out.mkdir(parents=True, exist_ok=True)
        if (out / "last.pt").exists():
            self.load()
        elif arguments.start is not None:
            state = torch.load(arguments.start, map_location=arguments.device, weights_only=True)
            self.model.load_state_dict(state["average"])
            self.average.load_state_dict(state["average"])
            self.offsets = state["offsets"]
            self.stretch = 1 + self.copy_curve(arguments.start.parent / "curve.jsonl")
        labels.subtract(self.offsets)
        if validation is not None:
            validation.subtract(self.offsets)
        self.left_out = left_out(labels.entries, self.model.members)
        self.saved = time.time()
        size = sum(1 for _ in labels.batches(arguments.pairs)) // arguments.processes
        self.size = size
        self.total = size * arguments.epochs
        self.began = time.time()
        self.done = self.done_before = max(self.done_before, self.step / self.total)
        logger.info(
            "%d labels, %d batches an epoch, %d weights",
            len(labels),
            size,
            sum(p.numel() for p in self.model.parameters()),
        )

    def copy_curve(self, path: Path) -> int:
        """Begin the learning curve with that of the run before; the number of its last stretch."""
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
        rows = [{"stretch": 1, **row} for row in rows]
        if self.rank == 0:
            (self.out / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return max((row["stretch"] for row in rows), default=1)

    def load(self) -> None:
        """Resume from `last.pt`."""
        state = torch.load(self.out / "last.pt", map_location=self.arguments.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.batch, self.step, self.seconds = (
            state["epoch"],
            state["batch"],
            state["step"],
            state["seconds"],
        )
        self.offsets = state["offsets"]
        self.done_before = state.get("done", 0.0)
        self.stretch = state.get("stretch", 1)

    def save(self, name: str = "last.pt") -> None:
        """Write a checkpoint; a killed run leaves the one before."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "shape": self.shape,
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "seconds": self.seconds,
            "offsets": self.offsets,
            "done": self.done,
            "stretch": self.stretch,
        }
        torch.save(state, self.out / "part.pt")
        (self.out / "part.pt").replace(self.out / name)
        self.saved = time.time()

    def progress(self, steps: int) -> float:
        """Fraction of the run that is done, by steps or, with `--minutes`, by the clock if that is further."""
        done = steps / self.total
        if self.arguments.minutes is not None:
            spent = (time.time() - self.began) / (60 * self.arguments.minutes)
            done = max(done, self.done_before + (1.0 - self.done_before) * spent)
        return min(1.0, done)

    def rate(self) -> float:
        """Learning rate: a short warm-up, then a cosine to one hundredth."""
        done = self.done
        return (
            self.arguments.rate
            * min(1.0, (self.step + 1) / min(500.0, 1 + self.total / 10))
            * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
        )

    def train_batch(self, block: Block, rows: Tensor) -> tuple[float, float]:
        """One step; the loss's parts, kcal/mol/A and kcal/mol."""
        members, device = self.model.members, self.arguments.device
        rng = np.random.default_rng((self.arguments.seed, self.step, self.rank))
        weights = torch.from_numpy(rng.gamma(0.7, size=(members, len(rows))).astype(np.float32) + 1e-4)
        seen = (torch.arange(members).unsqueeze(1) != self.left_out[block.molecule[rows]]).float()
        weights = (weights * seen / (weights * seen).sum(0)).to(device)
        seen = (seen / seen.sum(0)).to(device)
        energies, forces = energies_and_forces(self.model, block, rows, weights, training=True)
        n = block.positions.shape[1]
        # Far inside contact an error counts relative to the force.
        true = torch.linalg.vector_norm(block.forces[rows], dim=-1)
        soft = (1.0 / (1.0 + true / STEEP)).to(device)
        norm = torch.linalg.vector_norm(forces - block.forces[rows].to(device) + 1e-12, dim=-1)
        force = (norm * soft).mean() * KCAL
        error = (energies - block.energies[rows].float().to(device)).abs() * seen
        energy = (error.sum(0) * soft.min(1).values).mean() * KCAL
        least = 0.1 if self.arguments.start is None else 0.5
        loss = force + (least + (1.0 - least) * self.done) * energy * (3.0 / n)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        # With this batch: a run that is resumed starts from the same number.
        self.done = self.progress(self.step + 1)
        if self.arguments.processes > 1:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            # The processes' clocks differ a little; they must agree on how far the run is.
            flat = torch.cat([*(g.flatten() for g in gradients), torch.tensor([self.done])])
            torch.distributed.all_reduce(flat)
            flat /= self.arguments.processes
            for gradient, part in zip(gradients, flat[:-1].split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))
            self.done = float(flat[-1])
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 200.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.step()
        decay = min(0.999, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            mean, new = list(self.average.parameters()), list(self.model.parameters())
            torch._foreach_lerp_(mean, new, 1 - decay)
        self.step += 1
        return float(force.detach()), float(energy.detach())

    def run(self) -> None:
        """Train to the end, from wherever the run stands."""
        while self.epoch < self.arguments.epochs and (self.done < 1.0 or self.arguments.minutes is None):
            order = np.random.default_rng((self.arguments.seed, 7, self.epoch))
            sums, count, started = np.zeros(2), 0, time.time()
            for index, (block, rows) in enumerate(self.labels.batches(self.arguments.pairs, order)):
                turn, whose = divmod(index, self.arguments.processes)
                if turn < self.batch or turn >= self.size or whose != self.rank:
                    continue
                sums += self.train_batch(block, rows)
                count += 1
                self.batch = turn + 1
                if self.done >= 1.0 and self.arguments.minutes is not None:
                    break
                if self.rank > 0:
                    continue
                if count % 200 == 0:
                    logger.info("epoch %d step %d: F %.3f E %.3f", self.epoch, turn + 1, *(sums / count))
                    sums, count = np.zeros(2), 0
                if time.time() - self.saved > 120:
                    self.save()
            self.epoch, self.batch = self.epoch + 1, 0
            self.seconds += time.time() - started
            if self.rank > 0:
                continue
            line = {
                "epoch": self.epoch,
                "step": self.step,
                "seconds": round(self.seconds, 1),
                "rate": self.rate(),
                "train_force_norm": sums[0] / max(count, 1),
                "train_energy": sums[1] / max(count, 1),
            }
            if self.validation is not None:
                line.update(
                    {
                        f"validation_{k}": v
                        for k, v in evaluate(self.average, self.validation, self.arguments.pairs).items()
                    }
                )
            logger.info("%s", json.dumps(line))
            with (self.out / "curve.jsonl").open("a") as stream:
                stream.write(json.dumps(line) + "\n")
            self.save()


def parser() -> argparse.ArgumentParser:
    """Define the options, with their defaults."""
    result = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    result.add_argument("--labels", type=Path, required=True)
    result.add_argument("--out", type=Path, required=True)
    result.add_argument("--start", type=Path, default=None, help="weights of another run (its last.pt) to start from")
    result.add_argument("--epochs", type=int, default=24)
    result.add_argument("--minutes", type=float, default=None, help="end this stretch, and the run, after so long")
    result.add_argument("--rate", type=float, default=3e-3)
    result.add_argument("--pairs", type=int, default=8000, help="ordered pairs of atoms in a batch")
    result.add_argument("--channels", type=int, default=24)
    result.add_argument("--messages", type=int, default=16)
    result.add_argument("--hidden", type=int, default=48)
    result.add_argument("--seed", type=int, default=1)
    result.add_argument("--processes", type=int, default=1)
    result.add_argument("--threads", type=int, default=1, help="of every process")
    result.add_argument("--device", default="cpu")
    return result


def work(rank: int, arguments: argparse.Namespace) -> None:
    """Train, as process `rank` of several."""
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    if arguments.processes > 1:
        store = torch.distributed.FileStore(str(arguments.out / "store"), arguments.processes)
        torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=arguments.processes)
    labels = Labels(arguments.labels, "train")
    validation = Labels(arguments.labels, "validation")
    Trainer(labels, validation if len(validation) else None, arguments.out, arguments, rank).run()
    if arguments.processes > 1:
        torch.distributed.destroy_process_group()


def main() -> None:
    """Command line."""
    arguments = parser().parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "store").unlink(missing_ok=True)
    if arguments.processes == 1:
        work(0, arguments)
    else:
        torch.multiprocessing.spawn(work, (arguments,), nprocs=arguments.processes)


if __name__ == "__main__":
    main()
