"""The networks of an ANI potential, all members of a committee in one pass, over the features that can differ from 0.

torchani evaluates member after member and element after element, each over all features. Of these, an atom's features
belong to an element (radial) or a pair of elements (angular) of its neighbours: in a molecule of H, C, N and O, 384 of
ANI-2x's 1,008 can differ from zero. Once the elements of a molecule are known, the others are cut out of the weights.
"""

from typing import Any

import torch
from torch import Tensor, nn


class _First(nn.Module):
    """The first layer of one element's networks: one matrix product for all members."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        self.members: int = len(layers)
        self.register_buffer("weight", torch.cat([layer.weight.detach() for layer in layers]))
        self.register_buffer("bias", torch.cat([layer.bias.detach() for layer in layers]))

    def forward(self, features: Tensor) -> Tensor:
        values = nn.functional.linear(features, self.weight, self.bias)
        return values.reshape(features.shape[0], self.members, -1).transpose(0, 1)

    def keep(self, used: Tensor) -> None:
        self.weight = self.weight.index_select(1, used)


class _Layer(nn.Module):
    """A later layer: a batched matrix product over members."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        self.register_buffer("weight", torch.stack([layer.weight.detach().t() for layer in layers]).contiguous())
        self.register_buffer("bias", torch.stack([layer.bias.detach() for layer in layers]).unsqueeze(1))

    def forward(self, values: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, values, self.weight)


class _Element(nn.Module):
    """The networks of one element: (atoms, features) to (members, atoms)."""

    def __init__(self, networks: list[Any]) -> None:
        super().__init__()
        self.alpha: float = 0.1  # of ANI's CELU
        self.first = _First([network.layers[0] for network in networks])
        depth = len(networks[0].layers)
        self.hidden = nn.ModuleList([_Layer([network.layers[i] for network in networks]) for i in range(1, depth)])
        self.last = _Layer([network.final_layer for network in networks])

    def forward(self, features: Tensor) -> Tensor:
        values = nn.functional.celu(self.first(features), self.alpha)
        for layer in self.hidden:
            values = nn.functional.celu(layer(values), self.alpha)
        energies: Tensor = self.last(values)
        return energies.squeeze(-1)


class BatchedNetworks(nn.Module):
    """Atomic networks of all members of an ANI model.

    Parameters
    ----------
    members
        torchani's ``ANINetworks``, one a member, with CELU activations.
    aev_computer
        torchani's, which knows where the features of an element and of a pair of elements are.
    """

    used: Tensor
    pair_index: Tensor
    sorted: Tensor
    back: Tensor

    def __init__(self, members: list[Any], aev_computer: Any) -> None:
        super().__init__()
        self.members: int = len(members)
        self.species: int = int(aev_computer.num_species)
        self.radial: int = int(aev_computer.radial_len)
        self.angular: int = int(aev_computer.angular_len)
        self.elements = nn.ModuleList(
            [_Element([member.atomics[symbol] for member in members]) for symbol in members[0].symbols]
        )
        self.register_buffer("pair_index", aev_computer.triu_index.clone())
        self.register_buffer("used", torch.arange(self.radial + self.angular))
        self.register_buffer("sorted", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("back", torch.zeros(0, dtype=torch.int64))
        self.counts: list[int] = [0]

    def forward(self, elements: Tensor, features: Tensor) -> Tensor:
        """Return atomic energies (members, N) of elements (N,) with features (N, F)."""
        if self.used.shape[0] < features.shape[1]:
            features = features.index_select(1, self.used)
        energies = torch.zeros((self.members, elements.shape[0]), dtype=features.dtype, device=features.device)
        for number, network in enumerate(self.elements):
            atoms = (elements == number).nonzero().flatten()
            if atoms.shape[0] > 0:
                energies = energies.index_add(1, atoms, network(features.index_select(0, atoms)))
        return energies

    def sort(self, elements: Tensor) -> None:
        """Find the atoms of every element, for `static`."""
        self.sorted = torch.argsort(elements, stable=True)
        self.back = torch.argsort(self.sorted)
        counts: list[int] = []
        for number in range(self.species):
            counts.append(int((elements == number).sum()))
        self.counts = counts

    @torch.jit.export
    def static(self, features: Tensor) -> Tensor:
        """Return atomic energies (members, N) of the atoms that `sort` was given, with features (N, F)."""
        if self.used.shape[0] < features.shape[1]:
            features = features.index_select(1, self.used)
        features = features.index_select(0, self.sorted)
        energies: list[Tensor] = []
        begin = 0
        for number, network in enumerate(self.elements):
            count = self.counts[number]
            if count > 0:
                energies.append(network(features.narrow(0, begin, count)))
            begin += count
        return torch.cat(energies, 1).index_select(1, self.back)

    def keep(self, elements: Tensor) -> None:
        """Cut off the features that are zero in molecules of these elements; no others may follow."""
        present = torch.zeros(self.species, dtype=torch.bool, device=elements.device)
        present[elements] = True
        radial = present.repeat_interleave(self.radial // self.species)
        pairs = torch.zeros(self.species * (self.species + 1) // 2, dtype=torch.bool, device=elements.device)
        for first in range(self.species):
            for second in range(first, self.species):
                pairs[self.pair_index[first, second]] = present[first] & present[second]
        angular = pairs.repeat_interleave(self.angular // pairs.shape[0])
        self.used = torch.cat([radial, angular]).nonzero().flatten()
        for network in self.elements:
            network.first.keep(self.used)


class AllPairs(nn.Module):
    """The features of one molecule from all its pairs and triples of atoms; those beyond a cutoff count as zero.

    More work than a list of near pairs, and on a GPU much less time: no shape depends on the positions, so that the
    host need not wait for a number of pairs, and the whole can be recorded once and replayed.

    Parameters
    ----------
    aev_computer
        torchani's, whose functions are used.
    """

    triu_index: Tensor
    pairs: Tensor
    radial_target: Tensor
    triples: Tensor
    angular_target: Tensor

    def __init__(self, aev_computer: Any) -> None:
        super().__init__()
        self.radial = aev_computer.radial
        self.angular = aev_computer.angular
        self.species: int = int(aev_computer.num_species)
        self.species_pairs: int = int(aev_computer.num_species_pairs)
        self.radial_features: int = int(aev_computer.radial.num_feats)
        self.angular_features: int = int(aev_computer.angular.num_feats)
        self.radial_cutoff: float = float(aev_computer.radial.cutoff)
        self.angular_cutoff: float = float(aev_computer.angular.cutoff)
        self.register_buffer("triu_index", aev_computer.triu_index.clone())
        for name in ("pairs", "radial_target", "triples", "angular_target"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))
        self.made = False

    def make(self, elements: Tensor) -> None:
        """Take the atoms (N,), by the index of their element."""
        count = elements.shape[0]
        atoms = torch.arange(count, device=elements.device)
        # Rows i, j of every ordered pair; rows i, j, k of every triple with j < k around i.
        self.pairs = torch.cartesian_prod(atoms, atoms).t()
        self.pairs = self.pairs[:, self.pairs[0] != self.pairs[1]]
        self.radial_target = self.pairs[0] * self.species + elements[self.pairs[1]]
        triples = torch.cartesian_prod(atoms, atoms, atoms).t()
        i, j, k = triples[0], triples[1], triples[2]
        self.triples = triples[:, (j < k) & (i != j) & (i != k)]
        kind = self.triu_index[elements[self.triples[1]], elements[self.triples[2]]].to(torch.int64)
        self.angular_target = self.triples[0] * self.species_pairs + kind
        self.made = True

    def forward(self, positions: Tensor) -> Tensor:
        """Return the features (N, F) at positions (N, 3)."""
        count = positions.shape[0]
        vectors = positions.index_select(0, self.pairs[1]) - positions.index_select(0, self.pairs[0])
        distances = vectors.norm(2, -1)
        terms = self.radial(distances) * (distances <= self.radial_cutoff).to(positions.dtype).unsqueeze(1)
        radial = positions.new_zeros((count * self.species, self.radial_features)).index_add(
            0, self.radial_target, terms
        )
        center = positions.index_select(0, self.triples[0])
        first = positions.index_select(0, self.triples[1]) - center
        second = positions.index_select(0, self.triples[2]) - center
        sides = torch.stack([first, second])
        distances = sides.norm(2, -1)
        near = (distances <= self.angular_cutoff).all(0).to(positions.dtype).unsqueeze(1)
        terms = self.angular(distances, sides) * near
        angular = positions.new_zeros((count * self.species_pairs, self.angular_features))
        angular = angular.index_add(0, self.angular_target, terms)
        return torch.cat([radial.reshape(count, -1), angular.reshape(count, -1)], 1)
