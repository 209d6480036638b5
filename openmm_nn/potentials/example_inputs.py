"""Made-up inputs for a potential, by its card: for tracing and comparing, where values hardly matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from openmm.app.element import Element

from ..model.card import ModelCard

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["example_inputs"]

_SPACING = 0.14  # nm, about a bond
_DEFAULT_ELEMENTS = ("H", "C", "N", "O")


def example_inputs(card: ModelCard, atoms: int, *, seed: int = 0) -> dict[str, Any]:
    """Make inputs for a number of atoms: a jittered block of the potential's elements, as a cluster.

    Parameters
    ----------
    card
        The card.
    atoms
        How many.
    seed
        Of the jitter.

    Returns
    -------
    dict
        A value for every input of the card, in its units; a large box if the potential is always periodic.

    Examples
    --------
    >>> from openmm_nn import ModelCard
    >>> from openmm_nn.potentials.example_inputs import example_inputs
    >>> example_inputs(ModelCard.torchforce(), 2)["positions"].shape
    (2, 3)
    """
    rng = np.random.default_rng(seed)
    side = int(np.ceil(atoms ** (1.0 / 3.0)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:atoms]
    positions = (grid + rng.uniform(-0.15, 0.15, grid.shape)) * (_SPACING / card.length_factor)
    symbols = card.elements or _DEFAULT_ELEMENTS
    numbers = np.array([Element.getBySymbol(symbols[i % len(symbols)]).atomic_number for i in range(atoms)])
    values: dict[str, Any] = {
        "positions": positions,
        "atomic_numbers": numbers,
        "charge": 0.0,
        "multiplicity": 1.0,
        "box": np.zeros((3, 3)),
        **card.parameters,
    }
    if card.periodic == "always":
        values["box"] = np.eye(3) * (side * _SPACING / card.length_factor + 3.0 * (card.cutoff or 1.0))
    if card.uses_edges:
        values["edge_index"] = _edges(positions, float(card.cutoff or 0.0))
        values["edge_shifts"] = np.zeros((values["edge_index"].shape[1], 3))
    return {name: values[name] for name in card.inputs}


def _edges(positions: NDArray[np.float64], cutoff: float) -> NDArray[np.int64]:
    """Return both directions of every pair within the cutoff, (2,E)."""
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    return np.stack(np.nonzero(distances < cutoff)).astype(np.int64)
