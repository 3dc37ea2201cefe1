"""What is flat: a plateau, with the basin as its tolerance, and the level that a fall is measured from."""

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from autowu import Verdict
from autowu.detector import gp
from autowu.detector.trend import Level
from controller.helpers import v_shape

from .tested import CONFIG, PLAIN, detect, reference


@pytest.mark.parametrize("basin", [0.01, 0.05, 0.3])
@pytest.mark.parametrize(("n", "lowest"), [(40, 39), (60, 50), (100, 80), (300, 270)])
def test_p_min_counts_what_is_beyond_a_share_of_the_fall(
    n: int, lowest: int, basin: float, fixed: gp.Hyperparameters
) -> None:
    losses = v_shape(n, lowest, 0.2)
    f = reference(losses, fixed)
    least = int(np.argmin(f.mean))
    fall = f.mean[: least + 1].max() - f.mean[least]
    z = (f.rise[:-1] - basin * fall) / np.sqrt(f.rise_variance[:-1])
    verdict = detect(replace(PLAIN, basin=basin), losses)
    assert verdict.p_min[0] == pytest.approx(NormalDist().cdf(z.max()), abs=1e-6)


def plateau(seed: int, n: int = 260) -> np.ndarray:
    """A loss that falls from 1 to a plateau at 0, which it comes to after half of the window."""
    random = np.random.default_rng(seed)
    return np.maximum(1 - np.arange(n) / (n / 2), 0.0) + 0.02 * random.standard_normal(n)


def test_a_plateau_is_hardly_ever_taken_for_a_minimum() -> None:
    counts = [
        sum(detect(replace(CONFIG, basin=basin), plateau(seed)).detected for seed in range(100))
        for basin in (None, 0.05)
    ]
    assert counts[0] > 15  # of 100, by chance: one x of many has a P_min above 0.95
    assert counts[1] < 3


def test_the_peak_moves_to_where_the_loss_is_within_a_standard_error_of_its_least() -> None:
    x = np.linspace(0, 1, 101)
    mean = np.where(x < 0.4, 1 - 2 * x, 0.2 - 0.1 * (x - 0.4)) + (x > 0.8) * (x - 0.8)
    least = float(x[mean.argmin()])
    sharp = Verdict(300, 100, p_min=(0.99,), argmins=(least,), mean=mean, sd=np.zeros(101))
    noisy = replace(sharp, sd=np.full(101, 0.05))  # the slope from 0.4 on is 0.04 in all
    assert sharp.peak_at(0.01) == pytest.approx(100 + 200 * (0.72 + 0.8) / 2)
    assert noisy.peak_at(0.01) == pytest.approx(100 + 200 * (0.4 + 0.8) / 2, abs=2)


def test_a_level_is_above_the_curve_by_two_standard_errors_of_both() -> None:
    mean, sd = np.array([2.0, 1.0, 1.5]), np.array([0.1, 0.03, 0.1])
    seen = Verdict(300, 100, mean=mean, sd=sd, noise=0.08)
    error = math.hypot(0.03, 0.08 * math.sqrt(math.pi / 2 / 40))
    assert seen.below(Level(1 + 2.001 * error, 40))
    assert not seen.below(Level(1 + 1.999 * error, 40))
    # Of logarithms: σ is a share of the loss, of the level, too.
    logged = replace(seen, logged=True)
    assert logged.below(Level(math.exp(2.001 * error), 40))
    assert not logged.below(Level(math.exp(1.999 * error), 40))
    assert not logged.below(Level(0.0, 40))
    assert not Verdict(300, 100, no_evidence="all losses are equal").below(Level(math.inf, 40))
