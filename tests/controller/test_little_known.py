"""Warm-up that ends when little is known: in short runs, after growth began anew, among NaN, when asked."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from autowu import Config
from autowu.controller import horizon, machine
from autowu.controller.state import Grow, Reason, Search, State

from .helpers import follow, noisy, run
from .made import default_state
from .test_hidden_fall import lifted_by_chance

Loss = Callable[[int, float, State], float]


def lived(
    config: Config, loss: Loss, steps: int, act: Callable[[int, State], State] = lambda step, state: state
) -> tuple[list[State], np.ndarray]:
    """The state after each update, and its LR; ``act`` may move the end before one."""
    states, lrs = [machine.start(config)], list[float]()
    for step in range(steps):
        state = act(step, states[-1])
        lrs.append(machine.learning_rate(config, state, step))
        states.append(machine.observe(config, state, np.array([loss(step, lrs[-1], state)])))
    return states, np.array(lrs)


# --- short runs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [40, 60, 80, 100, 150])
@pytest.mark.parametrize("seed", range(5))
def test_a_short_run_whose_loss_has_fallen_is_not_undone(total: int, seed: int) -> None:
    """The first test may be the one that ends warm-up: weights of after lift-off have to be there by then."""
    config = Config(total_steps=total)
    states, _ = lived(config, lambda step, lr, _: noisy(0.02, 0.02, seed)(step, lr), total)
    lifted = next((s.phase.lift_off for s in states if isinstance(s.phase, Grow)), None)
    switch = states[-1].switch
    assert switch is not None
    assert lifted is not None
    assert switch.rewound_to is None or switch.rewound_to >= lifted


@pytest.mark.parametrize("more", [1, 2, 5])
@pytest.mark.parametrize("at", [30, 60, 90])
def test_a_run_that_is_to_end_at_once_keeps_the_weights_of_now(at: int, more: int) -> None:
    config, losses = Config(total_steps=400), 2.3 - 0.01 * np.arange(100)
    state = follow(config, losses[:at])[-1]
    assert isinstance(state.phase, Grow)
    state = horizon.extended(config, state, state.step, state.step + more)
    state = machine.observe(config, state, losses[state.step : state.step + more])
    assert state.switch is not None
    assert (state.switch.rewound_to or at) >= at - 5
    assert (state.snapshot_step, state.ended) == (None, True)


# --- after a break ------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [270, 280, 284, 287])
def test_a_cap_right_after_growth_has_begun_anew_does_not_throw_the_lr_away(at: int) -> None:
    """The LR of lift-off, hundreds of updates before, says nothing of the growth that has begun now."""
    config, dead = Config(total_steps=600), [-1]

    def loss(step: int, lr: float, state: State) -> float:
        if step == at:
            dead[0] = state.restores
        bad = step >= at and state.restores == dead[0]
        return math.nan if bad else 2.3 - 0.004 * step + 0.005 * math.sin(9 * step)

    states, lrs = lived(config, loss, 320)
    anew = next(s for s in states if isinstance(s.phase, Grow) and s.phase.broke)
    switch = states[-1].switch
    assert switch is not None
    assert switch.step == 300
    assert anew.phase.growth.lr <= switch.peak_lr <= lrs[:300].max()


def test_a_break_takes_the_lr_back_also_where_it_grows_in_a_line() -> None:
    config, at = Config(total_steps=600, growth="linear"), [-1]

    def loss(step: int, lr: float, state: State) -> float:
        if step == 150:
            at[0] = state.restores
        return math.nan if step >= 150 and state.restores == at[0] else 2.3 - 0.004 * step

    states, lrs = lived(config, loss, 250)
    anew = next(s for s in states if isinstance(s.phase, Grow) and s.phase.broke)
    begin = anew.phase.growth
    assert lrs[begin.start] == pytest.approx(begin.lr)
    assert lrs[begin.start] < lrs[begin.start - 1]
    slope = (config.high_lr - config.min_lr) / config.warmup_steps
    line = begin.lr + slope * np.arange(250 - begin.start)
    np.testing.assert_allclose(lrs[begin.start : 250], line, rtol=1e-9)


def test_without_a_snapshot_of_before_growth_is_not_tried_once_more() -> None:
    config = Config(total_steps=1000)
    losses = np.full(69, 1.0)
    losses[-30:] = np.nan
    state = default_state(2, losses=losses, snapshot_step=None, nonfinite_reads=2)
    state = machine.observe(config, state, np.array([math.nan]))
    assert state.switch is not None
    assert (state.switch.reason, state.switch.rewound_to, state.restores) == (Reason.NONFINITE, None, 0)


# --- not finite ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("deadly", [0.1, 0.12, 0.14, 0.16])
@pytest.mark.parametrize("after", [None, 3, 8, 15])
def test_the_decay_never_begins_at_the_lr_that_made_the_loss_nan(deadly: float, after: int | None) -> None:
    """Not at the cap, nor where the end is brought forward before patience has run out."""
    config, died, asked = Config(total_steps=600, max_lr=1.0), [math.inf, -1.0], [False]

    def loss(step: int, lr: float, state: State) -> float:
        if lr > deadly and step > 130:
            died[:] = [min(died[0], step), state.restores]
        if died[1] == state.restores:
            return math.nan
        return 2.3 - 1.5 * max(0, step - 40) / 600 + 0.005 * math.sin(7 * step)

    def act(step: int, state: State) -> State:
        if after is None or asked[0] or step < died[0] + after or state.switch:
            return state
        asked[0] = True
        return horizon.cooled(config, state, step, 100)

    states, _ = lived(config, loss, 320 if after is None else 400, act)
    switch = next(s.switch for s in states if s.switch)
    assert switch.peak_lr <= deadly
    assert switch.reason is not Reason.MINIMUM


# --- an end that was brought forward ------------------------------------------------------------------


@pytest.mark.parametrize("total", [372, 380, 400, 520])
def test_where_no_time_is_left_to_grow_anew_the_decay_begins_at_a_modest_lr(total: int) -> None:
    config = Config(total_steps=2000)
    whole, _ = lived(config, lambda step, lr, _: lifted_by_chance(step, lr), 800)
    search = next(s for s in whole if isinstance(s.phase, Search) and s.verdicts)
    too_large = search.phase.too_large
    assert too_large is not None

    def act(step: int, state: State) -> State:
        return horizon.extended(config, state, step, total) if step == 150 else state

    states, _ = lived(config, lambda step, lr, _: lifted_by_chance(step, lr), 300, act)
    switch = next(s.switch for s in states if s.switch)
    assert switch.peak_lr == pytest.approx(min(too_large / 10, math.sqrt(1e-5)), rel=0.01)


def test_a_test_of_a_growth_before_is_no_evidence_at_the_cap() -> None:
    """Lift-off at the last update of warm-up, after a growth that was taken back."""
    config = Config(total_steps=2000)
    began, moved = [0], [False]

    def act(step: int, state: State) -> State:
        if began[0] and not moved[0] and step == began[0] + 10:
            moved[0] = True
            return horizon.extended(config, state, step, 2 * (began[0] + 60))
        return state

    def loss(step: int, lr: float, state: State) -> float:
        if isinstance(state.phase, Search) and state.verdicts and not began[0]:
            began[0] = step
        if not began[0]:
            return lifted_by_chance(step, lr)
        return 2.3 + 0.005 * math.sin(11 * step) - 0.5 * (step >= began[0] + 56)

    states, _ = lived(config, loss, 300, act)
    state = next(s for s in states if s.switch)
    switch = state.switch
    assert switch is not None
    assert switch.t_star == switch.step == began[0] + 60
    assert switch.reason is Reason.ASKED
    assert switch.rewound_to is None


def test_a_plain_fall_far_above_the_first_losses_renews_no_snapshot() -> None:
    """Lift-off by chance; then the loss creeps down from where a larger LR had thrown it."""
    losses = 2.6 - 0.0005 * np.arange(399)
    before = default_state(2, step=429, read=425, losses=losses, snapshot_step=1)
    state = machine.observe(Config(total_steps=1000), before, np.array([losses[-1]]))
    assert (state.read, state.verdicts, state.snapshot_step) == (430, (), 1)


# --- numbers at the edge ------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [1e-17, 1e-300])
def test_a_constant_part_to_the_very_end(fraction: float) -> None:
    config = Config(total_steps=100, decay="constant-cosine", cooldown_fraction=fraction)
    _, lrs = run(config, noisy(0.02))
    assert np.isfinite(lrs).all()
    assert lrs[-1] > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"min_lr": 1e-300, "max_lr": 1e300},
            r"max_lr must be at most 1e100 times min_lr \(1e-300\), not 1e\+300",
        ),
        ({"min_lr": 1e-320}, r"max_lr must be at most 1e100 times min_lr"),
    ],
)
def test_lrs_whose_ratio_is_no_number_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(total_steps=100, **settings)  # type: ignore[arg-type]


def test_tests_that_never_fall_due() -> None:
    config = Config(total_steps=100, growth="exponential", test_growth=1e308, min_lr=10, max_lr=100)
    state, _ = run(config, noisy(20.0))
    assert state.ended


def test_losses_whose_differences_overflow_are_no_jump() -> None:
    losses = np.where(np.arange(300) % 2, 1.7e308, -1.7e308)
    states = follow(Config(total_steps=300), losses)  # a warning is an error here
    assert states[-1].step == 300
    assert not any(isinstance(state.phase, Grow) and state.phase.broke for state in states)
