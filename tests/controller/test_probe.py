"""The probe: larger LRs, at the fast rate, before a detected minimum counts as the last."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autowu import Config
from autowu.controller import machine, schedule
from autowu.controller.plain import from_plain, to_plain
from autowu.controller.rate import grown
from autowu.controller.state import Decay, Grow, Growth, Probe, State, Trial
from autowu.detector import trend

from .helpers import equal, growth_of, noisy, response, run, through_plain

DEFAULT = Config(total_steps=2000)  # the range of LRs in 100 updates of the fast growth, in 1,000 of the slow


def two_minima(best: float, seed: int = 0, sd: float = 0.02) -> Callable[[int, float], float]:
    """A dip of a quarter of the fall at a thirtieth of the best LR, and then the minimum."""
    draws = np.random.default_rng(seed).standard_normal(100_000)

    def loss(step: int, lr: float) -> float:
        dip = 0.45 * math.exp(-0.5 * (math.log(30 * lr / best) / 0.5) ** 2)
        return float(response(np.array(lr), best)) - dip + sd * float(draws[step])

    return loss


def states(config: Config, loss: Callable[[int, float], float]) -> list[State]:
    """The state after each update until the switch is final."""
    found = [machine.start(config)]
    while not isinstance(found[-1].phase, Decay):
        step = found[-1].step
        lr = machine.learning_rate(config, found[-1], step)
        found.append(machine.observe(config, found[-1], np.array([loss(step, lr)])))
    return found


@pytest.mark.parametrize("total", [800, 2000, 8000])
def test_the_first_of_two_minima_is_passed(total: int) -> None:
    wrong = {10.0: 0, None: 0}
    for probe in wrong:
        for seed in range(12):
            best = 10 ** np.random.default_rng(seed).uniform(-2.5, -0.7)
            state, _ = run(Config(total_steps=total, probe=probe), two_minima(best, seed), total // 2 + 1)
            assert state.switch is not None
            wrong[probe] += not best / 2 < state.switch.peak_lr < 2 * best
    assert wrong[10.0] == 0
    assert total < 2000 or wrong[None] > 3


def test_the_lr_goes_on_at_the_fast_rate_to_ten_times_and_then_back_to_the_minimum() -> None:
    config = DEFAULT
    state, lrs = run(config, noisy(1e-2))
    switch = state.switch
    assert switch is not None
    begin = state.verdicts[-1].step
    assert (switch.probed, state.verdicts[-1].streak) == (begin, 3)
    assert state.reopenings == ()
    went = np.arange(switch.step - begin)
    first = lrs[begin - 1] * 1e5 ** (1 / 1000)
    np.testing.assert_allclose(lrs[begin : switch.step], first * 1e5 ** (went / 100), rtol=1e-12)
    assert went[-1] == 19  # a decade in 20 updates
    assert switch.peak_lr == pytest.approx(0.01, rel=0.3)
    assert switch.peak_lr == lrs[switch.step]
    assert switch.t_star is not None
    assert switch.rewound_to is not None
    assert switch.rewound_to < begin
    decided, _ = run(replace(config, probe=None), noisy(1e-2))
    assert decided.switch is not None
    assert replace(decided.switch, step=switch.step, probed=begin) == switch


def test_what_is_known_in_the_middle_of_it() -> None:
    config = DEFAULT
    found = states(config, noisy(1e-2))
    on = [state for state in found if isinstance(state.phase, Probe)]
    first = on[0]
    assert len(on) == 20
    probe = first.phase
    before = found[found.index(first) - 1]
    assert probe.grow.growth == before.phase.growth
    assert (probe.growth.start, probe.growth.span) == (first.step, config.sweep_steps)
    assert (first.first, len(first.losses)) == (first.step, 0)
    assert first.snapshot_step == probe.switch.rewound_to
    assert first.switch is None
    assert {state.restores for state in on} == {0}
    level, t_star = probe.minimum, probe.switch.t_star
    assert t_star is not None
    width = trend.end_width(len(before.losses) + 1)
    assert level.losses == 2 * width + 1
    at = math.floor(t_star) - before.first
    assert level.median == trend.median(before.losses[at - width : at + width + 1])
    after = found[found.index(on[-1]) + 1]
    assert isinstance(after.phase, (Trial, Decay))
    assert (after.restores, after.snapshot_step, growth_of(after)) == (1, None, probe.grow.growth)


def test_from_a_lower_loss_warm_up_goes_on_as_from_lift_off() -> None:
    config = DEFAULT
    found = states(config, two_minima(0.1, seed=3))
    again = next(state for state in found if state.reopenings)
    before = found[found.index(again) - 1]
    probe = before.phase
    assert isinstance(probe, Probe)
    (reopening,) = again.reopenings
    assert reopening.probed
    assert (reopening.step, reopening.growth, reopening.switch) == (
        again.step,
        probe.grow.growth,
        probe.switch,
    )
    back = trend.end_width(again.step - probe.growth.start)
    assert reopening.lr == pytest.approx(grown(config, probe.growth, again.step - back), rel=1e-12)
    tests_from = again.step + 10 * back  # until the slow growth is back at the LR of before
    slow = Growth(again.step, reopening.lr, 1000)
    assert again.phase == Grow(slow, again.step, probe.origin, tests_from, detections=0)
    assert (again.snapshot_step, again.first, again.restores) == (again.step, again.step, before.restores)
    later = [state for state in found if again.step < state.step < tests_from]
    assert len(later) > 40
    assert all(len(state.verdicts) == len(again.verdicts) for state in later)


def goes_on(config: Config, loss: Callable[[int, float], float]) -> bool:
    state, _ = run(config, loss, config.warmup_steps + 1)
    assert state.switch is not None
    return state.switch.probed is not None


def test_where_there_is_none() -> None:
    """Without a snapshot to go back to, in short runs, and where growth has one speed."""
    assert goes_on(DEFAULT, noisy(1e-2))
    assert goes_on(replace(DEFAULT, total_steps=800), noisy(1e-2))
    assert not goes_on(replace(DEFAULT, total_steps=799), noisy(1e-2))
    assert not goes_on(replace(DEFAULT, rewind=False), noisy(1e-2))
    assert not goes_on(replace(DEFAULT, probe=None), noisy(1e-2))
    assert not goes_on(replace(DEFAULT, growth="exponential"), noisy(1e-2))
    assert not goes_on(Config.paper(2000, 40, rewind=True), noisy(1e-2))


def test_where_the_host_has_taken_no_snapshot_there_is_none() -> None:
    """A snapshot asked for at this very read may be refused, since the weights are not finite."""
    state = machine.start(DEFAULT)
    loss = noisy(1e-2)
    while state.switch is None:
        assert not isinstance(state.phase, Probe)
        lr = machine.learning_rate(DEFAULT, state, state.step)
        state = machine.observe(DEFAULT, state, np.array([loss(state.step, lr)]))
        state = state.replace(snapshot_step=None) if state.snapshot_step == state.step else state
    assert state.switch.probed is None


@pytest.mark.parametrize(
    "broken",
    [
        {"phase": {"origin": None}},
        {"phase": {"grow": None}},
        {"phase": {"grow": {"kind": "Decay"}}},
        {"phase": {"grow": {"lift_off": None}}},
        {"snapshot_step": None},
        {"snapshot_step": 10**6},
        {"phase": {"switch": {"peak_lr": math.nan}}},
        {"phase": {"switch": {"step": 10**6}}},
        {"phase": {"grow": {"growth": {"span": 0}}}},
        {"phase": {"grow": {"growth": {"lr": -1.0}}}},
        {"phase": {"grow": {"growth": {"start": 10**6}}}},
        {"phase": {"growth": {"span": 0}}},
        {"phase": {"minimum": {"losses": 0}}},
        {"phase": {"origin": {"losses": 0}}},
    ],
)
def test_a_broken_state_of_it_is_refused(broken: dict[str, Any]) -> None:
    plain = to_plain(next(state for state in states(DEFAULT, noisy(1e-2)) if isinstance(state.phase, Probe)))
    assert isinstance(from_plain(plain, DEFAULT).phase, Probe)

    def changed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        return old | {k: changed(old[k], v) if isinstance(v, dict) else v for k, v in new.items()}

    with pytest.raises(ValueError, match=r"the state's ('(phase|growth|switch)'|probe)"):
        from_plain(changed(plain, broken), DEFAULT)


def test_a_loss_that_is_not_finite_ends_it_at_the_next_read() -> None:
    config, base = DEFAULT, noisy(1e-2)
    begin = next(state for state in states(config, base) if isinstance(state.phase, Probe)).step

    def dies(step: int, lr: float) -> float:
        return base(step, lr) if step < begin + 7 else math.nan

    state, _ = run(config, dies, begin + 9)
    assert state.switch is not None
    assert (state.switch.step, state.switch.probed) == (begin + 8, begin)  # each update is a read here
    assert state.switch.peak_lr == pytest.approx(0.01, rel=0.3)
    assert state.restores == 1


@pytest.mark.parametrize("above", [0.5, 20.0])
def test_a_loss_above_the_first_ones_ends_it(above: float) -> None:
    """So that a run of a million updates does not spend ten thousand of them on a destroyed network."""
    config = Config(total_steps=20_000)
    base = noisy(1e-2)

    def explodes(step: int, lr: float) -> float:
        return base(step, lr) if lr < 0.03 else 2.3 + above + base(step, lr) - 0.5

    found = states(config, explodes)
    on = [state for state in found if isinstance(state.phase, Probe)]
    state = found[-1]
    assert on[0].phase.origin.median == pytest.approx(2.3, abs=0.02)
    assert state.switch is not None
    assert state.switch.peak_lr == pytest.approx(0.01, rel=0.3)
    beyond = sum(grown(config, each.phase.growth, each.step) >= 0.03 for each in on)
    assert beyond <= 12  # half of a twentieth of the new losses, or of five, until the next read
    assert len(on) < 150  # of 200


def test_it_goes_no_further_than_max_lr_and_the_cap() -> None:
    state, lrs = run(replace(DEFAULT, max_lr=0.1), noisy(3e-2))
    assert state.switch is not None
    assert state.switch.probed is not None
    assert lrs.max() <= 0.1
    assert state.switch.step - state.switch.probed >= 1
    first = next(state for state in states(DEFAULT, noisy(1e-2)) if isinstance(state.phase, Probe))
    sooner = replace(DEFAULT, warmup_fraction=(first.step + 5) / 2000)  # as if warm-up had begun late
    ended = machine.observe(sooner, first, np.full(20, 1.0))
    assert ended.switch is not None
    assert (ended.switch.step, ended.switch.probed, ended.switch.capped) == (
        first.step + 5,
        first.step,
        False,
    )
    late = replace(DEFAULT, warmup_fraction=(first.step + 10) / 2000)
    ended = machine.observe(late, first, np.full(20, -5.0))  # lower, but there is no time to go on
    assert ended.switch is not None
    assert (ended.switch.step, ended.switch.probed, ended.reopenings) == (first.step + 10, first.step, ())
    assert equal(to_plain(through_plain(late, ended)), to_plain(ended))


@pytest.mark.parametrize("loss", [noisy(1e-2), two_minima(0.1, seed=3)])
def test_a_run_goes_on_from_any_checkpoint_of_it(loss: Callable[[int, float], float]) -> None:
    whole = states(DEFAULT, loss)
    state = machine.start(DEFAULT)
    for expected in whole[1:]:
        state = through_plain(DEFAULT, state)
        lr = machine.learning_rate(DEFAULT, state, state.step)
        state = machine.observe(DEFAULT, state, np.array([loss(state.step, lr)]))
        assert equal(to_plain(state), to_plain(expected))


def test_it_ends_where_the_losses_say_however_they_are_cut() -> None:
    loss = two_minima(0.1, seed=3)
    step_by_step = states(DEFAULT, loss)[-1]
    state = machine.start(DEFAULT)
    while not isinstance(state.phase, Decay):
        due = machine.next_read(DEFAULT, state)
        assert due is not None
        steps = range(state.step, due)
        lrs = [machine.learning_rate(DEFAULT, state, step) for step in steps]
        state = machine.observe(
            DEFAULT, state, np.array([loss(*each) for each in zip(steps, lrs, strict=True)])
        )
    assert equal(to_plain(state), to_plain(step_by_step))


def test_epochs_between_tests_do_not_hold_it_up() -> None:
    config = Config(total_steps=2000, steps_per_epoch=50, test_growth=None)
    state, lrs = run(config, noisy(1e-2))
    assert state.switch is not None
    assert state.switch.probed is not None
    assert state.switch.step - state.switch.probed == 20
    ratio = lrs[state.switch.probed] / lrs[state.switch.probed - 1]
    assert ratio == pytest.approx(schedule.exponential(1, 1000, 1, 1e5), rel=1e-9)


def test_a_rise_is_not_taken_for_an_end() -> None:
    """Between the two minima the loss rises by more than the dip is deep, but not above where it began."""
    draws = np.random.default_rng(0).standard_normal(10_000)

    def hill(step: int, lr: float) -> float:
        loss = float(response(np.array(lr), 0.1)) + 0.02 * float(draws[step])
        z = math.log(30 * lr / 0.1)
        return loss - 0.5 * math.exp(-0.5 * (z / 0.4) ** 2) + 0.55 * math.exp(-0.5 * ((z - 1.3) / 0.4) ** 2)

    state, _ = run(Config(total_steps=8000), hill, 4001)
    assert state.switch is not None
    assert state.switch.peak_lr == pytest.approx(0.1, rel=0.3)
