"""Add a neural term to an OpenMM System that is there already.

A small torch module, here a restraint that keeps the end-to-end distance of alanine dipeptide near a value, is exported
into one file with its card and added to a classical System. It is an ordinary OpenMM force after that: it has its own
force group, its parameters are parameters of the Context, it is written to XML with the model inside.

    python examples/01_add_force_to_a_system.py
"""

from pathlib import Path

import numpy as np
import openmm
import torch
from openmm import app, unit

import openmm_nn

HERE = Path(__file__).parent
OUTPUT = HERE / "output" / "01"


class EndToEnd(torch.nn.Module):
    """Pulls the first and the last of its atoms to a distance: E = k/2 (d - d0)^2, in kJ/mol and nm."""

    def forward(self, positions: torch.Tensor, k: torch.Tensor, d0: torch.Tensor) -> torch.Tensor:
        distance = (positions[-1] - positions[0]).norm()
        return 0.5 * k * (distance - d0) ** 2


def main() -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)

    # 1. One file, which says what is inside.
    card = openmm_nn.ModelCard(
        name="end-to-end restraint",
        inputs=("positions", "k", "d0"),
        outputs=("energy",),
        parameters={"k": 2000.0, "d0": 0.75},
        length_unit="nm",
        energy_unit="kJ/mol",
        dtype="float64",
        frame="invariant",
        long_range=False,
    )
    potential = openmm_nn.export_potential(EndToEnd(), OUTPUT / "end_to_end.pt", card)
    print(f"exported {potential.card.name!r}, sha256 {potential.sha256[:12]}")

    # 2. A classical System, as always, and one more force in it.
    pdb = app.PDBFile(str(HERE / "data" / "alanine-dipeptide.pdb"))
    forcefield = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    system = forcefield.createSystem(pdb.topology, nonbondedMethod=app.PME, constraints=app.HBonds)
    force = openmm_nn.add_neural_force(
        pdb.topology, system, potential, "resname ACE ALA NME and (name CH3 or name C or name CA or name N)",
        force_group=1,
    )  # fmt: skip
    force.addEnergyParameterDerivative("d0")

    # 3. Run it. XML holds the System with the model inside, and no pickle.
    (OUTPUT / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 2 * unit.femtosecond)
    integrator.setRandomNumberSeed(1)
    simulation = app.Simulation(pdb.topology, system, integrator, openmm.Platform.getPlatformByName("CPU"))
    simulation.context.setPositions(pdb.positions)
    simulation.minimizeEnergy(maxIterations=100)
    simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
    first, last = force.getParticles()[0], force.getParticles()[-1]

    print("means over 1 ps, after 1 ps at each d0:")
    print(f"{'d0 / nm':>8} {'distance / nm':>14} {'energy / kJ/mol':>16} {'dE/dd0':>10}")
    for target in (0.75, 0.65, 0.55):
        simulation.context.setParameter("d0", target)
        simulation.step(500)
        rows = []
        for _ in range(50):
            simulation.step(10)
            state = simulation.context.getState(energy=True, positions=True, parameterDerivatives=True, groups={1})
            positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
            energy = state.getPotentialEnergy().value_in_unit(unit.kilojoules_per_mole)
            distance = np.linalg.norm(positions[last] - positions[first])
            rows.append((distance, energy, state.getEnergyParameterDerivatives()["d0"]))
        distance, energy, derivative = np.mean(rows, axis=0)
        print(f"{target:8.2f} {distance:14.3f} {energy:16.3f} {derivative:10.1f}")
    print(f"written: {OUTPUT / 'end_to_end.pt'}, {OUTPUT / 'system.xml'}")


if __name__ == "__main__":
    main()
