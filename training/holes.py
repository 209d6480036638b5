"""Where a trained potential finds low what is not: labels of the kind ``hole``, to train on again.

    python -m training.holes --labels labels/ --model hcno-1.pt2 --workers 2

From shaken minima of the molecules of training, OpenMM's minimiser is let go with the potential.  Its first step is
long whatever the forces are; where it comes to a place that is far from the minimum, GFN2-xTB says how high that is.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openmm_nn import Potential, load_potential
from training.make_data import Rows, write_labels, write_manifest
from training.molecules import molecule_set
from training.sample import Positions

logger = logging.getLogger(__name__)
#: Standard deviations of the shaken starts, Angstrom.
SHAKEN = (0.03, 0.1, 0.2)
#: The accepted points of a minimisation that are looked at, and the last.
LOOK = (0, 3, 20)
#: How far from the minimum, root mean square of the changes of all distances, Angstrom.
AWAY = 0.05


def molecule_context(potential: Potential, numbers: NDArray) -> openmm.Context:
    """One molecule by the potential alone, on the CPU platform."""
    system = openmm.System()
    for number in numbers.tolist():
        system.addParticle(app.Element.getByAtomicNumber(number).mass)
    system.addForce(potential.create_force(atomic_numbers=numbers.tolist()))
    platform = openmm.Platform.getPlatformByName("CPU")
    return openmm.Context(system, openmm.VerletIntegrator(0.001), platform, {"Threads": "1"})


def minimised(context: openmm.Context, start: Positions, steps: int = 100) -> list[Positions]:
    """The points that OpenMM's minimiser accepts, numbers `LOOK` and the last, Angstrom."""
    path: list[Positions] = []

    class Reporter(openmm.MinimizationReporter):
        def report(self, iteration: int, x: list[float], gradient: list[float], arguments: dict[str, float]) -> bool:
            path.append(10.0 * np.array(x).reshape(-1, 3))
            return not np.isfinite(x).all()

    context.setPositions(0.1 * start)
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, steps, Reporter())
    chosen = sorted({k for k in LOOK if k < len(path)} | {len(path) - 1} if path else [])
    return [path[k] for k in chosen if np.isfinite(path[k]).all()]


def holes(potential: Potential, numbers: NDArray, minimum: Positions, rng: np.random.Generator) -> list[Positions]:
    """Where the minimiser goes from shaken copies of `minimum` (Angstrom), as far as that is away from it."""
    context = molecule_context(potential, numbers)
    found: list[Positions] = []
    for amplitude in SHAKEN:
        found += minimised(context, minimum + rng.normal(size=minimum.shape) * amplitude)
    lengths = distances(minimum)
    return [frame for frame in found if np.sqrt(((distances(frame) - lengths) ** 2).mean()) > AWAY]


def distances(positions: Positions) -> NDArray:
    """All of them, (n_atoms, n_atoms)."""
    return np.linalg.norm(positions[:, None] - positions, axis=-1)


def _job(task: tuple[str, str, int, int]) -> int:
    path, model, seed, turn = task
    data = dict(np.load(path))
    if int(data.get("hole_turns", 0)) >= turn:
        return 0
    rows = Rows(data["numbers"], data)
    before = len(rows.rows)
    potential = load_potential(model)
    rng = np.random.default_rng((seed, 7, turn))
    starts = rows.minima()
    if starts:
        for frame in holes(potential, data["numbers"], starts[turn % len(starts)], rng):
            rows.add(frame, "hole")
    arrays = (rows.arrays() or data) | {"hole_turns": np.array(turn)}
    write_labels(Path(path), arrays)
    return len(rows.rows) - before


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="the potential as a file (.pt or .pt2)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--turn", type=int, default=1, help="1, then 2 with the potential trained on the holes of 1")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    molecules = [m for m in molecule_set() if (arguments.labels / f"{m.key}.npz").exists()]
    # Where the potential fails on the molecules of the tests is not looked at.
    tasks = [
        (str(arguments.labels / f"{m.key}.npz"), str(arguments.model), m.seed, arguments.turn)
        for m in molecules
        if m.split != "test"
    ]
    started, total = time.time(), 0
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        for done, count in enumerate(pool.imap_unordered(_job, tasks, chunksize=4), 1):
            total += count
            if done % 50 == 0:
                logger.info("%d of %d molecules, %d labels, %.0f s", done, len(tasks), total, time.time() - started)
    write_manifest(molecules, arguments.labels)
    logger.info("%d labels added", total)


if __name__ == "__main__":
    main()
