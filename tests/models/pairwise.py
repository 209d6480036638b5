"""A smooth, invariant, element-dependent pair potential, in every form that a canonical model may take.

V(r) = w_i w_j D (exp(-2a(r - r0)) - 2 exp(-a(r - r0))) (1 - (r/rc)^2)^3 for r < rc, with w = 1 + Z/20.

`oracle.pair_energy_forces` is the same in NumPy, over explicit images, with the forces by hand.
"""

import dataclasses

import torch
from torch import Tensor, nn

# (factor of D, shift of r0 in nm) of every committee member.
MEMBERS: tuple[tuple[float, float], ...] = ((0.7, 0.0), (0.9, 0.004), (1.1, -0.003), (1.5, 0.002))


@dataclasses.dataclass(frozen=True)
class PairSpec:
    """Parameters of the pair potential, in the units that its module works in.

    Attributes
    ----------
    depth : float
        D, an energy.
    steepness : float
        a, an inverse length.
    minimum, cutoff : float
        r0 and rc, lengths.
    members : tuple of (float, float)
        Factor of D and shift of r0 (a length) of every member; a single member is a plain potential.
    """

    depth: float = 20.0
    steepness: float = 8.0
    minimum: float = 0.2
    cutoff: float = 0.6
    members: tuple[tuple[float, float], ...] = ((1.0, 0.0),)


def spec_in_units(nm_per_length: float, kj_per_energy: float, spec: PairSpec | None = None) -> PairSpec:
    """The same potential in another length and energy unit."""
    spec = spec or PairSpec()
    return PairSpec(
        depth=spec.depth / kj_per_energy,
        steepness=spec.steepness * nm_per_length,
        minimum=spec.minimum / nm_per_length,
        cutoff=spec.cutoff / nm_per_length,
        members=tuple((factor, shift / nm_per_length) for factor, shift in spec.members),
    )


class _Pair(nn.Module):
    """What all forms share: the energy of pairs, and how it is handed back."""

    factors: Tensor
    shifts: Tensor

    def __init__(self, spec: PairSpec | None = None, output: str = "energy") -> None:
        super().__init__()
        spec = spec or PairSpec()
        self.depth = spec.depth
        self.steepness = spec.steepness
        self.minimum = spec.minimum
        self.cutoff = spec.cutoff
        self.output = output
        self.register_buffer("factors", torch.tensor([m[0] for m in spec.members], dtype=torch.float64))
        self.register_buffer("shifts", torch.tensor([m[1] for m in spec.members], dtype=torch.float64))

    def half_pairs(self, vectors: Tensor, zi: Tensor, zj: Tensor) -> Tensor:
        """Half the energy of each directed pair (E,) of vectors (E, 3), for every member: (K, E)."""
        dtype = vectors.dtype
        square = torch.sum(vectors**2, dim=1)
        r = torch.sqrt(square)
        weight = (1.0 + zi.to(dtype) / 20.0) * (1.0 + zj.to(dtype) / 20.0)
        shift = self.shifts.to(dtype).unsqueeze(1)
        x = torch.exp(-self.steepness * (r.unsqueeze(0) - self.minimum - shift))
        morse = self.depth * self.factors.to(dtype).unsqueeze(1) * (x * x - 2.0 * x)
        window = torch.clamp(1.0 - square / self.cutoff**2, min=0.0) ** 3
        return 0.5 * morse * (weight * window).unsqueeze(0)

    def collect(self, pairs: Tensor, first: Tensor, atoms: int) -> Tensor:
        """Energies of pairs (K, E) in the form that the card promises."""
        members = pairs.shape[0]
        if self.output == "energy":
            return pairs.sum() / members
        if self.output == "energies":
            return pairs.sum(dim=1)
        atomic = torch.zeros((members, atoms), dtype=pairs.dtype, device=pairs.device).index_add(1, first, pairs)
        if members == 1:
            return atomic[0]
        return atomic


class PairPlain(_Pair):
    """Inputs: positions, atomic_numbers.  Every pair, no images."""

    def forward(self, positions: Tensor, atomic_numbers: Tensor) -> Tensor:
        n = positions.shape[0]
        index = torch.nonzero(1 - torch.eye(n, dtype=torch.int64, device=positions.device))
        i, j = index[:, 0], index[:, 1]
        pairs = self.half_pairs(positions[j] - positions[i], atomic_numbers[i], atomic_numbers[j])
        return self.collect(pairs, i, n)


class PairBox(_Pair):
    """Inputs: positions, box, atomic_numbers.  Minimum image in a reduced box; a box of zeros means none."""

    def forward(self, positions: Tensor, box: Tensor, atomic_numbers: Tensor) -> Tensor:
        n = positions.shape[0]
        index = torch.nonzero(1 - torch.eye(n, dtype=torch.int64, device=positions.device))
        i, j = index[:, 0], index[:, 1]
        vectors = positions[j] - positions[i]
        if bool(box[0, 0] > 0):
            for axis in (2, 1, 0):
                vectors = vectors - torch.round(vectors[:, axis : axis + 1] / box[axis, axis]) * box[axis]
        return self.collect(self.half_pairs(vectors, atomic_numbers[i], atomic_numbers[j]), i, n)


class PairEdges(_Pair):
    """Inputs: positions, atomic_numbers, edge_index, edge_shifts."""

    def forward(self, positions: Tensor, atomic_numbers: Tensor, edge_index: Tensor, edge_shifts: Tensor) -> Tensor:
        i, j = edge_index[0], edge_index[1]
        vectors = positions[j] - positions[i] + edge_shifts
        return self.collect(self.half_pairs(vectors, atomic_numbers[i], atomic_numbers[j]), i, positions.shape[0])


class PairEdgesForces(_Pair):
    """As `PairEdges` with a single member, and the forces returned: derived by hand, no autograd."""

    def forward(
        self, positions: Tensor, atomic_numbers: Tensor, edge_index: Tensor, edge_shifts: Tensor
    ) -> tuple[Tensor, Tensor]:
        i, j = edge_index[0], edge_index[1]
        vectors = positions[j] - positions[i] + edge_shifts
        energy = self.collect(self.half_pairs(vectors, atomic_numbers[i], atomic_numbers[j]), i, positions.shape[0])
        dtype = positions.dtype
        square = torch.sum(vectors**2, dim=1)
        r = torch.sqrt(square)
        x = torch.exp(-self.steepness * (r - self.minimum))
        u = torch.clamp(1.0 - square / self.cutoff**2, min=0.0)
        slope = -2.0 * self.steepness * (x * x - x) * u**3 - (x * x - 2.0 * x) * 6.0 * u**2 * r / self.cutoff**2
        weight = (1.0 + atomic_numbers[i].to(dtype) / 20.0) * (1.0 + atomic_numbers[j].to(dtype) / 20.0)
        pull = (0.5 * self.depth * weight * slope / r).unsqueeze(1) * vectors
        forces = torch.zeros_like(positions).index_add(0, i, pull).index_add(0, j, -pull)
        return energy, forces


class PairChargeSpin(_Pair):
    """Inputs: positions, atomic_numbers, charge, multiplicity.  The pair energy times (1 + q/4 + (2S+1)/8)."""

    def forward(self, positions: Tensor, atomic_numbers: Tensor, charge: Tensor, multiplicity: Tensor) -> Tensor:
        n = positions.shape[0]
        index = torch.nonzero(1 - torch.eye(n, dtype=torch.int64, device=positions.device))
        i, j = index[:, 0], index[:, 1]
        pairs = self.half_pairs(positions[j] - positions[i], atomic_numbers[i], atomic_numbers[j])
        factor = 1.0 + charge.to(positions.dtype) / 4.0 + multiplicity.to(positions.dtype) / 8.0
        return self.collect(pairs, i, n) * factor


class PairParameter(_Pair):
    """Inputs: positions, atomic_numbers, strength, tilt.  E = strength^2 E_pair + tilt."""

    def forward(self, positions: Tensor, atomic_numbers: Tensor, strength: Tensor, tilt: Tensor) -> Tensor:
        n = positions.shape[0]
        index = torch.nonzero(1 - torch.eye(n, dtype=torch.int64, device=positions.device))
        i, j = index[:, 0], index[:, 1]
        pairs = self.half_pairs(positions[j] - positions[i], atomic_numbers[i], atomic_numbers[j])
        return self.collect(pairs, i, n) * strength * strength + tilt
