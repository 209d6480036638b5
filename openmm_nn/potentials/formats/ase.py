"""ASE calculators, run by the Python runner: whatever ASE can call becomes a force.

A calculator lives in its process. A System with one is copied in that process, and written to no file; what is to be
kept in a file is exported with the family's own format instead.

References
----------
Larsen et al., J. Phys. Condens. Matter 29, 273002 (2017), doi:10.1088/1361-648X/aa680e (ASE).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ...errors import CardError, MissingDependencyError, ModelError, UnsupportedError
from ...model.card import ModelCard
from .family import Family

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FORMAT", "ASECalculators", "CalculatorModule"]

_INPUTS = ("positions", "box", "atomic_numbers", "charge", "multiplicity")


class ASECalculators(Family):
    """The format ``ase``: objects that compute energies and forces for ``ase.Atoms``."""

    name = "ase"
    package = "ase"
    library = "ASE"

    def accepts(self, source: str) -> bool:
        """Return False: calculators have no files."""
        return False

    def load(self, source: str, *, device: str | None, trust: bool) -> tuple[Any, ModelCard]:
        """Refuse: there are no names."""
        raise ModelError("source", repr(source), "a calculator", "make the calculator and give it to load_potential")

    def accepts_object(self, source: object) -> bool:
        """Return whether an object is a calculator of ASE."""
        # A calculator exists only where ASE has been imported.
        if "ase.calculators.abc" in sys.modules or "ase.calculators.calculator" in sys.modules:
            from ase.calculators.calculator import BaseCalculator

            return isinstance(source, BaseCalculator) and not isinstance(source, type)
        return False

    def load_object(self, source: object, *, card: ModelCard | None) -> tuple[Any, ModelCard]:
        """Make a callable of a calculator.

        Parameters
        ----------
        source : ase.calculators.calculator.BaseCalculator
            With energy and forces among its properties. It is used as it is, not copied.
        card
            In place of the default: positions in Å in an invariant frame, energy in eV, periodic or not, of unknown
            range. The inputs ``charge`` and ``multiplicity`` are handed over in ``Atoms.info`` as ``charge`` and
            ``spin``, which some calculators read; list them in the card for one that does.

        Returns
        -------
        CalculatorModule, ModelCard

        Raises
        ------
        UnsupportedError
            If the calculator has no forces.
        CardError
            If the card is not what a calculator can follow.
        """
        calculator: Any = source
        kind = type(calculator).__name__
        properties = list(getattr(calculator, "implemented_properties", ()))
        absent = [name for name in ("energy", "forces") if name not in properties]
        if absent:
            raise UnsupportedError(
                "source", f"{kind}, a calculator without {' and '.join(absent)}", "one with energy and forces",
                        "use another calculator"
            )  # fmt: skip
        chosen = _card(kind) if card is None else _checked(card)
        return CalculatorModule(calculator, chosen), chosen


def _card(kind: str) -> ModelCard:
    import ase

    return ModelCard(
        name=kind,
        description=f"the calculator {kind} of ASE",
        format="callable",
        inputs=("positions", "box", "atomic_numbers"),
        outputs=("energy", "forces"),
        length_unit="angstrom",
        energy_unit="eV",
        dtype="float64",
        periodic="optional",
        frame="invariant",
        long_range=None,
        created_with=f"ase {ase.__version__}",
    )


def _checked(card: ModelCard) -> ModelCard:
    """Check that a calculator can follow a card of the user's."""
    for what, found, wanted in (
        ("format", card.format, "callable"),
        ("length_unit", card.length_unit, "angstrom"),
        ("energy_unit", card.energy_unit, "eV"),
        ("outputs", card.outputs, ("energy", "forces")),
    ):
        if found != wanted:
            raise CardError(f"card.{what}", repr(found), f"{wanted!r} for a calculator of ASE", "correct it")
    wrong = [name for name in card.inputs if name not in _INPUTS]
    if wrong or "atomic_numbers" not in card.inputs:
        got = ", ".join(card.inputs)
        raise CardError("card.inputs", got, f"positions, atomic_numbers, and of {', '.join(_INPUTS)}", "correct them")
    return card


class CalculatorModule:
    """Calls a calculator with tensors; what ModuleRunner runs.

    Parameters
    ----------
    calculator : ase.calculators.calculator.BaseCalculator
        The calculator.
    card
        Its card, with inputs in the order of the tensors.

    Examples
    --------
    >>> import pytest, torch
    >>> _ = pytest.importorskip("ase")
    >>> from ase.calculators.lj import LennardJones
    >>> from openmm_nn.potentials.formats.ase import FORMAT
    >>> module, card = FORMAT.load_object(LennardJones(), card=None)
    >>> x = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.2]], dtype=torch.float64)
    >>> energy, forces = module(x, torch.zeros(3, 3), torch.tensor([18, 18]))
    >>> forces.shape
    torch.Size([2, 3])
    """

    def __init__(self, calculator: Any, card: ModelCard) -> None:
        self.calculator = calculator
        self._inputs = card.inputs
        # Energy whose gradient the forces are, where a calculator tells it from the energy (smeared electrons).
        properties = calculator.implemented_properties
        self._energy = "free_energy" if "free_energy" in properties else "energy"
        self._atoms: Any = None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate.

        Parameters
        ----------
        inputs
            Tensors in the order of the card; a box of zeros for a cluster.

        Returns
        -------
        energy : torch.Tensor
            (), eV.
        forces : torch.Tensor
            (N,3), eV/Å.
        """
        import numpy as np
        import torch

        values = dict(zip(self._inputs, (tensor.detach().cpu().numpy() for tensor in inputs), strict=True))
        atoms = self._prepare(np.asarray(values["atomic_numbers"]))
        box = values.get("box")
        periodic = box is not None and bool(np.any(box))
        atoms.set_positions(values["positions"].astype(float), apply_constraint=False)
        atoms.set_cell(np.asarray(box, dtype=float) if periodic else None)
        atoms.set_pbc(periodic)
        for name, key in (("charge", "charge"), ("multiplicity", "spin")):
            if name in values and atoms.info.get(key) != int(values[name]):
                # Calculators compare positions, cell and elements, not info, with those of their last results.
                atoms.info[key] = int(values[name])
                self.calculator.reset()
        energy = self.calculator.get_property(self._energy, atoms)
        forces = self.calculator.get_property("forces", atoms)
        device = inputs[0].device
        return (
            torch.tensor(float(np.asarray(energy).reshape(())), dtype=torch.float64, device=device),
            torch.tensor(np.asarray(forces, dtype=float), device=device),
        )

    def _prepare(self, numbers: Any) -> Any:
        import numpy as np

        if self._atoms is None or not np.array_equal(self._atoms.numbers, numbers):
            try:
                from ase import Atoms
            except ImportError as error:
                raise MissingDependencyError("ASE", "an import that failed", "ASE", FORMAT.install) from error
            self._atoms = Atoms(numbers=numbers)
            self._atoms.calc = self.calculator
        return self._atoms


FORMAT = ASECalculators()
