"""A fall that is none: a network whose units die gives all inputs the same answer, and its loss is quiet."""

import re
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import autowu
from autowu import Config
from autowu.controller import anew, copies, machine
from autowu.controller.plain import to_plain
from autowu.controller.state import Grow, Growth, Horizon, Search, State
from autowu.detector import trend
from autowu.detector.trend import Level
from autowu.integrations.warned import warnings_of

from .helpers import equal, through_plain

FIRST = Level(40.0, 5, noise=16.0)


def losses(level: float, noise: float, count: int = 60, seed: int = 0) -> np.ndarray:
    """So many, about ``level``."""
    return level + noise * np.random.default_rng(seed).standard_normal(count)


@pytest.mark.parametrize(
    ("now", "noise", "count", "known"),
    [
        (0.7, 0.05, 60, True),  # a fourteenth beside two fifths
        (0.7, 0.28, 60, False),  # as noisy as before, beside it
        (0.7, 0.05, 29, None),  # too few
        (20.0, 0.1, 60, False),  # it has not fallen by as much
        (20.0, 0.1, 29, False),
        (-0.7, 0.05, 60, False),  # a likelihood has no noise beside its level
    ],
)
def test_the_same_answer_is_quiet_beside_its_level(
    now: float, noise: float, count: int, known: bool | None
) -> None:
    assert trend.constant(losses(now, noise, count), FIRST) is known
    assert trend.constant(1e6 * losses(now, noise, count), Level(4e7, 5, noise=1.6e7)) is known


def test_without_a_noise_of_before_nothing_is_known() -> None:
    assert trend.constant(losses(0.7, 0.05), Level(40.0, 5)) is False


# --- the run ------------------------------------------------------------------------------------------


def dies(at: float, seed: int = 0) -> tuple[Config, list[State]]:
    """A loss of 40 ± 16 that falls to 0.3 ± 0.12 by and by; beyond an LR ``at`` it is 0.7 ± 0.05 for good."""
    config, random = Config(total_steps=1000), np.random.default_rng(seed)
    states, (level, dead), kept = [machine.start(config)], (40.0, False), (40.0, False)
    for step in range(500):
        state = states[-1]
        lr = machine.learning_rate(config, state, step)
        draw = random.standard_normal()
        loss = 0.7 + 0.05 * draw if dead else max(level * (1 + 0.4 * draw), 1e-3)
        level, dead = level + (0.3 - level) * min(1.0, 50 * lr), dead or lr > at
        after = machine.observe(config, state, np.array([loss]))
        if after.restores > state.restores:
            level, dead = kept
        if after.snapshot_step == after.step:
            kept = level, dead
        states.append(after)
    return config, states


@pytest.mark.parametrize("dead_from", [3e-4, 1e-3])
def test_growth_begins_anew_three_decades_below_with_the_weights_of_before(dead_from: float) -> None:
    config, states = dies(dead_from)
    at = next(
        index
        for index, (before, after) in enumerate(pairwise(states), 1)
        if isinstance(before.phase, Grow) and isinstance(after.phase, Search)
    )
    before, after = states[at - 1], states[at]
    slow = before.phase.growth.lr
    assert after.phase.too_large == slow
    assert after.phase.growth.lr == max(slow / anew.RETREAT, config.min_lr)
    assert after.restores == before.restores + 1
    assert after.snapshot_step == 0  # none was taken of a network that may have died
    assert equal(to_plain(through_plain(config, before)), to_plain(before))


def test_a_loss_that_goes_on_to_fall_is_left_alone() -> None:
    _, states = dies(10.0)
    grown = [isinstance(state.phase, Grow) for state in states]
    assert not any(isinstance(state.phase, Search) for state in states[grown.index(True) :])


class Scorer(nn.Module):
    """One hidden layer of ReLUs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_table_in_raw_units_is_learned(optimizer: str) -> None:
    """Tumours by 30 columns of 1e-3 to 4,000. The same answer to all gets 63%: 12 of 20 runs had ended so."""
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = (torch.tensor(array) for array in datasets.load_breast_cancer(return_X_y=True))
    x = x.float()
    for seed in range(3):
        torch.manual_seed(seed)
        model = Scorer()
        made = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer]
        momentum = {"momentum": 0.9} if optimizer == "sgd" else {}
        scheduler = autowu.AutoWU(made(model.parameters(), lr=0.1, **momentum), 1000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(1000):
                rows = torch.randint(len(x), (16,))
                loss = cross_entropy(model(x[rows]), y[rows])
                scheduler.optimizer.zero_grad()
                loss.backward()
                scheduler.optimizer.step()
                scheduler.step(loss)
        with torch.no_grad():
            assert (model(x).argmax(1) == y).double().mean() > 0.85


# --- what is said where warm-up ends ------------------------------------------------------------------


def told(config: Config, states: list[State]) -> list[str]:
    """What is said of the same answer."""
    said = (text for pair in pairwise(states) for text in warnings_of(config, *pair, 0, 0))
    return [text for text in said if "with a loss as quiet as that of a network" in text]


def test_a_network_that_may_be_dead_when_warm_up_ends_is_told() -> None:
    config, states = dies(2e-5)
    assert states[-1].switch is not None
    assert len(told(config, states)) == 1


def test_a_loss_without_noise_that_falls_on_is_no_same_answer() -> None:
    config = Config(total_steps=500)
    states: list[State] = [machine.start(config)]
    for step in range(500):
        states.append(machine.observe(config, states[-1], np.array([1 / (1 + step)])))
    assert states[-1].switch is not None
    assert told(config, states) == []


def test_in_a_short_run_copies_do_not_wait_until_it_is_known() -> None:
    """Thirty losses after lift-off are most of such a warm-up: it went back to steps of before the fall."""
    for total, waits in ((100, False), (1000, True)):
        losses = np.linspace(8, 2, 20) + 0.1 * np.sin(np.arange(20))
        grow = Grow(Growth(0, 1e-4, 100), lift_off=10, origin=Level(40.0, 5, noise=10.0))
        state = State(grow, Horizon(total), step=25, read=24, losses=losses)
        assert copies.constant(state) is None
        assert copies.healthy(Config(total_steps=total), state) is not waits


def test_the_settings_that_are_advised_are_some_that_there_may_be() -> None:
    config, states = dies(2e-5)
    (text,) = told(config, states)
    named = re.search(r"max_lr=(\S+?)(?: and min_lr=(\S+?))?\.$", text)
    assert named is not None
    given = {"max_lr": float(named[1])} | ({} if named[2] is None else {"min_lr": float(named[2])})
    assert Config(total_steps=1000, **given).max_lr == pytest.approx(states[-1].switch.peak_lr / 30, rel=0.5)


@pytest.mark.parametrize(("still", "anew_again"), [(0.0, True), (-0.004, False)])
def test_it_is_seen_where_the_window_begins_before_the_network_died(still: float, anew_again: bool) -> None:
    """Slow growth may be what kills it. The fall that this was, in the same window, is over by then."""
    config = Config(total_steps=1000)
    quiet = 0.7 + still * np.arange(90) + 0.01 * np.random.default_rng(0).standard_normal(90)
    window = np.concatenate([losses(40.0, 16.0, 15), quiet])
    grow = Grow(Growth(40, 4e-2, config.growth_steps), lift_off=60, origin=FIRST)
    state = State(grow, Horizon(1000), step=145, read=144, losses=window, snapshot_step=0)
    after = machine.observe(config, state, window[-1:])
    while after.step == state.step or after.read < after.step:
        after = machine.observe(config, after, window[-1:])
    assert isinstance(after.phase, Search) == anew_again
