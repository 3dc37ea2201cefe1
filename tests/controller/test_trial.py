"""A switch that proves wrong reopens warm-up; one that was right does not."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from autowu import Config, replay
from autowu.controller import ending, machine
from autowu.controller.phases import decay
from autowu.controller.plain import from_plain, to_plain
from autowu.controller.rate import grown
from autowu.controller.state import Decay, Grow, State, Trial
from autowu.detector.trend import Fall

from .helpers import growth_of, through_plain, v_shape
from .quadratic import Outcome, train

T = 800
CONFIG = Config(total_steps=T)
W = ending.window(CONFIG)
LENGTHS = (200, 400, 800, 1600, 3000)


@pytest.mark.parametrize(("total_steps", "updates"), [(100, 10), (800, 25), (12_000, 362)])
def test_the_window_is_a_doubling_of_the_lr_but_holds_losses_enough(total_steps: int, updates: int) -> None:
    config = Config(total_steps=total_steps, growth="exponential")
    assert ending.window(config) == updates
    lrs = [grown(config, growth_of(machine.start(config)), step) for step in (0, updates)]
    assert lrs[1] >= 2 * lrs[0]
    if updates > config.min_losses:
        assert grown(config, growth_of(machine.start(config)), updates - 1) < 2 * lrs[0]


@pytest.mark.parametrize(
    ("before", "after", "refuted"),
    [
        (Fall(10, 1), Fall(9, 1), True),
        (Fall(10, 1), Fall(15, 1), True),  # not faster by 4 standard errors of the difference, 5.7
        (Fall(10, 1), Fall(16, 1), False),  # faster: the LR was large, and its noise goes
        (Fall(10, 1), Fall(3, 1), False),  # falls no longer
        (Fall(10, 1), Fall(-9, 1), False),  # rises
        (Fall(3, 1), Fall(9, 3), False),  # had ceased to fall: a minimum
        (Fall(10, 1), None, False),
    ],
)
def test_what_refutes_a_switch(before: Fall, after: Fall | None, refuted: bool) -> None:
    assert decay.refuted(before, after, 4.0) is refuted


# --- the phase machine --------------------------------------------------------------------------------


@cache
def curve(after: float) -> np.ndarray:
    """Losses that fall by 0.02 an update to step 100, rise until warm-up ends, then go on by ``after``."""
    noise = 0.02 * np.random.default_rng(0).standard_normal(T)
    state, losses, loss, switched = machine.start(CONFIG), list[float](), 10.0, False
    for step in range(T):
        switched = switched or state.switch is not None
        loss += -0.02 if step < 100 else after if switched else 0.05
        losses.append(loss + noise[step])
        state = machine.observe(CONFIG, state, np.array(losses[-1:]))
    assert switched
    return np.array(losses)


def follow(losses: np.ndarray, config: Config = CONFIG, cut: int = 1) -> list[State]:
    """The states after each decision."""
    states = [machine.start(config)]
    state = states[0]
    for start in range(0, len(losses), cut):
        state = machine.observe(config, state, losses[start : start + cut])
        if state.read != states[-1].read:
            states.append(state)
    return states


def test_a_false_alarm_is_taken_back() -> None:
    states = follow(curve(-0.02))
    first = next(state for state in states if state.switch is not None)
    assert first.switch is not None
    assert isinstance(first.phase, Trial)
    due = first.switch.step + 2 * W
    assert machine.next_read(CONFIG, first) == due
    after = states[states.index(first) + 1]
    assert after.step == due
    assert isinstance(after.phase, Grow)
    assert (after.switch, after.phase.detections, after.snapshot_step) == (None, 0, None)
    (reopening,) = after.reopenings
    assert (reopening.step, reopening.switch) == (after.step, first.switch)
    assert reopening.growth == first.phase.grow.growth
    assert reopening.lr == machine.learning_rate(CONFIG, first, due)
    assert len(after.losses) == 0  # the next decision looks at losses from here on alone
    for step in (0, 1, 50):  # and the LR goes on without a jump, at the slow rate
        lr = reopening.lr * (CONFIG.max_lr / CONFIG.min_lr) ** (step / CONFIG.warmup_steps)
        assert machine.learning_rate(CONFIG, after, after.step + step) == pytest.approx(lr, rel=1e-12)


@pytest.mark.parametrize("after", [0.0, 0.01, -0.2], ids=["flat", "rising", "falling faster"])
def test_a_switch_that_the_loss_bears_out_is_final(after: float) -> None:
    states = follow(curve(after))
    switched = next(state for state in states if state.switch is not None)
    assert isinstance(switched.phase, Trial)
    assert states[-1].phase == Decay(switched.phase.switch, switched.phase.grow.growth)
    assert states[-1].read == machine.next_read(CONFIG, switched)
    assert (machine.next_read(CONFIG, states[-1]), len(states[-1].losses)) == (None, 0)


def test_no_doubt_where_the_loss_had_ceased_to_fall() -> None:
    """A minimum with a flat bottom: no loss is read after the switch, whatever it does."""
    t = np.arange(T)
    trend = 10 - 0.02 * np.clip(t, 0, 55) + 0.05 * np.clip(t - 110, 0, 60) - 0.02 * np.clip(t - 170, 0, T)
    losses = trend + 0.02 * np.random.default_rng(0).standard_normal(T)
    states = follow(losses, Config(total_steps=T, stall=None))  # a stall is seen before all that
    assert states[-1].switch is not None
    assert isinstance(states[-1].phase, Decay)
    assert (machine.next_read(CONFIG, states[-1]), states[-1].reopenings) == (None, ())
    assert states[-1].read == states[-1].switch.step


@pytest.mark.parametrize("power", [-40, -1, 1, 40])
def test_scale_does_not_matter(power: int) -> None:
    one, other = (follow(np.ldexp(curve(-0.02), by))[-1] for by in (0, power))
    assert one.reopenings == other.reopenings
    assert len(one.reopenings) > 0


@pytest.mark.parametrize("cut", [2, 7, 100, T])
def test_the_cuts_of_the_losses_do_not_matter(cut: int) -> None:
    losses = curve(-0.02)
    one, other = follow(losses)[-1], follow(losses, cut=cut)[-1]
    assert one.reopenings == other.reopenings
    assert one.switch == other.switch


def test_the_state_survives_its_plain_form() -> None:
    losses = curve(-0.02)
    for state in follow(losses):
        again = through_plain(CONFIG, state)
        assert (again.phase, again.reopenings) == (state.phase, state.reopenings)
        end = machine.observe(CONFIG, again, losses[state.step :])
        assert end.reopenings == machine.observe(CONFIG, state, losses[state.step :]).reopenings


def test_a_trial_without_a_switch_or_with_losses_of_before_it_is_refused() -> None:
    states = follow(curve(-0.02))
    on_trial = to_plain(next(state for state in states if isinstance(state.phase, Trial)))
    with pytest.raises(ValueError, match="'switch' must be a mapping"):
        from_plain(on_trial | {"phase": on_trial["phase"] | {"switch": None}}, CONFIG)
    with pytest.raises(ValueError, match="'losses' are 3"):
        from_plain(on_trial | {"losses": np.zeros(3)}, CONFIG)


@pytest.mark.parametrize(
    "settings",
    [{"reopen": None}, {"warmup_fraction": 0.15}, {"reopen": 1e9}],
    ids=["off", "the cap is near", "hardly anything is plain"],
)
def test_what_keeps_a_switch_final(settings: dict[str, Any]) -> None:
    config = Config(total_steps=T, **settings)
    end = follow(curve(-0.02), config)[-1]
    assert end.switch is not None
    assert end.reopenings == ()


def test_no_return_after_the_cap() -> None:
    """A loss that rises after a while of each warm-up, and falls in each decay: the cap ends it."""
    random, loss, since = np.random.default_rng(0), 100.0, 0
    state = machine.start(CONFIG)
    for _ in range(T):
        loss += 0.05 if state.switch is None and since > 120 else -0.02
        before = state
        state = machine.observe(CONFIG, state, np.array([loss + 0.02 * random.standard_normal()]))
        since = since + 1 if (before.switch is None) == (state.switch is None) else 0
    assert len(state.reopenings) >= 2
    assert all(each.step < CONFIG.warmup_steps for each in state.reopenings)
    assert state.switch is not None
    assert state.switch.step <= CONFIG.warmup_steps


def test_the_paper_and_linear_growth_never_return() -> None:
    assert Config.paper(T, 20).reopen is None
    found = replay(curve(-0.02), steps_per_epoch=20, preset="paper", standardize=True)
    assert found.switch_step is not None
    assert found.state.reopenings == ()
    found = replay(curve(-0.02), growth="linear", min_lr=1e-3)
    assert found.switch_step is not None
    assert found.state.reopenings == ()


def test_plateau_waits_until_the_switch_is_settled() -> None:
    config = Config(total_steps=T, decay="plateau")
    states = follow(curve(-0.2), config)
    switched = next(state for state in states if state.switch is not None)
    settled = states[states.index(switched) + 1]
    assert switched.switch is not None
    assert settled.step == switched.switch.step + 2 * W
    assert machine.next_read(config, settled) == settled.step + T // config.plateau_intervals
    assert follow(curve(-0.02), config)[-1].reopenings != ()


def test_a_switch_on_a_v_stands() -> None:
    """A sharp minimum leaves doubt, since the loss fell to the last; the rise beyond settles it."""
    for seed in range(20):
        found = replay(v_shape(T, 150, noise=0.02, seed=seed))
        assert found.switched
        assert found.state.reopenings == ()


# --- whole runs ---------------------------------------------------------------------------------------


Pair = tuple[Outcome, Outcome]


def runs(count: int) -> tuple[list[Pair], list[Pair]]:
    """Pairs of runs, with reopening and without: those that reopen unasked, and those with a false alarm."""
    clean, false = list[Pair](), list[Pair]()
    for seed in range(count):
        config = {"total_steps": LENGTHS[seed % len(LENGTHS)], "seed": seed}
        run = train(Config(**config), seed)
        assert run.first is not None
        if run.state.reopenings:
            clean.append((run, train(Config(**config, reopen=None), seed)))
        peak = run.first.peak_lr
        final = train(Config(**config, reopen=None), seed, bump_from=peak / (10, 30)[seed % 2])
        assert final.first is not None
        if final.first.peak_lr < peak / 3 and final.beaten > 1.5:
            false.append((train(Config(**config), seed, bump_from=peak / (10, 30)[seed % 2]), final))
    return clean, false


def check(count: int) -> None:
    clean, false = runs(count)
    assert len(clean) <= 0.15 * count
    assert all(one.excess < 1.05 * final.excess for one, final in clean)
    if len(clean) >= 10:  # fewer say nothing
        assert sum(one.excess < final.excess for one, final in clean) >= 0.7 * len(clean)

    assert len(false) >= 0.2 * count
    taken_back = [(one, final) for one, final in false if one.state.reopenings]
    assert len(taken_back) >= 0.25 * len(false)
    better = sum(one.excess < final.excess for one, final in taken_back)
    assert better >= 0.95 * len(taken_back)
    assert max(len(one.state.reopenings) for one, _ in taken_back) <= 5


def test_what_is_taken_back_ends_better_and_false_alarms_are() -> None:
    check(60)


@pytest.mark.full
def test_what_is_taken_back_ends_better_and_false_alarms_are_of_many() -> None:
    check(400)
