"""The decay phase: the LR from the switch on, and 'plateau', the statistical alternative."""

import numpy as np
import pytest

from autowu import Config
from autowu.controller import machine

from .helpers import close, decaying

SMOOTH = ("cosine", "linear", "1-sqrt")


@pytest.mark.parametrize("shape", [*SMOOTH, "constant-cosine"])
def test_the_decay_phase_runs_from_the_switch_to_the_last_step(shape: str) -> None:
    config = Config(total_steps=1200, decay=shape)
    after = decaying(config, 520)
    assert machine.learning_rate(config, after, 520) == 0.02
    assert machine.learning_rate(config, after, 1199) > 0
    assert machine.learning_rate(config, after, 1200) == 0
    assert machine.learning_rate(config, after, 12_000) == 0


# --- plateau ------------------------------------------------------------------------------------------


INTERVAL = 20  # updates, of 1000


def drops(losses: np.ndarray, **settings: object) -> list[int]:
    """The steps at which the LR drops."""
    config = Config(total_steps=1000, decay="plateau", watch=None, **settings)  # type: ignore[arg-type]
    now, at = decaying(config, 200), list[int]()
    assert machine.next_read(config, now) == 200 + INTERVAL
    for i, loss in enumerate(losses):
        before = now.phase.lr_drops
        now = machine.observe(config, now, np.array([loss]))
        at += [201 + i] * (now.phase.lr_drops - before)
        assert machine.learning_rate(config, now, now.step) == close(0.02 * 0.1**now.phase.lr_drops)
    return at


def test_plateau_keeps_the_lr_while_the_mean_loss_falls() -> None:
    noise = 0.01 * np.random.default_rng(0).standard_normal(800)
    assert drops(3 - 0.002 * np.arange(800) + noise) == []


def test_plateau_drops_the_lr_when_the_mean_loss_stops_falling() -> None:
    noise = 0.01 * np.random.default_rng(0).standard_normal(800)
    falling_then_flat = np.maximum(2 - 0.005 * np.arange(800), 1.5) + noise
    # Flat from update 300 on, so the intervals [300, 320) and [320, 340) have the same mean.
    assert drops(falling_then_flat)[0] in (320, 340)


def test_plateau_compares_intervals_within_one_lr() -> None:
    # After a drop, the interval before it is no measure: two whole intervals pass between two drops.
    at = drops(np.full(800, 1.0))
    assert at == list(range(200 + 2 * INTERVAL, 1000, 2 * INTERVAL))


def test_plateau_drops_at_a_rise() -> None:
    assert drops(np.r_[np.linspace(2, 1, 100), np.linspace(1, 2, 60)])[0] == 200 + 100 + INTERVAL


def test_plateau_is_blind_to_losses_that_are_not_finite() -> None:
    losses = 3 - 0.002 * np.arange(800)
    losses[100:160] = np.nan
    losses[300] = np.inf
    assert drops(losses) == []


def test_plateau_multiplies_by_its_factor() -> None:
    config = Config(total_steps=1000, decay="plateau", plateau_factor=0.3)
    after = decaying(config, 200, lr_drops=4)
    assert machine.learning_rate(config, after, 500) == close(0.02 * 0.3**4)


@pytest.mark.parametrize("scale", [1e-160, 1.0, 1e160, 1e300])
def test_plateau_is_the_same_at_any_scale_of_the_loss(scale: float) -> None:
    noise = 0.01 * np.random.default_rng(0).standard_normal(800)
    losses = np.maximum(2 - 0.005 * np.arange(800), 1.5) + noise
    assert drops(scale * losses) == drops(losses) != []


@pytest.mark.parametrize("total", [60, 200, 400])
def test_plateau_compares_ten_losses_at_least(total: int) -> None:
    """Two of single losses differ by noise alone."""
    config = Config(total_steps=total, decay="plateau", watch=None)
    state = decaying(config, total // 4)
    assert machine.next_read(config, state) == total // 4 + 10
    noise = 0.1 * np.random.default_rng(0).standard_normal(total)
    for loss in (3 - 0.05 * np.arange(total) + noise)[total // 4 :]:
        state = machine.observe(config, state, np.array([loss]))
    assert state.phase.lr_drops == 0


def test_plateau_never_comes_to_an_lr_of_0_in_a_run_without_an_end() -> None:
    config = Config(total_steps=None, warmup_limit=20, decay="plateau", watch=None)
    state, losses = machine.start(config), 1.0 + 0.1 * (np.arange(3_000_000) % 2)
    while state.step < len(losses):
        due = machine.next_read(config, state)
        state = machine.observe(config, state, losses[state.step : due])
    assert state.phase.lr_drops > 9
    assert machine.learning_rate(config, state, state.step) > 0


def test_plateau_leaves_the_lr_alone_after_the_last_step() -> None:
    config = Config(total_steps=1030, decay="plateau")
    now = machine.observe(config, decaying(config, 500), np.ones(530))
    final = machine.learning_rate(config, now, 1030)
    now = machine.observe(config, now, np.ones(3000))
    assert machine.learning_rate(config, now, now.step) == final
