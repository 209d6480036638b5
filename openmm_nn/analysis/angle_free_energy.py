"""Free energy along dihedral angles, with errors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ParameterError
from ..units import thermal_energy
from .arrays import as_series, quiet_pymbar
from .averages import compute_statistical_inefficiency

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

__all__ = ["AngleFreeEnergy", "compute_angle_free_energy"]


@dataclass(frozen=True)
class AngleFreeEnergy:
    """A free energy on a grid of angles.

    Parameters
    ----------
    centres
        (bins,) float64, radians: of the bins, the same along each angle.
    free_energy, error
        (bins,) or (bins, bins) float64, kJ/mol, relative to the lowest bin; NaN where nothing was sampled, and an error
        of NaN where what was sampled does not give one.
    probability
        The same shape: of each bin; their sum is 1.
    independent
        How many independent frames there were, by the slower of the angles.
    """

    centres: Array
    free_energy: Array
    error: Array
    probability: Array
    independent: float


def compute_angle_free_energy(
    angles: ArrayLike | Sequence[ArrayLike],
    temperature: float,
    *,
    bins: int = 36,
    weights: ArrayLike | None = None,
    method: str = "blocks",
    blocks: int = 10,
) -> AngleFreeEnergy:
    """Return the free energy along one angle or over two, such as φ and ψ.

    Parameters
    ----------
    angles
        (n_frames,) or two of these, (2, n_frames); radians, of any period.
    temperature
        K.
    bins
        Along each angle.
    weights
        (n_frames,), of the frames, such as `Reweighting.weights`; all alike by default.
    method
        ``blocks``: the error is from the scatter of the bins' populations among blocks of the run. ``pymbar``: a
        histogram of independent frames, one in g, and the analytical error of `pymbar.FES`, which is that of the
        difference to the lowest bin; without weights.
    blocks
        How many, 4 or more. Each should be longer than the memory of the angles.

    Returns
    -------
    AngleFreeEnergy
        -RT ln p, and its error.

    Raises
    ------
    ParameterError
        If an argument is not what is allowed.

    References
    ----------
    Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008), doi:10.1063/1.2978177.

    Examples
    --------
    >>> import numpy as np
    >>> from openmm_nn.analysis import compute_angle_free_energy
    >>> surface = compute_angle_free_energy(np.linspace(-3.1, 3.1, 360), 300.0, bins=6)
    >>> bool(surface.free_energy.max() < 0.2)
    True
    """
    data = np.asarray(angles, dtype=np.float64)
    data = data[None, :] if data.ndim == 1 else data
    if data.ndim != 2 or data.shape[0] not in (1, 2):
        raise ParameterError("angles", f"shape {data.shape}", "(n_frames,) or (2, n_frames)", "give one angle or two")
    if blocks < 4 or bins < 2:
        raise ParameterError(
            "blocks, bins", f"{blocks}, {bins}", "4 or more, 2 or more", "leave them out for 10 and 36"
        )
    data = as_series("angles", data.T, dimensions=2, least=blocks).T
    if not temperature > 0:
        raise ParameterError("temperature", f"{temperature} K", "more than 0", "give that of the run")
    edges = np.linspace(-np.pi, np.pi, bins + 1)
    cells = np.minimum(((data + np.pi) % (2 * np.pi) / (2 * np.pi) * bins).astype(int), bins - 1)
    flat = cells[0] if len(cells) == 1 else cells[0] * bins + cells[1]
    inefficiency = max(compute_statistical_inefficiency(wave(angle)) for angle in data for wave in (np.cos, np.sin))
    size, kt = bins ** len(cells), thermal_energy(temperature)
    if method == "blocks":
        chosen = np.ones(len(flat)) if weights is None else as_series("weights", weights, least=blocks)
        if len(chosen) != len(flat) or chosen.min() < 0 or chosen.sum() <= 0:
            raise ParameterError(
                "weights", f"{len(chosen)} values from {chosen.min():g}", f"{len(flat)} that are not negative",
                        "give one for each frame"
            )  # fmt: skip
        probability, deviation = _by_blocks(flat, chosen, size, blocks)
    elif method == "pymbar":
        if weights is not None:
            raise ParameterError("weights", "weights, with method='pymbar'", "None", "use method='blocks'")
        probability, deviation = _by_pymbar(flat, size, inefficiency)
    else:
        raise ParameterError("method", repr(method), "'blocks' or 'pymbar'", "choose one of these")

    with np.errstate(divide="ignore", invalid="ignore"):
        free_energy = np.where(probability > 0, -kt * np.log(probability), np.nan)
        error = np.where(deviation > 0, kt * deviation / probability, np.nan)
    free_energy -= np.nanmin(free_energy)
    shape = (bins,) * len(cells)
    return AngleFreeEnergy(
        0.5 * (edges[1:] + edges[:-1]),
        free_energy.reshape(shape),
        error.reshape(shape),
        probability.reshape(shape),
        len(flat) / inefficiency,
    )


def _by_blocks(cells: NDArray[np.int64], weights: Array, size: int, blocks: int) -> tuple[Array, Array]:
    """Populations of all bins, and their standard errors from those of the blocks; 0 where one block alone came by."""
    total = np.bincount(cells, weights, size) / weights.sum()
    bounds = np.linspace(0, len(cells), blocks + 1).astype(int)
    parts = []
    for low, high in itertools.pairwise(bounds):
        weight = weights[low:high].sum()
        parts.append(np.bincount(cells[low:high], weights[low:high], size) / (weight if weight > 0 else 1.0))
    scatter = np.std(parts, axis=0, ddof=1) / np.sqrt(blocks)
    seen = np.count_nonzero(np.array(parts) > 0, axis=0)
    return total, np.where(seen > 1, scatter, 0.0)


def _by_pymbar(cells: NDArray[np.int64], size: int, inefficiency: float) -> tuple[Array, Array]:
    """Populations of all bins by a histogram of independent frames, and their errors by `pymbar.FES`."""
    chosen = cells[np.arange(0, len(cells), inefficiency).astype(int)]
    visited = np.unique(chosen)
    energies = np.zeros((1, len(chosen)))
    fes = quiet_pymbar().FES(energies, np.array([len(chosen)]), verbose=False)
    ranks = np.searchsorted(visited, chosen).astype(np.float64)
    edges = np.arange(len(visited) + 1) - 0.5
    fes.generate_fes(np.zeros(len(chosen)), ranks, fes_type="histogram", histogram_parameters={"bin_edges": [edges]})
    result = fes.get_fes(
        np.arange(len(visited), dtype=np.float64), reference_point="from-lowest",
        uncertainty_method="analytical",
    )  # fmt: skip
    probability, deviation = np.zeros(size), np.zeros(size)
    weight = np.exp(-result["f_i"])
    probability[visited] = weight / weight.sum()
    deviation[visited] = probability[visited] * result["df_i"]
    return probability, deviation
