"""What the watch compares with: the least level, that of the snapshot, and weights fit to go back to."""

import math
from dataclasses import replace

import numpy as np
import pytest

from autowu import Config
from autowu.controller import copies, ending, machine
from autowu.controller.cuts import taken_back
from autowu.controller.phases import sweep
from autowu.controller.state import Reason
from autowu.detector.trend import Stretch

from .after_switch import BEGIN, CONFIG, T, cuts, fallen, quiet, reads
from .helpers import follow, v_shape
from .made import default_state

# --- weights that are fit to go back to -----------------------------------------------------------------


def test_no_snapshot_is_taken_of_weights_that_are_about_to_explode() -> None:
    losses = quiet()
    losses[475 - BEGIN : 520 - BEGIN] += 0.5  # from just before the snapshot falls due, at 480
    states = reads(losses)
    kept = {state.read: state.snapshot_step for state in states}
    assert (kept[480], kept[500]) == (BEGIN - 20, BEGIN - 20)
    (cut, *_) = states[-1].phase.cuts
    assert (cut.step, cut.back_to) == (500, BEGIN - 20)


def test_after_a_cut_the_loss_may_fall_anew_from_where_the_weights_are() -> None:
    """The snapshot is of a loss of 1.5, since when it had fallen to 1; a third of the LR needs its time."""
    losses = np.r_[np.linspace(1.5, 1.0, 150), np.ones(T - BEGIN - 150)]
    losses += 0.01 * np.random.default_rng(0).standard_normal(len(losses))
    losses[460 - BEGIN :] = 1.6  # falls apart
    losses[480 - BEGIN :] = 1.5 - 0.3 * np.linspace(0, 1, T - 480)  # with the weights of the snapshot
    begin = fallen(least=Stretch(1.48, 1.5, 1.52), kept=Stretch(1.48, 1.5, 1.52))
    assert [cut.factor for cut in cuts(losses, begin)] == [1 / 3]


def test_what_the_snapshot_had_tells_the_data_from_an_lr_that_is_too_large() -> None:
    """As high as when the snapshot was taken is not higher than that: the LR stays cut."""
    begin = fallen(kept=Stretch(1.48, 1.5, 1.52))
    losses = quiet()
    losses[400 - BEGIN : 420 - BEGIN] = 1.6
    losses[420 - BEGIN :] = 1.5
    assert [taken_back([cut]) for cut in cuts(losses, begin)] == [False]
    losses[420 - BEGIN :] = 1.7
    assert [cut.factor for cut in cuts(losses, begin)] == [1 / 3, 1.0]


def test_where_warm_up_knows_no_level_the_first_losses_after_the_switch_are_the_snapshots() -> None:
    """Lift-off may be at the minimum. Data that get harder then are no fault of the learning rate's."""
    begin = fallen(least=None, kept=None)
    begin = begin.replace(phase=replace(begin.phase, switch=replace(begin.phase.switch, step=BEGIN)))
    losses = quiet()
    losses[400 - BEGIN :] += 0.6  # harder from here on, whatever the weights
    assert [cut.factor for cut in cuts(losses, begin)] == [1 / 3, 1.0]
    losses[420 - BEGIN :] -= 0.6  # the weights that went back are as good as they were
    assert [cut.factor for cut in cuts(losses, begin)] == [1 / 3]


@pytest.mark.parametrize("seed", range(40))
def test_it_does_not_matter_how_a_loss_is_not_finite(seed: int) -> None:
    """NaN, ∞ and -∞ alike: also among the first losses after the weights went back."""
    random, total = np.random.default_rng(seed), 120
    losses = v_shape(total, 30, 0.1, seed)
    losses[random.integers(60, total) :] += 3.0
    gone = random.random(total) < 0.3
    traces = []
    for value in (np.nan, np.inf, -np.inf):
        states = follow(Config(total_steps=total), np.where(gone, value, losses))
        traces.append([repr((s.step, s.restores, s.cuts, s.switch)) for s in states])
    assert traces[0] == traces[1] == traces[2]


# Adapters on a network of other classes, 400 updates, to the cut. Chance is 2.3, far below the first losses.
ADAPTERS = """
6.33 4.11 3.51 6.57 5.4 4.78 3.64 5.05 3.62 6.78 3.19 3.63 5.26 5.9 4.63 3.4 5.98 7.12 7.76 3.9 4.91 4.78 3.69
3.88 3.84 2.1 2.06 2.23 2.03 2.11 2.08 2.15 1.93 2.15 1.95 2.01 2.12 1.78 2.1 1.88 2.15 1.7 1.82 1.79 1.82
1.71 1.56 1.31 1.43 1.6 1.4 1.81 1.81 2.49 2.03 2.31 4.9 1.71 2.23 1.84 2.65 2.83 2.3 2.24 1.66 2.11 2.13
2.69 2.29 2.72 2.57 2.3 20.59 5.19 14.01 50.55 15.29 18.7 5.57 7.75 6.15 2.63 1.88 7.06 1.57 2.26 3.09 2.93
4.66 2.99 4.92 3.86 2.77 3.54 2.68 2.41 2.41 10.42 2.61 2.63 4.67
"""


def test_the_least_level_is_that_of_all_of_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was passed on the way back to lift-off's LR, where no test looks: the run had ended at chance."""
    monkeypatch.setattr(sweep, "LATE", math.inf)  # so that it is as it was when these losses were recorded
    state = follow(Config(total_steps=400), np.array(ADAPTERS.split(), dtype=float))[-1]
    switch = state.switch
    assert switch is not None
    assert (switch.step, switch.rewound_to) == (81, 53)
    assert switch.peak_lr > 0.05  # 0.01 is the best
    (cut,) = state.cuts
    assert (cut.step, cut.factor, cut.back_to) == (101, 1 / 3, 53)
    assert cut.least < 1.75


def test_weights_that_had_not_come_to_the_least_level_have_to_fall_to_it_anew() -> None:
    """A loss that falls fast is far above it at the snapshot; that is no rise."""
    seen, before = Stretch(0.4, 0.5, 0.6), Stretch(0.9, 1.0, 1.1)
    for kept, least in (
        (Stretch(1.3, 1.5, 1.7), before),
        (Stretch(0.55, 0.7, 0.9), seen),
        (None, seen),
    ):
        assert ending.least_level(before, seen, kept) == least
    assert ending.least_level(before, None, None) == before
    assert ending.least_level(Stretch(0.1, 0.2, 0.3), seen, None) == Stretch(0.1, 0.2, 0.3)
    assert ending.least_level(None, seen, None) == seen


def test_a_share_of_losses_that_are_not_finite_leaves_the_level_known() -> None:
    losses = v_shape(400, 100, noise=0.01)
    losses[5::8] = np.nan
    states = follow(Config(total_steps=1000), losses)
    early = [state.least for state in states if state.read >= 10 and state.step < 60]
    assert early
    assert all(least is not None and np.isfinite(least.high) for least in early)
    least = next(state.least for state in states if state.step > 90 and state.least)
    assert 0.9 < least.low <= least.high < 1.2


def test_most_losses_that_are_not_finite_are_no_level() -> None:
    losses = v_shape(400, 100, noise=0.01)
    losses[:60:2] = losses[1:60:4] = np.nan
    states = follow(Config(total_steps=1000), losses)
    assert all(state.least is None for state in states if state.step < 60)


@pytest.mark.parametrize("every", [3, 4, 8])
def test_a_rise_is_seen_among_losses_that_are_not_finite(every: int) -> None:
    losses = quiet()
    losses[400:] += 1.0
    losses[1::every] = np.nan
    found = cuts(losses)
    assert found
    assert found[0].level == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize(("least", "risen", "cut"), [
    (1e-4, 0.05, True), (1e-4, 2e-3, True), (0.01, 0.05, True),  # three tenths of the decades, and more
    (1e-4, 1.3e-3, False), (0.01, 0.037, False), (0.2, 0.27, False),  # fewer; and a fall by less than one
])  # fmt: skip
@pytest.mark.parametrize("unit", [1.0, 2.0**-30])
def test_of_a_loss_that_falls_through_decades_its_decades_are_lost(
    least: float, risen: float, cut: bool, unit: float
) -> None:
    level = Stretch(*(unit * np.array([0.9 * least, least, 1.1 * least])).tolist())
    origin = Stretch(*(unit * np.array([0.9, 1.0, 1.1])).tolist())
    losses = unit * least * np.exp(0.02 * np.random.default_rng(0).standard_normal(T - BEGIN))
    losses[400:] *= risen / least
    found = cuts(losses, fallen(least=level, kept=level).replace(origin=origin))
    assert bool(found) == cut
    assert all(each.step > 400 + BEGIN for each in found)


@pytest.mark.parametrize("low", [0.0, 0.5])
@pytest.mark.parametrize("at", range(5))
def test_one_low_loss_at_the_start_is_no_level_that_the_loss_has_to_fall_below(low: float, at: int) -> None:
    losses = v_shape(400, 100, noise=0.01)
    losses[at] = low
    states = follow(Config(total_steps=1000), losses)
    origin = states[-1].origin
    assert origin is not None
    assert origin.low > 1.5


# --- a loss that has never fallen ---------------------------------------------------------------------


@pytest.mark.parametrize(("level", "explodes"), [(2.1, False), (15.0, False), (40.0, True), (1e30, True)])
def test_an_explosion_is_a_rise_though_nothing_had_fallen(level: float, explodes: bool) -> None:
    """Beyond the first losses by ten times their size; and it is no copy's turn then."""
    losses = 2 + quiet(0.1) - 1
    losses[100:] *= level / 2
    states = reads(losses, fallen(least=None))
    found = states[-1].phase.cuts
    assert bool(found) == explodes
    if explodes:
        assert found[0].back_to == BEGIN - 20
        at = BEGIN + 100
        assert not any(state.snapshot_step and state.snapshot_step > at for state in states)


# --- the first weights --------------------------------------------------------------------------------


@pytest.mark.parametrize(("kept", "anew"), [(0, True), (60, False)])
def test_the_first_weights_have_to_fall_anew(kept: int, anew: bool) -> None:
    """Warm-up had come to half of their loss; that they begin above it is no rise."""
    first, least = Stretch(1.9, 2.0, 2.1), Stretch(0.9, 1.0, 1.1)
    state = default_state(snapshot_step=kept, origin=first, least=least)
    after = ending.switch(CONFIG, state, 95.0, 1e-3, Reason.MINIMUM, rewind=True)
    assert after.switch is not None
    assert after.switch.rewound_to == kept
    assert (after.phase.kept == first) == (after.phase.least == first) == anew


def test_at_the_cap_weights_that_have_learned_stay_though_the_last_losses_rise() -> None:
    """Of a loss that rests, five are as often above the five before as below."""
    losses = np.concatenate([np.linspace(2, 1, 50), np.full(14, 1.0), np.full(5, 1.005)])
    state = default_state(losses=losses, snapshot_step=0)
    assert not copies.healthy(Config(total_steps=200), state)
    assert copies.well(Config(total_steps=200), state)
    state = machine.observe(Config(total_steps=200), state, np.array([1.0]))
    assert state.switch is not None
    assert state.switch.rewound_to is None
