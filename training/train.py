"""Train the committee on labels made by `make_data.py`.

    python -m training.train --labels labels/ --out run/ --epochs 24 --processes 2
    python -m training.train --labels labels/ --out run/ --device cuda --graphs --pairs 40000 --minutes 6 --epochs 1000

The run is resumed from `run/last.pt` if that exists; `run/curve.jsonl` gets one line an epoch, or one every
`--curve` seconds.  A resumed run may be given another number of epochs: the learning rate follows the fraction that is
done.  With `--minutes`, the stretch ends then, and the learning rate gets to its end with it, however slow the machine
is; such a run is not the same twice.  `--start` begins with the averaged weights and the reference energies of another
run.

`--device cuda` uses a GPU: the labels lie there, and nothing waits for the host between two lines of the log.  The
first thing it does is to compare losses and gradients with those of the CPU, and to stop where they differ.  The time
of a step is that of launching its thousand small kernels, so with `--graphs` a step is captured once for every number
of atoms and replayed; replays are compared with steps too.  On a CPU, several processes of one thread each share a
step (the mean of their gradients is applied by all): the arrays are too small for threads to help much.

Every member is trained by its own energy, and by the forces of a random convex combination of the members, drawn for
every molecule anew (Dirichlet): one backward pass trains all members and keeps each of them a potential of its own.
One member in `members` never sees a given molecule (it has weight zero there), so that the members differ where
data is missing, which is what their spread is for.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.dataset import NOWHERE, Block, Epoch, Labels, batch_size, epoch
from training.model import Committee

logger = logging.getLogger(__name__)
KCAL = 23.060547830619  # kcal/mol per eV
#: Where forces pass this, in eV/Angstrom, their errors count for less.
STEEP = 10.0
#: Where a geometry lies higher than this, in eV an atom above the lowest of its molecule, it counts for less.
HIGH = 0.3
#: Largest norm of a gradient that is applied.
CLIP = 200.0
#: Largest relative difference between devices, of a loss and of its gradient.
TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 1e-3
#: Seconds between two lines of the log, and between two checkpoints.
LOG, SAVE = 10.0, 60.0


def left_out(entries: list[dict], members: int) -> Tensor:
    """Choose the member that never sees each molecule, (n_molecules,); -1 (none) for fewer than 8 molecules."""
    if len(entries) < 8:
        return torch.full((len(entries),), -1)
    return torch.tensor([e["seed"] % members for e in entries])


def energies_and_forces(
    model: Committee, block: Block, rows: Tensor, weights: Tensor, training: bool
) -> tuple[Tensor, Tensor]:
    """Member energies (members, B) and forces (B, n, 3) of the weighted mean, eV and eV/Angstrom."""
    positions = block.positions[rows].requires_grad_()
    energies = model.energies(positions, block.numbers[rows])
    (gradient,) = torch.autograd.grad((energies * weights).sum(), positions, create_graph=training)
    return energies, -gradient


def losses(model: Committee, block: Block, rows: Tensor, draws: Tensor, left_out: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of the forces, kcal/mol/Angstrom, and of the energies, kcal/mol.

    Parameters
    ----------
    model : Committee
    block : Block
    rows : Tensor, shape (B,)
        The labels of the batch.
    draws : Tensor, shape (members, B)
        Weight of every member in the mean whose forces are compared, not normalised.
    left_out : Tensor, shape (n_molecules,)
        The member that does not see a molecule.
    """
    members = torch.arange(model.members, device=rows.device).unsqueeze(1)
    seen = (members != left_out[block.molecule[rows]]).to(draws.dtype)
    weights = draws * seen
    energies, forces = energies_and_forces(model, block, rows, weights / weights.sum(0), training=True)
    truth = block.forces[rows]
    # Far inside contact an error counts relative to the force, and where no molecule is, relative to the height.
    soft = 1.0 / (1.0 + torch.linalg.vector_norm(truth, dim=-1) / STEEP)
    soft = soft * (HIGH / block.heights[rows].clamp(min=HIGH)).unsqueeze(1)
    norm = torch.linalg.vector_norm(forces - truth + 1e-12, dim=-1)
    error = (energies - block.energies[rows].to(energies.dtype)).abs() * seen
    energy = error.sum(0) / seen.sum(0) * soft.amin(1)
    return (norm * soft).mean() * KCAL, energy.mean() * KCAL


def gradient(loss: Tensor, model: Committee) -> Tensor:
    """All of the gradient side by side."""
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def flatten(model: Committee) -> Tensor:
    """Put all weights side by side: returns the array of which they are views from now on."""
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    first = 0
    for parameter in model.parameters():
        parameter.data = flat[first : first + parameter.numel()].view_as(parameter)
        first += parameter.numel()
    return flat


def evaluate(model: Committee, labels: Labels, pairs: int) -> dict[str, float]:
    """Mean absolute errors of the committee's mean, kcal/mol and kcal/mol/Angstrom, where there is a molecule."""
    force, energy, molecule = [], [], []
    model.eval()
    for block, rows in labels.batches(pairs):
        rows = rows.to(block.positions.device)
        rows = rows[~torch.isin(block.kinds[rows], torch.tensor(NOWHERE, device=rows.device))]
        if len(rows) == 0:
            continue
        weights = torch.full((model.members, 1), 1.0 / model.members, device=rows.device)
        predicted, forces = energies_and_forces(model, block, rows, weights, training=False)
        force.append((forces - block.forces[rows]).abs().flatten())
        energy.append(predicted.detach().double().mean(0) - block.energies[rows])
        molecule.append(block.molecule[rows])
    model.train()
    error, owner = torch.cat(energy).cpu(), torch.cat(molecule).cpu()
    relative = [(own - own.median()).abs() for own in (error[owner == m] for m in owner.unique())]
    return {
        "force_mae": float(torch.cat(force).mean()) * KCAL,
        "energy_mae": float(error.abs().mean()) * KCAL,
        "relative_energy_mae": float(torch.cat(relative).mean()) * KCAL,
    }


class Trainer:
    """One run: model, averaged weights, optimiser and where it stands."""

    def __init__(
        self, labels: Labels, validation: Labels | None, out: Path, arguments: argparse.Namespace, rank: int = 0
    ) -> None:
        torch.manual_seed(arguments.seed)
        self.rank, self.device = rank, arguments.device
        self.labels, self.validation, self.out, self.arguments = labels, validation, out, arguments
        self.shape = {
            "members": 4,
            "channels": arguments.channels,
            "messages": arguments.messages,
            "hidden": arguments.hidden,
        }
        self.model = Committee(**self.shape).to(self.device)
        self.average = copy.deepcopy(self.model)
        self.weights, self.mean = flatten(self.model), flatten(self.average)
        self.weights.grad = torch.zeros_like(self.weights)
        # What changes from step to step lies on the device, where a captured step finds it.
        rate, self.energy_weight, self.follow = torch.zeros(3, device=self.device).unbind()
        self.optimiser = torch.optim.Adam(
            [self.weights], lr=rate, betas=(0.9, 0.99), foreach=False, capturable=self.device != "cpu"
        )
        self.sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        self.epoch, self.batch, self.step, self.seconds = 0, 0, 0, 0.0
        self.done_before = 0.0
        self.stretch = 1
        self.offsets = labels.offsets()
        out.mkdir(parents=True, exist_ok=True)
        if (out / "last.pt").exists():
            self.load()
        elif arguments.start is not None:
            state = torch.load(arguments.start, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["average"])
            self.average.load_state_dict(state["average"])
            self.offsets = state["offsets"]
            self.stretch = 1 + self.copy_curve(arguments.start.parent / "curve.jsonl")
        self.left_out = left_out(labels.entries, self.model.members)
        for part in (labels, validation):
            if part is not None:
                part.subtract(self.offsets)
        if self.device != "cpu":
            self.compare_with_cpu()
            self.left_out = self.left_out.to(self.device)
            for part in (labels, validation):
                if part is not None:
                    part.to(self.device)
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        self.saved = self.logged = self.began = time.time()
        self.size = len(self.plan(0).batches) // arguments.processes
        self.total = self.size * arguments.epochs
        self.done = self.done_before = max(self.done_before, self.step / self.total)
        logger.info("%d labels, %d batches an epoch, %d weights", len(labels), self.size, len(self.weights))

    def plan(self, index: int) -> Epoch:
        """Order of the labels in one epoch."""
        return epoch(self.labels, self.arguments.pairs, self.model.members, (self.arguments.seed, 7, index))

    def copy_curve(self, path: Path) -> int:
        """Begin the learning curve with that of the run before; the number of its last stretch."""
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
        rows = [{"stretch": 1, **row} for row in rows]
        if self.rank == 0:
            (self.out / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return max((row["stretch"] for row in rows), default=1)

    def load(self) -> None:
        """Resume from `last.pt`, on whatever device it was written."""
        state = torch.load(self.out / "last.pt", map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.optimiser.param_groups[0]["capturable"] = self.device != "cpu"
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
        # Of the views, which would each be written as the whole array.
        weights, mean = ({k: v.clone() for k, v in m.state_dict().items()} for m in (self.model, self.average))
        state = {
            "model": weights,
            "average": mean,
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

    def schedule(self) -> None:
        """Set what changes from step to step: learning rate, weight of the energies, and that of the averaging."""
        least = 0.1 if self.arguments.start is None else 0.5
        self.optimiser.param_groups[0]["lr"].fill_(self.rate())
        self.energy_weight.fill_(least + (self.arguments.energy_weight - least) * self.done)
        self.follow.fill_(1.0 - min(0.999, (self.step + 1) / (self.step + 10)))

    def train_batch(self, n: int, rows: Tensor, draws: Tensor) -> None:
        """One step on labels of n atoms; the parts of the loss and the number of steps are added to `sums`."""
        force, energy = losses(self.model, self.labels.blocks[n], rows, draws, self.left_out)
        flat = gradient(force + self.energy_weight * energy * (3.0 / n), self.model)
        if self.arguments.processes > 1:
            torch.distributed.all_reduce(flat)
            flat /= self.arguments.processes
        norm = torch.linalg.vector_norm(flat)
        flat = flat * (CLIP / (norm + 1e-6)).clamp(max=1.0)
        # A gradient that is not finite is taken for nothing.
        self.weights.grad.copy_(flat.masked_fill(~torch.isfinite(norm), 0.0))
        self.optimiser.step()
        with torch.no_grad():
            self.mean.lerp_(self.weights, self.follow)
            self.sums += torch.stack([force, energy, torch.ones_like(force)]).detach()

    def compare_with_cpu(self) -> None:
        """Stop where loss or gradient on this device are not those of the CPU: few, middle and many atoms."""
        torch.backends.cuda.matmul.allow_tf32 = False
        reference = Committee(**self.shape)
        reference.load_state_dict(self.model.state_dict())
        sizes = list(self.labels.blocks)
        for n in sorted({sizes[0], sizes[len(sizes) // 2], sizes[-1]}):
            rows = torch.arange(min(16, len(self.labels.blocks[n].energies)))
            block = Block(**{name: value[rows] for name, value in vars(self.labels.blocks[n]).items()})
            draws = 0.1 + torch.rand(self.model.members, len(rows))
            found = []
            for model, device in ((reference, "cpu"), (self.model, self.device)):
                batch = (block.to(device), rows.to(device), draws.to(device), self.left_out.to(device))
                loss = sum(losses(model, *batch))
                found.append((float(loss.detach()), gradient(loss, model).cpu()))
            (loss, slope), (own, own_slope) = found
            apart, slopes_apart = abs(own / loss - 1), float((own_slope - slope).norm() / slope.norm())
            logger.info(
                "%d atoms: loss %.5f, differs from the CPU's by %.1e, its gradient by %.1e", n, own, apart, slopes_apart
            )
            if not (apart < TOLERANCE and slopes_apart < GRADIENT_TOLERANCE):
                raise SystemExit(
                    f"--device {self.device}: for {n} atoms the loss is {own:.6f}, on the CPU {loss:.6f} (relative "
                    f"difference {apart:.1e}, allowed {TOLERANCE:.0e}), and the gradient differs by {slopes_apart:.1e} "
                    f"(allowed {GRADIENT_TOLERANCE:.0e}). Train with --device cpu."
                )

    def capture(self) -> None:
        """Capture one step for every number of atoms, and compare what it does with the step itself."""
        self.schedule()
        if not self.optimiser.state:  # it begins with the first step: one that changes nothing
            self.optimiser.step()
            self.optimiser.state[self.weights]["step"].zero_()
        changed = [self.weights, self.mean, self.sums, *self.optimiser.state[self.weights].values()]
        before = [value.clone() for value in changed]

        def restore() -> None:
            for value, kept in zip(changed, before, strict=True):
                value.copy_(kept)

        pool, side = torch.cuda.graph_pool_handle(), torch.cuda.Stream()
        worst = 0.0
        for n, block in self.labels.blocks.items():
            size = min(len(block.energies), batch_size(n, self.arguments.pairs))
            rows = torch.arange(size, device=self.device)
            draws = torch.ones(self.model.members, size, device=self.device)
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self.train_batch(n, rows, draws)
            torch.cuda.current_stream().wait_stream(side)
            expected = [self.weights.grad.clone(), self.weights.clone()]
            restore()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                self.train_batch(n, rows, draws)
            graph.replay()
            for value, wanted in zip((self.weights.grad, self.weights), expected, strict=True):
                worst = max(worst, float((value - wanted).norm() / wanted.norm()))
            restore()
            self.graphs[n] = (graph, rows, draws)
        logger.info("%d steps captured; gradients and weights differ by %.1e at most", len(self.graphs), worst)
        if not worst < GRADIENT_TOLERANCE:
            raise SystemExit(
                f"--graphs: a captured step does something else than the step (relative difference {worst:.1e}, "
                f"allowed {GRADIENT_TOLERANCE:.0e}). Train without --graphs."
            )

    def advance(self, n: int, rows: Tensor, draws: Tensor) -> None:
        """One step, captured or not, and the clock."""
        self.schedule()
        if n in self.graphs:
            graph, own_rows, own_draws = self.graphs[n]
            own_rows.copy_(rows)
            own_draws.copy_(draws)
            graph.replay()
        else:
            self.train_batch(n, rows, draws)
        self.step += 1
        self.done = self.progress(self.step)
        if self.arguments.processes > 1:
            # The processes' clocks differ a little; they must agree on how far the run is.
            done = torch.tensor(self.done, dtype=torch.float64)
            torch.distributed.all_reduce(done)
            self.done = float(done) / self.arguments.processes
        if self.device != "cpu" and self.step % 50 == 0:
            torch.cuda.synchronize()  # the clock is that of the host: it must not run ahead

    def run(self) -> None:
        """Train to the end, from wherever the run stands."""
        if self.arguments.graphs:
            self.capture()
        written = time.time()
        while self.epoch < self.arguments.epochs and (self.done < 1.0 or self.arguments.minutes is None):
            plan, started = self.plan(self.epoch).to(self.device), time.time()
            for index, (n, first, last) in enumerate(plan.batches):
                turn, whose = divmod(index, self.arguments.processes)
                if turn < self.batch or turn >= self.size or whose != self.rank:
                    continue
                self.advance(n, plan.rows[first:last], plan.draws[:, first:last])
                self.batch = turn + 1
                if self.done >= 1.0 and self.arguments.minutes is not None:
                    break
                if self.rank == 0 and time.time() - self.logged > LOG:
                    self.log()
                if self.rank == 0 and time.time() - self.saved > SAVE:
                    self.save()
            self.epoch, self.batch = self.epoch + 1, 0
            self.seconds += time.time() - started
            ended = self.epoch == self.arguments.epochs or (self.done >= 1.0 and self.arguments.minutes is not None)
            if self.rank == 0 and (ended or time.time() - written >= self.arguments.curve):
                self.write_line()
                self.save()
                written = time.time()

    def log(self) -> None:
        """Say how far it is."""
        force, energy, count = self.sums.tolist()
        logger.info(
            "%.1f %%, epoch %d step %d: F %.3f E %.3f",
            100 * self.done, self.epoch, self.step, force / max(count, 1), energy / max(count, 1),
        )  # fmt: skip
        self.logged = time.time()

    def write_line(self) -> None:
        """Add a line to the learning curve: the loss since the line before, and the errors of the averaged weights."""
        force, energy, count = self.sums.tolist()
        self.sums.zero_()
        line = {
            "stretch": self.stretch,
            "epoch": self.epoch,
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "device": "cpu" if self.device == "cpu" else torch.cuda.get_device_name(),
            "pairs": self.arguments.pairs * self.arguments.processes,
            "rate": self.rate(),
            "train_force_norm": force / max(count, 1),
            "train_energy": energy / max(count, 1),
        }
        if self.validation is not None:
            found = evaluate(self.average, self.validation, self.arguments.pairs)
            line.update({f"validation_{k}": v for k, v in found.items()})
        logger.info("%s", json.dumps(line))
        with (self.out / "curve.jsonl").open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def parser() -> argparse.ArgumentParser:
    """Define the options, with their defaults."""
    result = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    result.add_argument("--labels", type=Path, required=True)
    result.add_argument("--out", type=Path, required=True)
    result.add_argument("--start", type=Path, default=None, help="weights of another run (its last.pt) to start from")
    result.add_argument("--epochs", type=int, default=24)
    result.add_argument("--minutes", type=float, default=None, help="end this stretch, and the run, after so long")
    result.add_argument("--rate", type=float, default=3e-3)
    result.add_argument("--energy-weight", type=float, default=4.0, help="of the energies, at the end of the run")
    result.add_argument("--pairs", type=int, default=8000, help="ordered pairs of atoms in a batch")
    result.add_argument("--channels", type=int, default=24)
    result.add_argument("--messages", type=int, default=16)
    result.add_argument("--hidden", type=int, default=48)
    result.add_argument("--seed", type=int, default=1)
    result.add_argument("--processes", type=int, default=1)
    result.add_argument("--threads", type=int, default=1, help="of every process")
    result.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    result.add_argument("--graphs", action="store_true", help="capture steps as CUDA graphs; with --device cuda only")
    result.add_argument("--curve", type=float, default=0.0, help="seconds between two lines of the learning curve")
    return result


def check(arguments: argparse.Namespace) -> str | None:
    """Return what is wrong with the options, if anything is."""
    if arguments.device == "cuda" and not torch.cuda.is_available():
        return f"--device cuda: torch {torch.__version__} finds no GPU that it can use; train with --device cpu"
    if arguments.device == "cuda" and arguments.processes != 1:
        return f"--processes {arguments.processes}: only 1 with --device cuda; larger batches (--pairs) fill a GPU"
    if arguments.graphs and arguments.device != "cuda":
        return f"--graphs: needs --device cuda, not {arguments.device}; leave it out"
    return None


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
    options = parser()
    arguments = options.parse_args()
    wrong = check(arguments)
    if wrong is not None:
        options.error(wrong)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "store").unlink(missing_ok=True)
    if arguments.processes == 1:
        work(0, arguments)
    else:
        torch.multiprocessing.spawn(work, (arguments,), nprocs=arguments.processes)


if __name__ == "__main__":
    main()
