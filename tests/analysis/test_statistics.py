"""Averages, drift and blocks, against series whose statistics are known."""

import numpy as np
import pytest

from openmm_nn.analysis import (
    compute_average,
    compute_block_averages,
    compute_drift,
    compute_statistical_inefficiency,
)
from openmm_nn.errors import ParameterError


def autoregressive(count: int, phi: float, seed: int, rows: int = 1) -> np.ndarray:
    """AR(1) series of unit variance: g = (1 + phi) / (1 - phi)."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(rows, count)) * np.sqrt(1 - phi**2)
    series = np.empty((rows, count))
    series[:, 0] = random.normal(size=rows)
    for step in range(1, count):
        series[:, step] = phi * series[:, step - 1] + noise[:, step]
    return series


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8, 0.95])
def test_statistical_inefficiency_of_an_autoregressive_series(phi: float) -> None:
    found = compute_statistical_inefficiency(autoregressive(100_000, phi, 1)[0])
    assert found == pytest.approx((1 + phi) / (1 - phi), rel=0.12)


def test_error_of_a_mean_covers_the_truth() -> None:
    averages = [compute_average(row) for row in autoregressive(4000, 0.8, 2, rows=60)]
    scores = [average.mean / average.error for average in averages]
    # 60 scores of unit variance: their root mean square is within 1 ± 0.28 at three standard errors.
    assert np.sqrt(np.mean(np.square(scores))) == pytest.approx(1.0, abs=0.28)
    assert averages[0].error == pytest.approx(np.sqrt(9 / 4000), rel=0.4)
    assert averages[0].independent == pytest.approx(4000 / 9, rel=0.5)


def test_equilibration_is_left_out() -> None:
    series = autoregressive(3000, 0.5, 3)[0] + 30 * np.exp(-np.arange(3000) / 100)
    average = compute_average(series, equilibrate=True)
    assert 200 < average.discarded < 1000
    assert abs(average.mean) < 4 * average.error
    assert abs(compute_average(series).mean) > 0.5


def test_blocks_reach_the_known_error() -> None:
    blocks = compute_block_averages(autoregressive(65_536, 0.8, 4)[0])
    assert blocks.sizes.tolist() == [2**k for k in range(15)]
    assert blocks.errors[0] == pytest.approx(1 / 256, rel=0.02)
    plateau = (blocks.sizes >= 128) & (blocks.sizes <= 1024)
    assert blocks.errors[plateau] == pytest.approx(3 / 256, rel=0.25)
    assert blocks.uncertainties[0] == pytest.approx(blocks.errors[0] / np.sqrt(2 * 65_535))


def test_constant_series() -> None:
    average = compute_average(np.full(20, 3.0), equilibrate=True)
    assert (average.mean, average.error, average.inefficiency, average.discarded) == (3.0, 0.0, 1.0, 0)


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_error_of_a_slope_covers_the_truth(slope: float) -> None:
    time = np.arange(2000) * 0.01
    drifts = [compute_drift(time, slope * time + row) for row in autoregressive(2000, 0.9, 5, rows=60)]
    scores = np.array([(drift.slope - slope) / drift.error for drift in drifts])
    assert np.sqrt(np.mean(scores**2)) == pytest.approx(1.0, abs=0.3)
    assert abs(scores.mean()) < 3 / np.sqrt(60)
    assert np.mean([drift.std for drift in drifts]) == pytest.approx(1.0, abs=0.05)


def test_slope_is_that_of_least_squares() -> None:
    random = np.random.default_rng(6)
    time, energy = np.sort(random.uniform(0, 10, 300)), random.normal(size=300)
    drift = compute_drift(time, energy)
    (slope, _), covariance = np.polyfit(time, energy, 1, cov=True)
    assert drift.slope == pytest.approx(slope, rel=1e-9)
    assert drift.error == pytest.approx(np.sqrt(covariance[0, 0] * drift.inefficiency), rel=1e-6)
    assert drift.duration == pytest.approx(np.ptp(time))


def verlet_energy(step: float, count: int) -> np.ndarray:
    """Total energy of a harmonic oscillator (m = k = 1) by velocity Verlet."""
    x, v = 1.0, 0.0
    energies = []
    for _ in range(count):
        v -= 0.5 * step * x
        x += step * v
        v -= 0.5 * step * x
        energies.append(0.5 * (v * v + x * x))
    return np.array(energies)


def test_harmonic_oscillator_does_not_drift() -> None:
    spreads = []
    for step, count in ((0.2, 20_000), (0.1, 40_000)):
        energy = verlet_energy(step, count)
        drift = compute_drift(np.arange(count) * step, energy)
        assert abs(drift.significance) < 3
        # E - E' = x² h²/8 with E' conserved, so that its spread is h²/8 times that of cos² (1/sqrt 8).
        assert drift.std == pytest.approx(step**2 / 8 / np.sqrt(8), rel=0.02)
        spreads.append(drift.std)
    assert spreads[0] / spreads[1] == pytest.approx(4.0, rel=0.02)


def test_a_heated_oscillator_drifts() -> None:
    energy = verlet_energy(0.1, 20_000)
    time = np.arange(20_000) * 0.1
    drift = compute_drift(time, energy + 1e-5 * time)
    assert drift.slope == pytest.approx(1e-5, abs=3 * drift.error)
    assert drift.significance > 10


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: compute_average([1.0, 2.0]), ["series", "(2,)", "4 frames"]),
        (lambda: compute_average([1.0, np.nan, 2.0, 3.0]), ["series", "nan in frame 1"]),
        (lambda: compute_average("abc"), ["series", "str"]),
        (lambda: compute_drift([0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]), ["energy", "6 frames", "5"]),
        (lambda: compute_drift([1.0] * 6, range(6)), ["time", "1.0 ps throughout"]),
        (lambda: compute_block_averages(range(20), least_blocks=1), ["least_blocks", "1", "2 or more"]),
    ],
)
def test_wrong_arguments(call: object, words: list[str]) -> None:
    with pytest.raises(ParameterError) as caught:
        call()  # type: ignore[operator]
    assert all(word in str(caught.value) for word in words), str(caught.value)
