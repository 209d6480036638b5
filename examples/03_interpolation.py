"""From a force field to a hybrid by free-energy perturbation: what the potential changes in a solvation free energy.

`create_hybrid_system(interpolate=True)` gives one System whose parameter `lambda_interpolate` leads from the classical
energy (0) to the hybrid one (1). It is sampled at a few values, in water and in vacuum, and MBAR (pymbar) gives the
free energy of switching the peptide from Amber to the potential in each. Their difference corrects the solvation free
energy of the force field. The energy is linear in lambda, so its exact derivative is all that MBAR needs.

    python examples/03_interpolation.py [--potential openmm-nn/hcno-1] [--picoseconds 2] [--windows 5]

The default length shows how it is done; a result to publish takes nanoseconds.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import openmm
import pymbar
from openmm import app, unit
from rich.console import Console
from rich.progress import track
from rich.table import Table

import openmm_nn

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
OUTPUT = HERE / "output" / "03"
REGION = "resname ACE ALA NME"
TEMPERATURE = 300 * unit.kelvin
TIME_STEP = 0.5 * unit.femtosecond
EVERY = 20  # steps between samples
LAMBDA = "lambda_interpolate"
KT = (unit.MOLAR_GAS_CONSTANT_R * TEMPERATURE).value_in_unit(unit.kilojoules_per_mole)


def make_context(potential: openmm_nn.Potential, water: bool, platform: str) -> openmm.Context:
    """Make the Context of one leg, minimised with the force field."""
    pdb = app.PDBFile(str(HERE / "data" / "alanine-dipeptide.pdb"))
    modeller = app.Modeller(pdb.topology, pdb.positions)
    options = {"nonbondedMethod": app.PME, "nonbondedCutoff": 1 * unit.nanometer}
    if not water:
        modeller.deleteWater()
        modeller.topology.setPeriodicBoxVectors(None)
        options = {"nonbondedMethod": app.NoCutoff}
    forcefield = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    # Without constraints: bonds that became constraints would have no energy at lambda = 0.
    classical = forcefield.createSystem(modeller.topology, constraints=None, rigidWater=True, **options)
    hybrid = openmm_nn.create_hybrid_system(modeller.topology, classical, potential, REGION, charge=0, interpolate=True)
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 5 / unit.picosecond, TIME_STEP)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(hybrid.system, integrator, openmm.Platform.getPlatformByName(platform))
    context.setPositions(modeller.positions)
    context.setParameter(LAMBDA, 0.0)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=200)
    context.setVelocitiesToTemperature(TEMPERATURE, 1)
    return context


def sample(context: openmm.Context, lambdas: np.ndarray, picoseconds: float, label: str) -> np.ndarray:
    """Return dE/dlambda [kJ/mol] of every sample, windows × samples, after a quarter of each window to equilibrate."""
    samples = round(picoseconds * unit.picosecond / TIME_STEP / EVERY)
    values = np.empty((len(lambdas), samples))
    for window, value in enumerate(lambdas):
        context.setParameter(LAMBDA, value)
        context.getIntegrator().step(samples * EVERY // 4)
        for index in track(range(samples), description=f"{label}, lambda {value:.2f}", transient=True):
            context.getIntegrator().step(EVERY)
            state = context.getState(parameterDerivatives=True)
            values[window, index] = state.getEnergyParameterDerivatives()[LAMBDA]
    return values


def estimate(lambdas: np.ndarray, derivatives: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Return the free energy from lambda 0 to 1 and its error [kJ/mol], and the overlap matrix of the windows."""
    chosen, counts = [], []
    for series in derivatives:
        kept = pymbar.timeseries.subsample_correlated_data(series)
        chosen.append(series[kept])
        counts.append(len(kept))
    # E(lambda) = E(0) + lambda dE/dlambda; E(0) is the same in every row and drops out. The reference energies of the
    # atoms make the derivative a large number with small changes: its mean is added again afterwards.
    shift = float(derivatives.mean())
    reduced = lambdas[:, None] * (np.concatenate(chosen)[None, :] - shift) / KT
    mbar = pymbar.MBAR(reduced, counts)
    result = mbar.compute_free_energy_differences()
    overlap = mbar.compute_overlap()["matrix"]
    return shift + KT * float(result["Delta_f"][0, -1]), KT * float(result["dDelta_f"][0, -1]), np.asarray(overlap)


def plot(lambdas: np.ndarray, legs: dict[str, tuple[np.ndarray, np.ndarray]], reference: float) -> None:
    """Draw the derivative by lambda and the overlap of the windows."""
    figure, axes = plt.subplots(1, 1 + len(legs), figsize=(4 * (1 + len(legs)), 3.6), layout="constrained")
    for name, (derivatives, _) in legs.items():
        axes[0].errorbar(lambdas, derivatives.mean(axis=1) - reference, derivatives.std(axis=1), capsize=3, label=name)
    axes[0].set(xlabel="λ", ylabel="⟨∂E/∂λ⟩ − constant / kJ/mol", title="mean and spread of ∂E/∂λ")
    axes[0].legend(frameon=False)
    for axis, (name, (_, overlap)) in zip(axes[1:], legs.items(), strict=True):
        axis.imshow(overlap, cmap="Blues", vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(overlap):
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "black")
        ticks = range(len(lambdas))
        axis.set_xticks(ticks, [f"{value:.2g}" for value in lambdas])
        axis.set_yticks(ticks, [f"{value:.2g}" for value in lambdas])
        axis.set(xlabel="λ", ylabel="λ", title=f"overlap, {name}")
    figure.savefig(OUTPUT / "interpolation.png", dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--potential", default="openmm-nn/hcno-1", help="a name or a file (default: %(default)s)")
    parser.add_argument("--picoseconds", type=float, default=2.0, help="length of a window (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=5, help="number of values of lambda (default: %(default)s)")
    parser.add_argument("--platform", default="CPU", help="OpenMM platform (default: %(default)s)")
    arguments = parser.parse_args()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    console = Console()
    potential = openmm_nn.load_potential(arguments.potential)
    lambdas = np.linspace(0.0, 1.0, arguments.windows)

    legs: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    results = {}
    for name, water in (("vacuum", False), ("water", True)):
        derivatives = sample(make_context(potential, water, arguments.platform), lambdas, arguments.picoseconds, name)
        value, error, overlap = estimate(lambdas, derivatives)
        legs[name] = (derivatives, overlap)
        results[name] = (value, error)
    reference = results["vacuum"][0]
    plot(lambdas, legs, reference)

    table = Table(
        "leg", "ΔG(MM → hybrid) − that in vacuum / kJ/mol", "statistical error", "least overlap of neighbours"
    )
    for name, (value, error) in results.items():
        overlap = legs[name][1]
        table.add_row(name, f"{value - reference:.2f}", f"{error:.2f}", f"{np.diag(overlap, 1).min():.3f}")
    console.print(table)
    console.print(f"written: {OUTPUT}/interpolation.png")


if __name__ == "__main__":
    main()
