"""A loss that jumps, or is not finite, in growth: a bad batch or other data are no fault of the LR's."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from autowu import Config
from autowu.controller import machine
from autowu.controller.state import Grow, Reason, State
from autowu.detector import noise, trend
from autowu.integrations.warned import warnings_of

from .helpers import falls, noisy, run, through_plain, watched

CONFIG, BEST = Config(total_steps=1000), 0.02


def once(what: float, at: int = 120) -> Callable[[list[State]], Callable[[int, float], float]]:
    """A batch at ``at`` makes the weights, and so all losses, ``what`` until they have gone back."""

    def of(states: list[State]) -> Callable[[int, float], float]:
        draws = noisy(BEST)
        return lambda step, lr: what if step >= at and not states[-1].restores else draws(step, lr)

    return of


def switched(states: list[State]) -> State:
    """The state at the end of warm-up."""
    return next(state for state in states if state.switch is not None)


def lived(config: Config, loss: Callable[[list[State]], Callable[[int, float], float]]) -> list[State]:
    states = [machine.start(config)]
    answer = loss(states)
    for step in range(config.total_steps or 0):
        lr = machine.learning_rate(config, states[-1], step)
        states.append(machine.observe(config, states[-1], np.array([answer(step, lr)])))
    return states


@pytest.mark.parametrize("what", [math.nan, math.inf, 50.0])
@pytest.mark.parametrize("at", [60, 120])
def test_weights_that_one_batch_breaks_go_back_and_growth_goes_on_to_the_same_peak(
    what: float, at: int
) -> None:
    whole, _ = run(CONFIG, noisy(BEST))
    states = lived(CONFIG, once(what, at))
    state = switched(states)
    assert whole.switch is not None
    assert state.switch is not None
    assert state.switch.reason is Reason.MINIMUM
    assert state.restores == 2
    assert state.switch.peak_lr == pytest.approx(whole.switch.peak_lr, rel=0.3)
    broke = next(state for state in states if isinstance(state.phase, Grow) and state.phase.broke)
    assert broke.restores == 1
    assert broke.switch is None
    # It goes on from the LR of the snapshot, not from above it, and nothing is left of what was seen.
    assert broke.phase.growth.start == broke.step
    assert broke.phase.growth.lr <= broke.phase.broke.lr
    assert not len(broke.losses)


@pytest.mark.parametrize("jump", [1.0, 2.0, 20.0])
def test_data_that_get_harder_at_once_end_no_warm_up(jump: float) -> None:
    draws = noisy(BEST)
    whole, _ = run(CONFIG, draws)
    states, lrs = watched(CONFIG, lambda step, lr: draws(step, lr) + (jump if step >= 120 else 0.0))
    state = switched(states)
    assert whole.switch is not None
    assert state.switch is not None
    assert state.switch.peak_lr == pytest.approx(whole.switch.peak_lr, rel=0.3)
    assert state.restores == 2
    # What the loss has to be below from now on is its level with the other data.
    assert state.origin is not None
    assert state.origin.low > jump
    assert not states[-1].phase.no_fall
    assert falls(states[-1], lrs)


@pytest.mark.parametrize("total", [400, 600, 1000, 4000])
@pytest.mark.parametrize("at", [20, 30, 50, 80])
def test_they_do_not_whenever_they_come(total: int, at: int) -> None:
    """In the sweep, on the way back to the LR of lift-off, and between two tests of a short run."""
    draws = noisy(BEST)
    states, _ = watched(Config(total_steps=total), lambda step, lr: draws(step, lr) + 2.0 * (step >= at))
    switch = switched(states).switch
    assert switch is not None
    assert switch.peak_lr == pytest.approx(0.015, rel=0.2)


@pytest.mark.parametrize("what", [math.nan, 9.0])
def test_what_happens_twice_at_the_same_lr_is_its_doing(what: float) -> None:
    """Then the decay begins where it would have the first time, at most."""

    def fragile(states: list[State]) -> Callable[[int, float], float]:
        draws, dead = noisy(BEST), -1

        def loss(step: int, lr: float) -> float:
            nonlocal dead
            dead = states[-1].restores if lr > 3e-3 and states[-1].switch is None else dead
            return what if states[-1].restores == dead else draws(step, lr)

        return loss

    states = lived(CONFIG, fragile)
    broke = next(state.phase.broke for state in states if isinstance(state.phase, Grow) and state.phase.broke)
    state = switched(states)
    assert state.switch is not None
    assert state.switch.peak_lr <= broke.switch.peak_lr < 3e-3 * 1.1
    assert state.restores == 2
    assert state.switch.step < CONFIG.warmup_steps / 2
    assert state.switch.t_star is not None
    assert state.switch.rewound_to is not None
    assert state.switch.rewound_to < state.switch.step


@pytest.mark.parametrize("settings", [{"rewind": False}, {"spike": None}])
def test_a_jump_is_believed_at_once_where_nothing_goes_back_or_none_is_looked_for(
    settings: dict[str, object],
) -> None:
    config, draws = Config(total_steps=1000, **settings), noisy(BEST)
    states, _ = watched(config, lambda step, lr: draws(step, lr) + (2.0 if step >= 120 else 0.0))
    assert not any(isinstance(state.phase, Grow) and state.phase.broke for state in states)
    switch = switched(states).switch
    assert switch is not None
    assert switch.step < 200


def test_a_checkpoint_between_the_two_changes_nothing() -> None:
    states = lived(CONFIG, once(math.nan))
    at = next(i for i, state in enumerate(states) if isinstance(state.phase, Grow) and state.phase.broke) + 3
    state, draws = through_plain(CONFIG, states[at]), noisy(BEST)
    assert state.phase == states[at].phase
    for step in range(state.step, 1000):
        lr = machine.learning_rate(CONFIG, state, step)
        state = machine.observe(CONFIG, state, np.array([draws(step, lr)]))
    assert state.phase == states[-1].phase


def test_it_is_told_once_with_the_lr_and_the_step_of_the_snapshot() -> None:
    states = lived(CONFIG, once(50.0))
    pairs = pairwise(states)
    told = [text for before, after in pairs for text in warnings_of(CONFIG, before, after, 0, 0)]
    (text,) = [text for text in told if "bad batch" in text]
    assert "jumped" in text
    assert "go back to those of step" in text


# --- a jump -------------------------------------------------------------------------------------------


def slow_jumped(losses: np.ndarray, since: int, height: float) -> bool:
    """:func:`trend.jumped`, written out."""
    sd = noise.noise_level(losses)
    x = losses[max(0, since - 5) :]
    gaps = {i: min(x[i : i + 5]) - max(x[i - 5 : i]) for i in range(5, len(x) - 6)}
    if not gaps or max(gaps.values()) <= height * sd:
        return False
    i = max(gaps, key=lambda at: gaps[at])
    low, high, last = sorted(x[i - 5 : i])[2], sorted(x[i : i + 5])[2], sorted(x[-5:])[2]
    return bool(last - high < 0.5 * (high - low))


@pytest.mark.parametrize("seed", range(60))
def test_a_jump_is_what_its_definition_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    losses = 3 - 0.01 * np.arange(60) + 0.05 * random.standard_normal(60)
    at, height = int(random.integers(5, 58)), float(random.uniform(0.2, 1.5))
    losses[at:] += height + (0.2 * np.arange(60 - at) if seed % 3 == 0 else 0.0)
    since = int(random.integers(0, 60))
    assert trend.jumped(losses, since, 8.0) == slow_jumped(losses, since, 8.0)


def test_growth_of_the_loss_from_update_to_update_is_no_jump() -> None:
    losses = np.r_[1 - 0.01 * np.arange(40), 0.6 * 1.5 ** np.arange(20)]
    assert not trend.jumped(losses, 35, 8.0)
    assert trend.jumped(np.r_[losses[:40], np.full(20, 4.0)], 35, 8.0)
    assert not trend.jumped(np.r_[losses[:40], np.full(6, 4.0)], 35, 8.0)  # too soon to tell
    assert trend.jumped(np.r_[losses[:40], np.full(7, 4.0)], 35, 8.0)
    assert trend.jumped(np.r_[losses[:40], np.full(8, 4.0), math.nan], 35, 8.0)


def test_few_losses_show_none() -> None:
    assert not trend.jumped(np.zeros(0), 0, 8.0)
    flat = 0.01 * np.random.default_rng(0).standard_normal(13)
    jump = np.r_[np.zeros(5), np.ones(8)]
    assert trend.jumped(flat + jump, 0, 8.0)
    assert not trend.jumped((flat + jump)[:11], 0, 8.0)
    assert not trend.jumped(flat, 0, 8.0)


def test_a_minimum_near_the_lr_of_one_bad_batch_is_a_minimum() -> None:
    """The batch came where the loss was about to rise anyway: that it rises there is no second death."""
    states = lived(CONFIG, once(math.nan, 170))
    broke = next(state.phase.broke for state in states if isinstance(state.phase, Grow) and state.phase.broke)
    state = switched(states)
    assert state.switch is not None
    assert state.switch.reason is Reason.MINIMUM
    assert state.switch.peak_lr <= 2 * broke.lr
    assert state.switch.peak_lr == pytest.approx(0.0155, rel=0.3)
