"""What noise explains: its level, lone spikes, how often it passes for lift-off, and what falls plainly."""

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
from autowu.detector import noise, trend
from controller.helpers import seeded
from reference import curves

THRESHOLD, SCREEN = 4.0, 1.0  # of the default preset


def bfloat16(values: np.ndarray) -> np.ndarray:
    """``values`` as a loss computed in bfloat16 has them: 8 significant bits, rounded to even."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32).astype(np.float64)


# --- the noise level ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [8, 12, 20, 30, 50, 100, 1000])
def test_the_noise_level_is_unbiased_for_normal_noise(n: int) -> None:
    random = np.random.default_rng(n)
    levels = [noise.noise_level(0.3 * random.standard_normal(n)) for _ in range(4000)]
    # Beyond four standard errors of this experiment. Where only a handful are kept it errs upwards.
    bias = 0.12 if n < 10 else 0.06 if n < 20 else 0.02 if n < 100 else 0.005
    assert np.mean(levels) == pytest.approx(0.3, rel=bias + 4 * np.std(levels) / 0.3 / math.sqrt(4000))


def test_a_trend_is_no_noise() -> None:
    random = np.random.default_rng(0)
    steps = np.arange(400)
    smooth = 2 + np.cos(steps / 60) - 0.002 * steps
    levels = [noise.noise_level(smooth + 0.1 * random.standard_normal(400)) for _ in range(500)]
    assert np.mean(levels) == pytest.approx(0.1, rel=0.03)


@pytest.mark.parametrize("height", [1.0, 1e10, 1e38, 1e300])
def test_a_tenth_of_spikes_hardly_moves_the_noise_level(height: float) -> None:
    losses = 0.1 * np.random.default_rng(0).standard_normal(400)
    clean = noise.noise_level(losses)
    losses[10:400:40] += height  # two large differences each: 20 of 399
    assert noise.noise_level(losses) == pytest.approx(clean, rel=0.1)


def test_few_losses_have_no_noise_level() -> None:
    for n in range(4):
        assert noise.noise_level(np.arange(n, dtype=float)) == 0
    assert noise.noise_level(np.full(100, 2.3)) == 0


@given(st.integers(-900, 900), st.integers(0, 1000))
@seeded
def test_the_noise_level_scales_exactly_with_powers_of_two(exponent: int, seed: int) -> None:
    losses = np.random.default_rng(seed).standard_normal(60)
    scale = 2.0**exponent
    assert noise.noise_level(scale * losses) == scale * noise.noise_level(losses)


# --- lone spikes --------------------------------------------------------------------------------------


@given(st.integers(0, 49), st.sampled_from([2.0, 1e3, 1e38, 1e308]), st.integers(0, 1000))
@seeded
def test_a_lone_spike_is_found_wherever_it_is(at: int, height: float, seed: int) -> None:
    losses = 2.3 + 0.02 * np.random.default_rng(seed).standard_normal(50)
    losses[at] += height
    assert np.flatnonzero(noise.spikes(losses, 8.0)).tolist() == [at]


def test_noise_itself_is_no_spike() -> None:
    random = np.random.default_rng(0)
    found = sum(noise.spikes(random.standard_normal(200), 8.0).sum() for _ in range(200))
    assert found == 0


def test_a_step_or_a_rise_is_no_spike() -> None:
    random = np.random.default_rng(0)
    steps = np.r_[np.zeros(50), np.full(50, 100.0)] + 0.1 * random.standard_normal(100)
    assert not noise.spikes(steps, 8.0).any()
    rise = np.exp(np.arange(100) / 5)
    assert not noise.spikes(rise, 8.0)[:-1].any()


def test_a_dip_is_no_spike() -> None:
    losses = 2.3 + 0.02 * np.random.default_rng(0).standard_normal(50)
    losses[20] -= 2
    assert not noise.spikes(losses, 8.0).any()


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_too_few_losses_have_no_spikes(n: int) -> None:
    losses = np.array([1.0, 1e9, 1.0])[:n]
    assert not noise.spikes(losses, 8.0).any()


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


FLAT = {
    "normal": lambda random, n: 2.3 + 0.05 * random.standard_normal(n),
    "heavy-tailed": lambda random, n: 2.3 + 0.05 * random.standard_t(3, n),
    "bfloat16": lambda random, n: bfloat16(2.3 + 0.05 * random.standard_normal(n)),
    "bfloat16, noise of half a step": lambda random, n: bfloat16(2.3 + 0.008 * random.standard_normal(n)),
    "bfloat16, noise of an eighth of a step": lambda random, n: bfloat16(
        2.305 + 0.002 * random.standard_normal(n)
    ),
}


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
    # One chance in twenty for some 40 to 120 looks at the same curve.
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
    trend.falling(np.r_[losses, -losses[::-1]], SCREEN)


# --- a plain fall -------------------------------------------------------------------------------------


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
    config = Config(screen=None, stall=None, **settings)
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
    assert detected >= 40  # three a curve, or nearly
    assert plain >= 150  # the screen does something


def v_curves(count: int) -> Iterator[tuple[int, np.ndarray]]:
    """Runs' lengths, and losses that fall to a minimum and rise again, up to five times as steeply."""
    for seed in range(count):
        random = np.random.default_rng(seed)
        total = int(10 ** random.uniform(2.6, 4))
        lowest, noise_sd = total * random.uniform(0.15, 0.4), 10 ** random.uniform(-2.3, -0.7)
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
