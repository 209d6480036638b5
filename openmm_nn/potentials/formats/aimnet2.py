"""AIMNet2: TorchScript files (``*.jpt``), with Coulomb and dispersion inside; charge, and spin where the model has it.

Such a file needs no AIMNet to run. It is run with all pairs of a cluster, which is what its Coulomb energy is of. Files
of the newer layout (``*.pt``) leave Coulomb and dispersion to their calculator, and are used through it.

References
----------
Anstine et al., Chem. Sci. 16, 10228 (2025), doi:10.1039/D4SC08572H (AIMNet2).
"""

from __future__ import annotations

from typing import Any

from ...errors import UnsupportedError
from ...model.card import ModelCard
from ...model.card_values import element_symbol
from ...model.torchscript import quiet_torchscript
from .family import Family
from .files import ForeignFile, inspect_file, read_foreign_script

__all__ = ["FORMAT", "AIMNet2"]

_NEW_LAYOUT = frozenset({"format_version", "coulomb_mode", "implemented_species"})


class AIMNet2(Family):
    """The format ``aimnet2``: TorchScript files."""

    name = "aimnet2"

    def accepts(self, source: str) -> bool:
        """Return whether a file is of AIMNet2, in either layout."""
        file = inspect_file(source)
        return file is not None and (_scripted(file) or file.words >= _NEW_LAYOUT)

    def load(self, source: str, *, device: str | None, trust: bool) -> tuple[Any, ModelCard]:
        """Make the module and the card of a TorchScript file.

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
            Takes positions [Å], atomic numbers and charge; returns the energy [eV].
        card : ModelCard
            Its card.

        Raises
        ------
        UnsupportedError
            If the file is of the newer layout.
        ModelError
            If it cannot be read.
        """
        file = inspect_file(source)
        if file is None or not _scripted(file):
            raise UnsupportedError(
                "source", f"{source}, a file of AIMNet2 whose Coulomb and dispersion are in its calculator",
                        "a TorchScript file (.jpt)",
                        "use it through its calculator: load_potential(AIMNet2ASE(...)), with charge in the card"
            )  # fmt: skip
        return _load(file, device)


def _scripted(file: ForeignFile) -> bool:
    return file.root.startswith(("aimnet.", "aimnet2.")) and file.root.endswith(".AIMNet2")


def _load(file: ForeignFile, device: str | None) -> tuple[Any, ModelCard]:
    import torch

    model = read_foreign_script(file)
    # Features of elements that the model was not trained for are not numbers; row 0 is padding.
    features = model.afv.weight.detach()
    known = [z for z in range(1, len(features)) if not bool(torch.isnan(features[z]).any())]
    offsets = _take_shifts(model, known, file)
    spin = int(getattr(model, "num_charge_channels", 1)) == 2
    module = _canonical(model, spin, device or "cpu")
    card = ModelCard(
        name=file.path.stem,
        description=f"AIMNet2{', open shell' if spin else ''}, TorchScript",
        inputs=("positions", "atomic_numbers", "charge", *(("multiplicity",) if spin else ())),
        outputs=("energy",),
        length_unit="angstrom",
        energy_unit="eV",
        energy_offset=offsets,
        dtype="float32",
        elements=tuple(element_symbol(z) for z in known),
        periodic="never",
        frame="invariant",
        long_range=True,
        references=("doi:10.1039/D4SC08572H",),
        created_with=f"AIMNet, {file.path.name}",
    )
    return module, card


def _take_shifts(model: Any, known: list[int], file: ForeignFile) -> dict[str, float]:
    """Take the energies of isolated atoms [eV] out of the module."""
    import torch

    found = [child for _, child in model.named_modules() if getattr(child, "original_name", "") == "AtomicShift"]
    if len(found) > 1:
        raise UnsupportedError(
            f"file {file.path}", f"{len(found)} tables of atomic energies", "one", "use its calculator"
        )
    offsets: dict[str, float] = {}
    for child in found:
        table = child.shifts.weight
        offsets = {element_symbol(z): float(table[z, 0]) for z in known}
        with torch.no_grad():
            table.zero_()
    return offsets


def _canonical(model: Any, spin: bool, device: str) -> Any:
    """Script a module of a single cluster around the one of batches."""
    import torch
    from torch import Tensor

    class Canonical(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, positions: Tensor, atomic_numbers: Tensor, charge: Tensor) -> Tensor:
            given = {
                "coord": positions.unsqueeze(0),
                "numbers": atomic_numbers.unsqueeze(0),
                "charge": charge.reshape(1),
            }
            energy: Tensor = self.model(given)["energy"].reshape(-1).sum()
            return energy

    class OpenShell(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, positions: Tensor, atomic_numbers: Tensor, charge: Tensor, multiplicity: Tensor) -> Tensor:
            given = {
                "coord": positions.unsqueeze(0),
                "numbers": atomic_numbers.unsqueeze(0),
                "charge": charge.reshape(1),
                "mult": multiplicity.reshape(1),
            }
            energy: Tensor = self.model(given)["energy"].reshape(-1).sum()
            return energy

    chosen: torch.nn.Module = OpenShell() if spin else Canonical()
    with quiet_torchscript():
        scripted: Any = torch.jit.script(chosen.to(device).eval())
    return scripted


FORMAT = AIMNet2()
