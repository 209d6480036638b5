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

Weights that only meet other weights are multiplied out first (`folded`), W with the matrix that follows it for example:
in a frozen TorchScript file they are constants, and `Folded` makes them so for AOTInductor.  The time of a small
molecule is that of the number of operations, so few and plain ones are used; where every pair of atoms is near, all
pairs as batched matrix products are cheaper than a list of them (`dense`), and sum the same terms.

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


#: Up to so many atoms the TorchScript file takes all pairs of a cluster, on a CPU.
SMALL = 32

#: Weight of every component in the squared norm of its l.  The harmonics below have whole-number coefficients, and
#: these weights are exact in float32, so that the potential is invariant to rounding error in every precision.
METRIC = (1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 0.25, 3.0, 0.75, 0.625, 15.0, 0.375, 0.25, 0.375, 3.75, 0.625)


#: Monomials of degree three and less in the components 1, 2, 3 (x, y, z) of a unit vector; 0 stands for one.
MONOMIALS = (
    (0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0), (1, 2, 0), (2, 3, 0), (3, 1, 0), (1, 1, 0), (2, 2, 0), (3, 3, 0),
    (1, 1, 2), (2, 2, 2), (1, 2, 3), (2, 3, 3), (3, 3, 3), (1, 1, 3), (2, 2, 3), (1, 3, 3), (1, 1, 1), (1, 2, 2),
)  # fmt: skip
#: Real spherical harmonics l <= 3, not normalised, as sums of monomials.
HARMONICS: tuple[dict[tuple[int, int, int], float], ...] = (
    {(0, 0, 0): 1},
    {(1, 0, 0): 1},
    {(2, 0, 0): 1},
    {(3, 0, 0): 1},
    {(1, 2, 0): 1},
    {(2, 3, 0): 1},
    {(3, 3, 0): 2, (1, 1, 0): -1, (2, 2, 0): -1},
    {(3, 1, 0): 1},
    {(1, 1, 0): 1, (2, 2, 0): -1},
    {(1, 1, 2): 3, (2, 2, 2): -1},
    {(1, 2, 3): 1},
    {(2, 3, 3): 4, (1, 1, 2): -1, (2, 2, 2): -1},
    {(3, 3, 3): 2, (1, 1, 3): -3, (2, 2, 3): -3},
    {(1, 3, 3): 4, (1, 1, 1): -1, (1, 2, 2): -1},
    {(1, 1, 3): 1, (2, 2, 3): -1},
    {(1, 1, 1): 1, (1, 2, 2): -3},
)


def harmonics_tables() -> tuple[Tensor, Tensor, Tensor]:
    """Y = ((u F + f)_1 (u F + f)_2 (u F + f)_3) C: F (3, 60), f (60,) choose factors, C (20, 16) adds monomials."""
    choose = torch.zeros(4, 3, len(MONOMIALS))
    combine = torch.zeros(len(MONOMIALS), len(HARMONICS))
    for row, factors in enumerate(MONOMIALS):
        for place, factor in enumerate(factors):
            choose[factor, place, row] = 1.0
        for column, terms in enumerate(HARMONICS):
            combine[row, column] = terms.get(factors, 0.0)
    flat = choose.flatten(1)
    return flat[1:].clone(), flat[0].clone(), combine


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
        self.small = SMALL
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

        order = torch.tensor([0] + 3 * [1] + 5 * [2] + 7 * [3])  # l of every lm
        metric = torch.tensor(METRIC, dtype=torch.float64)
        # Whoever loads the file may convert whole numbers to a floating dtype too: hence long() where they are used.
        self.register_buffer("order", order[:9].clone(), persistent=False)
        sums = metric * nn.functional.one_hot(order, 4).T
        self.register_buffer("sums", sums[1:3, 1:9].clone(), persistent=False)
        self.register_buffer("high_sums", sums[3:, 9:].clone(), persistent=False)
        for name, table in zip(("factors", "constant", "combine"), harmonics_tables(), strict=True):
            self.register_buffer(name, table, persistent=False)
        self.register_buffer("blocks", torch.eye(members), persistent=False)
        self.register_buffer(
            "frequencies", torch.arange(1, radial + 1, dtype=torch.float64) * math.pi / cutoff, persistent=False
        )
        slot = torch.zeros(max(ELEMENTS) + 1, dtype=torch.int64)
        charges, radii = torch.zeros(s, dtype=torch.float64), torch.zeros(s, dtype=torch.float64)
        for index, number in enumerate(ELEMENTS):
            slot[number], charges[index], radii[index] = index, float(number), RADII[number]
        self.register_buffer("slot", slot, persistent=False)
        # Of every pair of elements: four prefactors and four rates of the wall, one over cutoff and over reach.
        screen = 0.46850 / (charges[:, None] ** 0.23 + charges[None, :] ** 0.23)
        prefactor = 0.5 * COULOMB * charges[:, None] * charges[None, :]
        reach = WALL_REACH * (radii[:, None] + radii[None, :])
        screening = torch.tensor([0.18175, 0.50986, 0.28022, 0.02817], dtype=torch.float64)
        rates = torch.tensor([3.1998, 0.94229, 0.4029, 0.20162], dtype=torch.float64)
        columns = [prefactor[..., None] * screening, -rates / screen[..., None]]
        columns += [torch.full((s, s, 1), 1.0 / cutoff, dtype=torch.float64), 1.0 / reach[..., None]]
        self.register_buffer("pair_table", torch.cat(columns, -1).reshape(s * s, 10), persistent=False)
        self.to(torch.float32)

    def folded(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights multiplied out: low (9, 4 radial, 2 mc), high (7, 4 radial, mc), tell (9, mq, mc), table (4, width).

        `low` mixes l <= 2 for the first stage and, in its second half, for the second; `high` mixes l = 3; the rows of
        `table` are those of the elements.
        """
        m, c, q = self.members, self.channels, self.messages
        mix = self.mix[:3].view(3, -1, m, c).transpose(1, 2)
        own = torch.matmul(mix, self.remix[:, :, :c]).transpose(1, 2).flatten(2)
        tell = self.remix[:, :, c:].unsqueeze(3) * self.blocks.view(1, m, 1, m, 1)
        tell = tell.reshape(3, m * q, m * c)
        # sqrt(1 + x) - 1: the one that is subtracted goes into the bias.
        first_bias = self.first_bias - self.first[:, c:].sum(1)
        third_bias = self.third_bias - self.third[:, c : 4 * c].sum(1)
        columns = [self.scale[:, 0], (self.scale * self.scale).flatten(1), self.rescale[:, 0]]
        columns += [(self.rescale * self.rescale).flatten(1), first_bias.flatten(1), self.query_bias.flatten(1)]
        columns += [third_bias.flatten(1), self.last_bias]
        table = torch.cat(columns, 1)
        order = self.order.long()
        return torch.cat([self.mix[order], own[order]], 2), self.mix[3:].repeat(7, 1, 1), tell[order], table

    # Pairs: everything that depends on one r_ij.  The leading dimensions are (E,) or (B, n, n).

    def pair_functions(self, vector: Tensor, pair: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Radial (..., radial), angular (..., 16) functions and half the wall (..., 1), eV; `pair` is 4 c_i + c_j.

        R_n are spherical Bessel functions times the envelope, zero beyond the cutoff.
        """
        squared = (vector * vector).sum(-1, keepdim=True)
        inverse = torch.rsqrt(squared)
        distance = squared * inverse
        table = self.pair_table[pair]
        x = torch.clamp(distance * table[..., 8:], max=1.0)
        x3 = x * x * x
        envelope = (1.0 + x3 * x3 * (x * (48.0 - 21.0 * x) - 28.0)) * inverse
        radial = torch.sin(distance * self.frequencies) * envelope[..., :1]
        screening = (torch.exp(distance * table[..., 4:8]) * table[..., :4]).sum(-1, keepdim=True)
        forms = torch.matmul(vector * inverse, self.factors) + self.constant
        first, second, third = forms.chunk(3, -1)
        return radial, torch.matmul(first * second * third, self.combine), screening * envelope[..., 1:]

    # Atoms.

    def squared(self, channels: Tensor, sums: Tensor) -> Tensor:
        """Squared lengths (l, N, mc) of channels (lm, N, mc)."""
        return torch.mm(sums, (channels * channels).flatten(1)).view(sums.size(0), channels.size(1), -1)

    def features(self, scalar: Tensor, squared: Tensor, linear: Tensor, squares: Tensor) -> Tensor:
        """Scalars (members, N, (L + 2) channels): l = 0 (1, N, mc), and lengths from their squares (L + 1, N, mc)."""
        n = scalar.size(1)
        lengths = squared * squares.view(n, squared.size(0), -1).transpose(0, 1)
        features = torch.cat([scalar * linear, torch.sqrt(1.0 + lengths)])
        return features.view(-1, n, self.members, self.channels).permute(2, 1, 0, 3).flatten(2)

    def by_member(self, rows: Tensor) -> Tensor:
        """(N, members width) -> (members, N, width)."""
        return rows.view(rows.size(0), self.members, -1).transpose(0, 1)

    def atoms(self, table: Tensor, species: Tensor) -> list[Tensor]:
        """Rows of the table by element, (N, width) each: scales of both stages, squared ones, and biases."""
        width = self.members * self.channels
        wide, narrow = self.members * self.hidden, self.members * self.messages
        sizes = [width, 4 * width, width, 3 * width, wide, narrow, wide, self.members]
        return table.index_select(0, species).split_with_sizes(sizes, 1)

    def first_stage(
        self, density: Tensor, high_density: Tensor, low: Tensor, high: Tensor, atoms: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scalars h (members, N, hidden), what atoms tell (N, members messages), and channels of the second stage.

        Densities are (9, N, 4 radial) and (7, N, 4 radial).
        """
        channels, own = torch.bmm(density, low).chunk(2, -1)
        scalar, rest = channels.split_with_sizes([1, 8])
        highest = self.squared(torch.bmm(high_density, high), self.high_sums)
        squared = torch.cat([scalar * scalar, self.squared(rest, self.sums), highest])
        features = self.features(scalar, squared, atoms[0], atoms[1])
        hidden = nn.functional.silu(torch.baddbmm(self.by_member(atoms[4]), features, self.first))
        hidden = nn.functional.silu(torch.baddbmm(self.second_bias, hidden, self.second))
        told = torch.baddbmm(self.by_member(atoms[5]), hidden, self.query)
        return hidden, told.transpose(0, 1).flatten(1), own

    def second_stage(self, remixed: Tensor, hidden: Tensor, atoms: list[Tensor]) -> Tensor:
        """Atomic energies (members, N)."""
        scalar, rest = remixed.split_with_sizes([1, 8])
        squared = torch.cat([scalar * scalar, self.squared(rest, self.sums)])
        features = self.features(scalar, squared, atoms[2], atoms[3])
        width = 4 * self.channels
        third = torch.baddbmm(self.by_member(atoms[6]), features, self.third[:, :width])
        third = nn.functional.silu(torch.baddbmm(third, hidden, self.third[:, width:]))
        fourth = nn.functional.silu(torch.baddbmm(self.fourth_bias, third, self.fourth))
        return torch.baddbmm(self.by_member(atoms[7]), fourth, self.last).squeeze(-1)

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
        n = positions.size(0)
        if torch.jit.is_scripting() and positions.is_cpu:
            if n <= self.small and float(edge_shifts.abs().sum()) == 0.0:
                return self.dense(positions.unsqueeze(0), atomic_numbers.unsqueeze(0)).view(self.members, n)
            return self.tabled(positions, atomic_numbers, edge_index, edge_shifts)
        low, high, tell, table = self.folded()
        species = self.slot[atomic_numbers].long()
        i, j = edge_index[0], edge_index[1]
        vector = positions.index_select(0, j) - positions.index_select(0, i) + edge_shifts
        other = species.index_select(0, j)
        radial, angular, wall = self.pair_functions(vector, 4 * species.index_select(0, i) + other)
        # Harmonics lead, as in what follows: compiled code then adds and collects rows, without index arithmetic.
        lower, upper = angular.t().unsqueeze(2).split_with_sizes([9, 7])
        density = self.collected(lower * radial, i, other, n)
        high_density = self.collected(upper * radial, i, other, n)
        atoms = self.atoms(table, species)
        hidden, told, own = self.first_stage(density, high_density, low, high, atoms)
        told = told.index_select(0, j) * torch.matmul(radial, self.filter)
        message = told.new_zeros([9, n, told.size(1)]).index_add(1, i, lower * told)
        energies = self.second_stage(torch.baddbmm(own, message, tell), hidden, atoms)
        return energies + wall.new_zeros([n]).index_add(0, i, wall.squeeze(-1))

    def collected(self, pairs: Tensor, i: Tensor, other: Tensor, n: int) -> Tensor:
        """Sums (lm, n, 4 radial) of (lm, E, radial) over the neighbours of every atom, by their element."""
        if torch.jit.is_scripting():
            sums = pairs.new_zeros([pairs.size(0), 4 * n, self.radial]).index_add(1, 4 * i + other, pairs)
            return sums.view(pairs.size(0), n, -1)
        sums = pairs.new_zeros([pairs.size(0), n, 4, self.radial])
        return torch.ops.aten.index_put(sums, [None, i, other], pairs, True).flatten(2)

    def tabled(self, positions: Tensor, atomic_numbers: Tensor, edge_index: Tensor, edge_shifts: Tensor) -> Tensor:
        """Do the same from a table of the neighbours of every atom, as wide as its longest row: batched products."""
        n = positions.size(0)
        low, high, tell, table = self.folded()
        species = self.slot[atomic_numbers].long()
        i, order = edge_index[0].sort()
        counts = torch.bincount(i, minlength=n)
        width = max(int(counts.max()), 1)
        places = torch.arange(i.size(0), device=i.device) + (width * i - (counts.cumsum(0) - counts)[i])
        # The rest of a row is taken by the atom itself, moved beyond the cutoff.
        j = torch.arange(n, device=i.device).repeat_interleave(width).index_copy(0, places, edge_index[1][order])
        shifts = torch.full_like(positions, 2.0 * self.cutoff).repeat_interleave(width, 0)
        shifts = shifts.index_copy(0, places, edge_shifts[order]).view(n, width, 3)
        vector = positions.index_select(0, j).view(n, width, 3) - positions.unsqueeze(1) + shifts
        other = species[j].view(n, width)
        radial, angular, wall = self.pair_functions(vector, 4 * species.unsqueeze(1) + other)
        which = nn.functional.one_hot(other, 4).to(positions.dtype)
        labelled = (which.unsqueeze(3) * radial.unsqueeze(2)).view(n, width, -1)
        angular = angular.transpose(1, 2)
        density = torch.bmm(angular, labelled).transpose(0, 1).contiguous()
        atoms = self.atoms(table, species)
        hidden, told, own = self.first_stage(density[:9], density[9:], low, high, atoms)
        told = told.index_select(0, j).view(n, width, -1) * torch.matmul(radial, self.filter)
        message = torch.bmm(angular[:, :9], told).transpose(0, 1)
        return self.second_stage(torch.baddbmm(own, message, tell), hidden, atoms) + wall.sum(1).squeeze(-1)

    def dense(self, positions: Tensor, atomic_numbers: Tensor) -> Tensor:
        """Do the same for molecules of equal size side by side, over all pairs of each, without index arithmetic.

        Parameters
        ----------
        positions : Tensor, shape (B, n, 3), Angstrom
        atomic_numbers : Tensor of int64, shape (B, n)

        Returns
        -------
        Tensor, shape (members, B, n), eV
            Atomic energies.
        """
        b, n = positions.size(0), positions.size(1)
        low, high, tell, table = self.folded()
        species = self.slot[atomic_numbers].long()
        # An atom is no neighbour of itself: its own place is taken by something beyond the cutoff.
        far = 2.0 * self.cutoff * torch.eye(n, dtype=positions.dtype, device=positions.device).unsqueeze(-1)
        vector = positions.unsqueeze(1) - positions.unsqueeze(2) + far
        radial, angular, wall = self.pair_functions(vector, 4 * species.unsqueeze(2) + species.unsqueeze(1))
        angular = angular.view(b * n, n, 16).transpose(1, 2)
        which = nn.functional.one_hot(species, 4).to(positions.dtype)
        labelled = (which.view(b, 1, n, 4, 1) * radial.unsqueeze(3)).view(b * n, n, -1)
        density = torch.bmm(angular, labelled).transpose(0, 1).contiguous()
        atoms = self.atoms(table, species.flatten())
        hidden, told, own = self.first_stage(density[:9], density[9:], low, high, atoms)
        told = (told.view(b, 1, n, -1) * torch.matmul(radial, self.filter)).view(b * n, n, -1)
        message = torch.bmm(angular[:, :9], told).transpose(0, 1)
        energies = self.second_stage(torch.baddbmm(own, message, tell), hidden, atoms)
        return energies.view(self.members, b, n) + wall.sum(2).squeeze(-1)

    def energies(self, positions: Tensor, atomic_numbers: Tensor) -> Tensor:
        """Energies (members, B) of molecules of equal size, eV: `dense`, summed."""
        return self.dense(positions, atomic_numbers).sum(-1)


class Folded(Committee):
    """A trained committee for compilers that do not multiply weights out by themselves: they are kept as products."""

    def __init__(self, trained: Committee) -> None:
        super().__init__(**{name: getattr(trained, name) for name in Committee.__constants__})
        self.load_state_dict(trained.state_dict(), strict=False)
        self.eval().requires_grad_(False)
        for name, product in zip(("low", "high", "tell", "table"), super().folded(), strict=True):
            self.register_buffer(name, product, persistent=False)

    def folded(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what was multiplied out once."""
        return self.low, self.high, self.tell, self.table


def read(path: Path) -> Committee:
    """Read a committee back from the TorchScript file that `export.py` wrote."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*")
        scripted = torch.jit.load(str(path))
    model = Committee(**{name: getattr(scripted, name) for name in Committee.__constants__})
    model.load_state_dict(scripted.state_dict(), strict=False)
    return model.eval().requires_grad_(False)
