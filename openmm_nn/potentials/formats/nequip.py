"""NequIP and Allegro: what ``nequip-compile`` writes, TorchScript files and AOTInductor packages.

A TorchScript file (``*.nequip.pth``, nequip 0.7 and newer) runs from then on; with torch 2.10 and newer NequIP writes
packages (``*.nequip.pt2``) only, machine code of one kind of processor or GPU. Neither needs the library to run, nor
says anything of units: Å and eV are taken, which NequIP recommends.

References
----------
Batzner et al., Nat. Commun. 13, 2453 (2022), doi:10.1038/s41467-022-29939-5 (NequIP).
Musaelian et al., Nat. Commun. 14, 579 (2023), doi:10.1038/s41467-023-36329-y (Allegro).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import ModelError, UnsupportedError
from ...model.card import CARD_FILE, ModelCard
from ...model.package import IDENTITY_INPUT, SPECIES_INPUT, describe_package, is_package, read_package
from ...model.torchscript import quiet_torchscript
from .compose import atomic_number, element_types, species_table
from .family import Family
from .files import ForeignFile, inspect_file, read_foreign_script

__all__ = ["FORMAT", "NequIP"]

_ROOT = "nequip.nn.graph_model.GraphModel"
_SHIFT = "PerTypeScaleShift"
_INPUTS = {
    "pos": "positions",
    "edge_index": "edge_index",
    "atom_types": SPECIES_INPUT,
    "cell": IDENTITY_INPUT,
    "edge_cell_shift": "edge_shifts",
}
_OUTPUTS = {"atomic_energy": "atomic_energies"}
_SYMBOLS = "train the model with chemical symbols as type names"
_TARGET = "compile the model again: nequip-compile --mode aotinductor --target ase"


class NequIP(Family):
    """The format ``nequip``: TorchScript files, and packages of machine code."""

    name = "nequip"

    def accepts(self, source: str) -> bool:
        """Return whether a file is a compiled model of NequIP or Allegro."""
        if source.endswith(".pt2"):
            return _is_compiled(Path(source))
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
            Not used: neither kind of file runs anything while it is read.

        Returns
        -------
        module : torch.jit.ScriptModule or bytes
            Takes positions [Å], atomic numbers and edges; returns atomic energies [eV]. A package is returned with its
            card inside, and what its code takes.
        card : ModelCard
            Its card.

        Raises
        ------
        UnsupportedError
            If the file is of nequip 0.6 or older, a package of nequip 0.16 or older, or takes other inputs.
        ModelError
            If its types are not elements, or it cannot be read.
        """
        if source.endswith(".pt2"):
            return _load_package(Path(source))
        file = inspect_file(source)
        if file is None or file.root != _ROOT:
            root = "unreadable" if file is None else file.root
            raise UnsupportedError(
                "source", f"{source}, whose module is {root}", "a file of nequip 0.7 or newer",
                        "compile the model again with a current nequip"
            )  # fmt: skip
        return _load(file, device)


def _is_compiled(path: Path) -> bool:
    try:
        data = path.read_bytes()
        if not is_package(data):
            return False
        info = read_package(data, str(path))
    except (OSError, ModelError):
        return False  # what is wrong with it is said by whoever reads it
    return info.card is None and {"r_max", "type_names"} <= set(info.values)


def _load_package(path: Path) -> tuple[bytes, ModelCard]:
    data = path.read_bytes()
    values = read_package(data, str(path)).values
    if libraries := values.get("nequip_custom_ops_libs"):
        raise UnsupportedError(
            f"file {path}", f"code that calls operators of {libraries}", "code that torch runs alone",
                    "compile the model again without acceleration by other libraries"
        )  # fmt: skip
    taken, returned = (values.get(f"nequip_aoti_{kind}", "").split() for kind in ("inputs", "outputs"))
    if not taken or not returned:
        raise UnsupportedError(
            f"file {path}", "a package that does not say what it takes and returns",
                    "one of nequip 0.17 and newer", _TARGET
        )  # fmt: skip
    inputs = tuple(_INPUTS.get(name, name) for name in taken)
    if not set(inputs) <= set(_INPUTS.values()) or "forces" not in returned or returned[0] not in _OUTPUTS:
        raise UnsupportedError(
            f"file {path}", f"code that takes {', '.join(taken)} and returns {', '.join(returned)}",
                    f"some of {', '.join(_INPUTS)}, and atomic_energy and forces, among others", _TARGET
        )  # fmt: skip
    symbols = element_types(values["type_names"].split(), path, _SYMBOLS)
    own = tuple("atomic_numbers" if name == SPECIES_INPUT else name for name in inputs if name != IDENTITY_INPUT)
    card = _card(
        path.name.removesuffix(".pt2").removesuffix(".nequip"),
        "AOTInductor",
        symbols,
        _number(path, values, "r_max"),
        inputs=own,
        outputs=("atomic_energies", "forces"),
        # It takes and returns double precision, whatever it computes in.
        dtype="float64",
        periodic="optional" if "edge_shifts" in own else "never",
        format="aotinductor",
    )
    described = {
        CARD_FILE: card.to_json(),
        "openmm_nn_inputs": " ".join(inputs),
        "openmm_nn_outputs": " ".join(_OUTPUTS.get(name, name) for name in returned),
        "openmm_nn_dtype": card.dtype,
        "openmm_nn_species": " ".join(str(atomic_number(symbol)) for symbol in symbols),
    }
    return describe_package(data, described), card


def _number(path: Path, values: Mapping[str, str], name: str) -> float:
    try:
        return float(values[name])
    except ValueError as error:
        raise ModelError(
            f"file {path}", f"{values[name]!r} as its {name}", "a number", "compile the model again"
        ) from error


def _card(name: str, kind: str, symbols: tuple[str, ...], cutoff: float, **values: Any) -> ModelCard:
    return ModelCard(
        name=name,
        description=f"NequIP framework, {kind}",
        length_unit="angstrom",
        energy_unit="eV",
        elements=symbols,
        cutoff=cutoff,
        frame="invariant",
        long_range=False,
        references=("doi:10.1038/s41467-022-29939-5", "doi:10.1038/s41467-023-36329-y"),
        created_with=f"nequip, {name}",
        **values,
    )


def _load(file: ForeignFile, device: str | None) -> tuple[Any, ModelCard]:
    symbols = element_types(file.text("type_names").split(), file.path, _SYMBOLS)
    compiled = read_foreign_script(file)
    # Forces are taken by the engine, as the gradient: what computes them in the file is left out.
    outer = compiled.model
    energy = outer.func if hasattr(outer, "func") else outer
    offsets = _take_shifts(energy, symbols, file)
    module = _canonical(energy, symbols, device or "cpu")
    card = _card(
        file.path.name.removesuffix(".pth").removesuffix(".nequip"),
        "TorchScript",
        symbols,
        file.number("r_max"),
        inputs=("positions", "atomic_numbers", "edge_index", "edge_shifts"),
        outputs=("atomic_energies",),
        energy_offset=offsets,
        dtype=file.text("model_dtype"),
        periodic="optional",
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
            f"file {file.path}", f"{len(found)} tables of energy shifts", "one", "train the model with one"
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
