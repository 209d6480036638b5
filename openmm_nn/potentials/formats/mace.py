"""MACE: saved models (pickles) and their export for LAMMPS (TorchScript).

A saved model needs mace-torch, and trust, to be read. Its export for LAMMPS is TorchScript and needs neither. Either
way the energies of isolated atoms are taken out of the model, and kept in the card in double precision.

References
----------
Batatia et al., NeurIPS 35, 11423 (2022), doi:10.48550/arXiv.2206.07697 (MACE).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from ...errors import ModelError, UnsupportedError
from ...model.card import ModelCard
from ...model.card_values import element_symbol
from ...model.torchscript import quiet_torchscript
from .compose import dtype_of, species_table
from .family import Family
from .files import ForeignFile, inspect_file, read_foreign_script, require_trust

__all__ = ["FORMAT", "MACE"]

_ROOT = "mace.calculators.lammps_mace.LAMMPS_MACE"
_KNOWN = ("MACE", "ScaleShiftMACE")
_EXPORT = "mace_create_lammps_model MODEL"


class MACE(Family):
    """The format ``mace``: files ``*.model`` and ``*-lammps.pt``."""

    name = "mace"
    package = "mace"
    library = "mace-torch"

    def accepts(self, source: str) -> bool:
        """Return whether a file is a saved MACE model or its export for LAMMPS."""
        file = inspect_file(source)
        return file is not None and (file.root == _ROOT or file.imports("mace"))

    def load(self, source: str, *, device: str | None, trust: bool) -> tuple[Any, ModelCard]:
        """Make the module and the card of a file.

        Of a model with several heads the last is used, or the one that it was exported with.

        Parameters
        ----------
        source
            A path.
        device
            Where the module is put; None for the CPU.
        trust
            Whether a saved model, which is a pickle, may be read.

        Returns
        -------
        module : torch.jit.ScriptModule
            Takes positions [Å], atomic numbers and edges; returns atomic energies [eV].
        card : ModelCard
            Its card.

        Raises
        ------
        ParameterError
            If the file is a pickle and not trusted.
        MissingDependencyError
            If it is a pickle and mace-torch is missing.
        UnsupportedError
            If the model is not one that returns energies of atoms alone.
        ModelError
            If it cannot be read.
        """
        file = inspect_file(source)
        if file is None:
            raise ModelError("source", source, "a file of MACE", "correct the path")
        exported = read_foreign_script(file) if file.script else self._export(file, trust)
        return _load(exported, file, device)

    def _export(self, file: ForeignFile, trust: bool) -> Any:
        """Read a saved model and script it as for LAMMPS."""
        require_trust(file, trust, f"export it on a machine that may run it, with: {_EXPORT}")
        self.require(f"file {file.path}", "a saved model of MACE")
        import torch

        with warnings.catch_warnings(), quiet_torchscript():
            warnings.simplefilter("ignore")
            # First: it lets e3nn 0.4 read its constants under torch 2.6 and newer.
            from mace.calculators.lammps_mace import LAMMPS_MACE  # isort: skip
            from e3nn.util import jit

            try:
                model = torch.load(file.path, map_location="cpu", weights_only=False)
            except (RuntimeError, AttributeError, ImportError, OSError) as error:
                raise ModelError(
                    f"file {file.path}", f"a saved model that cannot be read ({error})",
                            "one saved by a version of MACE that the installed one reads",
                            f"install that version, or export the model with it: {_EXPORT}"
                ) from error  # fmt: skip
            kind = type(model).__name__
            if kind not in _KNOWN:
                raise UnsupportedError(
                    f"file {file.path}", f"a model of the class {kind}", ", ".join(_KNOWN),
                            "use it through its calculator: load_potential(MACECalculator(...))"
                )  # fmt: skip
            return jit.compile(LAMMPS_MACE(model.eval()))


def _load(exported: Any, file: ForeignFile, device: str | None) -> tuple[Any, ModelCard]:
    import torch

    inner = exported.model
    numbers = [int(z) for z in exported.atomic_numbers]
    symbols = tuple(element_symbol(z) for z in numbers)
    head = int(exported.head) if hasattr(exported, "head") else 0
    energies = inner.atomic_energies_fn.atomic_energies
    table = energies.detach().to(torch.float64).reshape(-1, len(numbers))
    offsets = dict(zip(symbols, table[head].tolist(), strict=True))
    with torch.no_grad():
        energies.zero_()
    specs = getattr(inner, "embedding_specs", None)
    if specs:
        raise UnsupportedError(
            f"file {file.path}", f"a model that is told {', '.join(specs)}",
                    "a model of positions and elements",
                    "use it through its calculator: load_potential(MACECalculator(...))"
        )  # fmt: skip
    module = _canonical(inner, symbols, head, device or "cpu")
    card = ModelCard(
        name=file.path.stem,
        description=f"MACE with {int(exported.num_interactions)} interactions",
        inputs=("positions", "atomic_numbers", "edge_index", "edge_shifts"),
        outputs=("atomic_energies",),
        length_unit="angstrom",
        energy_unit="eV",
        energy_offset=offsets,
        dtype=dtype_of(inner),
        elements=symbols,
        cutoff=float(exported.r_max),
        periodic="optional",
        frame="invariant",
        long_range=False,
        references=("doi:10.48550/arXiv.2206.07697",),
        created_with=f"MACE, {Path(file.path).name}",
    )
    return module, card


def _canonical(model: Any, symbols: tuple[str, ...], head: int, device: str) -> Any:
    """Script a module that takes edges around the exported one."""
    import torch
    from torch import Tensor

    table = species_table(symbols)

    class Canonical(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.count: int = len(symbols)
            self.head: int = head
            self.register_buffer("species", torch.tensor(table, dtype=torch.int64))

        def forward(self, positions: Tensor, atomic_numbers: Tensor, edge_index: Tensor, edge_shifts: Tensor) -> Tensor:
            species = self.species.index_select(0, atomic_numbers)  # type: ignore[operator]
            attributes = torch.nn.functional.one_hot(species, self.count).to(positions.dtype)
            atoms = positions.shape[0]
            whole = torch.zeros(atoms, dtype=torch.int64, device=positions.device)
            given = {
                "positions": positions,
                "node_attrs": attributes,
                "edge_index": edge_index,
                "shifts": edge_shifts,
                "unit_shifts": torch.zeros_like(edge_shifts),
                "cell": torch.zeros((3, 3), dtype=positions.dtype, device=positions.device),
                "batch": whole,
                "ptr": torch.tensor([0, atoms], dtype=torch.int64, device=positions.device),
                "head": torch.full((1,), self.head, dtype=torch.int64, device=positions.device),
            }
            found = self.model(given, False, False)["node_energy"]
            assert found is not None
            energies: Tensor = found.reshape(-1)
            return energies

    with quiet_torchscript():
        scripted = torch.jit.script(Canonical().to(device).eval())
    return scripted


FORMAT = MACE()
