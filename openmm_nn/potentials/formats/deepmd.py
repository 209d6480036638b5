"""DeePMD-kit: frozen models (``*.pth``) that ``dp --pt freeze`` of version 3 writes.

A frozen model needs no library. Its code names operators that DeePMD-kit brings along, for compressed models and for
runs on several processors; where it is neither, they are never called, and the calls are taken out, so that torch alone
reads it.

References
----------
Zeng et al., J. Chem. Phys. 159, 054801 (2023), doi:10.1063/5.0155600 (DeePMD-kit).
Zeng et al., J. Chem. Theory Comput. 21, 4375 (2025), doi:10.1021/acs.jctc.5c00340 (version 3).
"""

from __future__ import annotations

import re
from typing import Any

from ...errors import UnsupportedError
from ...model.archive import rewrite_archive
from ...model.card import ModelCard
from ...model.torchscript import quiet_torchscript
from .compose import element_types, species_table
from .family import Family
from .files import ForeignFile, inspect_file, read_foreign_script

__all__ = ["FORMAT", "DeePMD"]

_MODEL = "EnergyModel"
_CALL = re.compile(r"ops\.deepmd\.\w+\(")
_CALCULATOR = "use it through its ASE calculator: load_potential(deepmd.calculator.DP(...))"
_COMPRESSED = ("compress", "geo_compress", "tebd_compress")


class DeePMD(Family):
    """The format ``deepmd``: frozen models."""

    name = "deepmd"

    def accepts(self, source: str) -> bool:
        """Return whether a file is a frozen model of DeePMD-kit's PyTorch backend."""
        file = inspect_file(source)
        return file is not None and file.root.startswith("deepmd.pt.")

    def load(self, source: str, *, device: str | None, trust: bool) -> tuple[Any, ModelCard]:
        """Make the module and the card of a frozen model.

        Parameters
        ----------
        source
            A path.
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
        UnsupportedError
            If it is no model of energies, is compressed, or takes parameters of frames or atoms.
        ModelError
            If its types are not elements, or it cannot be read.
        """
        file = inspect_file(source)
        if file is None or file.root.rpartition(".")[2] != _MODEL:
            root = "unreadable" if file is None else file.root.rpartition(".")[2]
            raise UnsupportedError(
                "source", f"{source}, a DeePMD model of the kind {root}", _MODEL,
                        _CALCULATOR
            )  # fmt: skip
        return _load(file, device)


def _load(file: ForeignFile, device: str | None) -> tuple[Any, ModelCard]:
    model = read_foreign_script(file, _without_operators)
    _check(model, file)
    symbols = element_types(model.get_type_map(), file.path, "train the model with chemical symbols in type_map")
    offsets = _take_biases(model, symbols)
    card = ModelCard(
        name=file.path.stem,
        description="DeePMD-kit, TorchScript",
        inputs=("positions", "atomic_numbers", "edge_index", "edge_shifts"),
        outputs=("atomic_energies",),
        length_unit="angstrom",
        energy_unit="eV",
        energy_offset=offsets,
        dtype=_dtype(model, file),
        elements=symbols,
        cutoff=float(model.get_rcut()),
        periodic="optional",
        frame="invariant",
        long_range=False,
        references=("doi:10.1063/5.0155600", "doi:10.1021/acs.jctc.5c00340"),
        created_with=f"DeePMD-kit, {file.path.name}",
    )
    return _canonical(model, symbols, device or "cpu"), card


def _without_operators(data: bytes) -> bytes:
    """Return the archive with an empty list in the place of every call of an operator of DeePMD-kit."""

    def edit(name: str, content: bytes) -> bytes | None:
        if name.endswith(".debug_pkl"):  # places in the code, which change
            return None
        return _without_calls(content.decode()).encode() if name.endswith(".py") else content

    return rewrite_archive(data, edit)


def _without_calls(code: str) -> str:
    while call := _CALL.search(code):
        depth, end = 1, call.end()
        while depth and end < len(code):
            depth += {"(": 1, ")": -1}.get(code[end], 0)
            end += 1
        code = f"{code[: call.start()]}annotate(List[Tensor], []){code[end:]}"
    return code


def _check(model: Any, file: ForeignFile) -> None:
    for name, child in model.named_modules():
        if any(getattr(child, attribute, False) is True for attribute in _COMPRESSED):
            raise UnsupportedError(
                f"file {file.path}", f"a compressed model ({name})", "one that is not",
                        "give the file that dp compress was given, as dp freeze wrote it"
            )  # fmt: skip
    taken = {"fparam": model.get_dim_fparam(), "aparam": model.get_dim_aparam()}
    if any(taken.values()):
        wanted = ", ".join(f"{count} of {name}" for name, count in taken.items() if count)
        raise UnsupportedError(
            f"file {file.path}", f"a model that is given parameters ({wanted})", "one of positions and types",
                    _CALCULATOR
        )  # fmt: skip


def _dtype(model: Any, file: ForeignFile) -> str:
    """Return the dtype of the weights, in which everything is computed then."""
    found = {str(weight.dtype).removeprefix("torch.") for weight in model.parameters()}
    if not found <= {"float32", "float64"} or len(found) > 1:
        raise UnsupportedError(
            f"file {file.path}", f"weights in {' and '.join(sorted(found))}", "float32 or float64, not both",
                    _CALCULATOR
        )  # fmt: skip
    return found.pop()


def _take_biases(model: Any, symbols: tuple[str, ...]) -> dict[str, float]:
    """Take the energies of the types [eV] out of the module."""
    import torch

    atomic = model.atomic_model
    total = torch.zeros(len(symbols), dtype=torch.float64)
    with torch.no_grad():
        for table in (atomic.out_bias, atomic.fitting_net.bias_atom_e):
            total += table.detach().to("cpu", torch.float64).reshape(len(symbols))
            table.zero_()
    return dict(zip(symbols, total.tolist(), strict=True))


def _canonical(model: Any, symbols: tuple[str, ...], device: str) -> Any:
    """Script a module that takes edges around the frozen one, in which every neighbour is an atom outside."""
    import torch
    from torch import Tensor

    table = species_table(symbols)

    class Canonical(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("species", torch.tensor(table, dtype=torch.int64))

        def forward(self, positions: Tensor, atomic_numbers: Tensor, edge_index: Tensor, edge_shifts: Tensor) -> Tensor:
            count, edges = positions.size(0), edge_index.size(1)
            types: Tensor = self.species.index_select(0, atomic_numbers)  # type: ignore[operator]
            order = torch.argsort(edge_index[0])
            first, second = edge_index[0].index_select(0, order), edge_index[1].index_select(0, order)
            places = torch.arange(edges, device=positions.device)
            numbers = torch.bincount(first, minlength=count)
            column = places - (torch.cumsum(numbers, 0) - numbers).index_select(0, first)
            width = 1 if edges == 0 else int(numbers.max())
            neighbours = torch.full([count, width], -1, dtype=torch.int64, device=positions.device)
            neighbours[first, column] = count + places
            images = positions.index_select(0, second) + edge_shifts.index_select(0, order)
            x = torch.cat([positions, images]).unsqueeze(0)
            all_types = torch.cat([types, types.index_select(0, second)]).unsqueeze(0)
            mapping = torch.cat([torch.arange(count, device=positions.device), second]).unsqueeze(0)
            chosen = self.model.format_nlist(x, all_types, neighbours.unsqueeze(0), True)
            found = self.model.atomic_model.forward_common_atomic(x, all_types, chosen, mapping=mapping)
            energies: Tensor = found["energy"].reshape(-1)
            return energies

    with quiet_torchscript():
        scripted = torch.jit.script(Canonical().to(device).eval())
    return scripted


FORMAT = DeePMD()
