"""A loss that has fallen by more than ten times is judged on its logarithm."""

from dataclasses import replace

import numpy as np
import pytest

from autowu.detector import noise

from .tested import CONFIG, PAPER, detect


def through_decades(bottom: int = 160, n: int = 200, seed: int = 0) -> np.ndarray:
    """From 10 down by a decade each 40 updates to ``bottom``, then up by one in as many; noise of 5%."""
    powers = 1 - np.minimum(np.arange(n), 2 * bottom - np.arange(n)) / 40
    return 10**powers * np.exp(0.05 * np.random.default_rng(seed).standard_normal(n))


def test_the_minimum_in_the_last_decade_is_found() -> None:
    seen = detect(CONFIG, through_decades())
    assert seen.logged
    assert seen.detected
    assert seen.argmin == pytest.approx(0.8, abs=0.02)
    plain = detect(replace(CONFIG, standardize=False, ceiling=None), through_decades())
    assert not plain.logged
    assert not plain.detected  # beside the first losses all of the last decades is next to nothing


def test_the_curve_is_in_units_of_the_loss() -> None:
    seen = detect(CONFIG, through_decades())
    x = np.linspace(0, 1, 101)
    truth = np.exp(np.interp(x, np.arange(200) / 200, np.log(through_decades(seed=0))))
    assert seen.mean is not None
    assert seen.sd is not None
    inner = slice(5, 70)  # a kernel of fixed length-scale rounds the corner
    np.testing.assert_allclose(seen.mean[inner], truth[inner], rtol=0.2)
    assert np.all(seen.sd < 0.2 * seen.mean)
    assert seen.noise == pytest.approx(0.05 * seen.mean.min(), rel=0.5)


@pytest.mark.parametrize("exponent", [-300, 0, 300])
def test_its_scale_does_not_matter(exponent: int) -> None:
    losses = through_decades()
    scaled, seen = detect(CONFIG, losses * 2.0**exponent), detect(CONFIG, losses)
    assert scaled.p_min == pytest.approx(seen.p_min, abs=1e-9)
    assert scaled.peak_at(0.05) == pytest.approx(seen.peak_at(0.05), abs=1e-6)


def test_the_flat_part_is_that_of_the_logarithm() -> None:
    seen = detect(CONFIG, through_decades())
    assert seen.peak_at(0.05) == pytest.approx(160, abs=8)
    # Of the loss itself the last 80 of 160 updates would be within 5%.
    assert replace(seen, logged=False).peak_at(0.05) == pytest.approx(120, abs=15)


def test_ten_times_and_only_of_positive_losses() -> None:
    assert noise.fallen_tenfold(np.geomspace(10.5, 0.9, 100))
    assert not noise.fallen_tenfold(np.geomspace(10.0, 1.5, 100))
    assert not noise.fallen_tenfold(np.r_[np.geomspace(10.0, 0.01, 100), 0.0])
    assert not noise.fallen_tenfold(np.geomspace(10.0, 0.01, 100) - 0.02)
    assert not noise.fallen_tenfold(np.geomspace(0.1, 10.0, 100))
    assert not detect(PAPER, through_decades()).logged
