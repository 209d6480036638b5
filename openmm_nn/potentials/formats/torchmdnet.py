"""TorchMD-Net: checkpoints (``*.ckpt``) of TensorNet and of the other scalar models, such as AceFF 1.

The model of a checkpoint is made by torchmd-net with operations of torch alone, its neighbour search is replaced by
the edges of the engine, and the whole is scripted: what runs needs no torchmd-net. A checkpoint says nothing of units:
Å and eV are taken, as in AceFF.

References
----------
Simeon and De Fabritiis, NeurIPS 36, 37334 (2023), doi:10.48550/arXiv.2306.06482 (TensorNet).
Pelaez et al., J. Chem. Theory Comput. 20, 4076 (2024), doi:10.1021/acs.jctc.4c00253 (TorchMD-Net 2).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import pickle
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import ModelError, UnsupportedError
from ...model.card import ModelCard
from ...model.card_values import element_symbol
from ...model.torchscript import quiet_torchscript
from .family import Family
from .files import ForeignFile, inspect_file, require_trust

__all__ = ["FORMAT", "TorchMDNet"]

_MARKS = frozenset({"hyper_parameters", "state_dict", "cutoff_upper", "embedding_dimension"})
_MODELS = ("tensornet", "equivariant-transformer", "transformer", "graph-network")
_OUTPUTS = ("Scalar", "EquivariantScalar")
_WARP = "torchmdnet.extensions.warp_ops"
_TENSORNET = "torchmdnet.models.tensornet"


class TorchMDNet(Family):
    """The format ``torchmdnet``: checkpoints."""

    name = "torchmdnet"
    package = "torchmdnet"
    library = "torchmd-net"

    def accepts(self, source: str) -> bool:
        """Return whether a file is a checkpoint of TorchMD-Net."""
        file = inspect_file(source)
        return file is not None and file.words >= _MARKS

    def load(self, source: str, *, device: str | None, trust: bool) -> tuple[Any, ModelCard]:
        """Make the module and the card of a checkpoint.

        Parameters
        ----------
        source
            A path.
        device
            Where the module is put; None for the CPU.
        trust
            Whether a checkpoint with more inside than tensors and plain values may be read.

        Returns
        -------
        module : torch.jit.ScriptModule
            Takes positions [Å], atomic numbers, edges, and the charge if the model was trained with it; returns atomic
            energies [eV].
        card : ModelCard
            Its card.

        Raises
        ------
        MissingDependencyError
            If torchmd-net is missing.
        ParameterError
            If the checkpoint holds objects, and is not trusted.
        UnsupportedError
            If the model is of another kind, or has priors other than atomic energies.
        ModelError
            If it cannot be read.
        """
        self.require(f"file {source}")
        file = inspect_file(source)
        if file is None:
            raise ModelError("source", source, "a checkpoint of TorchMD-Net", "correct the path")
        with warnings.catch_warnings(), quiet_torchscript():
            warnings.simplefilter("ignore")
            checkpoint = _read(file, trust)
            return _load(checkpoint, file, device)


def _read(file: ForeignFile, trust: bool) -> dict[str, Any]:
    """Read a checkpoint: tensors and plain values without running code, anything else only if trusted."""
    import torch

    try:
        found = torch.load(file.path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        require_trust(file, trust, "save its hyper_parameters (as a dict) and state_dict in a file of their own")
        found = torch.load(file.path, map_location="cpu", weights_only=False)
    except (RuntimeError, OSError) as error:
        raise ModelError(
            f"file {file.path}", f"a file that torch cannot read ({error})", "a checkpoint", "get it again"
        ) from error
    return {"hyper_parameters": dict(found["hyper_parameters"]), "state_dict": dict(found["state_dict"])}


@contextlib.contextmanager
def _operations_of_torch() -> Iterator[None]:
    """Import TensorNet without the kernels of warp, which are Python and cannot be scripted; then undo that."""
    kept = {name: sys.modules.pop(name) for name in (_TENSORNET, _WARP) if name in sys.modules}
    sys.modules[_WARP] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in (_TENSORNET, _WARP):
            sys.modules.pop(name, None)
            parent, _, child = name.rpartition(".")
            # A package holds its modules as attributes too.
            if name in kept:
                setattr(sys.modules[parent], child, kept[name])
            elif parent in sys.modules:
                vars(sys.modules[parent]).pop(child, None)
        sys.modules.update(kept)


def _load(checkpoint: dict[str, Any], file: ForeignFile, device: str | None) -> tuple[Any, ModelCard]:
    import torch

    options = checkpoint["hyper_parameters"]
    kind = str(options.get("model"))
    if kind not in _MODELS:
        raise UnsupportedError(
            f"file {file.path}", f"a model of the kind {kind!r}", ", ".join(_MODELS),
                    "use it through OpenMM-ML: load_potential(openmmml.MLPotential('torchmdnet', ...))"
        )  # fmt: skip
    with _operations_of_torch(), tempfile.TemporaryDirectory(prefix="openmm_nn-torchmdnet-") as folder:
        from torchmdnet.models.model import load_model

        # The library reads pickles: it is given what has been read already.
        path = Path(folder) / "model.ckpt"
        torch.save(checkpoint, path)
        model = load_model(str(path), derivative=False, static_shapes=False)
        offsets = _take_atomref(model, file)
        output = type(model.output_model).__name__
        if output not in _OUTPUTS or model.output_model.reduce_op not in ("sum", "add"):
            raise UnsupportedError(
                f"file {file.path}", f"the output {output}, reduced by {model.output_model.reduce_op!r}",
                        f"a sum of {' or '.join(_OUTPUTS)}", "use it through its calculator"
            )  # fmt: skip
        charged = kind == "tensornet" and bool(options.get("charge"))
        module = _canonical(model.eval(), charged, device or "cpu")
    known = tuple(offsets) if offsets else None
    card = ModelCard(
        name=file.path.stem,
        description=f"TorchMD-Net, {kind}, {options.get('num_layers')} layers",
        inputs=("positions", "atomic_numbers", "edge_index", "edge_shifts", *(("charge",) if charged else ())),
        outputs=("atomic_energies",),
        length_unit="angstrom",
        energy_unit="eV",
        energy_offset=offsets,
        dtype="float64" if int(options.get("precision", 32)) == 64 else "float32",
        elements=known,
        cutoff=float(options["cutoff_upper"]),
        periodic="optional",
        frame="invariant",
        long_range=False,
        references=("doi:10.48550/arXiv.2306.06482", "doi:10.1021/acs.jctc.4c00253"),
        created_with=f"torchmd-net {importlib.metadata.version('torchmd-net')}",
    )
    return module, card


def _take_atomref(model: Any, file: ForeignFile) -> dict[str, float]:
    """Take the atomic energies [eV] out of a model; refuse other priors, which search neighbours themselves."""
    import torch

    offsets: dict[str, float] = {}
    for prior in model.prior_model or ():
        if type(prior).__name__ != "Atomref":
            raise UnsupportedError(
                f"file {file.path}", f"the prior {type(prior).__name__}", "Atomref, or none",
                        "use it through its calculator"
            )  # fmt: skip
        if prior.enable:
            table = prior.atomref.weight.detach().to(torch.float64).flatten().tolist()
            for z, value in enumerate(table):
                if 0 < z < 119 and value != 0.0:
                    offsets[element_symbol(z)] = offsets.get(element_symbol(z), 0.0) + value
    return offsets


def _canonical(model: Any, charged: bool, device: str) -> Any:
    """Script a module that takes edges around the model."""
    import torch
    from torch import Tensor

    lower, loop = (
        float(model.representation_model.distance.cutoff_lower),
        bool(model.representation_model.distance.loop),
    )

    class GivenEdges(torch.nn.Module):
        """In place of the neighbour search: edges that come in the place of the box, as rows of i, j, x, y, z."""

        def forward(self, pos: Tensor, batch: Tensor, box: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
            assert box is not None
            index = torch.round(box[:, :2]).to(torch.int64).t()
            vectors = box[:, 2:]
            # A loop has the length 0, and no direction, hence no gradient.
            itself = index[0] == index[1]
            still = itself & (vectors == 0.0).all(dim=1)
            square = (vectors * vectors).sum(dim=1)
            lengths = torch.where(still, torch.zeros_like(square), torch.sqrt(torch.where(still, 1.0, square)))
            return index, lengths, vectors.clone()  # some models normalise them in place

    model.representation_model.distance = GivenEdges()
    for child in model.modules():
        if hasattr(child, "opt"):
            # As a constant, so that what calls the kernels is not compiled.
            child.opt = False
            type(child).__constants__ = [*getattr(type(child), "__constants__", ()), "opt"]

    class Base(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.representation = model.representation_model
            self.output = model.output_model
            self.lower: float = lower
            self.loop: bool = loop
            self.register_buffer("mean", model.mean.detach().clone())
            self.register_buffer("std", model.std.detach().clone())

        def energies(
            self, positions: Tensor, atomic_numbers: Tensor, edge_index: Tensor, edge_shifts: Tensor, charge: Tensor
        ) -> Tensor:
            atoms = positions.shape[0]
            first, second = edge_index[0], edge_index[1]
            # The library's vectors point from the second atom to the first.
            vectors = positions.index_select(0, first) - positions.index_select(0, second) - edge_shifts
            rows = torch.cat([edge_index.t().to(positions.dtype), vectors], dim=1)
            if self.lower > 0.0:
                rows = rows[torch.linalg.vector_norm(vectors.detach(), dim=1) >= self.lower]
            if self.loop:
                own = torch.arange(atoms, device=positions.device).to(positions.dtype).unsqueeze(1)
                still = torch.zeros((atoms, 3), dtype=positions.dtype, device=positions.device)
                rows = torch.cat([rows, torch.cat([own, own, still], dim=1)], dim=0)
            batch = torch.zeros_like(atomic_numbers)
            x, v, z, pos, batch = self.representation(
                atomic_numbers, positions, batch, box=rows, q=charge.reshape(1), s=None
            )
            found = self.output.pre_reduce(x, v, z, pos, batch, None)
            energies: Tensor = (found * self.std).reshape(-1) + self.mean / atoms  # type: ignore[operator]
            return energies

    class Neutral(Base):
        def forward(self, positions: Tensor, atomic_numbers: Tensor, edge_index: Tensor, edge_shifts: Tensor) -> Tensor:
            none = torch.zeros((), dtype=positions.dtype, device=positions.device)
            return self.energies(positions, atomic_numbers, edge_index, edge_shifts, none)

    class Charged(Base):
        def forward(
            self, positions: Tensor, atomic_numbers: Tensor, edge_index: Tensor, edge_shifts: Tensor, charge: Tensor
        ) -> Tensor:
            return self.energies(positions, atomic_numbers, edge_index, edge_shifts, charge)

    chosen: torch.nn.Module = Charged() if charged else Neutral()
    scripted: Any = torch.jit.script(chosen.to(device).eval())
    return scripted


FORMAT = TorchMDNet()
