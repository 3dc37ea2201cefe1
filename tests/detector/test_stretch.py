"""Bounds of a median by ranks, whatever the distribution."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from autowu.detector.trend import stretch


def test_the_bounds_are_losses_so_many_ranks_from_the_middle() -> None:
    found = stretch(np.arange(100.0)[::-1], 2.0)  # 2 √100 / 2 = 10 ranks
    assert (found.low, found.median, found.high) == (39, 50, 60)


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_of_few_losses_they_are_the_least_and_the_largest(n: int) -> None:
    losses = np.random.default_rng(n).standard_normal(n)
    found = stretch(losses, 2.83)
    assert (found.low, found.high) == (losses.min(), losses.max())


@pytest.mark.parametrize("draw", ["standard_normal", "standard_exponential", "standard_cauchy"])
@pytest.mark.parametrize("n", [20, 200])
def test_the_true_median_is_outside_as_seldom_as_so_many_errors_say(draw: str, n: int) -> None:
    random, errors, trials = np.random.default_rng(n), 2.0, 2000
    median = math.log(2) if draw == "standard_exponential" else 0.0
    draws = getattr(random, draw)((trials, n))
    outside = sum(not found.low <= median <= found.high for found in (stretch(row, errors) for row in draws))
    expected = 2 * (1 - NormalDist().cdf(errors))
    assert 0 < outside / trials < expected + 3 * math.sqrt(expected / trials)
