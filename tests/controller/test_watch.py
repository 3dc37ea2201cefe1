"""The watch over the decay: where the loss rises for good, the weights go back and the LR falls."""

import math
from dataclasses import replace

import numpy as np
import pytest

from autowu import Config
from autowu.controller import machine
from autowu.controller.cuts import taken_back
from autowu.controller.phases.watch import HIGHER, LASTS
from autowu.controller.plain import to_plain
from autowu.controller.state import Decay, State
from autowu.detector.trend import Stretch

from .after_switch import BEGIN, CONFIG, STRETCH, T, cuts, fallen, quiet, reads
from .helpers import close, decaying, equal, noisy, through_plain, watched


def test_it_reads_each_fiftieth_of_the_run_to_the_end_and_lets_a_quiet_loss_be() -> None:
    states = reads(quiet())
    assert [state.read for state in states] == list(range(BEGIN, T + 1, STRETCH))
    assert states[-1].phase.cuts == ()
    assert (machine.next_read(CONFIG, states[-1]), len(states[-1].losses)) == (None, 0)
    short = Config(total_steps=200)
    assert machine.next_read(short, decaying(short, 100)) == 110  # medians of four would be too noisy


def test_the_copy_is_renewed_each_fifth_of_the_run_and_dropped_at_the_end() -> None:
    kept = {state.read: state.snapshot_step for state in reads(quiet())}
    expected = {BEGIN: 280, 460: 280, 480: 480, 660: 480, 680: 680, 880: 880, 980: 880, T: None}
    assert {step: kept[step] for step in expected} == expected


def test_where_the_loss_rises_for_good_it_goes_back_and_on_with_a_third() -> None:
    losses = quiet()
    losses[500 - BEGIN : 520 - BEGIN] += 0.5
    states = reads(losses)
    (cut,) = states[-1].phase.cuts
    assert (cut.step, cut.factor, cut.back_to) == (520, 1 / 3, 480)
    assert (cut.level, cut.least) == (close(1.5, 0.01), close(1.0, 0.01))
    assert [state.restores for state in states if state.read in (500, 520, T)] == [0, 1, 1]
    for step in (500, 519, 520, 700, T - 1):
        line = 0.02 * (T - step) / (T - BEGIN)
        at = next(state for state in reversed(states) if state.read <= step)
        assert machine.learning_rate(CONFIG, at, step) == close(line / 3 if step >= 520 else line)


def test_each_further_rise_takes_another_third() -> None:
    losses = quiet()
    for at in (400, 500, 700):
        losses[at - BEGIN : at + STRETCH - BEGIN] += 0.5
    assert [cut.factor for cut in cuts(losses)] == [close(3.0**-n) for n in (1, 2, 3)]


@pytest.mark.parametrize("noise", ["normal", "student"])
@pytest.mark.parametrize("sd", [1e-3, 0.03])
def test_noise_is_no_rise(noise: str, sd: float) -> None:
    for seed in range(40):
        random = np.random.default_rng(seed)
        draws = random.standard_normal(T - BEGIN) if noise == "normal" else random.standard_t(2, T - BEGIN)
        assert cuts(1 + sd * draws) == ()


def test_an_explosion_does_not_hide_in_its_own_noise() -> None:
    losses = quiet()
    draws = np.random.default_rng(1).standard_exponential(28)
    losses[512 - BEGIN : 540 - BEGIN] += 1e4 * draws  # the noise of its stretch is as large as the rise
    assert [cut.step for cut in cuts(losses)] == [540]


def test_a_noise_that_grows_is_learnt() -> None:
    sd = np.geomspace(1e-3, 0.05, T - BEGIN)
    for seed in range(20):
        assert cuts(1 + sd * np.random.default_rng(seed).standard_normal(T - BEGIN)) == ()


@pytest.mark.parametrize(("rise", "count"), [(0.09, 0), (0.12, 1)])
def test_a_rise_by_less_than_a_tenth_of_the_fall_is_let_be(rise: float, count: int) -> None:
    losses = quiet(1e-3)
    losses[500 - BEGIN : 520 - BEGIN] += rise
    assert len(cuts(losses)) == count


@pytest.mark.parametrize(
    ("bad", "many", "count"),
    [
        *(
            (bad, many, int(many == 10)) for bad in (np.nan, np.inf, -np.inf) for many in (9, 10)
        ),  # half of them
        *((1e30, many, int(many == 18)) for many in (16, 18)),  # noise explains the few least
    ],
)
def test_what_is_no_more_than_a_spike_is_let_be(bad: float, many: int, count: int) -> None:
    losses = quiet()
    losses[500 - BEGIN : 500 - BEGIN + many] = bad
    found = cuts(losses)
    assert len(found) == count
    assert all(math.isfinite(cut.level) == (bad == 1e30) for cut in found)


def test_data_that_change_are_no_reason_to_cut() -> None:
    """The loss is as high with the weights of before: the LR comes back, and rises say nothing any more."""
    losses = quiet()
    losses[480 - BEGIN :] += 0.5
    losses[700 - BEGIN :] += 0.5
    states = reads(losses)
    cut, back = states[-1].phase.cuts
    assert (cut.step, cut.factor, cut.back_to) == (500, 1 / 3, 480)
    assert (back.step, back.factor, back.back_to) == (520, 1.0, None)
    assert not taken_back([cut])
    assert taken_back([cut, back])
    assert states[-1].restores == 1
    assert machine.learning_rate(CONFIG, states[-1], 900) == close(0.02 * 100 / 700)
    losses[800 - BEGIN : 820 - BEGIN] = np.nan  # but weights that are lost go back
    assert [each.step for each in cuts(losses)] == [500, 520, 820]


def test_data_without_a_finite_loss_are_not_the_lrs_fault() -> None:
    losses = quiet()
    losses[480 - BEGIN :] = np.nan
    found = cuts(losses)
    assert [cut.step for cut in found] == list(range(500, 500 + 9 * 40, 40))  # each second read, nine times
    assert not taken_back(found)


def test_three_losses_tell_the_data_from_an_lr_that_is_too_large() -> None:
    losses = quiet()
    losses[480 - BEGIN : 500 - BEGIN] += 0.5
    losses[502 - BEGIN : 520 - BEGIN] += 1e6  # the weights exploded once more, but not at once
    assert [cut.factor for cut in cuts(losses)] == [close(1 / 3), close(1 / 9)]


def test_a_loss_that_comes_down_first_and_rises_again_is_cut_twice() -> None:
    losses = quiet()
    losses[500 - BEGIN : 520 - BEGIN] += 0.5
    losses[526 - BEGIN : 560 - BEGIN] += 0.5
    assert [cut.factor for cut in cuts(losses)] == [1 / 3, close(1 / 9)]


def test_a_loss_that_never_fell_may_do_what_it_likes_but_die() -> None:
    losses, begin = quiet(), fallen(origin=Stretch(0.98, 1.0, 1.02))
    losses[500 - BEGIN : 520 - BEGIN] += 0.5
    assert cuts(losses, begin) == ()
    losses[500 - BEGIN : 520 - BEGIN] = np.nan
    assert [cut.step for cut in cuts(losses, begin)] == [520]


def test_at_the_end_only_weights_that_are_lost_go_back() -> None:
    losses = quiet()
    losses[980 - BEGIN :] += 0.5
    assert cuts(losses) == ()
    losses[980 - BEGIN :] = np.nan
    assert [(cut.step, cut.back_to) for cut in cuts(losses)] == [(T, 880)]


def test_one_bad_loss_in_a_few_puts_nothing_back() -> None:
    config = Config(total_steps=1005)  # the last read is not of five losses
    losses = np.r_[quiet(), 1.0, 1.0, np.nan, np.nan, np.nan]
    states = reads(losses, fallen(config), config)
    assert [state.read for state in states][-3:] == [960, 980, 1005]
    assert states[-1].phase.cuts == ()
    assert states[-1].snapshot_step is None
    short = Config(total_steps=100, decay="plateau")  # intervals of two updates
    assert (
        reads(np.r_[np.ones(20), np.nan, np.ones(29)], fallen(short, step=50, read=50), short)[-1].phase.cuts
        == ()
    )


def test_at_half_of_the_run_it_is_known_whether_the_loss_has_fallen() -> None:
    states = reads(quiet(), fallen(origin=Stretch(0.98, 1.0, 1.02)))
    assert [state.phase.no_fall for state in states] == [state.read >= T / 2 for state in states]
    assert not any(state.phase.no_fall for state in reads(quiet()))


def test_a_small_rise_that_lasts_is_noted_and_changes_nothing() -> None:
    losses = quiet()
    losses[500 - BEGIN :] += 0.05  # a twentieth of the fall
    states = reads(losses)
    higher = {state.read: state.phase.higher for state in states}
    assert (higher[500], [len(higher[at]) for at in (520, 580, 600, 620, T)]) == ((), [1, 4, 5, 5, 5])
    assert higher[600] == tuple(close(1.05, 0.01) for _ in range(LASTS))
    assert (states[-1].phase.cuts, states[-1].restores) == ((), 0)
    for rise in (0.01, 0.05):  # less than a fiftieth; over after four stretches
        losses = quiet(1e-3)
        losses[500 - BEGIN : (T if rise < HIGHER else 580) - BEGIN] += rise
        assert reads(losses)[-1].phase.higher == ()


def test_without_rewinding_or_a_copy_the_weights_stay() -> None:
    losses = quiet()
    losses[500 - BEGIN : 520 - BEGIN] += 0.5
    config = Config(total_steps=T, rewind=False)
    end = reads(losses, fallen(snapshot_step=None), config)[-1]
    (cut,) = end.phase.cuts
    assert (cut.factor, cut.back_to, end.restores, end.snapshot_step) == (1 / 3, None, 0, None)


def test_without_the_watch_no_loss_is_read() -> None:
    off = Config(total_steps=T, watch=None)
    assert machine.next_read(off, decaying(off, BEGIN)) is None
    assert machine.observe(off, decaying(off, BEGIN), np.full(700, np.nan)).phase.cuts == ()
    assert Config.paper(T, 20).watch is None


def test_plateau_is_watched_too() -> None:
    losses = quiet(1e-3) - 0.001 * np.arange(T - BEGIN)
    losses[500 - BEGIN : 520 - BEGIN] += 0.5
    config = Config(total_steps=T, decay="plateau")
    states = reads(losses, fallen(config), config)
    assert [cut.step for cut in states[-1].phase.cuts] == [520]
    at = next(state for state in states if state.read == 520)
    assert at.phase.lr_drops == 1  # the mean has risen as well
    assert machine.learning_rate(config, at, 520) == close(0.02 * 0.1 / 3)


@pytest.mark.parametrize("power", [-40, -1, 1, 40])
def test_the_scale_of_the_loss_does_not_matter(power: int) -> None:
    losses, begin = np.ldexp(quiet(), power), fallen()
    losses[500 - BEGIN : 520 - BEGIN] *= 1.5
    one, two = (
        Stretch(*np.ldexp([level.low, level.median, level.high], power).tolist())
        for level in (begin.phase.least, begin.origin)
    )
    begin = begin.replace(phase=replace(begin.phase, least=one), origin=two)
    assert [(cut.step, cut.factor) for cut in cuts(losses, begin)] == [(520, 1 / 3)]


@pytest.mark.parametrize("size", [2, 7, 100, T])
def test_it_does_not_matter_how_the_losses_are_handed_over(size: int) -> None:
    losses = quiet()
    losses[500 - BEGIN :] += 0.5
    state: State = fallen()
    for start in range(0, len(losses), size):
        state = machine.observe(CONFIG, state, losses[start : start + size])
    assert equal(to_plain(state), to_plain(reads(losses)[-1]))


def test_a_run_goes_on_from_any_checkpoint_of_it() -> None:
    losses = quiet()
    losses[500 - BEGIN : 520 - BEGIN] = np.nan  # then the levels are not finite either
    losses[700 - BEGIN :] += 0.5
    state: State = fallen()
    for loss in losses:
        state = machine.observe(CONFIG, through_plain(CONFIG, state), np.array([loss]))
    assert equal(to_plain(state), to_plain(reads(losses)[-1]))
    assert len(state.phase.cuts) == 3


def test_the_first_losses_of_a_run_and_the_least_of_warm_up_are_what_it_compares_with() -> None:
    config = Config(total_steps=2000)
    states, _ = watched(config, noisy(1e-2), 1001)
    first = next(state for state in states if isinstance(state.phase, Decay))
    assert first.origin is not None
    assert first.origin.median == pytest.approx(2.3, abs=0.05)
    assert first.phase.least is not None
    assert first.phase.least.median == pytest.approx(0.5, abs=0.05)  # at the minimum itself
    assert first.snapshot_step == first.switch.rewound_to
