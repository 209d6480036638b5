"""Potentials with planted faults, for the guards: springs in two water molecules, and something that goes wrong."""

import pathlib

import torch

import openmm_nn

BONDS = ((0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5))
LENGTHS = (0.0957, 0.0957, 0.1514, 0.0957, 0.0957, 0.1514)
WATERS = """\
CRYST1   20.000   20.000   20.000  90.00  90.00  90.00 P 1           1
HETATM    1  O   HOH A   1       3.000   3.000   3.000  1.00  0.00           O
HETATM    2  H1  HOH A   1       3.957   3.000   3.000  1.00  0.00           H
HETATM    3  H2  HOH A   1       2.760   3.927   3.000  1.00  0.00           H
HETATM    4  O   HOH A   2      10.000  10.000  10.000  1.00  0.00           O
HETATM    5  H1  HOH A   2      10.957  10.000  10.000  1.00  0.00           H
HETATM    6  H2  HOH A   2       9.760  10.927  10.000  1.00  0.00           H
END
"""


class Springs(torch.nn.Module):
    """Harmonic bonds, kJ/mol and nm, and a fault that begins as an O-H bond of the first water stretches."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.register_buffer("pairs", torch.tensor(BONDS))
        self.register_buffer("lengths", torch.tensor(LENGTHS))

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        vectors = positions[self.pairs[:, 0]] - positions[self.pairs[:, 1]]
        r = vectors.norm(2, dim=1)
        stretch = r - self.lengths.to(positions.dtype)
        energy = 0.5 * 3.0e5 * (stretch**2).sum()
        if self.fault == "nan":
            energy = energy + 1.0e-3 * torch.sqrt(0.001 - stretch[0])
        if self.fault == "jump":
            energy = energy + 1000.0 * (stretch[0] > 0.001).to(positions.dtype)
        if self.fault == "break":
            energy = energy - 0.5 * 3.0e5 * stretch[0] ** 2 - 3000.0 * r[0]
        if self.fault == "hole":
            energy = energy - 4000.0 * torch.exp(-(((r[0] - 0.2) / 0.05) ** 2))
        if self.fault == "heat":
            # Not a gradient of anything: a whirl about the z axis.
            arm = (positions - positions.mean(dim=0)).detach()
            whirl = torch.stack([-arm[:, 1], arm[:, 0], 0.0 * arm[:, 2]], dim=1)
            energy = energy - 2000.0 * (whirl * positions).sum()
        return energy


class Members(torch.nn.Module):
    """A committee of two sets of springs that disagree on the first bond."""

    def __init__(self) -> None:
        super().__init__()
        self.springs = Springs("none")

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        energy = self.springs(positions)
        other = energy + 2.0e4 * ((positions[0] - positions[1]).norm() - 0.0957) ** 2 + 5.0
        return torch.stack([energy, other])


def write_model(folder: pathlib.Path, fault: str) -> pathlib.Path:
    """A model file with a fault; ``committee`` for the committee."""
    path = folder / f"{fault}.pt"
    committee = fault == "committee"
    card = openmm_nn.ModelCard(
        name=fault,
        inputs=("positions",),
        outputs=("energies",) if committee else ("energy",),
        committee_size=2 if committee else 1,
        frame="invariant",
        long_range=False,
        dtype="float64",
    )
    openmm_nn.export_potential(Members() if committee else Springs(fault), path, card)
    return path


def write_run(folder: pathlib.Path, fault: str, guards: str, *, length: str = "100 fs", more: str = "") -> pathlib.Path:
    """A run of two waters by a model with a fault."""
    (folder / "waters.pdb").write_text(WATERS)
    write_model(folder, fault)
    path = folder / "run.yaml"
    path.write_text(
        "structure: {file: waters.pdb}\n"
        f"potential: {{name: {fault}.pt}}\n"
        "dynamics: {ensemble: NVE, temperature: 300 K, timestep: 0.5 fs, platform: Reference, seed: 2}\n"
        "minimise: {iterations: 0}\n"
        f"produce: {{length: {length}}}\n"
        "reporters: {log: 5 fs, trajectory: 5 fs, checkpoint: 10 fs}\n"
        f"guards: {guards}\n{more}"
    )
    return path
