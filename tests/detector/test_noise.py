"""What noise explains: its level, and lone spikes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autowu.detector import noise
from controller.helpers import seeded

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


@pytest.mark.parametrize(("apart", "found"), [(10, 0), (20, 2), (21, 4)])
def test_spikes_that_come_often_are_what_the_losses_are_like(apart: int, found: int) -> None:
    losses = 0.1 * np.random.default_rng(0).standard_normal(200)
    losses[50 : 50 + 4 * apart : apart] += 100
    assert noise.spikes(losses, 8.0).sum() == found


def test_one_burst_is_one_spike_and_another_beside_it_is_one_too() -> None:
    losses = 0.1 * np.random.default_rng(0).standard_normal(200)
    losses[[50, 51, 52, 53, 54, 62, 150]] += 100
    assert np.flatnonzero(noise.spikes(losses, 8.0)).tolist() == [50, 51, 52, 53, 54, 62, 150]


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
