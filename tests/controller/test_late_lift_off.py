"""A plateau takes time to leave: the fast growth is far past a good LR by then, and may spoil the weights."""

import numpy as np
import pytest

from autowu import Config
from autowu.controller.rate import grown
from autowu.controller.state import Grow, Search, State, Sweep

from .helpers import follow


def falling_from(step: int) -> np.ndarray:
    """A loss that rests up to ``step``, and then falls plainly."""
    rest = 2.3 + 0.01 * np.random.default_rng(0).standard_normal(90)
    return rest - 0.1 * np.maximum(np.arange(90) - step, 0)


def lifted(config: Config, losses: np.ndarray) -> tuple[State, State]:
    """The last state of the sweep, and the first of growth."""
    states = follow(config, losses)
    at = next(index for index, state in enumerate(states) if isinstance(state.phase, Grow | Search))
    assert isinstance(states[at - 1].phase, Sweep)
    return states[at - 1], states[at]


@pytest.mark.parametrize(
    ("falls_from", "late"), [(8, False), (20, False), (34, True), (43, True), (50, True)]
)
@pytest.mark.parametrize("unit", [1.0, 1e-4, 1e4])
def test_from_a_hundredth_of_max_lr_on_the_first_weights_go_back(
    falls_from: int, late: bool, unit: float
) -> None:
    config = Config(total_steps=2000, min_lr=1e-5 * unit, max_lr=unit)
    before, after = lifted(config, falling_from(falls_from))
    assert (grown(config, before.phase.growth, after.step) >= 0.01 * unit) == late
    assert after.restores - before.restores == isinstance(after.phase, Search) == late
    assert after.snapshot_step == before.snapshot_step == 0
    if late:  # two decades below the LR that it was seen at
        lower = max(grown(config, before.phase.growth, after.phase.growth.start) / 100, config.min_lr)
        assert after.phase.growth.lr == pytest.approx(lower, rel=1e-9)
        assert after.phase.too_large is None


def test_without_rewind_they_stay() -> None:
    assert lifted(Config(total_steps=2000, rewind=False), falling_from(45))[1].restores == 0
