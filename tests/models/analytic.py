"""Modules that follow the contract of openmm-torch's TorchForce: E = k sum r^2 and its variations.

Positions in nm, energies in kJ/mol.  Everything here can be scripted by TorchScript.
"""

import torch
from torch import Tensor, nn

TORCHFORCE_K = 12.5  # kJ/mol/nm^2


class Harmonic(nn.Module):
    """E = k sum r^2, forces by autograd: F = -2 k r."""

    def __init__(self, k: float = TORCHFORCE_K) -> None:
        super().__init__()
        self.k = k

    def forward(self, positions: Tensor) -> Tensor:
        return self.k * torch.sum(positions**2)


class HarmonicWithForces(nn.Module):
    """E = k sum r^2, forces returned in one of several memory layouts.

    Parameters
    ----------
    layout : str
        ``contiguous``; ``transposed`` (a (3, N) tensor seen through ``.t()``); ``strided`` (every other column of a
        wider tensor); ``expanded`` (a (1, 3) tensor expanded to (N, 3): then E = -f . sum r with constant f).
    wrong_by : float
        The forces returned are multiplied by this, to tell returned forces from autograd's.
    """

    def __init__(self, layout: str = "contiguous", k: float = TORCHFORCE_K, wrong_by: float = 1.0) -> None:
        super().__init__()
        self.k = k
        self.layout = layout
        self.wrong_by = wrong_by

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        if self.layout == "expanded":
            one = torch.tensor([[1.0, -2.0, 3.0]], dtype=positions.dtype, device=positions.device) * self.k
            return -torch.sum(one * positions), one.expand(positions.shape[0], 3)
        energy = self.k * torch.sum(positions**2)
        forces = -2.0 * self.k * positions * self.wrong_by
        if self.layout == "transposed":
            return energy, forces.t().contiguous().t()
        if self.layout == "strided":
            wide = torch.zeros((positions.shape[0], 6), dtype=positions.dtype, device=positions.device)
            wide[:, ::2] = forces
            return energy, wide[:, ::2]
        return energy, forces


class HarmonicParameter(nn.Module):
    """E = k sum r^2 + k^2 x0: dE/dk = sum r^2 + 2 k x0, dE/dx0 = k^2."""

    def forward(self, positions: Tensor, k: Tensor, x0: Tensor) -> Tensor:
        return k * torch.sum(positions**2) + k * k * x0


class HarmonicBox(nn.Module):
    """E = k sum r'^2 with r' the positions wrapped into a rectangular box."""

    def __init__(self, k: float = TORCHFORCE_K) -> None:
        super().__init__()
        self.k = k

    def forward(self, positions: Tensor, box: Tensor) -> Tensor:
        lengths = torch.diagonal(box)
        wrapped = positions - torch.floor(positions / lengths) * lengths
        return self.k * torch.sum(wrapped**2)


class StopGradient(nn.Module):
    """E = k sum r * stop(r): the energy of `Harmonic`, half its gradient."""

    def __init__(self, k: float = TORCHFORCE_K) -> None:
        super().__init__()
        self.k = k

    def forward(self, positions: Tensor) -> Tensor:
        return self.k * torch.sum(positions * positions.detach())


class NotANumber(nn.Module):
    """E = k sum r^2, which becomes NaN when the first atom has x > 1 (in the card's length unit)."""

    def __init__(self, k: float = TORCHFORCE_K) -> None:
        super().__init__()
        self.k = k

    def forward(self, positions: Tensor) -> Tensor:
        bad = torch.where(positions[0, 0] > 1.0, torch.full_like(positions[0, 0], float("nan")), positions[0, 0])
        return self.k * torch.sum(positions**2) + 0.0 * bad


class BadOutput(nn.Module):
    """Outputs that break the contract, by name.

    ``vector``: an energy of shape (N,) where () is promised. ``integer``: an int64 energy. ``half``: the energy in
    float16. ``detached``: no grad. ``forces_shape``: forces of shape (3, N).
    ``forces_half``: forces in float16. ``meta``: energy on another device.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        energy = torch.sum(positions**2)
        forces = -2.0 * positions
        if self.kind == "vector":
            energy = torch.sum(positions**2, dim=1)
        elif self.kind == "integer":
            energy = energy.to(torch.int64)
        elif self.kind == "half":
            energy = energy.to(torch.float16)
        elif self.kind == "detached":
            energy = energy.detach()
        elif self.kind == "forces_shape":
            forces = forces.t()
        elif self.kind == "forces_half":
            forces = forces.to(torch.float16)
        elif self.kind == "meta":
            energy = torch.zeros([], dtype=positions.dtype, device="meta")
        return energy, forces


class BadEnergy(nn.Module):
    """`BadOutput` without the forces, for what concerns the energy when autograd makes the forces."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner = BadOutput(kind)

    def forward(self, positions: Tensor) -> Tensor:
        return self.inner(positions)[0]


class ElasticNetwork(nn.Module):
    """E = 1/2 sum k_ij (r_ij - r0_ij)^2 over pairs of a reference geometry: stable dynamics at no cost.

    Parameters
    ----------
    reference : Tensor (N, 3)
        nm.
    reach : float
        Pairs up to this distance are joined, nm; those of a bond's length stiffly.
    """

    first: Tensor
    second: Tensor
    rest: Tensor
    stiffness: Tensor

    def __init__(self, reference: Tensor, reach: float = 0.3) -> None:
        super().__init__()
        distances = torch.cdist(reference, reference)
        pairs = torch.nonzero(torch.triu((distances < reach), diagonal=1))
        rest = distances[pairs[:, 0], pairs[:, 1]]
        self.register_buffer("first", pairs[:, 0])
        self.register_buffer("second", pairs[:, 1])
        self.register_buffer("rest", rest)
        self.register_buffer("stiffness", torch.where(rest < 0.17, 150000.0, 20000.0).to(rest.dtype))

    def forward(self, positions: Tensor) -> Tensor:
        vectors = positions[self.second] - positions[self.first]
        stretch = torch.sqrt(torch.sum(vectors**2, dim=1)) - self.rest.to(positions.dtype)
        return 0.5 * torch.sum(self.stiffness.to(positions.dtype) * stretch**2)
