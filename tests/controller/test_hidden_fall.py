"""Lift-off that was noise: the loss is nowhere below the first ones, and growth goes back."""

from dataclasses import replace

import numpy as np
import pytest

from autowu import Config, Verdict
from autowu.controller import machine
from autowu.controller.state import Grow, Reason, Search, State

from .helpers import noisy, run, through_plain, watched
from .made import default_state

CONFIG = Config(total_steps=2000)


def lifted_by_chance(step: int, lr: float) -> float:
    """Quiet at first; a dip, as of a few lucky batches, and then a loss that an LR beyond 0.003 spoils."""
    draw = float(np.random.default_rng(step).standard_normal())
    if step < 30:
        return 2.3 + 0.02 * draw - 0.3 * (step >= 26)
    return 2.3 + 0.5 * draw + (0.4 if lr > 0.003 else -0.6 * (lr > 5e-4))


def until_search(states: list[State]) -> State | None:
    after = [i for i, state in enumerate(states) if isinstance(state.phase, Grow)]
    found = [state for state in states[after[0] :] if isinstance(state.phase, Search)]
    return found[0] if found else None


def test_growth_goes_back_three_decades_below_it_with_the_weights_of_the_snapshot() -> None:
    states, _ = watched(CONFIG, lifted_by_chance, 800)
    again = until_search(states)
    assert again is not None
    grow = states[states.index(again) - 1]
    assert isinstance(grow.phase, Grow)
    assert again.phase.growth.lr == pytest.approx(max(grow.phase.growth.lr / 1000, CONFIG.min_lr))
    assert again.restores == grow.restores + 1
    assert again.phase.too_large == pytest.approx(machine.learning_rate(CONFIG, grow, grow.step), rel=0.2)
    assert again.first == again.phase.growth.start  # what was seen before does not count
    assert machine.learning_rate(CONFIG, again, again.first) == pytest.approx(again.phase.growth.lr)
    assert through_plain(CONFIG, again).phase == again.phase


def test_it_does_not_wait_for_the_cap() -> None:
    states, lrs = watched(CONFIG, lifted_by_chance, 800)
    again = until_search(states)
    assert again is not None
    assert again.step < CONFIG.growth_steps
    assert lrs[: again.step].max() <= CONFIG.high_lr


FLAT = Verdict(
    100, 0, p_min=(0.4,) * 5, argmins=(0.5,) * 5, mean=np.full(101, 1.9), sd=np.full(101, 0.1), noise=0.5
)
"""Below a first level of 2.0, but not by more than noise explains."""


def test_at_the_end_of_warm_up_the_lr_is_a_tenth_of_what_it_had_come_to(scripted: list[Verdict]) -> None:
    scripted.append(FLAT)
    short = Config(total_steps=200)  # whose warm-up ends at 100
    state = machine.observe(short, default_state(snapshot_step=10), np.ones(1))
    switch = state.switch
    assert (switch.step, switch.capped, switch.reason, switch.t_star) == (100, True, Reason.RISE, None)
    assert switch.peak_lr == pytest.approx(1e-3 * 1e5 ** (70 / 500) / 10)
    assert (switch.rewound_to, state.restores) == (10, 1)


@pytest.mark.parametrize("least", [1.9, 1.0])
def test_detections_of_no_fall_end_nothing(least: float, scripted: list[Verdict]) -> None:
    mean = np.full(101, least)
    scripted.append(replace(FLAT, p_min=(0.99,) * 5, detected=True, mean=mean))
    losses = 2 + 0.5 * np.random.default_rng(0).standard_normal(69)
    state = machine.observe(
        Config(total_steps=1000), default_state(2, losses=losses, snapshot_step=10), np.ones(1)
    )
    assert isinstance(state.phase, Search) == (least == 1.9)
    assert (state.switch is not None) == (least == 1.0)


@pytest.mark.parametrize("best", [1e-3, 0.03])
@pytest.mark.parametrize("seed", range(5))
def test_a_fall_that_is_one_is_believed(best: float, seed: int) -> None:
    states, _ = watched(CONFIG, noisy(best, 0.1, seed), 1000)
    assert until_search(states) is None
    state, _ = run(CONFIG, noisy(best, 0.1, seed), 1000)
    assert state.switch.reason is Reason.MINIMUM


def test_lift_off_that_a_copy_has_proven_is_no_noise(scripted: list[Verdict]) -> None:
    """None would have been taken after it, had the loss not been below the first ones for sure."""
    scripted.append(replace(FLAT, p_min=(0.99,) * 5, detected=True))
    losses = 2 + 0.5 * np.random.default_rng(0).standard_normal(69)
    state = machine.observe(Config(total_steps=1000), default_state(2, losses=losses), np.ones(1))
    assert state.switch is not None
    assert state.switch.reason is Reason.MINIMUM
