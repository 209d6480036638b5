"""SevenNet: files that ``sevenn get_model`` and ``sevenn graph_build`` deploy for LAMMPS, serial, and names.

Such a file takes and returns a dict; what it must be told lies in extra files. It needs no SevenNet to run. The
library, which is needed for the names only, is licensed under the GPL.

References
----------
Park et al., J. Chem. Theory Comput. 20, 4857 (2024), doi:10.1021/acs.jctc.4c00190 (SevenNet).
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import ModelError, UnsupportedError
from ...model.card import ModelCard
from ...model.torchscript import quiet_torchscript
from .compose import species_table
from .family import Family
from .files import ForeignFile, inspect_file, read_foreign_script

__all__ = ["FORMAT", "SevenNet"]

_PREFIX = "sevennet/"
# Those whose weights are in the package itself.
_NAMES = {
    "7net-0": "SevenNet-0 (11 July 2024), 89 elements, PBE; trained on MPtrj",
    "7net-l3i5": "SevenNet-l3i5, 89 elements, PBE; trained on MPtrj",
}
_CHECKPOINT = "E3_equivariant_model"  # what checkpoints and files call the kind of model
_MARKS = ("chemical_symbols_to_index", "cutoff", "num_species", "model_type")


class SevenNet(Family):
    """The format ``sevennet``: deployed files, and names ``"sevennet/7net-0"``."""

    name = "sevennet"
    package = "sevenn"
    library = "sevenn"

    def names(self) -> Mapping[str, str]:
        """Return the names that can be loaded, each with a short description."""
        return {f"{_PREFIX}{name}": text for name, text in _NAMES.items()}

    def accepts(self, source: str) -> bool:
        """Return whether a name is one of this family's, or a file one that SevenNet deployed."""
        if source in self.names():
            return True
        file = inspect_file(source)
        return file is not None and (_deployed(file) or _CHECKPOINT in file.words)

    def load(self, source: str, *, device: str | None, trust: bool) -> tuple[Any, ModelCard]:
        """Make the module and the card of a deployed file, or of a name.

        Parameters
        ----------
        source
            A path or a name.
        device
            Where the module is put; None for the CPU.
        trust
            Not used: TorchScript files run no Python code while they are read.

        Returns
        -------
        module : torch.jit.ScriptModule
            Takes positions [Å], atomic numbers and edges; returns atomic energies [eV].
        card : ModelCard
            Its card.

        Raises
        ------
        ModelError
            If the file is not what SevenNet deploys.
        UnsupportedError
            If it is deployed for parallel runs or with accelerated kernels, or is a checkpoint.
        MissingDependencyError
            If a name is given and SevenNet is missing.
        """
        if source in self.names():
            self.require(f"potential {source!r}")
            with tempfile.TemporaryDirectory(prefix="openmm_nn-sevennet-") as folder:
                return _load(_deploy(source.removeprefix(_PREFIX), Path(folder)), device, source)
        file = inspect_file(source)
        if file is None or not _deployed(file):
            raise UnsupportedError(
                "source", f"{source}, a checkpoint of SevenNet", "a file that SevenNet has deployed",
                        "deploy it with: sevenn get_model CHECKPOINT"
            )  # fmt: skip
        return _load(file, device, Path(source).stem)


def _deployed(file: ForeignFile) -> bool:
    return file.script and all(name in file.extra for name in _MARKS)


def _deploy(name: str, folder: Path) -> ForeignFile:
    """Deploy a potential that comes with the package."""
    with warnings.catch_warnings(), quiet_torchscript():
        warnings.simplefilter("ignore")
        from sevenn.scripts.deploy import deploy
        from sevenn.util import pretrained_name_to_path

        path = folder / "deployed_serial.pt"
        deploy(pretrained_name_to_path(name), str(path))
    file = inspect_file(str(path))
    if file is None or not _deployed(file):
        raise ModelError(f"potential {name!r}", "no deployed file from sevenn", "one", "use sevenn 0.13")
    return file


def _load(file: ForeignFile, device: str | None, name: str) -> tuple[Any, ModelCard]:
    for option in ("flashTP", "oeq"):
        if file.extra.get(option, b"no").strip() not in (b"no", b"False", b""):
            raise UnsupportedError(
                f"file {file.path}", f"a model deployed with {option}, whose kernels only SevenNet has",
                        "one deployed without accelerated kernels", f"deploy it again without {option}"
            )  # fmt: skip
    symbols = tuple(file.text("chemical_symbols_to_index").split())
    if len(symbols) != int(file.number("num_species")):
        raise ModelError(
            f"file {file.path}", f"{len(symbols)} symbols for {file.text('num_species')} species",
                    "as many symbols as species", "deploy it again"
        )  # fmt: skip
    deployed = read_foreign_script(file)
    scale, shift = _last_step(deployed, len(symbols))
    module = _canonical(deployed, symbols, scale, shift, device or "cpu")
    version = file.extra.get("version", b"").decode()
    card = ModelCard(
        name=name,
        version=version,
        description=f"SevenNet, {file.text('model_type')}, deployed by sevenn {version}",
        inputs=("positions", "atomic_numbers", "edge_index", "edge_shifts"),
        outputs=("atomic_energies",),
        length_unit="angstrom",
        energy_unit="eV",
        energy_offset=dict(zip(symbols, shift, strict=True)) if shift else {},
        dtype="float32",
        elements=symbols,
        cutoff=file.number("cutoff"),
        periodic="optional",
        frame="invariant",
        long_range=False,
        references=("doi:10.1021/acs.jctc.4c00190",),
        created_with=f"sevenn {version}, {file.extra.get('time', b'').decode()}",
    )
    return module, card


def _last_step(deployed: Any, species: int) -> tuple[list[float], list[float]]:
    """Return scale and shift of the atomic energies by species, or empty lists if the file keeps them otherwise.

    A deployed model is frozen: its parameters are constants of its graph. Atomic energies are stored under
    ``atomic_energy`` as ``scaled_atomic_energy * scale + shift``, where scale and shift are numbers, or are picked
    by species from a table.
    """
    graph = deployed.inlined_graph  # kept: its nodes go with it
    stored = [
        node for node in graph.findAllNodes("aten::_set_item") if list(node.inputs())[1].toIValue() == "atomic_energy"
    ]
    if len(stored) != 1:
        return [], []
    total = list(stored[0].inputs())[2].node()
    if total.kind() != "aten::add":
        return [], []
    product, shift = (value.node() for value in list(total.inputs())[:2])
    if product.kind() != "aten::mul":
        return [], []
    tables = [_table(list(product.inputs())[1].node(), species), _table(shift, species)]
    if any(table is None for table in tables):
        return [], []
    return tables[0] or [], tables[1] or []


def _table(node: Any, species: int) -> list[float] | None:
    """Follow views and picks back to the constant that they are taken from."""
    while node.kind() in ("aten::view", "aten::reshape", "aten::index", "aten::unsqueeze"):
        node = next(node.inputs()).node()
    value = node.output().toIValue() if node.kind() == "prim::Constant" else None
    if value is None:
        return None
    numbers = [float(x) for x in (value.flatten().tolist() if hasattr(value, "flatten") else [value])]
    return numbers * species if len(numbers) == 1 else numbers if len(numbers) == species else None


def _canonical(deployed: Any, symbols: tuple[str, ...], scale: list[float], shift: list[float], device: str) -> Any:
    """Script a module that takes edges around the deployed one."""
    import torch
    from torch import Tensor

    table = species_table(symbols)

    class Canonical(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = deployed
            self.register_buffer("species", torch.tensor(table, dtype=torch.int64))
            self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
            self.apart: bool = bool(shift)

        def forward(self, positions: Tensor, atomic_numbers: Tensor, edge_index: Tensor, edge_shifts: Tensor) -> Tensor:
            first, second = edge_index[0], edge_index[1]
            vectors = positions.index_select(0, second) - positions.index_select(0, first) + edge_shifts
            species = self.species.index_select(0, atomic_numbers)  # type: ignore[operator]
            # The constants of a deployed model are in single precision, whatever the positions are in.
            given = {"x": species, "edge_index": edge_index, "edge_vec": vectors.to(torch.float32)}
            found = self.model(given)
            energies: Tensor = found["atomic_energy"].reshape(-1)
            if self.apart:
                scaled = found["scaled_atomic_energy"].reshape(-1).to(torch.float64)
                energies = scaled * self.scale.to(torch.float64).index_select(0, species)  # type: ignore[operator]
            return energies

    with quiet_torchscript():
        scripted = torch.jit.script(Canonical().to(device).eval())
    return scripted


FORMAT = SevenNet()
