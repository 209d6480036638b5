"""The compiled potentials of these tests, and packages changed by hand."""

import io
import json
import pathlib
import zipfile
from collections.abc import Callable

import torch
from torch import Tensor, nn

from openmm_nn import ModelCard, Potential, export_potential, units
from tests.models import MEMBERS, ModelSet, PairEdges, PairEdgesForces, PairSpec, spec_in_units

NUMBERS = [8, 1, 6, 7, 1, 6]
EDGES = ("positions", "atomic_numbers", "edge_index", "edge_shifts")


class PairStrength(nn.Module):
    """The pair potential in Angstrom and eV, with parameters: E = strength^2 E_pair + tilt."""

    def __init__(self) -> None:
        super().__init__()
        spec = spec_in_units(units.LENGTH_UNITS["angstrom"], units.ENERGY_UNITS["eV"])
        self.pair = PairEdges(spec, "energy")

    def forward(
        self,
        positions: Tensor,
        atomic_numbers: Tensor,
        edge_index: Tensor,
        edge_shifts: Tensor,
        strength: Tensor,
        tilt: Tensor,
    ) -> Tensor:
        return strength * strength * self.pair(positions, atomic_numbers, edge_index, edge_shifts) + tilt


class Spring(nn.Module):
    """E = k sum r^2 by the contract of TorchForce."""

    def __init__(self) -> None:
        super().__init__()
        self.k = nn.Parameter(torch.tensor(12.5))

    def forward(self, positions: Tensor) -> Tensor:
        return self.k * torch.sum(positions**2)


class SideBySide(nn.Module):
    """Members that differ by a column: torch 2.13 tiles this in two directions, and then adds to wrong places."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("strength", torch.tensor([[1.0], [0.9], [1.1], [1.2]]))

    def forward(self, positions: Tensor, atomic_numbers: Tensor, edge_index: Tensor, edge_shifts: Tensor) -> Tensor:
        vectors = positions[edge_index[1]] - positions[edge_index[0]] + edge_shifts
        pairs = self.strength * torch.exp(-(vectors * vectors).sum(1) * self.strength)
        return positions.new_zeros([4, positions.size(0)]).index_add(1, edge_index[0], pairs)


def spring_card(dtype: str = "float32") -> ModelCard:
    return ModelCard(name="spring", inputs=("positions",), outputs=("energy",), dtype=dtype)


def committee(folder: pathlib.Path) -> Potential:
    """Four members, atomic energies, nm and kJ/mol, offsets; code for one thread and for several."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        return export_potential(
            PairEdges(PairSpec(members=MEMBERS), "atomic_energies"),
            folder / "committee.pt2",
            ModelSet.pair_card("edges", output="atomic_energies", members=4, offset=True),
            format="aotinductor",
        )
    finally:
        torch.set_num_threads(before)


def parameters(folder: pathlib.Path) -> Potential:
    """Angstrom and eV, two parameters; the dtype of the card follows the platform, so that it becomes float64."""
    plain = ModelSet.pair_card("edges", unit="angstrom", dtype="platform")
    values = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    values |= {"inputs": (*EDGES, "strength", "tilt"), "parameters": {"strength": 1.0, "tilt": 0.0}}
    return export_potential(PairStrength(), folder / "parameters.pt2", ModelCard(**values), format="aotinductor")


def returned_forces(folder: pathlib.Path) -> Potential:
    """Bohr and hartree, forces derived by hand and returned by the module."""
    spec = spec_in_units(units.LENGTH_UNITS["bohr"], units.ENERGY_UNITS["hartree"])
    card = ModelSet.pair_card("edges-forces", unit="bohr")
    return export_potential(PairEdgesForces(spec), folder / "forces.pt2", card, format="aotinductor")


def spring(folder: pathlib.Path) -> Potential:
    """Float32, no edges, no elements, for every processor of this kind."""
    return export_potential(Spring(), folder / "spring.pt2", spring_card(), format="aotinductor", portable=True)


MAKERS: dict[str, Callable[[pathlib.Path], Potential]] = {
    "committee": committee,
    "parameters": parameters,
    "returned_forces": returned_forces,
    "spring": spring,
}


class Packages:
    """The compiled potentials, each made when it is first asked for."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._made: dict[str, Potential] = {}

    def __call__(self, name: str) -> Potential:
        if name not in self._made:
            self._made[name] = MAKERS[name](self.folder)
        return self._made[name]

    def path(self, name: str) -> pathlib.Path:
        self(name)
        files = {"returned_forces": "forces"}
        return self.folder / f"{files.get(name, name)}.pt2"


def metadata(data: bytes) -> dict[str, str]:
    """What a package says of itself."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = next(n for n in archive.namelist() if "/model/" in n and n.endswith("_metadata.json"))
        return dict(json.loads(archive.read(name)))


def changed(data: bytes, *, drop: Callable[[str], bool] = lambda name: False, **values: str | None) -> bytes:
    """A package that says something else of itself, or lacks some entries."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(result, "w") as new:
        for name in archive.namelist():
            if drop(name):
                continue
            content = archive.read(name)
            if name.endswith("_metadata.json"):
                entries = json.loads(content)
                for key, value in values.items():
                    entries.pop(key, None)
                    if value is not None:
                        entries[key] = value
                content = json.dumps(entries).encode()
            new.writestr(name, content)
    return result.getvalue()
