"""Free energies of angles that were drawn from known distributions."""

import numpy as np
import pytest
from scipy.special import i0

from openmm_nn.analysis import compute_angle_free_energy
from openmm_nn.errors import ParameterError
from openmm_nn.units import thermal_energy

RT = thermal_energy(300.0)
KAPPA = 2.0


def von_mises(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).vonmises(1.0, KAPPA, count)


def exact_population(bins: int) -> np.ndarray:
    """Probability of each bin, integrated finely."""
    fine = (np.arange(bins * 200) + 0.5) / (bins * 200) * 2 * np.pi - np.pi
    density = np.exp(KAPPA * np.cos(fine - 1.0)) / (2 * np.pi * i0(KAPPA))
    return density.reshape(bins, 200).sum(axis=1) * 2 * np.pi / (bins * 200)


@pytest.mark.parametrize("method", ["blocks", "pymbar"])
def test_a_von_mises_distribution(method: str) -> None:
    angles = von_mises(40_000, 1)
    surface = compute_angle_free_energy(angles + 2 * np.pi * (np.arange(40_000) % 3), 300.0, bins=24, method=method)
    exact = exact_population(24)
    assert surface.probability == pytest.approx(exact, abs=0.006)
    assert surface.probability.sum() == pytest.approx(1.0)
    expected = -RT * np.log(exact)
    lowest = np.argmin(surface.free_energy)
    off = surface.free_energy - (expected - expected[lowest])
    # Both bins of a difference have an error.
    kept = (np.arange(24) != lowest) & np.isfinite(surface.error)
    errors = surface.error if method == "pymbar" else np.hypot(surface.error, surface.error[lowest])
    scores = off[kept] / errors[kept]
    assert np.sqrt(np.mean(scores**2)) < 1.8
    # Counting 800 of 40,000 independent frames gives 0.09.
    assert np.abs(off[exact > 0.02]).max() < 0.3
    assert surface.centres[0] == pytest.approx(-np.pi + np.pi / 24)
    assert surface.independent > 30_000


def test_error_is_that_of_counting() -> None:
    """Independent frames: σ_F = RT sqrt((1 - p) / (p n))."""
    surfaces = [compute_angle_free_energy(von_mises(5000, seed), 300.0, bins=12) for seed in range(30)]
    p = exact_population(12)
    counted = RT * np.sqrt((1 - p) / (p * 5000))
    mean = np.sqrt(np.mean([surface.error**2 for surface in surfaces], axis=0))
    assert mean[p > 0.01] == pytest.approx(counted[p > 0.01], rel=0.35)


def test_two_angles_and_their_product() -> None:
    phi, psi = von_mises(60_000, 3), von_mises(60_000, 4)
    surface = compute_angle_free_energy([phi, psi], 300.0, bins=12)
    p = exact_population(12)
    assert surface.free_energy.shape == (12, 12)
    assert surface.probability == pytest.approx(np.outer(p, p), abs=0.003)
    assert surface.probability.sum(axis=1) == pytest.approx(compute_angle_free_energy(phi, 300.0, bins=12).probability)


def test_correlated_frames_widen_the_error() -> None:
    angles = von_mises(2000, 5)
    plain = compute_angle_free_energy(angles, 300.0, bins=12)
    repeated = compute_angle_free_energy(np.repeat(angles, 20), 300.0, bins=12)
    ratio = repeated.error[repeated.probability > 0.05] / plain.error[plain.probability > 0.05]
    # Twenty copies of a frame say nothing new: by counting, the error would be a fifth.
    assert ratio == pytest.approx(1.0, abs=0.05)
    assert repeated.independent < 3000


def test_weights_turn_one_distribution_into_another() -> None:
    angles = np.random.default_rng(6).uniform(-np.pi, np.pi, 80_000)
    surface = compute_angle_free_energy(angles, 300.0, bins=24, weights=np.exp(KAPPA * np.cos(angles - 1.0)))
    assert surface.probability == pytest.approx(exact_population(24), abs=0.004)


def test_what_was_not_sampled_is_nan() -> None:
    surface = compute_angle_free_energy(np.linspace(0.01, 1.0, 100), 300.0, bins=36)
    assert np.isnan(surface.free_energy[:18]).all()
    assert surface.free_energy[18] >= 0
    assert np.nanmin(surface.free_energy) == 0


@pytest.mark.parametrize(
    "options, words",
    [
        ({"temperature": 0.0}, ["temperature", "0.0 K"]),
        ({"method": "magic"}, ["method", "'magic'", "'blocks' or 'pymbar'"]),
        ({"blocks": 2}, ["blocks", "2"]),
        ({"weights": [1.0] * 30}, ["weights", "30 values", "50"]),
        ({"weights": [1.0] * 50, "method": "pymbar"}, ["weights", "method='blocks'"]),
    ],
)
def test_wrong_arguments(options: dict[str, object], words: list[str]) -> None:
    arguments: dict[str, object] = {"temperature": 300.0, **options}
    with pytest.raises(ParameterError) as caught:
        compute_angle_free_energy(np.linspace(-3, 3, 50), **arguments)  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in words), str(caught.value)
