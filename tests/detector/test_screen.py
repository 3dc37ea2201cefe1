"""A plain fall, which needs no test: what it is, and that no test that detects the minimum is screened."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autowu import Config
from autowu.controller import machine
from autowu.detector import trend
from controller.helpers import seeded
from reference import curves

from .flat import FLAT

SCREEN = 1.0  # of the default preset


def straight_fall(n: int, sd: float, seed: int = 0) -> np.ndarray:
    return 3 - np.arange(n) / n + sd * np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize("n", [80, 99, 400, 5000])
def test_a_clear_fall_is_plain_and_its_mirror_image_is_not(n: int) -> None:
    for seed in range(100):
        losses = straight_fall(n, 0.005, seed)
        assert trend.falling(losses, SCREEN)
        assert not trend.falling(losses[::-1], SCREEN)


@pytest.mark.parametrize("n", range(0, 80, 13))
def test_few_losses_are_no_plain_fall(n: int) -> None:
    assert not trend.falling(straight_fall(n, 0.0), SCREEN)


@pytest.mark.parametrize("kind", FLAT)
@pytest.mark.parametrize("n", [80, 100, 1000])
def test_flat_noise_hardly_ever_falls_plainly(kind: str, n: int) -> None:
    random = np.random.default_rng([n, *map(ord, kind)])
    found = sum(trend.falling(FLAT[kind](random, n), SCREEN) for _ in range(2000))
    assert found / 2000 <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / 2000)


@pytest.mark.parametrize("since", [0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.5])
def test_a_fall_is_over_as_soon_as_the_minimum_is_half_of_a_stretch_ago(since: float) -> None:
    """Without noise, a V is as low at its end as it was twice as long before it."""
    n = 4000
    losses = np.abs(np.arange(n) - (1 - since) * n) / n
    assert trend.falling(losses, SCREEN) == (since < 0.025)


@pytest.mark.parametrize("at", [0, 100, 379, 380, 399])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_a_loss_that_is_not_finite_or_huge_leaves_the_question_open(at: int, bad: float) -> None:
    losses = straight_fall(400, 0.005)
    losses[at] = bad
    assert not trend.falling(losses, SCREEN)


@given(st.integers(-400, 400), st.integers(0, 1000), st.sampled_from([0.05, 0.1, 0.2]))
@seeded
def test_a_plain_fall_is_one_at_every_scale(exponent: int, seed: int, sd: float) -> None:
    losses = straight_fall(200, sd, seed)
    assert trend.falling(2.0**exponent * losses, SCREEN) == trend.falling(losses, SCREEN)


def test_the_stated_standard_errors_decide() -> None:
    losses = straight_fall(400, 0.05, seed=1)
    stretches = losses.reshape(20, 20)
    means, errors = stretches.mean(1), stretches.std(1, ddof=1) / math.sqrt(20)
    least = ((means[:-1] - means[-1]) / np.hypot(errors[:-1], errors[-1])).min()
    assert least > 0
    assert np.polyfit(np.arange(20), stretches[-1], 1)[0] < 0
    assert trend.falling(losses, 0.999 * least)
    assert not trend.falling(losses, 1.001 * least)


def screened(losses: np.ndarray, **settings: Any) -> tuple[int, int, int]:
    """Of the reads of a run without a screen: how many fall plainly, detect the minimum, and do both.

    A minimum within the last stretch, a twentieth of the window, is closer than the screen can see.
    """
    config = Config(screen=None, **settings)
    state = machine.start(config)
    plain = detected = both = 0
    while state.step < len(losses) and state.switch is None:
        due = machine.next_read(config, state)
        before, state = state, machine.observe(config, state, losses[state.step : due])
        if len(state.verdicts) > len(before.verdicts):
            verdict = state.verdicts[-1]
            falls = trend.falling(losses[verdict.start : verdict.step], SCREEN)
            plain, detected = plain + falls, detected + verdict.detected
            far = verdict.argmin is not None and verdict.argmin < 1 - 1 / trend.STRETCHES
            both += falls and verdict.detected and far
    return plain, detected, both


@pytest.mark.parametrize("growth", ["exponential", "two-speed"])
def test_no_test_of_a_recorded_curve_that_detects_the_minimum_is_screened(growth: str) -> None:
    counts = np.zeros(3, int)
    for name in curves.INDEX:
        schedule = curves.schedule(name) | {"growth": growth}
        counts += screened(np.array(curves.losses(name)), **schedule)
    plain, detected, both = counts
    assert both == 0
    assert detected >= 2 * len(curves.INDEX)  # patience asks for three a curve, where one is found
    assert plain >= 150  # the screen does something


def v_curves(count: int) -> Iterator[tuple[int, np.ndarray]]:
    """Runs' lengths, and losses that fall to a minimum and rise again, up to five times as steeply."""
    for seed in range(count):
        random = np.random.default_rng(seed)
        total = int(10 ** random.uniform(2.6, 4))
        span = Config(total_steps=total).growth_steps
        lowest, noise_sd = span * random.uniform(0.3, 0.8), 10 ** random.uniform(-2.3, -0.7)
        steps = np.arange(total // 2) / lowest
        curve = np.where(steps < 1, 2 - steps, 1 + random.uniform(1, 5) * (steps - 1))
        draw = random.standard_normal if seed % 2 else partial(random.standard_t, 3)
        yield total, curve + noise_sd * draw(len(curve))


@pytest.mark.parametrize(
    "count", [pytest.param(25, id="some"), pytest.param(400, id="many", marks=pytest.mark.full)]
)
def test_hardly_a_test_that_detects_the_minimum_of_a_v_is_screened(count: int) -> None:
    plain, detected, both = np.sum(
        [screened(losses, total_steps=total) for total, losses in v_curves(count)], axis=0
    )
    assert both <= 0.01 * detected
    assert detected > 2 * count
    assert plain > 5 * count
