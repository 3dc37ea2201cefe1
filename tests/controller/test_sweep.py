"""Before lift-off: what ends the fast growth, and a loss that never falls."""

import math
from dataclasses import replace

import numpy as np
import pytest

from autowu import Config
from autowu.controller import machine
from autowu.controller.rate import grown
from autowu.controller.state import Grow, Growth, Reason, Search
from autowu.detector import noise, trend

from .helpers import (
    exponential,
    follow,
    growth_of,
    lift_off,
    noisy,
    response,
    run,
    too_large,
    v_shape,
    waits,
    watched,
)

DEFAULT = Config(total_steps=1000)


def test_no_test_before_lift_off_and_only_later_losses_after_it() -> None:
    config = Config(total_steps=2000)
    states, lrs = watched(config, noisy(1e-2))
    state, lifted = states[-1], lift_off(states)
    assert lifted is not None
    assert state.switch is not None
    assert not state.switch.capped
    assert state.verdicts[0].start > lifted  # once the LR is again what it was there
    assert all(test.start == state.verdicts[0].start < test.step for test in state.verdicts)
    assert len(state.verdicts) >= 3
    assert lifted < config.sweep_steps
    # Fast before lift-off, a decade of LR in 11 updates; slow after it, a decade in 109, from the LR five
    # updates before: the fall that medians of five losses show began there.
    np.testing.assert_allclose(lrs[:lifted], 1e-5 * 1e5 ** (np.arange(lifted) / 55), rtol=1e-12)
    end = state.verdicts[-1].step
    slow = np.arange(end - lifted)
    start = 1e-5 * 1e5 ** ((lifted - 5) / 55)
    np.testing.assert_allclose(lrs[lifted:end], start * 1e5 ** (slow / 547), rtol=1e-12)


def test_flat_losses_never_make_a_minimum() -> None:
    """Noise for the first half of the sweep's range, then a fall: the switch must not come before it."""
    early = []
    for seed in range(20):
        state, _ = run(Config(total_steps=1500), noisy(0.3, sd=0.05, seed=seed), 751)
        assert state.switch is not None
        early.append(state.switch.peak_lr < 0.02)
    assert sum(early) == 0


def test_a_failed_sweep_starts_again_slowly() -> None:
    config = Config(total_steps=1000, max_lr=1.0)
    rng = np.random.default_rng(0)
    state = follow(config, 2.3 + 0.01 * rng.standard_normal(config.sweep_steps))[-1]
    assert state.step == 40
    assert state.phase == Search(Growth(40, 1e-5, 387, before=Growth(0, 1e-5, 40, open=True)))
    assert machine.learning_rate(config, state, 40) == config.min_lr
    assert state.restores == 1
    assert (state.first, len(state.losses)) == (40, 0)
    late = replace(config, rewind=False)
    assert follow(late, np.full(40, 2.3))[-1].restores == 0


def test_after_a_failed_sweep_tests_see_the_slow_growth_from_its_start() -> None:
    """Lift-off may come late, when noise hides the fall; the minimum may then be past."""
    config = Config(total_steps=1000, max_lr=1.0)
    losses = 2.3 + 0.02 * np.random.default_rng(0).standard_normal(600)
    losses[config.sweep_steps :] -= 0.3 * np.minimum(np.arange(560) / 200, 1)
    states = follow(config, losses)
    lifted = next(state for state in states if isinstance(state.phase, Grow))
    assert (lifted.first, len(lifted.losses)) == (40, lifted.step - 40)
    assert lifted.phase.growth == Growth(
        40, config.min_lr, 387, before=Growth(0, config.min_lr, 40, open=True)
    )
    assert states[-1].verdicts[0].start == 40


def test_growth_without_tests_of_lift_off_is_eq_1() -> None:
    config = Config(total_steps=1000, growth="exponential", lift_off=None, basin=None)
    states = follow(config, v_shape(600, 300, 0.02))
    state = states[-1]
    assert lift_off(states) == 0
    assert {test.start for test in state.verdicts} == {0}
    assert state.switch is not None
    assert state.switch.t_star == pytest.approx(300, abs=10)
    assert state.switch.peak_lr == pytest.approx(exponential(state.switch.t_star, 500, 1e-5, 1))


@pytest.mark.parametrize("growth", ["linear", "exponential"])
def test_other_growths_may_wait_for_lift_off(growth: str) -> None:
    config = Config(total_steps=1000, growth=growth, basin=None)
    states = follow(config, v_shape(600, 300, 0.02))
    state = states[-1]
    assert lift_off(states)
    assert state.switch is not None
    assert state.switch.t_star == pytest.approx(300, abs=10)


def test_lift_off_at_the_cap_goes_back_to_lift_off() -> None:
    config = Config(total_steps=22)  # 11 losses are the fewest that show a straight fall, and all of warm-up
    state = follow(config, 3 - 0.1 * np.arange(22))[-1]
    assert state.switch is not None
    assert (state.switch.step, state.switch.capped, state.switch.rewound_to) == (11, True, None)
    assert (state.switch.t_star, type(state.switch.t_star)) == (11.0, float)
    assert state.switch.peak_lr == pytest.approx(1e-5 * 1e5 ** ((11 - noise.ENDS) / 11), rel=1e-12)


def test_lift_off_is_asked_for_at_reads_of_all_finite_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def shift(losses: np.ndarray, threshold: float, *, mild: float) -> int:
        asked.append(len(losses))
        return 0

    monkeypatch.setattr(trend, "shift", shift)
    losses = 3 - 0.01 * np.arange(40)
    losses[5] = np.nan
    follow(DEFAULT, losses)  # five decades in 50 updates: a read at each
    assert asked == [step - (step > 5) for step in range(1, 41)]


@pytest.mark.parametrize("spacing", [30, 130, 400, 1.5, 3.0])
def test_however_far_tests_are_apart_the_sweep_is_looked_at_all_the_same(spacing: float) -> None:
    """Epochs shorter and longer than the sweep, of 300 updates, or many times the LR between two tests."""
    settings = {"steps_per_epoch": spacing} if isinstance(spacing, int) else {}
    long = Config(total_steps=60_000, warmup_limit=3000, max_lr=1.0)
    config = replace(long, test_growth=None if settings else spacing, **settings)
    by_default, _ = watched(long, noisy(1e-2), 3500)
    states, lrs = watched(config, noisy(1e-2), 3500)
    state = states[-1]
    assert lift_off(states) == lift_off(by_default) is not None
    assert max(lrs[:300]) < 1e-2  # the sweep alone would have come to 1
    assert state.verdicts
    if settings:
        assert {verdict.step % spacing for verdict in state.verdicts} == {0}
    assert state.switch is not None
    assert state.switch.peak_lr == pytest.approx(1e-2, rel=0.5)
    assert follow(config, np.full(3, 2.3))[-1].snapshot_step == 0  # what goes back if the loss rises
    # So is the slow growth that follows a sweep without a fall.
    slow = follow(config, 2.3 + 0.01 * np.random.default_rng(0).standard_normal(300))[-1]
    assert (slow.step, type(slow.phase)) == (300, Search)
    assert machine.next_read(config, slow) - slow.step == 25


def test_no_snapshot_is_named_that_cannot_have_been_taken() -> None:
    """A decision to switch drops the snapshot, and so takes none: what is put back is from before."""
    for total in range(20, 80):
        for losses in (3 - 0.1 * np.arange(40), 3 - 0.002 * np.arange(40)):
            states = follow(Config(total_steps=total), losses[: total // 2])
            before, after = states[-2], states[-1]
            if after.switch is not None and after.switch.rewound_to is not None:
                assert after.switch.rewound_to == before.snapshot_step


# --- the power of larger ends -------------------------------------------------------------------------


def test_a_fall_that_noise_hides_from_five_losses_lifts_off_by_a_twentieth_of_the_window() -> None:
    found = []
    for seed in range(20):
        states, _ = watched(Config(total_steps=4000), noisy(0.1, sd=0.6, seed=seed), 2001)
        found.append(lift_off(states) is not None)
        assert states[-1].switch is not None
    assert all(found)


def test_the_slow_growth_begins_further_back_where_more_losses_show_the_fall() -> None:
    config = Config(total_steps=3_000_000, warmup_limit=30_000)  # a sweep of 2,122 updates
    states = []
    state = machine.start(config)
    while waits(state):
        lr = machine.learning_rate(config, state, state.step)
        state = machine.observe(config, state, np.array([noisy(0.1, sd=0.5)(state.step, lr)]))
        states.append(state)
    width = trend.end_width(state.step)
    assert width > 50
    assert state.phase.growth.lr == pytest.approx(1e-5 * 1e5 ** ((state.step - width) / 2122), rel=1e-12)


# --- a loss that never falls --------------------------------------------------------------------------


def test_the_minimum_of_a_loss_that_never_fell_is_a_reason_for_a_modest_lr() -> None:
    """At the cap it seems to be past its minimum; that the loss fell to it, lift-off does not see."""
    config = Config(total_steps=1000, max_lr=1.0)
    losses = 2.3 + 0.05 * np.random.default_rng(1).standard_normal(600)
    losses -= 0.06 * np.exp(-(((np.arange(600) - 340) / 30) ** 2))
    losses[360:] += 0.0006 * np.arange(240)
    states = follow(config, losses)
    state = states[-1]
    assert lift_off(states) is None
    assert state.switch is not None
    assert state.verdicts[-1].detected
    least = grown(config, growth_of(state), state.verdicts[-1].t_star)
    assert math.sqrt(1e-5) < least < 0.1
    assert (state.switch.t_star, state.switch.capped, state.switch.step) == (None, True, 427)
    assert state.switch.peak_lr == pytest.approx(math.sqrt(1e-5), rel=1e-12)


def test_after_a_rise_it_is_no_reason_for_an_lr_above_the_middle_of_the_range() -> None:
    config = Config(total_steps=1000)
    losses = 2.3 + 0.05 * np.random.default_rng(1).standard_normal(600)
    losses[34:37] = 5.0  # in the fast growth, at LRs above 0.1
    states = follow(config, losses)
    state = states[-1]
    assert lift_off(states) is None
    assert too_large(states) is not None
    assert state.switch is not None
    assert state.switch.peak_lr == pytest.approx(math.sqrt(1e-5), rel=1e-12)


@pytest.mark.parametrize("dies", [367, 407, 412, 417, 423])
def test_nor_is_the_last_loss_of_a_run_that_never_fell_before_it_died(dies: int) -> None:
    losses = 2.3 + 0.02 * np.random.default_rng(1).standard_normal(600)
    losses[dies:] = np.nan
    states = follow(Config(total_steps=1000), losses)
    state = states[-1]
    assert lift_off(states) is None
    assert state.switch is not None
    assert state.switch.peak_lr <= math.sqrt(1e-5) * (1 + 1e-12)


@pytest.mark.parametrize("best", [1e-3, 1e-2])
def test_weights_go_back_where_only_the_test_at_the_cap_sees_that_the_loss_was_lower(best: float) -> None:
    """As in batches of a few: no five losses show the fall, nor the rise, of a network that has collapsed."""
    hidden = 0
    for seed in range(20):
        draws = 1.5 * np.random.default_rng(seed).standard_normal(500)
        state, _ = run(
            Config(total_steps=1200, max_lr=1.0),
            lambda step, lr, draws=draws: float(response(np.array(lr), best)) + float(draws[step]),
            480,
        )
        assert state.switch is not None
        if state.switch.reason is Reason.NO_FALL and state.verdicts[-1].detected:
            hidden += 1
            assert state.switch.rewound_to == 0
            assert math.sqrt(1e-5) <= state.switch.peak_lr < 10 * best
    assert hidden >= 10


def test_flat_noise_seldom_undoes_a_run() -> None:
    undone = 0
    for seed in range(60):
        draws = 0.1 * np.random.default_rng(seed).standard_normal(500)
        state, _ = run(
            Config(total_steps=1200, max_lr=1.0), lambda step, lr, draws=draws: 2.3 + float(draws[step]), 480
        )
        assert state.switch is not None
        undone += state.switch.rewound_to is not None
    assert undone <= 4


@pytest.mark.parametrize(("total", "cap", "peak_lr"), [(60, 30, math.sqrt(1e-5)), (1000, 451, 0.1)])
def test_a_loss_that_neither_falls_nor_rises_ends_at_a_tenth_of_max_lr(
    total: int, cap: int, peak_lr: float
) -> None:
    """Or, where there was but the fast growth, in the middle of the range."""
    config = Config(total_steps=total)
    states = follow(config, np.full(total, 2.3))
    state = states[-1]
    assert lift_off(states) is None
    assert state.switch is not None
    assert (state.switch.step, state.switch.capped, state.switch.t_star) == (cap, True, None)
    assert state.switch.peak_lr == pytest.approx(peak_lr, rel=1e-12)


@pytest.mark.parametrize("growth", ["two-speed", "exponential"])
def test_a_run_that_dies_before_lift_off_is_put_back_whatever_happens_at_the_cap(growth: str) -> None:
    dead = 0
    for dies in range(170, 200):
        losses = 2.3 + 0.01 * np.random.default_rng(0).standard_normal(200)
        losses[dies:] = np.nan
        state = follow(Config(total_steps=400, growth=growth, return_at_cap=False), losses)[-1]
        assert state.switch is not None
        if state.switch.reason is Reason.NONFINITE:
            dead += 1
            assert state.switch.reads >= 3
            assert state.switch.rewound_to is not None
            assert state.switch.peak_lr < 0.1
    assert dead > 10
