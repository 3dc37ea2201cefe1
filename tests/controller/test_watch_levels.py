"""What the watch compares with: the least level, that of the snapshot, and weights fit to go back to."""

from dataclasses import replace

import numpy as np
import pytest

from autowu import Config
from autowu.controller.cuts import taken_back
from autowu.detector.trend import Stretch

from .after_switch import BEGIN, STRETCH, T, cuts, fallen, quiet, reads
from .helpers import follow, v_shape

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


@pytest.mark.parametrize(
    ("rise", "stretches", "count"),
    [(0.6, 1, 0), (0.6, 2, 0), (0.6, 3, 1), (0.6, 4, 1), (0.4, 4, 0)],
)
def test_a_rise_within_the_bounds_of_the_least_level_counts_when_it_lasts(
    rise: float, stretches: int, count: int
) -> None:
    """Few losses told the least level, and so its bounds are wide. Half of the fall, three times in a row."""
    begin, losses = fallen(least=Stretch(0.3, 1.0, 1.7), kept=Stretch(0.9, 1.0, 1.7)), quiet()
    losses[: stretches * STRETCH] += rise
    found = [cut for cut in reads(losses, begin)[-1].phase.cuts if cut.factor < 1]
    assert [cut.step for cut in found] == [BEGIN + 3 * STRETCH] * count


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
