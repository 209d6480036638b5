"""Drift of the total energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ParameterError
from .arrays import as_series
from .averages import compute_statistical_inefficiency

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Drift", "compute_drift"]


@dataclass(frozen=True)
class Drift:
    """A straight line through an energy over time.

    Parameters
    ----------
    slope, error
        kJ/mol/ps; the error allows for the correlation of what the line leaves.
    std
        Standard deviation of what the line leaves, kJ/mol.
    inefficiency
        Frames for one independent of the last.
    frames
        Number of frames.
    duration
        ps.
    """

    slope: float
    error: float
    std: float
    inefficiency: float
    frames: int
    duration: float

    @property
    def significance(self) -> float:
        """The slope in units of its standard error; beyond 3 either way it is not chance. Zero for an exact line."""
        return 0.0 if self.error == 0 else self.slope / self.error


def compute_drift(time: ArrayLike, energy: ArrayLike) -> Drift:
    """Fit a line to the energy by least squares.

    The residuals of an energy are correlated, and the usual error of a slope takes them for independent. Here it is
    multiplied by the square root of their statistical inefficiency.

    Parameters
    ----------
    time
        (n_frames,), ps.
    energy
        (n_frames,), kJ/mol. Of a run at constant energy: a thermostat adds and removes heat, and the slope then says
        whether the run has equilibrated, not whether the integrator conserves energy.

    Returns
    -------
    Drift
        Slope and standard error.

    Raises
    ------
    ParameterError
        If the arrays differ in length, are too short, or time stands still.

    Examples
    --------
    >>> from openmm_nn.analysis import compute_drift
    >>> drift = compute_drift([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 2.1, 3.9, 6.1, 7.9])
    >>> round(drift.slope, 2)
    1.98
    """
    t, e = as_series("time", time, least=5), as_series("energy", energy, least=5)
    if len(t) != len(e):
        raise ParameterError("energy", f"{len(e)} frames", f"{len(t)}, one for each time", "give arrays of one length")
    centred = t - t.mean()
    spread = float(centred @ centred)
    if spread == 0:
        raise ParameterError("time", f"{t[0]} ps throughout", "times that differ", "give the frames' times")
    slope = float(centred @ (e - e.mean())) / spread
    rest = e - e.mean() - slope * centred
    inefficiency = min(compute_statistical_inefficiency(rest), float(len(t)))
    variance = float(rest @ rest) / (len(t) - 2)
    error = float(np.sqrt(variance / spread * inefficiency))
    return Drift(slope, error, float(np.sqrt(variance)), inefficiency, len(t), float(np.ptp(t)))
