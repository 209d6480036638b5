"""TorchANI: the ANI family of potentials, from torchani 2.9 or newer.

The networks of torchani are used as they are. Around them, the module here takes the edges that the engine finds, so
that a region in a periodic box, a triclinic one too, and a small crystal are all treated alike, and returns atomic
energies without the reference energies of the elements, which the card keeps in double precision.

References
----------
Devereux et al., J. Chem. Theory Comput. 16, 4192 (2020), doi:10.1021/acs.jctc.0c00121 (ANI-2x).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import MissingDependencyError, ModelError
from ...model.card import ModelCard
from ...model.torchscript import quiet_torchscript

__all__ = ["FORMAT", "TorchANI"]

_INSTALL = "pip install 'openmm-nn[torchani]'"
_MINIMUM = (2, 9)
_MEMBERS = 8
_DESCRIPTION = "ANI-2x: H, C, N, O, F, S, Cl; wB97X/6-31G(d)"


class TorchANI:
    """The format ``torchani``: names of published ANI potentials, whose weights torchani itself provides."""

    @property
    def name(self) -> str:
        """Name of the family."""
        return "torchani"

    def names(self) -> Mapping[str, str]:
        """Return the names that can be loaded, each with a short description."""
        members = {f"ani2x/{i}": f"{_DESCRIPTION}; member {i} of the committee" for i in range(_MEMBERS)}
        return {"ani2x": f"{_DESCRIPTION}; a committee of {_MEMBERS}", **members}

    def missing(self) -> str:
        """Return what is missing, with the command that installs it; an empty string if nothing is."""
        if importlib.util.find_spec("torchani") is None:
            return f"torchani >= 2.9 is not installed; install it with: {_INSTALL}"
        version = importlib.metadata.version("torchani")
        if tuple(int(part) for part in version.split(".")[:2]) < _MINIMUM:
            return f"torchani is {version}, and 2.9 or newer is needed; install it with: {_INSTALL}"
        return ""

    def accepts(self, source: str) -> bool:
        """Return whether a name is one of this family's."""
        return source in self.names()

    def load(self, source: str, *, device: str | None, trust: bool) -> tuple[Any, ModelCard]:
        """Make the module and the card of a published potential.

        Parameters
        ----------
        source
            ``"ani2x"`` or ``"ani2x/0"`` to ``"ani2x/7"``.
        device
            Where the module is put; None for the CPU.
        trust
            Not used: torchani reads its weights without running code.

        Returns
        -------
        module : torch.jit.ScriptModule
            Takes positions [Å], atomic numbers and edges; returns atomic energies [Hartree].
        card : ModelCard
            Its card.

        Raises
        ------
        MissingDependencyError
            If torchani is missing or too old.
        ModelError
            If its weights cannot be read.
        """
        missing = self.missing()
        if missing:
            raise MissingDependencyError(
                f"potential {source!r}", missing, "torchani >= 2.9, which brings the weights", _INSTALL
            )
        member = source.partition("/")[2]
        index = int(member) if member else None
        ani, offsets = _published(index)
        module = _canonical(ani, device or "cpu")
        count = _MEMBERS if index is None else 1
        card = ModelCard(
            name=source,
            version=importlib.metadata.version("torchani"),
            description=f"{_DESCRIPTION}; {'a committee of 8' if index is None else f'member {index}'}",
            inputs=("positions", "atomic_numbers", "edge_index", "edge_shifts"),
            outputs=("atomic_energies",),
            length_unit="angstrom",
            energy_unit="hartree",
            energy_offset=offsets,
            dtype="float32",
            elements=tuple(offsets),
            cutoff=float(ani.cutoff),
            periodic="optional",
            frame="invariant",
            long_range=False,
            committee_size=count,
            level_of_theory="wB97X/6-31G(d)",
            trained_on="ANI-2x dataset",
            license="MIT",
            references=("doi:10.1021/acs.jctc.0c00121",),
            created_with=f"torchani {importlib.metadata.version('torchani')}",
        )
        return module, card


def _published(index: int | None) -> tuple[Any, dict[str, float]]:
    """Read ANI-2x, or one member of it, and its self energies [Hartree] by element."""
    with warnings.catch_warnings(), quiet_torchscript(), _writable_data():
        # Of its CUDA extensions, which are not used here.
        warnings.filterwarnings("ignore", message="The extensions", category=UserWarning)
        import torch
        import torchani

        try:
            ani = torchani.models.ANI2x(model_index=index, dtype=torch.float64)
        except (OSError, RuntimeError) as error:
            raise ModelError(
                "weights of ANI-2x", f"an error of torchani while it read them ({error})",
                        "weights in torchani's data directory, or a network over which it can get them",
                        "set TORCHANI_DATA_DIR to a directory that has StateDicts/ani2x_state_dict.pt"
            ) from error  # fmt: skip
    offsets = dict(zip(ani.symbols, ani.energy_shifter.self_energies.tolist(), strict=True))
    ani.set_enabled("energy_shifter", False)
    # Networks are stored in single precision; kept in it, the module converts to double without loss.
    return ani.to(torch.float32).eval(), offsets


class _writable_data:
    """Give torchani a writable data directory while it reads: it makes directories beside its weights."""

    def __init__(self) -> None:
        self._before = os.environ.get("TORCHANI_DATA_DIR")
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> None:
        if self._before and Path(self._before).is_dir() and not os.access(self._before, os.W_OK):
            self._temporary = tempfile.TemporaryDirectory(prefix="openmm_nn-torchani-")
            target = Path(self._temporary.name)
            for source in Path(self._before).rglob("*"):
                if source.is_file():
                    copy = target / source.relative_to(self._before)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, copy)
            os.environ["TORCHANI_DATA_DIR"] = self._temporary.name

    def __exit__(self, *exc: object) -> None:
        if self._temporary is not None:
            os.environ["TORCHANI_DATA_DIR"] = str(self._before)
            self._temporary.cleanup()


def _canonical(ani: Any, device: str) -> Any:
    """Script a module that takes edges around the networks of torchani."""
    import torch
    from torch import Tensor
    from torchani.neighbors import Neighbors

    from .torchani_networks import AllPairs, BatchedNetworks

    # The network potential is the only one of ANI-2x. It is called directly, since torchani would look once more for
    # pairs beyond the cutoff, which the engine leaves out already.
    network = ani.potentials["nnp"]
    ensemble = network.neural_networks
    networks = BatchedNetworks(
        list(ensemble.members) if hasattr(ensemble, "members") else [ensemble], network.aev_computer
    )

    class Canonical(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.converter = ani.species_converter
            self.aev_computer = network.aev_computer
            self.networks = networks
            self.all_pairs = AllPairs(network.aev_computer)

        def forward(self, positions: Tensor, atomic_numbers: Tensor, edge_index: Tensor, edge_shifts: Tensor) -> Tensor:
            if self.all_pairs.made:
                return self.networks.static(self.all_pairs(positions))
            # torchani counts every pair once. A pair of an atom and its own image is told from its reverse by the
            # sign of the first component of the shift that is not zero.
            first, second = edge_index[0], edge_index[1]
            x, y, z = edge_shifts[:, 0], edge_shifts[:, 1], edge_shifts[:, 2]
            ahead = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
            kept = ((first < second) | ((first == second) & ahead)).nonzero().flatten()
            pairs = edge_index.index_select(1, kept).flip(0)
            vectors = positions.index_select(0, pairs[0]) - positions.index_select(0, pairs[1])
            vectors = vectors + edge_shifts.index_select(0, kept)
            neighbors = Neighbors(pairs, vectors.norm(2, -1), vectors)
            elements = self.converter(atomic_numbers.unsqueeze(0))
            features = self.aev_computer.compute_from_neighbors(elements, positions.unsqueeze(0), neighbors)
            energies: Tensor = self.networks(elements.squeeze(0), features.squeeze(0))
            return energies

        @torch.jit.export
        def specialize(self, atomic_numbers: Tensor) -> None:
            """Leave out what molecules of these atoms do not need."""
            self.networks.keep(self.converter(atomic_numbers.unsqueeze(0)).squeeze(0))

        @torch.jit.export
        def make_static(self, atomic_numbers: Tensor) -> None:
            """Take all pairs and triples of these atoms from now on, so that no shape depends on where they are."""
            elements = self.converter(atomic_numbers.unsqueeze(0)).squeeze(0)
            self.all_pairs.make(elements)
            self.networks.sort(elements)

    with quiet_torchscript():
        scripted = torch.jit.script(Canonical().to(device).eval())
    return scripted


FORMAT = TorchANI()
