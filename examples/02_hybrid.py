"""A hybrid simulation: alanine dipeptide by a neural potential in Amber's water, from a PDB file to pictures.

MDTraj's selection language says which atoms the potential describes. The rest, and the coupling between the two, is
Amber14 with TIP3P. The System is minimised and run at constant volume and temperature; then MDTraj reads what came out.

    python examples/02_hybrid.py [--potential openmm-nn/hcno-1] [--picoseconds 2] [--platform CPU]

The potential is the one that comes with the package; it needs no download. With --potential ani2x/0 it is ANI-2x, from
torchani (pip install 'openmm-nn[torchani]'), which gets the weights itself.
"""

import argparse
import time
from pathlib import Path

import matplotlib
import mdtraj
import numpy as np
import openmm
from openmm import app, unit
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from scipy.stats import circmean, circstd

import openmm_nn

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
OUTPUT = HERE / "output" / "02"
REGION = "resname ACE ALA NME"
TIME_STEP = 0.5 * unit.femtosecond
NEURAL_GROUP = 1


def build(potential_name: str, platform: str) -> tuple[app.Simulation, openmm_nn.HybridSystem]:
    """Make the hybrid System and a Simulation of it."""
    pdb = app.PDBFile(str(HERE / "data" / "alanine-dipeptide.pdb"))
    forcefield = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    classical = forcefield.createSystem(
        pdb.topology, nonbondedMethod=app.PME, nonbondedCutoff=1 * unit.nanometer, constraints=None, rigidWater=True
    )
    potential = openmm_nn.load_potential(potential_name)
    hybrid = openmm_nn.create_hybrid_system(
        pdb.topology, classical, potential, REGION, charge=0, force_group=NEURAL_GROUP
    )
    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 5 / unit.picosecond, TIME_STEP)
    integrator.setRandomNumberSeed(1)
    simulation = app.Simulation(pdb.topology, hybrid.system, integrator, openmm.Platform.getPlatformByName(platform))
    simulation.context.setPositions(pdb.positions)
    return simulation, hybrid


def run(simulation: app.Simulation, picoseconds: float, console: Console) -> dict[str, np.ndarray]:
    """Minimise, run with a progress bar, and return the energies that were recorded."""
    with console.status("minimising"):
        simulation.minimizeEnergy(maxIterations=200)
    simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
    simulation.reporters.append(app.XTCReporter(str(OUTPUT / "trajectory.xtc"), 20))
    simulation.reporters.append(
        app.StateDataReporter(
            str(OUTPUT / "log.csv"), 20, step=True, time=True, potentialEnergy=True, temperature=True, separator=","
        )
    )
    steps, chunk = round(picoseconds * unit.picosecond / TIME_STEP), 20
    neural = []
    columns = (TextColumn("dynamics"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
    started = time.perf_counter()
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("run", total=steps, speed="")
        for done in range(chunk, steps + 1, chunk):
            simulation.step(chunk)
            state = simulation.context.getState(energy=True, groups={NEURAL_GROUP})
            neural.append(state.getPotentialEnergy().value_in_unit(unit.kilojoules_per_mole))
            days = (time.perf_counter() - started) / 86400
            nanoseconds = done * TIME_STEP.value_in_unit(unit.nanosecond)
            progress.update(task, completed=done, speed=f"{nanoseconds / days:.2f} ns/day")
    log = np.genfromtxt(OUTPUT / "log.csv", delimiter=",", names=True)
    return {
        "time": log["Time_ps"],
        "total": log["Potential_Energy_kJmole"],
        "temperature": log["Temperature_K"],
        "neural": np.array(neural),
    }


def analyse(hybrid: openmm_nn.HybridSystem) -> dict[str, np.ndarray]:
    """Let MDTraj look at the peptide."""
    topology = mdtraj.Topology.from_openmm(hybrid.topology)
    peptide = mdtraj.load(str(OUTPUT / "trajectory.xtc"), top=topology).atom_slice(hybrid.region.atoms)
    heavy = peptide.topology.select("element != H")
    return {
        "phi": np.degrees(mdtraj.compute_phi(peptide)[1][:, 0]),
        "psi": np.degrees(mdtraj.compute_psi(peptide)[1][:, 0]),
        "rmsd": mdtraj.rmsd(peptide, peptide, 0, atom_indices=heavy),
        "rg": mdtraj.compute_rg(peptide),
    }


def plot(energies: dict[str, np.ndarray], shape: dict[str, np.ndarray]) -> None:
    """Write the pictures."""
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.5), layout="constrained")
    t = energies["time"]
    neural = energies["neural"] - energies["neural"].mean()
    axes[0, 0].plot(t, neural, color="tab:red", lw=1)
    axes[0, 0].set(xlabel="time / ps", ylabel="neural energy − mean / kJ/mol", title="Energy of the peptide")
    axes[0, 1].plot(t, energies["temperature"], color="tab:gray", lw=1)
    axes[0, 1].axhline(300, color="black", lw=0.8, ls="--")
    axes[0, 1].set(xlabel="time / ps", ylabel="temperature / K", title="Temperature")
    axes[1, 0].plot(t, 10 * shape["rmsd"], label="RMSD of heavy atoms to the first frame")
    axes[1, 0].plot(t, 10 * shape["rg"], label="radius of gyration")
    axes[1, 0].set(xlabel="time / ps", ylabel="Å", title="Shape", ylim=(0, None))
    axes[1, 0].legend(frameon=False, fontsize=8)
    points = axes[1, 1].scatter(shape["phi"], shape["psi"], c=t, s=8, cmap="viridis")
    axes[1, 1].set(xlabel="φ / °", ylabel="ψ / °", title="Backbone", xlim=(-180, 180), ylim=(-180, 180))
    axes[1, 1].set_xticks(range(-180, 181, 90))
    axes[1, 1].set_yticks(range(-180, 181, 90))
    figure.colorbar(points, ax=axes[1, 1], label="time / ps")
    figure.savefig(OUTPUT / "hybrid.png", dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--potential", default="openmm-nn/hcno-1", help="a name or a file (default: %(default)s)")
    parser.add_argument("--picoseconds", type=float, default=2.0, help="length of the run (default: %(default)s)")
    parser.add_argument("--platform", default="CPU", help="OpenMM platform (default: %(default)s)")
    arguments = parser.parse_args()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    console = Console()

    simulation, hybrid = build(arguments.potential, arguments.platform)
    console.print(
        f"{len(hybrid.region.atoms)} of {hybrid.system.getNumParticles()} atoms by {arguments.potential}, "
        f"the rest by Amber14; platform {arguments.platform}"
    )
    energies = run(simulation, arguments.picoseconds, console)
    shape = analyse(hybrid)
    plot(energies, shape)

    half = len(energies["time"]) // 2
    table = Table("quantity", "mean", "std", title=f"second half of {arguments.picoseconds:g} ps")
    rows = {
        "temperature / K": energies["temperature"],
        "potential energy / kJ/mol": energies["total"],
        "neural energy / kJ/mol": energies["neural"],
        "phi / °": shape["phi"],
        "psi / °": shape["psi"],
        "RMSD of heavy atoms / Å": 10 * shape["rmsd"],
        "radius of gyration / Å": 10 * shape["rg"],
    }
    for name, values in rows.items():
        # An angle near ±180° has no plain mean.
        circular = {"low": -180, "high": 180}
        mean = circmean(values[half:], **circular) if name.endswith("°") else values[half:].mean()
        std = circstd(values[half:], **circular) if name.endswith("°") else values[half:].std()
        table.add_row(name, f"{mean:.2f}", f"{std:.2f}")
    console.print(table)
    console.print(f"written: {OUTPUT}/trajectory.xtc, log.csv, hybrid.png")


if __name__ == "__main__":
    main()
