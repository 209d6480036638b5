"""metatomic: exported models, with their units, capabilities and requested neighbour lists.

What such a model exchanges are objects of metatensor and metatomic, whose libraries must be in the process that runs
it: the composed module is TorchScript and runs natively, and a process that reads it from a file or from XML imports
``metatomic.torch`` first.

References
----------
Bigi et al., J. Chem. Phys. 164, 064113 (2026), doi:10.1063/5.0304911 (metatensor and metatomic).
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

from ...errors import ModelError, UnsupportedError
from ...model.card import ModelCard
from ...model.card_values import element_symbol
from ...model.scriptcheck import check_script_archive
from ...model.torchscript import quiet_torchscript
from .family import Family
from .files import inspect_file

__all__ = ["FORMAT", "Metatomic"]

_ROOT = "metatomic.torch.model.AtomisticModel"
_LENGTHS = {"angstrom": "angstrom", "a": "angstrom", "nm": "nm", "nanometer": "nm", "bohr": "bohr"}
_ENERGIES = {"ev": "eV", "kj/mol": "kJ/mol", "kcal/mol": "kcal/mol", "hartree": "hartree", "ha": "hartree"}


class Metatomic(Family):
    """The format ``metatomic``: files that ``AtomisticModel.save`` writes."""

    name = "metatomic"
    package = "metatomic"
    library = "metatomic-torch"

    def accepts(self, source: str) -> bool:
        """Return whether a file is an exported model."""
        file = inspect_file(source)
        return file is not None and file.root == _ROOT

    def load(self, source: str, *, device: str | None, trust: bool) -> tuple[Any, ModelCard]:
        """Make the module and the card of an exported model.

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
            Takes positions, box, atomic numbers and edges; returns the energy, of every atom where the model says that
            it can.
        card : ModelCard
            Its card, in the units of the model.

        Raises
        ------
        MissingDependencyError
            If metatomic is missing.
        UnsupportedError
            If the model has no energy, wants other inputs, or other units.
        ModelError
            If it cannot be read, or holds what no model needs.
        """
        self.require(f"file {source}")
        check_script_archive(Path(source).read_bytes(), source)
        with warnings.catch_warnings(), quiet_torchscript():
            warnings.simplefilter("ignore")
            from metatomic.torch import load_atomistic_model

            try:
                model = load_atomistic_model(source)
                inputs = list(model.requested_inputs(use_new_names=True))
            except (RuntimeError, OSError, ValueError, TypeError) as error:
                reason = " ".join(str(error).strip().splitlines()[:3])
                raise ModelError(
                    f"file {source}", f"a model that metatomic cannot read ({reason})",
                            "one exported for this version of metatomic, whose extensions are installed",
                            "export it again, or import its extensions first"
                ) from error  # fmt: skip
            if inputs:
                raise UnsupportedError(
                    f"file {source}", f"a model that asks for {', '.join(inputs)}",
                            "a model of positions, elements and box", "use it through metatomic's ASE calculator"
                )  # fmt: skip
            card, per_atom = _card(model, source)
            return _canonical(model, card, per_atom, device or "cpu"), card


def _card(model: Any, source: str) -> tuple[ModelCard, bool]:
    import metatomic.torch

    capabilities, metadata = model.capabilities(), model.metadata()
    outputs = capabilities.outputs
    if "energy" not in outputs:
        raise UnsupportedError(
            f"file {source}", f"a model of {', '.join(outputs) or 'nothing'}", "a model with the output energy",
                    "export the model with an energy"
        )  # fmt: skip
    units = {}
    for what, given, known in (
        ("length", capabilities.length_unit, _LENGTHS),
        ("energy", outputs["energy"].unit, _ENERGIES),
    ):
        if given.lower() not in known:
            raise UnsupportedError(
                f"{what} unit of {source}", repr(given), ", ".join(sorted(set(known.values()))),
                        "export the model with one of these units"
            )  # fmt: skip
        units[what] = known[given.lower()]
    types = [int(z) for z in capabilities.atomic_types]
    wrong = [z for z in types if not 0 < z < 119]
    if wrong:
        raise ModelError(
            f"atomic types of {source}", ", ".join(map(str, wrong)), "atomic numbers",
                    "export the model with atomic numbers as its types"
        )  # fmt: skip
    lists = model.requested_neighbor_lists()
    cutoff = max((float(request.engine_cutoff(capabilities.length_unit)) for request in lists), default=None)
    per_atom = bool(outputs["energy"].sample_kind == "atom")
    edges = ("edge_index", "edge_shifts") if lists else ()
    card = ModelCard(
        name=metadata.name or "metatomic model",
        description=metadata.description,
        inputs=("positions", "box", "atomic_numbers", *edges),
        outputs=("atomic_energies" if per_atom else "energy",),
        length_unit=units["length"],
        energy_unit=units["energy"],
        dtype=capabilities.dtype,
        elements=tuple(element_symbol(z) for z in types),
        cutoff=cutoff,
        periodic="optional",
        frame="invariant",
        long_range=math.isinf(capabilities.interaction_range),
        references=tuple(dict.fromkeys(r for group in metadata.references.values() for r in group)),
        created_with=f"metatomic {metatomic.torch.__version__}",
    )
    return card, per_atom


def _canonical(model: Any, card: ModelCard, per_atom: bool, device: str) -> Any:
    """Script a module that takes tensors around the exported model."""
    import torch
    from metatensor.torch import Labels, TensorBlock
    from metatomic.torch import ModelEvaluationOptions, ModelOutput, System
    from torch import Tensor

    kind = "atom" if per_atom else "system"
    capabilities = model.capabilities()
    length, energy = capabilities.length_unit, capabilities.outputs["energy"].unit

    class WithEdges(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.kind: str = kind
            self.length: str = length
            self.energy: str = energy

        def forward(
            self, positions: Tensor, box: Tensor, atomic_numbers: Tensor, edge_index: Tensor, edge_shifts: Tensor
        ) -> Tensor:
            periodic = bool((box != 0.0).any())
            pbc = torch.full((3,), periodic, dtype=torch.bool, device=positions.device)
            system = System(atomic_numbers.to(torch.int32), positions, box, pbc)
            cells = torch.zeros_like(edge_index).t()[:, :1].repeat(1, 3)
            if periodic:
                cells = torch.round(edge_shifts.detach() @ torch.linalg.inv(box.detach())).to(torch.int64)
            first, second = edge_index[0], edge_index[1]
            vectors = positions.index_select(0, second) - positions.index_select(0, first) + edge_shifts
            distances = torch.linalg.vector_norm(vectors.detach(), dim=1)
            # A pair of an atom and its image is told from its reverse by the sign of its first shift that is not zero.
            a, b, c = cells[:, 0], cells[:, 1], cells[:, 2]
            ahead = (a > 0) | ((a == 0) & ((b > 0) | ((b == 0) & (c > 0))))
            half = (first < second) | ((first == second) & ahead)
            # Not Labels.range: torch cannot save a module that calls a static method of a C++ class.
            steps = torch.arange(3, dtype=torch.int32, device=positions.device).reshape(3, 1)
            xyz, distance = Labels(["xyz"], steps), Labels(["distance"], steps[:1])
            for request in self.model.requested_neighbor_lists():
                kept = distances <= request.engine_cutoff(self.length)
                if not request.full_list:
                    kept = kept & half
                chosen = kept.nonzero().flatten()
                samples = torch.cat([edge_index.t(), cells], dim=1).index_select(0, chosen).to(torch.int32)
                pairs = TensorBlock(
                    values=vectors.index_select(0, chosen).unsqueeze(2),
                    samples=Labels(
                        ["first_atom", "second_atom", "cell_shift_a", "cell_shift_b", "cell_shift_c"], samples
                    ),
                    components=[xyz],
                    properties=distance,
                )
                system.add_neighbor_list(request, pairs)
            options = ModelEvaluationOptions(
                length_unit=self.length,
                outputs={"energy": ModelOutput(unit=self.energy, sample_kind=self.kind)},
                selected_atoms=None,
            )
            block = self.model([system], options, False)["energy"].block()
            energies: Tensor = block.values
            if self.kind == "system":
                return energies.reshape(-1).sum()
            # Samples name atoms, in whatever order the model has them.
            atoms = block.samples.column("atom")
            ordered = torch.zeros(positions.shape[0], dtype=energies.dtype, device=energies.device)
            return ordered.index_add(0, atoms.to(torch.int64), energies.sum(dim=1))

    class WithoutEdges(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = WithEdges()

        def forward(self, positions: Tensor, box: Tensor, atomic_numbers: Tensor) -> Tensor:
            none = torch.zeros((2, 0), dtype=torch.int64, device=positions.device)
            energies: Tensor = self.inner(positions, box, atomic_numbers, none, positions[:0])
            return energies

    chosen: torch.nn.Module = WithEdges() if card.uses_edges else WithoutEdges()
    with quiet_torchscript():
        scripted: Any = torch.jit.script(chosen.to(device).eval())
    return scripted


FORMAT = Metatomic()
