"""Is the loss falling: how often noise passes for lift-off, and the bounds of a median."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autowu import Config
from autowu.controller import machine
from autowu.detector import noise, trend
from autowu.detector.trend import Stretch
from controller.helpers import seeded

from .flat import FLAT

THRESHOLD = 4.0  # of the default preset


# --- lift-off -----------------------------------------------------------------------------------------


def reads(total_steps: int) -> list[int]:
    """The steps of the fast growth at which lift-off is asked for."""
    config = Config(total_steps=total_steps)
    state = machine.start(config)
    steps = [machine.next_read(config, state)]
    while steps[-1] < config.sweep_steps:
        state = machine.observe(config, state, np.full(steps[-1] - state.step, 1.0))
        steps.append(machine.next_read(config, state))
    return steps


def lift_offs(kind: str, total_steps: int, curves: int) -> float:
    random = np.random.default_rng([total_steps, *map(ord, kind)])
    asked = reads(total_steps)
    found = 0
    for _ in range(curves):
        losses = FLAT[kind](random, asked[-1])
        found += any(trend.shift(losses[:step], THRESHOLD) < 0 for step in asked)
    return found / curves


@pytest.mark.parametrize("kind", FLAT)
@pytest.mark.parametrize("total_steps", [800, 12_000])
def test_a_sweep_over_flat_noise_rarely_lifts_off(kind: str, total_steps: int) -> None:
    # One chance in twenty for some 40 to 100 looks at the same curve.
    assert lift_offs(kind, total_steps, curves=200) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


@pytest.mark.full
@pytest.mark.parametrize("kind", FLAT)
@pytest.mark.parametrize("total_steps", [300, 800, 2000, 12_000, 100_000])
def test_a_sweep_over_flat_noise_rarely_lifts_off_on_many_curves(kind: str, total_steps: int) -> None:
    assert lift_offs(kind, total_steps, curves=3000) <= 0.06


@pytest.mark.parametrize("kind", FLAT)
def test_a_clear_fall_always_lifts_off(kind: str) -> None:
    random = np.random.default_rng([*map(ord, kind)])
    for _ in range(300):
        losses = FLAT[kind](random, 60)
        losses[30:] -= np.linspace(0, 0.8, 30)
        assert trend.shift(losses, THRESHOLD) < 0
        assert trend.shift(losses[::-1], THRESHOLD) >= 0


def test_lift_off_needs_more_than_the_stated_standard_errors() -> None:
    """A fall of just less, and just more, than that many, in losses whose noise level is known."""
    # Twice the variance of the median of 5, by simulation.
    random = np.random.default_rng(0)
    variance = 2 * np.median(random.standard_normal((200_000, 5)), axis=1).var()
    flat = 0.1 * random.standard_normal(60)
    offset = np.median(flat[:5]) - np.median(flat[-5:])
    for standard_errors, lifted in ((THRESHOLD - 0.1, False), (THRESHOLD + 0.1, True)):
        losses = flat - np.where(np.arange(60) < 55, 0, -offset)
        for _ in range(20):  # the step down is itself a difference, which the noise level is taken from
            error = noise.noise_level(losses) * math.sqrt(variance)
            losses = flat - np.where(np.arange(60) < 55, 0, standard_errors * error - offset)
        assert (trend.shift(losses, THRESHOLD) < 0) == lifted


def test_a_fall_without_noise_lifts_off_and_a_flat_line_does_not() -> None:
    assert trend.shift(3 - 0.001 * np.arange(50), THRESHOLD) < 0
    assert trend.shift(np.full(50, 2.3), THRESHOLD) >= 0
    assert trend.shift(3 + 0.001 * np.arange(50), THRESHOLD) >= 0
    assert trend.shift(3 - 0.1 * np.arange(9), THRESHOLD) >= 0


@pytest.mark.parametrize("at", [0, 2, 4, 40, 57, 58, 59])
@pytest.mark.parametrize("height", [1e38, -1e38])
def test_one_spike_decides_nothing(at: int, height: float) -> None:
    losses = 2.3 + 0.05 * np.random.default_rng(1).standard_normal(60)
    before = trend.shift(losses, THRESHOLD)
    losses[at] += height
    assert trend.shift(losses, THRESHOLD) == before


def test_losses_at_the_ends_of_floating_point_raise_no_warning() -> None:
    losses = np.tile([1e308, -1e308], 60)
    noise.noise_level(losses)
    noise.spikes(losses, 8.0)
    trend.shift(losses, THRESHOLD)
    trend.falling(np.r_[losses, -losses[::-1]], 1.0)


# --- a stretch of losses ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FLAT)
def test_the_bounds_of_a_median_hold_as_often_as_its_standard_errors_say(kind: str) -> None:
    """At two standard errors, of a hundred losses: the true median is within in 95 of 100, by any noise."""
    random = np.random.default_rng([*map(ord, kind)])
    true = np.median(FLAT[kind](random, 100_000))
    found = [trend.stretch(FLAT[kind](random, 100), 2.0) for _ in range(1000)]
    assert sum(each.low <= true <= each.high for each in found) >= 935


def test_the_bounds_are_losses_so_many_ranks_from_the_middle() -> None:
    losses = np.random.default_rng(0).permutation(101.0 + np.arange(101))
    # 0.5 × 2 × √101 = 10.05 ranks: 11
    assert trend.stretch(losses, 2.0) == Stretch(140.0, 151.0, 162.0)
    assert trend.stretch(losses[:5], 4.0) == Stretch(min(losses[:5]), np.median(losses[:5]), max(losses[:5]))


@seeded
@given(st.integers(-300, 300), st.integers(0, 100))
def test_a_power_of_two_scales_them_exactly(power: int, seed: int) -> None:
    losses = np.random.default_rng(seed).standard_normal(60)
    one, other = trend.stretch(losses, 2.0), trend.stretch(np.ldexp(losses, power), 2.0)
    assert other == Stretch(*np.ldexp([one.low, one.median, one.high], power).tolist())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_losses_that_are_not_finite_are_left_out_unless_they_are_half(bad: float) -> None:
    losses = np.arange(20.0)
    losses[:9] = bad
    assert trend.stretch(losses, 1.0) == trend.stretch(np.arange(9.0, 20.0), 1.0)
    losses[9] = bad
    assert trend.stretch(losses, 1.0).median == math.inf


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_among_nan_rises_or_falls_by_its_finite_values(bad: float) -> None:
    up = np.r_[1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    for at in range(10):
        losses = up.copy()
        losses[at] = bad
        assert trend.rising(losses)
        assert not trend.rising(losses[::-1])
    losses[5:8] = bad  # and it is not known from two of five
    assert trend.rising(losses[::-1])


@pytest.mark.parametrize("low", [0.0, 0.5, -3.0])
def test_one_low_loss_among_a_few_that_agree_is_none_of_them(low: float) -> None:
    """A batch without targets; below it the loss never falls."""
    rest = [1.6, 1.63, 1.58, 1.61]
    for at in range(5):
        losses = np.array([*rest[:at], low, *rest[at:]])
        assert sorted(trend.without_outlier(losses)) == sorted(rest)


@pytest.mark.parametrize("kind", ["normal", "exponential", "uniform"])
def test_of_losses_that_are_noise_none_is_left_out(kind: str) -> None:
    random = np.random.default_rng(0)
    draws = {"normal": random.normal, "exponential": random.exponential, "uniform": random.uniform}[kind]
    lots = draws(size=(2000, 5))
    assert sum(len(trend.without_outlier(lot)) < 5 for lot in lots) <= 20


def test_a_fall_from_the_first_loss_on_leaves_none_out() -> None:
    for losses in ([5.0, 4.0, 3.0, 2.0, 1.0], [9.0, 2.0, 2.0, 2.0, 2.0], [1.7e308, -1.7e308] * 2 + [1.7e308]):
        assert len(trend.without_outlier(np.array(losses))) == 5


# --- a few losses that make the mean ------------------------------------------------------------------


def rare(share: float, size: float, seed: int, n: int = 60) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.where(random.random(n) < share, size * random.standard_exponential(n), 1e-6)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.45])
def test_a_few_losses_bring_the_mean_above_a_level(share: float) -> None:
    found = [trend.tail_above(rare(share, 50.0, seed), 8.0, 0.7) for seed in range(200)]
    assert np.mean(found) > (0.35 if share == 0.1 else 0.8)  # three places in thirty, of 3 on the mean


@pytest.mark.parametrize("level", [-3.0, 0.0, 3.0])
def test_noise_about_a_level_is_no_tail(level: float) -> None:
    draws = np.random.default_rng(0).standard_normal((2000, 60))
    above, grows = (
        np.mean([test(level + 0.1 * each) for each in draws])
        for test in (lambda losses: trend.tail_above(losses, 8.0, level - 1), trend.tail_grows)
    )
    assert above < 0.03
    assert grows < 0.03


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_a_tail_grows_at_any_scale_though_a_spike_alone_makes_it(scale: float) -> None:
    losses = np.linspace(1.0, 0.8, 60)
    assert not trend.tail_grows(scale * losses)
    losses[50] = 10.0
    assert trend.tail_grows(scale * losses)
    losses[20] = 20.0
    assert not trend.tail_grows(scale * losses)  # as bad as before


def test_of_losses_that_are_not_finite_or_of_too_few_a_tail_says_nothing() -> None:
    for losses in (np.full(60, np.nan), np.full(9, 1.0), np.zeros(0), np.ones(60)):
        assert not trend.tail_above(losses, 8.0, 0.0) or losses[0] == 1.0
        assert not trend.tail_grows(losses)
