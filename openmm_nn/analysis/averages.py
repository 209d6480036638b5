"""Averages of correlated series: statistical inefficiency, blocks, and where a run has equilibrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ParameterError
from .arrays import as_series, quiet_pymbar

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Average", "BlockAverages", "compute_average", "compute_block_averages", "compute_statistical_inefficiency"]


@dataclass(frozen=True)
class Average:
    """The mean of a correlated series.

    Parameters
    ----------
    mean, error, std
        Mean, its standard error, and the standard deviation of the series, in the series' unit.
    inefficiency
        Frames for one that is independent of the last, 1 or more.
    frames
        Frames that were used.
    discarded
        Frames at the start that were taken for equilibration.
    """

    mean: float
    error: float
    std: float
    inefficiency: float
    frames: int
    discarded: int

    @property
    def independent(self) -> float:
        """How many independent frames the mean rests on."""
        return self.frames / self.inefficiency


@dataclass(frozen=True)
class BlockAverages:
    """Standard errors of a mean from blocks of growing length; the plateau is the error.

    Parameters
    ----------
    sizes
        (n,) int64, frames in a block.
    errors
        (n,) float64, the standard error that blocks of that size give.
    uncertainties
        (n,) float64, the standard error of that error.
    """

    sizes: NDArray[np.int64]
    errors: NDArray[np.float64]
    uncertainties: NDArray[np.float64]


def compute_statistical_inefficiency(series: ArrayLike) -> float:
    """Return how many frames of a series make an independent one, by `pymbar.timeseries`.

    Parameters
    ----------
    series
        (n_frames,), in any unit.

    Returns
    -------
    float
        g = 1 + 2 τ, with τ the integrated autocorrelation time in frames; 1 for a constant series.

    Raises
    ------
    ParameterError
        If the series is too short or not finite.

    References
    ----------
    Chodera et al., J. Chem. Theory Comput. 3, 26 (2007), doi:10.1021/ct0502864.

    Examples
    --------
    >>> import numpy as np
    >>> from openmm_nn.analysis import compute_statistical_inefficiency
    >>> compute_statistical_inefficiency(np.ones(10))
    1.0
    """
    values = as_series("series", series, least=4)
    if np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return 1.0
    return max(1.0, float(quiet_pymbar("timeseries").statistical_inefficiency(values)))


def compute_average(series: ArrayLike, *, equilibrate: bool = False) -> Average:
    """Average a correlated series.

    Parameters
    ----------
    series
        (n_frames,), in any unit.
    equilibrate
        Leave out the frames at the start that `pymbar.timeseries.detect_equilibration` finds not yet equilibrated.

    Returns
    -------
    Average
        The mean; its error is the standard deviation times sqrt(g / n).

    Raises
    ------
    ParameterError
        If the series is too short or not finite.

    References
    ----------
    Chodera, J. Chem. Theory Comput. 12, 1799 (2016), doi:10.1021/acs.jctc.5b00784 (equilibration).

    Examples
    --------
    >>> from openmm_nn.analysis import compute_average
    >>> compute_average([1.0, 3.0, 1.0, 3.0, 1.0, 3.0]).mean
    2.0
    """
    values = as_series("series", series, least=4)
    start = 0
    if equilibrate and np.ptp(values) > 0:
        start = int(quiet_pymbar("timeseries").detect_equilibration(values, nskip=max(1, len(values) // 100))[0])
        start = min(start, len(values) - 4)
    kept = values[start:]
    inefficiency = min(compute_statistical_inefficiency(kept), float(len(kept)))
    std = float(np.std(kept, ddof=1))
    return Average(float(kept.mean()), std * np.sqrt(inefficiency / len(kept)), std, inefficiency, len(kept), start)


def compute_block_averages(series: ArrayLike, *, least_blocks: int = 4) -> BlockAverages:
    """Estimate the error of a mean from blocks of 1, 2, 4... frames.

    Parameters
    ----------
    series
        (n_frames,), in any unit.
    least_blocks
        Blocks that the longest size must still give, 2 or more.

    Returns
    -------
    BlockAverages
        An error for each size. Errors that still grow at the last size say that the run is too short for its memory.

    Raises
    ------
    ParameterError
        If the series is too short or not finite.

    References
    ----------
    Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989), doi:10.1063/1.457480.

    Examples
    --------
    >>> import numpy as np
    >>> from openmm_nn.analysis import compute_block_averages
    >>> compute_block_averages(np.tile([1.0, -1.0], 8)).sizes
    array([1, 2, 4])
    """
    if least_blocks < 2:
        raise ParameterError("least_blocks", f"{least_blocks}", "2 or more", "leave it out")
    values = as_series("series", series, least=2 * least_blocks)
    sizes, errors, uncertainties = [], [], []
    size = 1
    while len(values) // size >= least_blocks:
        count = len(values) // size
        means = values[: count * size].reshape(count, size).mean(axis=1)
        error = float(np.std(means, ddof=1) / np.sqrt(count))
        sizes.append(size)
        errors.append(error)
        uncertainties.append(error / np.sqrt(2 * (count - 1)))
        size *= 2
    return BlockAverages(np.array(sizes, dtype=np.int64), np.array(errors), np.array(uncertainties))
