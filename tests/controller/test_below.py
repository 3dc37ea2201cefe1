"""Where the loss explodes from η_min on, the sweep begins anew, three decades below."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import autowu
from autowu import Config
from autowu.controller import anew, machine
from autowu.controller.plain import to_plain
from autowu.controller.state import Decay, State, Sweep

from .helpers import equal, follow, through_plain

STEPS = 1000
ETA_MIN = Config(total_steps=STEPS).min_lr


def descent(config: Config, sharpness: float, seed: int = 0) -> tuple[list[State], np.ndarray]:
    """SGD on ½ h (w - x)², w = 1 at first, x of about 0.1: the states, and the loss of each step, over h.

    Beyond an LR of 2 / h it explodes. The weight goes back with the snapshot.
    """
    x = 0.1 * np.random.default_rng(seed).standard_normal(config.total_steps or 0)
    states, losses, weight, kept = [machine.start(config)], list[float](), 1.0, 1.0
    for step in range(len(x)):
        state = states[-1]
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.float64(weight) - x[step]
            losses.append(float(0.5 * error**2))
            weight = float(weight - machine.learning_rate(config, state, step) * sharpness * error)
        after = machine.observe(config, state, np.array(losses[-1:]))
        if after.restores > state.restores:
            weight = kept
        if after.snapshot_step == after.step:
            kept = weight
        states.append(after)
    return states, np.array(losses)


def sweeps(states: list[State]) -> list[float]:
    """The LRs that they begin at."""
    return list(dict.fromkeys(state.phase.growth.lr for state in states if isinstance(state.phase, Sweep)))


@pytest.mark.parametrize(("sharpness", "begins"), [(1e6, 1), (1e7, 1), (1e9, 2), (1e11, 3), (1e13, 3)])
def test_an_lr_far_below_the_range_is_found(sharpness: float, begins: int) -> None:
    config = Config(total_steps=STEPS)
    states, losses = descent(config, sharpness)
    expected = [ETA_MIN * 1000.0**-count for count in range(begins + 1)]
    assert sweeps(states) == pytest.approx(expected, rel=1e-9)
    switch = states[-1].switch
    assert switch is not None
    assert switch.peak_lr < 2 / sharpness
    assert losses[-1] < losses[0]


def test_where_it_learns_the_sweep_begins_once() -> None:
    states, _ = descent(Config(total_steps=STEPS), 1e3)
    assert sweeps(states) == [ETA_MIN]


def test_it_is_as_a_new_run_from_the_weights_of_before() -> None:
    config = Config(total_steps=STEPS)
    states, _ = descent(config, 1e7)
    at = next(index for index, state in enumerate(states) if state.phase.growth.lr < ETA_MIN)
    before, after = states[at - 1], states[at]
    assert after.restores == before.restores + 1
    assert after.snapshot_step == before.snapshot_step == 0
    assert (after.origin, after.least, len(after.losses), after.nonfinite_reads) == (None, None, 0, 0)
    assert after.phase.growth.before == before.phase.growth
    assert equal(to_plain(through_plain(config, after)), to_plain(after))


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_a_loss_that_explodes_at_any_lr_comes_to_a_decay(preset: str) -> None:
    more = {"steps_per_epoch": 10} if preset == "paper" else {}
    config = Config.preset(preset, total_steps=STEPS, **more)
    states, _ = descent(config, 1e40)
    assert len(sweeps(states)) <= 2 - math.log10(anew.LOWEST) / 3
    assert isinstance(states[-1].phase, Decay)


@pytest.mark.parametrize("first", [math.nan, 2.0])
def test_losses_that_are_never_finite_come_to_a_decay(first: float) -> None:
    """The gradient, say, is NaN at any LR: it is looked for below, and then no more."""
    config = Config(total_steps=STEPS)
    states = follow(config, np.array([first, *[math.nan] * 60]))
    assert len(sweeps(states)) <= 2 - math.log10(anew.LOWEST) / 3
    assert isinstance(states[-1].phase, Decay)


@pytest.mark.parametrize("bad", [1, 3, 6])
def test_one_bad_batch_at_the_start_costs_no_more_than_a_few_updates(bad: int) -> None:
    """It has broken all weights: they go back, and the sweep goes on from below, as fast as ever."""
    config = Config(total_steps=STEPS)
    losses = np.concatenate([np.full(bad, 2.0), np.full(13 - bad, math.nan)])
    state = machine.observe(config, machine.start(config), losses)
    assert isinstance(state.phase, Sweep)
    assert (state.snapshot_step, state.restores) == (0, 1)
    assert state.phase.growth.lr == pytest.approx(ETA_MIN / 1000)


def test_one_loss_that_is_not_finite_makes_no_explosion_of_a_later_rise() -> None:
    """It comes where the first decade ends, and the losses go on as before."""
    config = Config(total_steps=STEPS)
    losses = np.full(20, 2.0)
    losses[8] = math.nan
    losses[15:] = 9.0
    assert not anew.exploded(config, machine.start(config).replace(step=20, losses=losses))


def test_an_explosion_at_the_first_update_is_one() -> None:
    """From then on the loss of a dead network stays where it is."""
    config = Config(total_steps=STEPS)
    losses = np.array([1e11, *(1e15 * (1 + 0.01 * np.random.default_rng(0).random(8)))])
    assert anew.exploded(config, machine.start(config).replace(step=9, losses=losses))
    losses[0] = 1e14
    assert not anew.exploded(config, machine.start(config).replace(step=9, losses=losses))


def test_a_regression_in_raw_units_by_sgd_ends_as_with_the_best_lr() -> None:
    """Inputs of 1,000: it had ended at 1e16 to 1e21, since no LR up to η_min serves it."""
    draw = torch.Generator().manual_seed(1)
    x = 1000 * torch.randn(4000, 10, generator=draw)
    y = x @ torch.randn(10, generator=draw) / 1000 + 0.3 * torch.randn(4000, generator=draw)
    torch.manual_seed(0)
    model = nn.Linear(10, 1)
    scheduler = autowu.AutoWU(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), STEPS)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(STEPS):
            rows = torch.randint(3200, (32,))
            loss = (model(x[rows])[:, 0] - y[rows]).square().mean()
            scheduler.optimizer.zero_grad()
            loss.backward()
            scheduler.optimizer.step()
            scheduler.step(loss)
    with torch.no_grad():
        error = (model(x[3200:])[:, 0] - y[3200:]).square().mean()
    assert error < 0.1  # 0.09 is the noise of the targets, of a variance of about 7
    assert any("Growth begins anew, at 1e-08" in str(each.message) for each in told)


# --- what is known of the LR that it exploded at -------------------------------------------------------


def trained(config: Config, sharpness: float, seed: int = 0) -> list[State]:
    """The same descent from where the weight is best: nothing falls, and it explodes beyond 2 / h."""
    x = 0.1 * np.random.default_rng(seed).standard_normal(config.total_steps or 0)
    states, weight, kept = [machine.start(config)], 0.0, 0.0
    for step in range(len(x)):
        state = states[-1]
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.float64(weight) - x[step]
            loss = float(0.5 * error**2)
            weight = float(weight - machine.learning_rate(config, state, step) * sharpness * error)
        after = machine.observe(config, state, np.array([loss]))
        weight = kept if after.restores > state.restores else weight
        kept = weight if after.snapshot_step == after.step else kept
        states.append(after)
    return states


@pytest.mark.parametrize("total", [150, 200, 300])
def test_the_decay_begins_below_the_lr_that_it_exploded_at(total: int) -> None:
    """It had begun at a tenth of max_lr, fifty times above what is stable, and ended at 10^294."""
    states = trained(Config(total_steps=total, max_lr=1e-3), 1e6)
    switch = states[-1].switch
    assert len(sweeps(states)) > 1
    assert switch is not None
    assert switch.peak_lr < 2e-6


def easy_at_first(config: Config, easy: int) -> State:
    """Losses a fiftieth of the others up to a step; then they fall by the LR, and explode beyond 0.05."""
    random, state, level, kept = np.random.default_rng(0), machine.start(config), 1.0, 1.0
    for step in range(config.total_steps or 0):
        lr = machine.learning_rate(config, state, step)
        loss = (0.02 if step < easy else 1.0) * (level + 0.02) * max(0.01, 1 + 0.1 * random.standard_normal())
        level = level * (1 - min(3 * lr, 0.5)) if lr < 0.05 else min(1.3 * level, 1e9)
        after = machine.observe(config, state, np.array([loss]))
        level = kept if after.restores > state.restores else level
        kept = level if after.snapshot_step == after.step else kept
        state = after
    return state


@pytest.mark.parametrize("easy", [0, 4, 8])
def test_growth_comes_back_to_a_max_lr_where_the_data_had_raised_the_loss(easy: int) -> None:
    """It had stopped three decades below, at 1e-5, and the loss at 0.43 in place of 0.02."""
    switch = easy_at_first(Config(total_steps=1000, max_lr=1e-2), easy).switch
    assert switch is not None
    assert 5e-3 < switch.peak_lr <= 1e-2


def test_it_begins_anew_four_times_whatever_min_lr_is() -> None:
    for least in (1e-6, 3e-6, 1e-5, 5e-5, 1e-3):
        config = Config(total_steps=STEPS, min_lr=least)
        assert len(sweeps(descent(config, 1e30)[0])) == 5
