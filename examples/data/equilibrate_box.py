"""How alanine-dipeptide.pdb was made from alanine-dipeptide-explicit.pdb, whose box is a third empty.

The force field alone, 100 ps at 300 K and 1 bar: the box shrinks until the water has the density of the model. A
structure of your own wants the same before a hybrid run, whose steps cost more.

    python examples/data/equilibrate_box.py [--picoseconds 100] [--platform CPU]
"""

import argparse
from pathlib import Path

import openmm
from openmm import app, unit

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picoseconds", type=float, default=100.0, help="length (default: %(default)s)")
    parser.add_argument("--platform", default="CPU", help="OpenMM platform (default: %(default)s)")
    arguments = parser.parse_args()

    pdb = app.PDBFile(str(HERE / "alanine-dipeptide-explicit.pdb"))
    forcefield = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    system = forcefield.createSystem(
        pdb.topology, nonbondedMethod=app.PME, nonbondedCutoff=1 * unit.nanometer, constraints=app.HBonds
    )
    barostat = openmm.MonteCarloBarostat(1 * unit.bar, 300 * unit.kelvin)
    barostat.setRandomNumberSeed(1)
    system.addForce(barostat)
    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 2 / unit.picosecond, 2 * unit.femtosecond)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName(arguments.platform)
    simulation = app.Simulation(pdb.topology, system, integrator, platform)
    simulation.context.setPositions(pdb.positions)
    simulation.minimizeEnergy(maxIterations=200)
    simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
    simulation.step(round(arguments.picoseconds * unit.picosecond / integrator.getStepSize()))

    state = simulation.context.getState(positions=True, enforcePeriodicBox=True)
    pdb.topology.setPeriodicBoxVectors(state.getPeriodicBoxVectors())
    with (HERE / "alanine-dipeptide.pdb").open("w", encoding="utf-8") as file:
        app.PDBFile.writeFile(pdb.topology, state.getPositions(), file, keepIds=True)
    mass = sum((system.getParticleMass(index) for index in range(system.getNumParticles())), start=0 * unit.dalton)
    density = mass.value_in_unit(unit.gram / unit.item) / state.getPeriodicBoxVolume().value_in_unit(unit.milliliter)
    print(f"{state.getPeriodicBoxVolume().value_in_unit(unit.nanometer**3):.2f} nm³, {density:.3f} g/mL")


if __name__ == "__main__":
    main()
