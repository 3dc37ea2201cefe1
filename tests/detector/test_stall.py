"""The stall: the probability that the fall has all but ended, and what votes by it."""

import math
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from autowu import Config, Verdict
from autowu.detector import detect as detector
from autowu.detector import gp
from controller.helpers import v_shape

from .tested import CONFIG, PAPER, PLAIN, detect, reference


def flattening(n: int, flat_from: float, noise: float, seed: int = 0) -> np.ndarray:
    """``n`` losses that fall in a straight line from 2 to 1, and stay there from that share of them on."""
    x = np.arange(n) / n
    return 1 + np.maximum(0, 1 - x / flat_from) + noise * np.random.default_rng(seed).standard_normal(n)


def stall(config: Config, losses: np.ndarray, doublings: float) -> Verdict:
    return detector.detect(config, losses, 0, None, doublings)[0]


@pytest.mark.parametrize("doublings", [2.0, 3.7, 9.0])
@pytest.mark.parametrize(("share", "noise"), [(0.25, 0.05), (0.25, 0.4), (0.9, 0.4)])
def test_p_stall_is_that_of_the_dense_formula(
    doublings: float, share: float, noise: float, fixed: gp.Hyperparameters
) -> None:
    losses = flattening(120, 0.7, noise)
    f = reference(losses, fixed)
    expected = 0.0
    for at in range(round((1 - 1 / doublings) * (gp.GRID - 1)), 0, -detector.STRIDE):
        slope = share * (1 - at / (gp.GRID - 1))
        row = np.zeros(gp.GRID)  # of f(x) - f(1) - slope (f(0) - f(1))
        row[at] += 1
        row[[0, -1]] += -slope, slope - 1
        expected = max(expected, NormalDist().cdf(-(row @ f.mean) / math.sqrt(row @ f.covariance @ row)))
    verdict = stall(replace(PLAIN, stall=share), losses, doublings)
    assert set(verdict.p_stall) == {verdict.p_stall[0]}
    assert verdict.p_stall[0] == pytest.approx(expected, abs=1e-6)


def test_a_stall_is_detected_where_no_minimum_is() -> None:
    curves = [flattening(400, 0.6, 0.02, seed) for seed in range(20)]
    assert all(min(stall(CONFIG, losses, 5).p_stall) > 0.95 for losses in curves)
    assert all(stall(CONFIG, losses, 5).detected for losses in curves)
    without = replace(CONFIG, stall=None)  # noise makes some minimum of the flat part now and then
    assert sum(stall(without, losses, 5).detected for losses in curves) <= 10


@pytest.mark.parametrize("curve", [lambda x: 2 - x, lambda x: 2 - x**2, lambda x: 1 + np.exp(-2 * x)])
@pytest.mark.parametrize("noise", [0.001, 0.05, 0.3])
def test_a_loss_that_goes_on_falling_is_no_stall(curve: Any, noise: float) -> None:
    x = np.arange(400) / 400
    random = np.random.default_rng(0)
    curves = [curve(x) + noise * random.standard_normal(400) for _ in range(80)]
    detected = sum(stall(CONFIG, losses, 2 + i % 5).detected for i, losses in enumerate(curves))
    assert detected <= (1 - CONFIG.confidence) * len(curves)


def test_less_than_two_doublings_are_no_stall() -> None:
    losses = flattening(400, 0.3, 0.02)
    assert stall(CONFIG, losses, 1.99).p_stall == (0.0,) * 5
    assert min(stall(CONFIG, losses, 2.0).p_stall) > 0.95


def test_a_stall_votes_where_p_min_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "_p_min", lambda rise, sd: (0.96, 0.1, 0.1))
    monkeypatch.setattr(detector, "_p_stall", lambda *_: (0.1, 0.96, 0.2))
    verdict = detect(replace(CONFIG, subsets=3, subset_size=20), v_shape(100, 60, 0.1))
    assert verdict.p_past == (0.96, 0.96, 0.2)
    assert verdict.votes(0.95) == 2
    assert verdict.detected


def test_a_posterior_that_does_not_vary_tells_of_no_stall() -> None:
    basis, given = gp.basis(0.2), gp.Hyperparameters(0.0, 0.0, 1.0)
    m = basis.to_end.shape[1]
    f = gp.Posterior(given, np.zeros((2, m)), np.zeros((2, m, m)))
    with np.errstate(invalid="ignore"):
        assert detector._p_stall(0.25, 4.0, basis, f) == (0.0, 0.0)


def test_the_paper_asks_for_no_stall() -> None:
    verdict = stall(PAPER, flattening(400, 0.6, 0.02), 5)
    assert verdict.p_stall == ()
    assert verdict.p_past == verdict.p_min
