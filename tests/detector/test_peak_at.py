"""The step whose LR the decay begins at: the middle of where the smoothed loss is flat before its least."""

import numpy as np
import pytest

from autowu import Config
from autowu.detector.detect import Verdict, detect

X = np.linspace(0, 1, 101)


def seen(mean: np.ndarray, step: int = 300, start: int = 100) -> Verdict:
    """A test of such a smoothed loss."""
    least = float(X[mean.argmin()])
    return Verdict(step, start, p_min=(0.99,), argmins=(least,), mean=mean, sd=np.zeros(101))


def test_halfway_from_where_the_loss_comes_within_a_share_of_its_fall() -> None:
    mean = np.maximum(1 - 2 * X, 0.0) + 1e-6 * np.abs(X - 0.9)  # flat from 0.5 to its least, at 0.9
    # Within 5% of the fall of 1 from x = 0.475 on, of which 0.48 is the first point of the grid.
    assert seen(mean).peak_at(0.05) == pytest.approx(100 + 200 * (0.48 + 0.9) / 2)


def test_a_steep_minimum_hardly_moves() -> None:
    mean = np.abs(X - 0.7)
    verdict = seen(mean)
    assert verdict.t_star == pytest.approx(240)
    assert verdict.peak_at(0.05) == pytest.approx(240 - 200 * 0.03 / 2)


def test_ringing_beyond_a_steep_fall_hides_nothing() -> None:
    mean = (
        np.where(X < 0.2, 1 - 5 * X, 0.0) + 0.08 * np.sin(40 * X) * (X > 0.2) * (X < 0.8) - 0.1 * (X == 0.9)
    )
    assert seen(mean).peak_at(0.15) < 100 + 200 * 0.62


def test_without_a_basin_it_is_t_star_and_without_evidence_nothing() -> None:
    verdict = seen(np.abs(X - 0.7))
    assert verdict.peak_at(None) == verdict.t_star
    assert Verdict(300, 100, no_evidence="all losses are equal").peak_at(0.05) is None


@pytest.mark.parametrize("basin", [1e-6, 0.05, 0.5, 0.999])
def test_it_lies_in_the_window_and_not_after_t_star(basin: float) -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        losses = (np.linspace(-1, random.uniform(0.1, 1), 200)) ** 2 + 0.1 * random.standard_normal(200)
        verdict, _ = detect(Config(total_steps=1000), losses, 50)
        peak_at, t_star = verdict.peak_at(basin), verdict.t_star
        assert peak_at is not None
        assert t_star is not None
        assert 50 <= peak_at <= t_star
