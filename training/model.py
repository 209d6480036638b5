"""The network: a committee of small invariant message-passing potentials, evaluated together.

For atom i with neighbours j inside the cutoff, with radial functions R_n, real spherical harmonics Y_lm up to l = 3
and the element c_j of the neighbour:

    A_i[c n, lm]  =  sum_j  d(c, c_j) R_n(r_ij) Y_lm(r_ij)                      the neighbour density (no weights)
    V_i[k, lm]    =  sum_cn W_l[cn, k] A_i[cn, lm]                              mixed channels
    h_i           =  MLP(V_i[k, 00], |s_l[k, c_i] V_i[k, l]|, c_i)              scalars
    B_i[q, lm]    =  sum_j  (U R(r_ij))[q] (Q h_j)[q] Y_lm(r_ij),  l <= 2       one message
    V'_i, h'_i    =  the same mixing and norms of (V_i, B_i)
    E_i           =  MLP(h_i, h'_i, c_i) + wall                                 atomic energy

The members share nothing but A; their weights lie side by side in the same tensors, so that a committee costs little
more than its widest member.  The wall is a fixed, screened nuclear repulsion (Ziegler, Biersack and Littmark, The
Stopping and Range of Ions in Solids, 1985), which rules where no data can.  All radial functions carry a polynomial
envelope (Gasteiger, Gross and Guennemann, 2020, arXiv:2003.03123) whose first two derivatives vanish at the cutoff.

Lengths are in Angstrom and energies in eV.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

ELEMENTS = (1, 6, 7, 8)
#: Covalent radii (Cordero et al. 2008, doi:10.1039/b801115j), Angstrom; the wall acts within 1.1 times their sum.
RADII = {1: 0.31, 6: 0.76, 7: 0.71, 8: 0.66}
WALL_REACH = 1.1
COULOMB = 14.3996454  # eV Angstrom


#: Weight of every component in the squared norm of its l.  The harmonics below have whole-number coefficients, and
#: these weights are exact in float32, so that the potential is invariant to rounding error in every precision.
METRIC = (1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 0.25, 3.0, 0.75, 0.625, 15.0, 0.375, 0.25, 0.375, 3.75, 0.625)


def harmonics_matrix() -> Tensor:
    """(40, 16): real spherical harmonics l <= 3, not normalised, from the monomials 1, u, uu, uuu (row-major)."""

    def mono(*axes: int) -> int:
        return sum(3**k for k in range(len(axes))) + sum(axis * 3 ** (len(axes) - 1 - k) for k, axis in enumerate(axes))

    x, y, z = 0, 1, 2
    columns: list[dict[int, float]] = [
        {0: 1},
        {mono(x): 1},
        {mono(y): 1},
        {mono(z): 1},
        {mono(x, y): 1},
        {mono(y, z): 1},
        {mono(z, z): 2, mono(x, x): -1, mono(y, y): -1},
        {mono(x, z): 1},
        {mono(x, x): 1, mono(y, y): -1},
        {mono(x, x, y): 3, mono(y, y, y): -1},
        {mono(x, y, z): 1},
        {mono(y, z, z): 4, mono(x, x, y): -1, mono(y, y, y): -1},
        {mono(z, z, z): 2, mono(x, x, z): -3, mono(y, y, z): -3},
        {mono(x, z, z): 4, mono(x, x, x): -1, mono(x, y, y): -1},
        {mono(x, x, z): 1, mono(y, y, z): -1},
        {mono(x, x, x): 1, mono(x, y, y): -3},
    ]
    matrix = torch.zeros(40, 16, dtype=torch.float64)
    for column, terms in enumerate(columns):
        for row, value in terms.items():
            matrix[row, column] = value
    return matrix


class Committee(nn.Module):
    """A committee of `members` potentials for H, C, N and O.

    Parameters
    ----------
    members : int
        Number of independent members.
    cutoff : float
        Angstrom.
    radial : int
        Number of radial functions.
    channels, messages, hidden : int
        Mixed channels, message channels and hidden width of every member.
    """

    __constants__ = ("members", "cutoff", "radial", "channels", "messages", "hidden")

    def __init__(
        self,
        members: int = 4,
        cutoff: float = 5.0,
        radial: int = 10,
        channels: int = 24,
        messages: int = 16,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        self.members, self.cutoff, self.radial = members, float(cutoff), radial
        self.channels, self.messages, self.hidden = channels, messages, hidden
        m, c, q, h, s = members, channels, messages, hidden, len(ELEMENTS)
        density = s * radial

        def weight(*shape: int, fan: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape) / math.sqrt(fan))

        self.mix = weight(4, density, m * c, fan=s)
        self.scale = nn.Parameter(torch.ones(s, 4, m * c) + 0.2 * torch.randn(s, 4, m * c))
        self.first = weight(m, 5 * c, h, fan=5 * c)
        self.first_bias = weight(s, m, h, fan=4)
        self.second = weight(m, h, h, fan=h)
        self.second_bias = nn.Parameter(torch.zeros(m, 1, h))
        self.query = weight(m, h, q, fan=h)
        self.query_bias = weight(s, m, q, fan=1)
        self.filter = weight(radial, m * q, fan=radial)
        self.remix = weight(3, m, c + q, c, fan=c + q)
        self.rescale = nn.Parameter(torch.ones(s, 3, m * c) + 0.2 * torch.randn(s, 3, m * c))
        self.third = weight(m, 4 * c + h, h, fan=4 * c + h)
        self.third_bias = weight(s, m, h, fan=4)
        self.fourth = weight(m, h, h, fan=h)
        self.fourth_bias = nn.Parameter(torch.zeros(m, 1, h))
        self.last = nn.Parameter(0.1 * torch.randn(m, h, 1) / math.sqrt(h))
        self.last_bias = nn.Parameter(torch.zeros(s, m))

        order = torch.tensor([0] + 3 * [1] + 5 * [2] + 7 * [3])
        metric = torch.tensor(METRIC, dtype=torch.float64)
        # Whoever loads the file may convert whole numbers to a floating dtype too: hence long() where they are used.
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("order2", order[:9].clone(), persistent=False)
        self.register_buffer("sums", metric * nn.functional.one_hot(order, 4).T, persistent=False)
        self.register_buffer("sums2", metric[:9] * nn.functional.one_hot(order[:9], 3).T, persistent=False)
        self.register_buffer("harmonics", harmonics_matrix(), persistent=False)
        self.register_buffer(
            "frequencies", torch.arange(1, radial + 1, dtype=torch.float64) * math.pi / cutoff, persistent=False
        )
        slot = torch.zeros(max(ELEMENTS) + 1, dtype=torch.int64)
        charges, radii = torch.zeros(s, dtype=torch.float64), torch.zeros(s, dtype=torch.float64)
        for index, number in enumerate(ELEMENTS):
            slot[number], charges[index], radii[index] = index, float(number), RADII[number]
        self.register_buffer("slot", slot, persistent=False)
        screen = 0.46850 / (charges[:, None] ** 0.23 + charges[None, :] ** 0.23)
        pair = 0.5 * COULOMB * charges[:, None] * charges[None, :]
        reach = WALL_REACH * (radii[:, None] + radii[None, :])
        self.register_buffer(
            "wall_table", torch.stack([pair, 1.0 / screen, 1.0 / reach], -1).reshape(s * s, 3), persistent=False
        )
        self.register_buffer(
            "wall_factors", torch.tensor([0.18175, 0.50986, 0.28022, 0.02817], dtype=torch.float64), persistent=False
        )
        self.register_buffer(
            "wall_rates", torch.tensor([3.1998, 0.94229, 0.4029, 0.20162], dtype=torch.float64), persistent=False
        )
        self.to(torch.float32)

    # Pairs: everything that depends on one r_ij.  The leading dimensions are (E,) or (B, n, n).

    def radial_functions(self, distance: Tensor) -> Tensor:
        """R_n, shape (..., radial): spherical Bessel functions times the envelope; zero beyond the cutoff."""
        x = torch.clamp(distance / self.cutoff, max=1.0)
        x3 = x * x * x
        envelope = 1.0 + x3 * x3 * (-28.0 + x * (48.0 - 21.0 * x))
        return torch.sin(distance.unsqueeze(-1) * self.frequencies) * (envelope / distance).unsqueeze(-1)

    def angular_functions(self, unit: Tensor) -> Tensor:
        """Y_lm, shape (..., 16)."""
        second = (unit.unsqueeze(-1) * unit.unsqueeze(-2)).flatten(-2)
        third = (second.unsqueeze(-1) * unit.unsqueeze(-2)).flatten(-2)
        return torch.cat([torch.ones_like(unit[..., :1]), unit, second, third], -1) @ self.harmonics

    def wall(self, distance: Tensor, pair: Tensor) -> Tensor:
        """Half the repulsion of every ordered pair, eV; `pair` is 4 c_i + c_j."""
        table = self.wall_table[pair]
        x = torch.clamp(distance * table[..., 2], max=1.0)
        x3 = x * x * x
        envelope = 1.0 + x3 * x3 * (-28.0 + x * (48.0 - 21.0 * x))
        screening = (torch.exp(-(distance * table[..., 1]).unsqueeze(-1) * self.wall_rates) * self.wall_factors).sum(-1)
        return table[..., 0] * envelope * screening / distance

    # Atoms.  `density` is (16, N, 4 radial), `species` is (N,).

    def scalars(self, density: Tensor, species: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed channels (16, N, members channels) and scalars (members, N, hidden) of the first stage."""
        mixed = torch.bmm(density, self.mix[self.order.long()])
        scale = self.scale[species].transpose(0, 1)
        norms = torch.matmul(self.sums, (mixed * mixed).flatten(1)).view(4, -1, self.members * self.channels)
        norms = torch.sqrt(1.0 + norms * (scale * scale)) - 1.0
        features = (
            torch.cat([mixed[:1] * scale[:1], norms])
            .view(5, -1, self.members, self.channels)
            .permute(2, 1, 0, 3)
            .flatten(2)
        )
        hidden = nn.functional.silu(torch.bmm(features, self.first) + self.first_bias[species].transpose(0, 1))
        return mixed, nn.functional.silu(torch.baddbmm(self.second_bias, hidden, self.second))

    def queries(self, hidden: Tensor, species: Tensor) -> Tensor:
        """Compute what an atom tells its neighbours, shape (N, members messages)."""
        told = torch.bmm(hidden, self.query).transpose(0, 1) + self.query_bias[species]
        return told.flatten(1)

    def atomic(self, mixed: Tensor, message: Tensor, hidden: Tensor, species: Tensor) -> Tensor:
        """Atomic energies (members, N); `message` is (9, N, members messages)."""
        own = mixed[:9].view(9, -1, self.members, self.channels)
        both = torch.cat([own, message.view(9, -1, self.members, self.messages)], -1).transpose(1, 2)
        remixed = torch.matmul(both, self.remix[self.order2.long()]).transpose(1, 2).flatten(2)
        scale = self.rescale[species].transpose(0, 1)
        norms = torch.matmul(self.sums2, (remixed * remixed).flatten(1)).view(3, -1, self.members * self.channels)
        norms = torch.sqrt(1.0 + norms * (scale * scale)) - 1.0
        features = (
            torch.cat([remixed[:1] * scale[:1], norms])
            .view(4, -1, self.members, self.channels)
            .permute(2, 1, 0, 3)
            .flatten(2)
        )
        third = torch.bmm(torch.cat([features, hidden], -1), self.third) + self.third_bias[species].transpose(0, 1)
        fourth = nn.functional.silu(torch.baddbmm(self.fourth_bias, nn.functional.silu(third), self.fourth))
        return torch.bmm(fourth, self.last).squeeze(-1) + self.last_bias[species].t()

    def forward(self, positions: Tensor, atomic_numbers: Tensor, edge_index: Tensor, edge_shifts: Tensor) -> Tensor:
        """Atomic energies without the reference energies of the elements.

        Parameters
        ----------
        positions : Tensor, shape (N, 3), Angstrom
        atomic_numbers : Tensor of int64, shape (N,)
        edge_index : Tensor of int64, shape (2, E)
            Both directions of every pair within the cutoff.
        edge_shifts : Tensor, shape (E, 3), Angstrom
            r_ij = x_j - x_i + shift.

        Returns
        -------
        Tensor, shape (members, N), eV
        """
        species = self.slot[atomic_numbers].long()
        i, j = edge_index[0], edge_index[1]
        vector = positions[j] - positions[i] + edge_shifts
        distance = torch.sqrt((vector * vector).sum(-1))
        radial = self.radial_functions(distance)
        angular = self.angular_functions(vector / distance.unsqueeze(-1))
        n = positions.size(0)
        own, other = species[i], species[j]
        pairs = (radial.unsqueeze(2) * angular.unsqueeze(1)).flatten(1)
        density = pairs.new_zeros([4 * n, self.radial * 16]).index_add(0, 4 * i + other, pairs)
        density = density.view(n, 4 * self.radial, 16).permute(2, 0, 1).contiguous()
        mixed, hidden = self.scalars(density, species)

        told = self.queries(hidden, species)[j] * torch.matmul(radial, self.filter)
        pairs = (angular[:, :9].unsqueeze(2) * told.unsqueeze(1)).flatten(1)
        message = pairs.new_zeros([n, 9 * self.members * self.messages]).index_add(0, i, pairs)
        message = message.view(n, 9, self.members * self.messages).transpose(0, 1).contiguous()
        energies = self.atomic(mixed, message, hidden, species)
        wall = energies.new_zeros([n]).index_add(0, i, self.wall(distance, 4 * own + other))
        return energies + wall

    def dense(self, positions: Tensor, atomic_numbers: Tensor) -> Tensor:
        """Do the same for a batch of molecules of equal size, over all pairs, without index arithmetic: for training.

        Parameters
        ----------
        positions : Tensor, shape (B, n, 3), Angstrom
        atomic_numbers : Tensor of int64, shape (B, n)

        Returns
        -------
        Tensor, shape (members, B), eV
            Energies of the molecules.
        """
        b, n = positions.shape[0], positions.shape[1]
        species = self.slot[atomic_numbers].long()
        vector = positions.unsqueeze(1) - positions.unsqueeze(2)
        far = 2.0 * self.cutoff * torch.eye(n, dtype=positions.dtype, device=positions.device).unsqueeze(-1)
        vector = vector + far
        distance = torch.sqrt((vector * vector).sum(-1))
        radial = self.radial_functions(distance)
        angular = self.angular_functions(vector / distance.unsqueeze(-1)).view(b * n, n, 16)
        which = nn.functional.one_hot(species, 4).to(positions.dtype)
        labelled = (which[:, None, :, :, None] * radial.unsqueeze(3)).view(b * n, n, 4 * self.radial)
        density = torch.bmm(angular.transpose(1, 2), labelled).transpose(0, 1).contiguous()
        flat = species.flatten()
        mixed, hidden = self.scalars(density, flat)

        told = torch.matmul(radial, self.filter) * self.queries(hidden, flat).view(b, 1, n, -1)
        message = torch.bmm(angular[:, :, :9].transpose(1, 2), told.view(b * n, n, -1)).transpose(0, 1).contiguous()
        energies = self.atomic(mixed, message, hidden, flat).view(self.members, b, n).sum(-1)
        wall = self.wall(distance, 4 * species.unsqueeze(2) + species.unsqueeze(1))
        return energies + wall.sum((1, 2))


def read(path: Path) -> Committee:
    """Read a committee back from the TorchScript file that `export.py` wrote."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*")
        scripted = torch.jit.load(str(path))
    model = Committee(**{name: getattr(scripted, name) for name in Committee.__constants__})
    model.load_state_dict(scripted.state_dict(), strict=False)
    return model.eval().requires_grad_(False)
