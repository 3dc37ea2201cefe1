"""Before lift-off, and back to its LR: what ends the fast growth, and a loss that never falls."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from autowu import Config
from autowu.controller import machine, schedule
from autowu.controller.plain import to_plain
from autowu.controller.rate import grown
from autowu.controller.state import Grow, Growth, Reason, Search, State
from autowu.detector import noise, trend

from .helpers import (
    equal,
    follow,
    growth_of,
    lift_off,
    noisy,
    response,
    run,
    through_plain,
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
    # Fast before lift-off, a decade of LR in 20 updates; slow after it, a decade in 200, from the LR five
    # updates before: the fall that medians of five losses show began there.
    np.testing.assert_allclose(lrs[:lifted], 1e-5 * 1e5 ** (np.arange(lifted) / 100), rtol=1e-12)
    end = state.verdicts[-1].step
    slow = np.arange(end - lifted)
    start = 1e-5 * 1e5 ** ((lifted - 5) / 100)
    np.testing.assert_allclose(lrs[lifted:end], start * 1e5 ** (slow / 1000), rtol=1e-12)


def test_flat_losses_never_make_a_minimum() -> None:
    """Noise for the first half of the sweep's range, then a fall: the switch must not come before it."""
    early = []
    for seed in range(20):
        state, _ = run(Config(total_steps=1500), noisy(0.3, sd=0.05, seed=seed), 751)
        assert state.switch is not None
        early.append(state.switch.peak_lr < 0.02)
    assert sum(early) == 0


def test_a_failed_sweep_starts_again_slowly() -> None:
    config = Config(total_steps=1000)
    rng = np.random.default_rng(0)
    state = follow(config, 2.3 + 0.01 * rng.standard_normal(config.sweep_steps))[-1]
    assert state.step == 50
    assert state.phase == Search(Growth(50, config.min_lr, config.warmup_steps))
    assert machine.learning_rate(config, state, 50) == config.min_lr
    assert state.restores == 1
    assert (state.first, len(state.losses)) == (50, 0)
    late = replace(config, rewind=False)
    assert follow(late, np.full(50, 2.3))[-1].restores == 0


def test_what_the_loss_does_below_the_lr_of_lift_off_is_not_looked_at() -> None:
    """It falls from lift-off on only where the LR is larger; before that it rests, and dips."""
    config = Config(total_steps=1000)
    lifted = lift_off(follow(config, 3 - 0.02 * np.arange(20)))
    assert lifted is not None
    back = lifted + round(5 * 500 / 50)  # the slow growth takes so long for five updates of the fast one
    losses = np.full(600, 3 - 0.02 * lifted) + 0.01 * np.random.default_rng(0).standard_normal(600)
    losses[:lifted] = 3 - 0.02 * np.arange(lifted)
    losses[lifted + 15 : lifted + 25] -= 0.3
    losses[back:] -= 0.004 * np.minimum(np.arange(600 - back), 200)
    losses[back + 200 :] += 0.02 * np.arange(400 - back)
    states = follow(config, losses)
    first = next(state for state in states if state.verdicts).verdicts[0]
    assert back - 15 < first.start <= back  # since the last read before that
    assert first.step >= back
    switch = states[-1].switch
    assert switch is not None
    assert switch.t_star == pytest.approx(back + 200, abs=15)
    waiting = [state for state in states if lifted < state.read < back]
    assert waiting
    assert {(state.phase.detections, state.first) for state in waiting} == {(0, lifted)}
    assert all(state.snapshot_step == state.read for state in waiting)
    assert not any(state.verdicts for state in waiting)


def test_no_copy_is_taken_at_a_loss_that_is_not_finite_on_the_way_back() -> None:
    config = Config(total_steps=1000)
    lifted = next(state for state in follow(config, 3 - 0.02 * np.arange(20)) if not waits(state))
    due = machine.next_read(config, lifted)
    losses = 3 - 0.02 * np.arange(due)
    assert follow(config, losses)[-1].snapshot_step == due
    losses[-1] = np.nan
    assert follow(config, losses)[-1].snapshot_step == lifted.phase.lift_off


def test_a_sweep_in_which_the_loss_rises_starts_again_two_decades_lower() -> None:
    """The loss never fell plainly, and the LR is far too large already: what is left is below it."""
    config = Config(total_steps=1000)
    losses = 2.3 + 0.01 * np.random.default_rng(0).standard_normal(60)
    losses[35:] += 0.2 * np.arange(1, 26)
    states = follow(config, losses)
    again = next(state for state in states if isinstance(state.phase, Search))
    seen = again.phase.growth.start
    assert 38 <= seen <= 42  # with the third loss of five that is plainly above the first ones
    assert again.phase.growth == Growth(seen, pytest.approx(1e-5 * 1e5 ** (seen / 50) / 100, rel=1e-12), 500)
    assert (again.restores, again.first) == (1, seen)


def test_a_rise_at_once_starts_again_at_the_start() -> None:
    losses = 1.0 + 0.5 * np.arange(30)
    states = follow(Config(total_steps=1000), losses)
    again = next(state for state in states if isinstance(state.phase, Search))
    assert again.phase.growth == Growth(11, 1e-5, 500)


def test_after_a_failed_sweep_tests_see_the_slow_growth_from_its_start() -> None:
    """Lift-off may come late, when noise hides the fall; the minimum may then be past."""
    config = Config(total_steps=1000)
    losses = 2.3 + 0.02 * np.random.default_rng(0).standard_normal(600)
    losses[config.sweep_steps :] -= 0.3 * np.minimum(np.arange(550) / 200, 1)
    states = follow(config, losses)
    lifted = next(state for state in states if isinstance(state.phase, Grow))
    assert (lifted.first, len(lifted.losses)) == (50, lifted.step - 50)
    assert lifted.phase.growth == Growth(50, config.min_lr, 500)
    assert states[-1].verdicts[0].start == 50


def test_the_minimum_of_a_loss_that_never_fell_is_no_reason_for_a_large_lr() -> None:
    """At the cap it seems to be past its minimum; that the loss fell to it, lift-off does not see."""
    config = Config(total_steps=1000)
    losses = 2.3 + 0.05 * np.random.default_rng(1).standard_normal(600)
    losses -= 0.06 * np.exp(-(((np.arange(600) - 420) / 30) ** 2))
    losses[440:] += 0.0006 * np.arange(160)
    states = follow(config, losses)
    state = states[-1]
    assert lift_off(states) is None
    assert state.switch is not None
    assert state.verdicts[-1].detected
    least = grown(config, growth_of(state), state.verdicts[-1].t_star)
    assert math.sqrt(1e-5) < least < 0.1
    assert (state.switch.t_star, state.switch.capped, state.switch.step) == (None, True, 500)
    assert state.switch.peak_lr == least


def test_after_a_rise_it_is_no_reason_for_an_lr_above_the_middle_of_the_range() -> None:
    config = Config(total_steps=1000)
    losses = 2.3 + 0.05 * np.random.default_rng(1).standard_normal(600)
    losses[44:50] = 5.0  # in the fast growth, at LRs above 0.1
    states = follow(config, losses)
    state = states[-1]
    assert lift_off(states) is None
    assert too_large(states) is not None
    assert state.switch is not None
    assert state.switch.peak_lr == pytest.approx(math.sqrt(1e-5), rel=1e-12)


@pytest.mark.parametrize("dies", [440, 480, 485, 490, 496])
def test_nor_is_the_last_loss_of_a_run_that_never_fell_before_it_died(dies: int) -> None:
    losses = 2.3 + 0.02 * np.random.default_rng(0).standard_normal(600)
    losses[dies:] = np.nan
    states = follow(Config(total_steps=1000), losses)
    state = states[-1]
    assert lift_off(states) is None
    assert state.switch is not None
    assert state.switch.peak_lr <= math.sqrt(1e-5) * (1 + 1e-12)


@pytest.mark.parametrize(("total", "peak_lr"), [(60, math.sqrt(1e-5)), (1000, 0.1)])
def test_a_loss_that_neither_falls_nor_rises_ends_at_a_tenth_of_max_lr(total: int, peak_lr: float) -> None:
    """Or, where there was but the fast growth, in the middle of the range."""
    config = Config(total_steps=total)
    states = follow(config, np.full(total, 2.3))
    state = states[-1]
    assert lift_off(states) is None
    assert state.switch is not None
    assert (state.switch.step, state.switch.capped, state.switch.t_star) == (total // 2, True, None)
    assert state.switch.peak_lr == pytest.approx(peak_lr, rel=1e-12)


def test_growth_without_tests_of_lift_off_is_eq_1() -> None:
    config = Config(total_steps=1000, growth="exponential", lift_off=None)
    states = follow(config, v_shape(600, 300, 0.02))
    state = states[-1]
    assert lift_off(states) == 0
    assert {test.start for test in state.verdicts} == {0}
    assert state.switch is not None
    assert state.switch.t_star == pytest.approx(300, abs=10)
    assert state.switch.peak_lr == pytest.approx(schedule.exponential(state.switch.t_star, 500, 1e-5, 1))


@pytest.mark.parametrize("growth", ["linear", "exponential"])
def test_other_growths_may_wait_for_lift_off(growth: str) -> None:
    config = Config(total_steps=1000, growth=growth)
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

    def shift(losses: np.ndarray, threshold: float, level: object) -> int:
        asked.append(len(losses))
        return 0

    monkeypatch.setattr(trend, "shift", shift)
    losses = 3 - 0.01 * np.arange(40)
    losses[5] = np.nan
    follow(DEFAULT, losses)  # five decades in 50 updates: a read at each
    assert asked == [step - (step > 5) for step in range(1, 41)]


# --- rises --------------------------------------------------------------------------------------------


def explodes(edge: float, sd: float = 0.1, seed: int = 0) -> Callable[[int, float], float]:
    """No fall that can be seen, and a loss ten times as high from the LR ``edge`` on."""
    draws = np.random.default_rng(seed).standard_normal(100_000)
    return lambda step, lr: (2.3 if lr < edge else 23.0) + sd * float(draws[step])


@pytest.mark.parametrize("total", [400, 2000, 20_000])
@pytest.mark.parametrize("edge", [3e-4, 1e-2, 0.3])
def test_a_loss_that_only_explodes_gets_a_tenth_of_the_lr_that_it_explodes_at(
    edge: float, total: int
) -> None:
    states, lrs = watched(Config(total_steps=total), explodes(edge), total // 2 + 1)
    state = states[-1]
    assert lift_off(states) is None
    assert too_large(states) is not None
    assert state.switch is not None
    assert (state.switch.capped, state.switch.t_star, state.restores) == (False, None, 2)
    assert edge / 10 <= state.switch.peak_lr < edge / 10 * (2.5 if total < 1000 else 1.6)
    # Twice at such LRs, and no longer than it takes to see it.
    assert np.count_nonzero(lrs[: state.switch.step] >= edge) < 40 + total // 40


def test_a_rise_seen_twice_at_much_lower_an_lr_is_not_the_lr_s_doing() -> None:
    """The data jump in the sweep; the weights go back, and the loss stays high. Then all is as ever."""

    def jumps(step: int, lr: float) -> float:
        return float(response(np.array(lr), 0.02)) + (3.0 if step >= 12 else 0.0) + 0.02 * float(draws[step])

    draws = np.random.default_rng(0).standard_normal(1000)
    states, _ = watched(Config(total_steps=1000), jumps, 501)
    state, rise = states[-1], too_large(states)
    assert rise is not None
    assert rise.lr < 1e-2
    assert rise.level is None  # the level to fall from is that of after the jump
    assert lift_off(states) is not None
    assert state.switch is not None
    assert 0.01 < state.switch.peak_lr < 0.04


def resumed(config: Config, loss: Callable[[int, float], float], every: int) -> State:
    """The end of warm-up, through a checkpoint every so many updates."""
    state = machine.start(config)
    for step in range(config.warmup_steps + 1):
        if step % every == 0:
            state = through_plain(config, state)
        lr = machine.learning_rate(config, state, step)
        state = machine.observe(config, state, np.array([loss(step, lr)]))
    return state


@pytest.mark.parametrize("loss", [explodes(0.01), noisy(0.02), noisy(0.1, sd=0.6)])
def test_a_run_goes_on_from_any_checkpoint_before_lift_off(loss: Callable[[int, float], float]) -> None:
    config = Config(total_steps=600)
    whole = resumed(config, loss, 10_000)
    risen = too_large(watched(config, loss, config.warmup_steps + 1)[0]) is not None
    assert risen == (loss(0, 1.0) > 10)
    for every in (1, 7):
        assert equal(to_plain(resumed(config, loss, every)), to_plain(whole))


@pytest.mark.parametrize(
    ("total", "at"), [(1000, 5), (4000, 8), (4000, 20), (4000, 40), (12_000, 24), (12_000, 120)]
)
def test_data_that_jump_at_the_start_do_not_fix_the_least_lr(total: int, at: int) -> None:
    """From so low an LR growth cannot go back two decades: that the loss is high there again says nothing."""
    draws = np.random.default_rng(0).standard_normal(total)

    def jumps(step: int, lr: float) -> float:
        return float(response(np.array(lr), 0.02)) + (3.0 if step >= at else 0.0) + 0.02 * float(draws[step])

    state, _ = run(Config(total_steps=total), jumps, total // 2 + 1)
    assert state.switch is not None
    assert 0.01 < state.switch.peak_lr < 0.04


@pytest.mark.parametrize("edge", [1e-4, 1e-3])
@pytest.mark.parametrize("delay", [10, 15, 20])
def test_a_divergence_that_takes_its_time_is_no_jump_of_the_data(edge: float, delay: int) -> None:
    """The fast growth is far beyond the edge when the loss shows it; the slow one is not."""
    config = Config(total_steps=400)
    draws = np.random.default_rng(0).standard_normal(400)
    state, too_large = machine.start(config), 0
    for step in range(201):
        lr = machine.learning_rate(config, state, step)
        too_large = too_large + 1 if lr >= edge or too_large >= delay else 0
        before, loss = state.restores, (23.0 if too_large >= delay else 2.3) + 0.05 * float(draws[step])
        state = machine.observe(config, state, np.array([loss]))
        too_large = too_large if state.restores == before else 0
    assert state.switch is not None
    assert not state.switch.capped
    assert edge / 10 < state.switch.peak_lr < edge


def test_where_noise_hides_fall_and_rise_alike_the_least_loss_bounds_the_lr() -> None:
    """The best LR is 0.006; a tenth of that at which the loss has risen again is twice as much and more."""
    found = []
    for seed in range(40):
        draws = np.random.default_rng(seed).standard_normal(200)

        def loss(step: int, lr: float, draws: np.ndarray = draws) -> float:
            fall = 0.1 * math.exp(-0.5 * math.log(lr / 0.006) ** 2)
            rise = 0.4 * max(0.0, math.log10(lr / 0.03)) ** 2
            return 2.3 - fall + rise + (0.02 + 0.1 * lr**0.3) * float(draws[step])

        states, lrs = watched(Config(total_steps=240), loss, 120)
        state = states[-1]
        if state.switch is not None and too_large(states) is not None and lift_off(states) is None:
            found.append((state.switch.peak_lr, 0.1 * lrs[state.switch.step - 1]))
            assert state.switch.rewound_to == 1
            assert state.switch.t_star is None
    assert len(found) >= 5
    assert all(0.003 < peak_lr < 0.01 < tenth for peak_lr, tenth in found)


@pytest.mark.parametrize("beyond", [0.2, math.nan])
def test_where_nothing_fell_chance_takes_the_lr_down_by_another_decade_at_most(beyond: float) -> None:
    """And not at all where the loss is no longer finite: then it is known from what LR on."""
    found = []
    for seed in range(20):
        draws = np.random.default_rng(seed).standard_normal(2000)

        def loss(step: int, lr: float, draws: np.ndarray = draws) -> float:
            return 2.3 + (beyond * math.log10(lr / 0.1) if lr > 0.1 else 0.0) + 0.05 * float(draws[step])

        state, lrs = run(Config(total_steps=4000), loss, 2000)
        assert state.switch is not None
        assert state.switch.t_star is None
        assert all(verdict.streak <= 1 for verdict in state.verdicts)  # each is a test of its own
        if not state.switch.capped:
            found.append(state.switch.peak_lr / lrs[state.switch.step - 1])
    assert len(found) >= 15
    if math.isnan(beyond):
        assert found == pytest.approx([0.1] * len(found), rel=0.02)
    else:
        assert 0.0098 < min(found) < 0.03 < max(found) < 0.102


@pytest.mark.parametrize(("total", "at"), [(120, 43), (160, 60), (400, 112)])
def test_the_cap_does_not_fix_an_lr_at_which_the_loss_has_risen(total: int, at: int) -> None:
    """It rises in the slow growth; in what is left of warm-up the LR does not come so far again."""
    config = Config(total_steps=total)
    draws = np.random.default_rng(0).standard_normal(total)
    states, goes_back = [machine.start(config)], 0
    for step in range(total // 2 + 1):
        goes_back = goes_back or (states[-1].restores if step > at and too_large(states) else 0)
        loss = (8.0 if step >= at and not goes_back else 2.3) + 0.01 * float(draws[step])
        states.append(machine.observe(config, states[-1], np.array([loss])))
    state, rise = states[-1], too_large(states)
    assert rise is not None
    assert state.switch is not None
    assert state.switch.capped
    assert grown(config, growth_of(state), total // 2) < 1.001 * rise.lr
    assert state.switch.peak_lr == pytest.approx(max(rise.lr / 10, 1e-5), rel=1e-9)


@pytest.mark.parametrize("total", [400, 1000, 4000])
@pytest.mark.parametrize(("height", "share"), [(1.0, 0.1), (1.0, 0.2), (3.0, 0.3), (3.0, 0.5)])
def test_a_loss_that_the_data_raise_for_long_finds_its_lr(height: float, share: float, total: int) -> None:
    """Such as a term that is annealed in: growth goes back a few times, and then takes no more notice."""
    draws = np.random.default_rng(0).standard_normal(total)

    def annealed(step: int, lr: float) -> float:
        more = height * min(step / (share * total), 1.0)
        return float(response(np.array(lr), 0.02)) + more + 0.02 * float(draws[step])

    state, _ = run(Config(total_steps=total), annealed, total // 2 + 1)
    assert state.switch is not None
    assert 4e-3 < state.switch.peak_lr < 0.1
    assert state.restores <= 4


def test_no_lr_that_a_first_rise_was_seen_at_is_fixed_after_a_second_lower_one() -> None:
    config = Config(total_steps=400)
    draws = np.random.default_rng(0).standard_normal(400)
    state, rises = machine.start(config), set[float]()
    for step in range(201):
        lr = machine.learning_rate(config, state, step)
        high = 100 <= step < 120 or 125 <= step < 150
        seen = len(rises) > (0 if step < 120 else 1)
        state = machine.observe(
            config, state, np.array([(8.0 if high and not seen else 2.3) + 0.01 * draws[step]])
        )
        if isinstance(state.phase, Search) and state.phase.too_large:
            rises.add(state.phase.too_large.lr)
        lr = grown(config, growth_of(state), step) if state.switch is None else lr
    assert len(rises) == 2
    assert state.switch is not None
    assert state.switch.capped
    assert state.switch.peak_lr <= lr * 1.1


def test_no_copy_is_named_that_cannot_have_been_taken() -> None:
    """A decision to switch drops the copy, and so takes none: what is put back is from before."""
    for total in range(20, 80):
        for losses in (3 - 0.1 * np.arange(40), 3 - 0.002 * np.arange(40)):
            states = follow(Config(total_steps=total), losses[: total // 2])
            before, after = states[-2], states[-1]
            if after.switch is not None and after.switch.rewound_to is not None:
                assert after.switch.rewound_to == before.snapshot_step


def test_a_copy_made_after_the_rise_is_none_of_the_initial_weights() -> None:
    config = Config(total_steps=4000)
    losses = 2.3 + 0.01 * np.random.default_rng(0).standard_normal(200)
    losses[150:] += 5
    unread = machine.start(config).replace(step=199, read=199, losses=losses[:199])  # no read before 200
    state = machine.observe(config, unread, losses[199:])
    assert state.snapshot_step == 200
    assert state.phase.too_large is not None
    assert state.phase.too_large.level is None


@pytest.mark.parametrize("spacing", [30, 130, 400, 1.5, 3.0])
def test_however_far_tests_are_apart_the_sweep_is_looked_at_all_the_same(spacing: float) -> None:
    """Epochs shorter and longer than the sweep, of 200 updates, or many times the LR between two tests."""
    settings = {"steps_per_epoch": spacing} if isinstance(spacing, int) else {}
    config = Config(total_steps=4000, test_growth=None if settings else spacing, **settings)
    by_default, _ = watched(Config(total_steps=4000), noisy(1e-2))
    states, lrs = watched(config, noisy(1e-2))
    state = states[-1]
    assert lift_off(states) == lift_off(by_default) is not None
    assert max(lrs[:200]) < 1e-2  # the sweep alone would have come to 1
    assert state.verdicts
    if settings:
        assert {verdict.step % spacing for verdict in state.verdicts} == {0}
    assert state.switch is not None
    assert state.switch.peak_lr == pytest.approx(1e-2, rel=0.5)
    assert (
        follow(config, np.full(2, 2.3))[-1].snapshot_step == 2
    )  # the weights to go back to if the loss rises
    # So is the slow growth that follows a sweep without a fall.
    slow = follow(config, 2.3 + 0.01 * np.random.default_rng(0).standard_normal(200))[-1]
    assert (slow.step, type(slow.phase)) == (200, Search)
    assert machine.next_read(config, slow) - slow.step < 20


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


def test_losses_that_are_not_finite_on_the_way_back_do_not_add_up() -> None:
    config = Config(total_steps=1000)
    lifted = next(state for state in follow(config, 3 - 0.02 * np.arange(20)) if not waits(state))
    losses = np.full(lifted.step + 60, 3 - 0.02 * lifted.step)
    losses[: lifted.step] = 3 - 0.02 * np.arange(lifted.step)
    losses += 0.01 * np.random.default_rng(0).standard_normal(len(losses))
    losses[lifted.step + 12 :] += 1.0  # higher, but no rise to be seen as yet
    for gone in (14, 20, 26, 32, 38):
        losses[lifted.step + gone : lifted.step + gone + 6] = np.nan if gone % 12 == 2 else 3.5
    states = follow(config, losses)
    back = [state for state in states if lifted.step < state.read < lifted.step + 50]
    assert max(state.nonfinite_reads for state in back) == 1
    assert max(state.phase.detections for state in back) <= 1


@pytest.mark.parametrize("length", [6, 8, 12])
def test_the_end_of_a_burst_is_no_lift_off(length: int) -> None:
    """A burst in the sweep sends it back; the growth that follows must not take its end for a fall."""

    def burst(step: int, lr: float) -> float:
        high = 3.0 if 15 <= step < 15 + length else 0.0
        return float(response(np.array(lr), 0.02)) + high + 0.02 * float(draws[step])

    draws = np.random.default_rng(1).standard_normal(1000)
    states, _ = watched(Config(total_steps=1000), burst, 501)
    state, rise = states[-1], too_large(states)
    assert rise is not None
    assert rise.lr < 1e-3
    assert rise.level is not None
    assert rise.level.median == pytest.approx(2.3, abs=0.05)
    assert rise.level.losses == growth_of(state).start - 5
    assert state.switch is not None
    assert 0.01 < state.switch.peak_lr < 0.04


@pytest.mark.parametrize("total", [400, 1000, 4000])
def test_a_network_destroyed_on_the_way_back_to_lift_off_is_seen(total: int) -> None:
    """The loss explodes before the LR is back at that of lift-off, and then stays flat, for ever."""
    config = Config(total_steps=total)
    draws = np.random.default_rng(0).standard_normal(total)
    losses: list[float] = []

    def fragile(step: int, lr: float) -> float:
        lifted = lift_off(states)
        late = lifted is not None and step >= lifted + 8
        losses.append((8.0 if late else float(response(np.array(lr), 0.01))) + 0.02 * float(draws[step]))
        return losses[-1]

    states = [machine.start(config)]
    for step in range(total // 2):
        lr = machine.learning_rate(config, states[-1], step)
        states.append(machine.observe(config, states[-1], np.array([fragile(step, lr)])))
    switch = states[-1].switch
    lifted = lift_off(states)
    assert lifted is not None
    assert switch is not None
    assert not switch.capped
    assert states[-1].verdicts[-1].step < lifted + 100
    assert switch.peak_lr < 0.02
    assert switch.rewound_to is not None
    assert switch.rewound_to < lifted + 8 + 5  # the medians of five losses show the explosion no sooner


# --- the power of larger ends -------------------------------------------------------------------------


def test_a_fall_that_noise_hides_from_five_losses_lifts_off_by_a_twentieth_of_the_window() -> None:
    found = []
    for seed in range(20):
        states, _ = watched(Config(total_steps=4000), noisy(0.1, sd=0.6, seed=seed), 2001)
        found.append(lift_off(states) is not None)
        assert states[-1].switch is not None
    assert all(found)


def test_the_slow_growth_begins_further_back_where_more_losses_show_the_fall() -> None:
    config = Config(total_steps=40_000)
    states = []
    state = machine.start(config)
    while waits(state):
        lr = machine.learning_rate(config, state, state.step)
        state = machine.observe(config, state, np.array([noisy(0.1, sd=0.5)(state.step, lr)]))
        states.append(state)
    width = trend.end_width(state.step)
    assert width > 50
    assert state.phase.growth.lr == pytest.approx(1e-5 * 1e5 ** ((state.step - width) / 2000), rel=1e-12)
