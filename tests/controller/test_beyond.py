"""Where no ``max_lr`` is given, the LR goes on beyond 1: while the loss falls, or has not moved at all."""

import math

import numpy as np
import pytest

from autowu import Config
from autowu.controller import history
from autowu.controller.plain import to_plain
from autowu.controller.state import Grow, Search, Sweep

from .helpers import equal, noisy, response, run, through_plain, watched

STEPS = 1000


@pytest.mark.parametrize("best", [3.0, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_best_lr_above_1_is_found(best: float, seed: int) -> None:
    """As plain SGD with clipped gradients has it: PyTorch's word language model trains at 20."""
    state, lrs = run(Config(total_steps=STEPS), noisy(best, seed=seed), 501)
    assert state.switch is not None
    assert best / 3 < state.switch.peak_lr < 3 * best
    bounded, below = run(Config(total_steps=STEPS, max_lr=1.0), noisy(best, seed=seed), 501)
    assert bounded.switch is not None
    assert lrs.max() > 1.0 >= below.max()


def test_the_lr_comes_beyond_it_without_a_jump_and_is_known_afterwards() -> None:
    config = Config(total_steps=STEPS)
    states, lrs = watched(config, noisy(20.0), 501)
    grow = [index for index, state in enumerate(states) if isinstance(state.phase, Grow)]
    grown = lrs[grow[0] + 1 : grow[-1]]
    assert (np.diff(np.log(grown)) <= np.log(1.1)).all()
    steps = np.arange(states[-1].step, dtype=float)
    found = history.learning_rates(config, states[-1], steps)
    np.testing.assert_allclose(found, lrs[: len(steps)], rtol=1e-12)
    beyond = next(state for state in states if isinstance(state.phase, Grow) and state.phase.growth.open)
    assert equal(to_plain(through_plain(config, beyond)), to_plain(beyond))


def test_where_it_ends_in_nan_growth_is_tried_once_more_beyond_1() -> None:
    """One bad batch may do that: the LR is not held at 1 from then on."""
    fine, broken = noisy(20.0), list[int]()

    def dies(step: int, lr: float) -> float:
        if lr > 8.0 and not broken:
            broken.append(step)
        return math.nan if broken and step < broken[0] + 20 else fine(step, lr)

    states, lrs = watched(Config(total_steps=STEPS), dies, 501)
    again = next(s for s in states if isinstance(s.phase, Grow) and s.phase.broke is not None)
    assert 1.0 < again.phase.growth.lr < 8.0
    assert lrs[again.phase.growth.start] == again.phase.growth.lr
    assert states[-1].switch is not None
    assert 20.0 / 3 < states[-1].switch.peak_lr < 60.0


def test_a_loss_that_is_flat_before_it_stays_below() -> None:
    """The network does not feel its LR: more of it would take time, and gain nothing."""
    draws = np.random.default_rng(0).standard_normal(STEPS)

    def flat(step: int, lr: float) -> float:
        return float(response(np.array(min(lr, 0.02)), 0.02)) + 0.02 * float(draws[step])

    _, lrs = run(Config(total_steps=STEPS), flat, 501)
    assert lrs.max() == 1.0


def test_a_sweep_in_which_nothing_moves_goes_on_until_something_does() -> None:
    """A network of sigmoids by plain SGD: no LR up to 1 tells anything in a sweep of 40 updates."""
    draws = np.random.default_rng(0).standard_normal(STEPS)
    config = Config(total_steps=STEPS)

    def rests(step: int, lr: float) -> float:
        return (2.3 if lr < 30.0 else 3.3) + 0.01 * float(draws[step])

    states, lrs = watched(config, rests, 70)
    search = next(state for state in states if isinstance(state.phase, Search))
    seen = search.phase.growth.start
    assert 30.0 < lrs[seen - 1] < 1000.0
    assert search.phase.growth.lr == pytest.approx(1e-5 * 1e5 ** (seen / 40) / 1e5)  # the whole range below
    assert (search.phase.too_large, search.restores) == (None, 1)
    bounded, _ = watched(Config(total_steps=STEPS, max_lr=1.0), rests, 70)
    assert [type(state.phase) for state in bounded[config.sweep_steps - 1 : config.sweep_steps + 1]] == [
        Sweep,
        Search,
    ]
    assert lrs.max() > 30.0


def test_a_loss_that_never_moves_ends_the_sweep_three_decades_beyond() -> None:
    states, lrs = watched(Config(total_steps=STEPS), lambda step, lr: 2.3, 70)
    search = next(state for state in states if isinstance(state.phase, Search))
    assert (search.phase.growth.start, search.restores) == (64, 1)
    assert lrs[63] == pytest.approx(1e-5 * 1e5 ** (63 / 40))
    assert search.phase.growth.lr == 1e-5
