"""From a SMILES to molecular dynamics with a potential of your own: data, training, export, simulation.

    python examples/04_train_a_potential/train_a_potential.py                       # N-methylacetamide, two minutes
    python examples/04_train_a_potential/train_a_potential.py --smiles CO --labels 300 --epochs 40

The steps are those that made the bundled potential, by the same functions, for one molecule:

1. RDKit makes geometries away from equilibrium, and tblite labels them with GFN2-xTB energies and forces.
2. A committee of four small networks learns them.
3. The committee is exported into one file, with a card that says what it is.
4. OpenMM runs it, and GFN2-xTB says afterwards how far off it was on the frames of the trajectory.

It needs RDKit and tblite (pip install rdkit tblite), and a checkout of the repository for the folder `training`.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

# Before anything reads it: threads of tblite, which labels, would wait for each other. PyTorch is told its own below.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import openmm
import torch
from openmm import app, unit

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1]))  # at the end: openmm_nn is the one that is installed

import openmm_nn  # noqa: E402
from openmm_nn.units import ENERGY_UNITS, LENGTH_UNITS  # noqa: E402
from training import export, make_data, train  # noqa: E402
from training.dataset import Labels  # noqa: E402
from training.label import Labeller  # noqa: E402
from training.molecules import Molecule  # noqa: E402

OUTPUT = HERE.parent / "output" / "04"
EV, KCAL, ANGSTROM = ENERGY_UNITS["eV"], ENERGY_UNITS["kcal/mol"], LENGTH_UNITS["angstrom"]  # in kJ/mol and nm


def make_labels(smiles: str, count: int, folder: Path) -> int:
    """About `count` labels of one molecule; those that are there already are kept."""
    # One molecule gives about 103 labels at scale 1.
    molecule = Molecule(smiles, "cluster" if "." in smiles else "single", "train")
    manifest = make_data.make_data(folder, [molecule], workers=1, scale=count / 103)
    return int(manifest["labels"])


def train_committee(labels: Path, run: Path, epochs: int, threads: int) -> dict[str, float]:
    """Train until `epochs`; a run that was stopped goes on."""
    options = ["--labels", str(labels), "--out", str(run), "--epochs", str(epochs), "--threads", str(threads)]
    arguments = train.parser().parse_args([*options, "--channels", "12", "--messages", "8", "--hidden", "32"])
    torch.set_num_threads(threads)
    trainer = train.Trainer(Labels(labels, "train"), None, run, arguments)
    trainer.run()
    curve = [json.loads(line) for line in (run / "curve.jsonl").read_text().splitlines()]
    return {"first": curve[0]["train_force_norm"], "last": curve[-1]["train_force_norm"], "seconds": trainer.seconds}


def run_dynamics(
    potential: openmm_nn.Potential, labels: Path, picoseconds: float, platform: str
) -> tuple[np.ndarray, np.ndarray]:
    """Frames (n, n_atoms, 3) in Angstrom of Langevin dynamics at 300 K, and the atomic numbers."""
    file = next(labels.glob("*.npz"))
    data = np.load(file)
    start = data["positions"][int(data["energies"].argmin())]
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for index, number in enumerate(data["numbers"]):
        topology.addAtom(f"A{index}", app.Element.getByAtomicNumber(int(number)), residue)
    system = openmm_nn.create_system(topology, potential)
    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
    context.setPositions(start * ANGSTROM)
    context.setVelocitiesToTemperature(300, 1)
    frames = []
    for _ in range(40):
        integrator.step(max(1, round(picoseconds * 2000 / 40)))
        state = context.getState(positions=True)
        frames.append(state.getPositions(asNumpy=True).value_in_unit(unit.angstrom))
    return np.array(frames), data["numbers"]


def compare(potential: openmm_nn.Potential, frames: np.ndarray, numbers: np.ndarray) -> tuple[float, float, float]:
    """Mean absolute error of forces and of relative energies, and mean spread of the forces: kJ/mol and nm."""
    labeller = Labeller(numbers)
    energy, force, spread = [], [], []
    for frame in frames:
        label = labeller(frame)
        if label is None:
            continue
        result = potential.evaluate(frame * ANGSTROM, numbers)
        energy.append(result.energy - label[0] * EV)
        force.append(np.abs(result.forces - label[1] * EV / ANGSTROM).mean())
        spread.append(0.0 if result.forces_std is None else float(np.mean(result.forces_std)))
    return float(np.mean(force)), float(np.abs(np.array(energy) - np.median(energy)).mean()), float(np.mean(spread))


def main() -> None:
    """Run the tutorial."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smiles", default="CC(=O)NC")
    parser.add_argument("--labels", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--picoseconds", type=float, default=5.0)
    parser.add_argument("--platform", default="CPU")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    # Each molecule and size has a folder of its own, so that another run does not take up these labels.
    name = "".join(c if c.isalnum() else "_" for c in arguments.smiles)
    folder = arguments.output / f"{name}-{arguments.labels}"

    start = time.time()
    count = make_labels(arguments.smiles, arguments.labels, folder / "labels")
    print(f"1. {count} labels of {arguments.smiles} ({time.time() - start:.0f} s)")

    learned = train_committee(folder / "labels", folder / "run", arguments.epochs, arguments.threads)
    print(
        f"2. error of the force on an atom, while training: {learned['first']:.1f} -> {learned['last']:.2f} "
        f"kcal/mol/Å ({learned['seconds']:.0f} s)"
    )

    model, offsets = export.load_run(folder / "run")
    card = export.make_card(
        model, offsets, f"tutorial {arguments.smiles}", f"{count} labels of {arguments.smiles}", "Made by a tutorial."
    )
    export.write_model(model, card, folder / "potential.pt")
    potential = openmm_nn.load_potential(folder / "potential.pt")
    print(f"3. {folder / 'potential.pt'}: {(folder / 'potential.pt').stat().st_size / 1000:.0f} kB")

    start = time.time()
    frames, numbers = run_dynamics(potential, folder / "labels", arguments.picoseconds, arguments.platform)
    force, energy, spread = compare(potential, frames, numbers)
    print(f"4. {arguments.picoseconds} ps at 300 K in {time.time() - start:.0f} s; on {len(frames)} frames of it:")
    force, spread = force / KCAL * ANGSTROM, spread / KCAL * ANGSTROM
    print(f"   mean absolute error: force components {force:.2f} kcal/mol/Å, energies {energy / KCAL:.2f} kcal/mol")
    print(f"   mean spread of the members' force on an atom: {spread:.2f} kcal/mol/Å")


if __name__ == "__main__":
    main()
