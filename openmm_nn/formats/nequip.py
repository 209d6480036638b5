"""NequIP and Allegro: TorchScript files (``*.nequip.pth``) that ``nequip-compile`` of nequip 0.7 and newer writes.

Newer torch (2.10) makes NequIP write AOTInductor packages only; TorchScript files that exist go on running. Such a
file needs neither library. It says nothing of units: Å and eV are taken, which NequIP recommends.

References
----------
Batzner et al., Nat. Commun. 13, 2453 (2022), doi:10.1038/s41467-022-29939-5 (NequIP).
Musaelian et al., Nat. Commun. 14, 579 (2023), doi:10.1038/s41467-023-36329-y (Allegro).
"""

from __future__ import annotations

from typing import Any

from ..card import ModelCard
from ..errors import ModelError, UnsupportedError, message
from ..runner import quiet_torchscript
from .compose import is_element, species_table
from .family import Family
from .files import ForeignFile, inspect_file, read_foreign_script

__all__ = ["FORMAT", "NequIP"]

_ROOT = "nequip.nn.graph_model.GraphModel"
_SHIFT = "PerTypeScaleShift"


class NequIP(Family):
    """The format ``nequip``: compiled TorchScript files."""

    name = "nequip"

    def accepts(self, source: str) -> bool:
        """Return whether a file is a TorchScript model of NequIP or Allegro."""
        file = inspect_file(source)
        return file is not None and file.root.startswith("nequip.")

    def load(self, source: str, *, device: str | None, trust: bool) -> tuple[Any, ModelCard]:
        """Make the module and the card of a compiled file.

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
            If the file is of nequip 0.6 or older, or takes other inputs.
        ModelError
            If its types are not elements, or it cannot be read.
        """
        file = inspect_file(source)
        if file is None or file.root != _ROOT:
            root = "unreadable" if file is None else file.root
            raise UnsupportedError(
                message("source", f"{source}, whose module is {root}", "a file of nequip 0.7 or newer",
                        "compile the model again with a current nequip")
            )  # fmt: skip
        return _load(file, device)


def _load(file: ForeignFile, device: str | None) -> tuple[Any, ModelCard]:
    symbols = tuple(file.text("type_names").split())
    strange = [symbol for symbol in symbols if not is_element(symbol)]
    if strange:
        raise ModelError(
            message(f"file {file.path}", f"types named {', '.join(strange)}", "element symbols",
                    "train the model with chemical symbols as type names")
        )  # fmt: skip
    compiled = read_foreign_script(file)
    # Forces are taken by the engine, as the gradient: what computes them in the file is left out.
    outer = compiled.model
    energy = outer.func if hasattr(outer, "func") else outer
    offsets = _take_shifts(energy, symbols, file)
    module = _canonical(energy, symbols, device or "cpu")
    card = ModelCard(
        name=file.path.name.removesuffix(".pth").removesuffix(".nequip"),
        description="NequIP framework, TorchScript",
        inputs=("positions", "atomic_numbers", "edge_index", "edge_shifts"),
        outputs=("atomic_energies",),
        length_unit="angstrom",
        energy_unit="eV",
        energy_offset=offsets,
        dtype=file.text("model_dtype"),
        elements=symbols,
        cutoff=file.number("r_max"),
        periodic="optional",
        frame="invariant",
        long_range=False,
        references=("doi:10.1038/s41467-022-29939-5", "doi:10.1038/s41467-023-36329-y"),
        created_with=f"nequip, {file.path.name}",
    )
    return module, card


def _take_shifts(module: Any, symbols: tuple[str, ...], file: ForeignFile) -> dict[str, float]:
    """Take the shifts of the elements [eV] out of the module, where there is one place that has them."""
    import torch

    found = [child for _, child in module.named_modules() if getattr(child, "original_name", "") == _SHIFT]
    found = [child for child in found if child.has_shifts]
    if not found:
        return {}
    if len(found) > 1:
        raise UnsupportedError(
            message(f"file {file.path}", f"{len(found)} tables of energy shifts", "one", "train the model with one")
        )
    shifts = [float(x) for x in found[0].shifts.detach().to(torch.float64).flatten()]
    with torch.no_grad():
        found[0].shifts.zero_()
    return dict(zip(symbols, shifts * len(symbols) if len(shifts) == 1 else shifts, strict=True))


def _canonical(model: Any, symbols: tuple[str, ...], device: str) -> Any:
    """Script a module that takes edges around the compiled one."""
    import torch
    from torch import Tensor

    table = species_table(symbols)

    class Canonical(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("species", torch.tensor(table, dtype=torch.int64))

        def forward(self, positions: Tensor, atomic_numbers: Tensor, edge_index: Tensor, edge_shifts: Tensor) -> Tensor:
            first, second = edge_index[0], edge_index[1]
            vectors = positions.index_select(0, second) - positions.index_select(0, first) + edge_shifts
            # The library is given positions in double, whatever the model computes in.
            given = {
                "pos": positions.to(torch.float64),
                "edge_index": edge_index,
                "edge_vectors": vectors.to(torch.float64),
                "atom_types": self.species.index_select(0, atomic_numbers),  # type: ignore[operator]
            }
            energies: Tensor = self.model(given)["atomic_energy"].reshape(-1)
            return energies

    with quiet_torchscript():
        scripted = torch.jit.script(Canonical().to(device).eval())
    return scripted


FORMAT = NequIP()
