"""From lift-off on: states made by hand, the paper's epochs, and the way back to the LR of lift-off."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from autowu import Config, Switch, Verdict
from autowu.controller import machine
from autowu.controller.rate import grown
from autowu.controller.state import Grow, Reason, State

from .helpers import exponential, follow, lift_off, noisy, response, run, v_shape, waits
from .made import default_state, paper_state, verdict

DEFAULT = Config(total_steps=1000)
PAPER = Config.paper(400, 25)


# --- one step from a hand-made state ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detections", "detected", "after"), [(0, True, 1), (1, True, 2), (1, False, 0), (2, False, 0)]
)
def test_a_detection_adds_to_the_streak_and_its_absence_ends_it(
    detections: int, detected: bool, after: int, scripted: list[Verdict]
) -> None:
    scripted.append(verdict(detected))
    state = machine.observe(PAPER, paper_state(detections), np.ones(1))
    assert state.phase.detections == state.verdicts[-1].streak == after
    assert state.switch is None
    assert (state.read, machine.next_read(PAPER, state), state.step) == (100, 125, 100)


def test_the_last_detection_of_patience_switches_to_the_lr_of_t_star(scripted: list[Verdict]) -> None:
    scripted.append(verdict(True, argmin=0.62))
    state = machine.observe(PAPER, paper_state(detections=2), np.ones(1))
    gamma = 1e5 ** (1 / 200)
    assert state.switch is not None
    assert (state.switch.step, state.switch.capped, state.switch.rewound_to) == (100, False, None)
    assert state.switch.t_star == pytest.approx(62, rel=1e-12)
    assert state.switch.peak_lr == pytest.approx(1e-5 * gamma**62, rel=1e-12, abs=0)
    assert (state.switch.reason, state.switch.reads) == (Reason.MINIMUM, 3)
    assert (machine.next_read(PAPER, state), len(state.losses), state.first) == (None, 0, 100)


def test_a_failed_test_ends_the_streak(scripted: list[Verdict]) -> None:
    scripted.append(Verdict(100, 0, no_evidence="numerical failure: x"))
    state = machine.observe(PAPER, paper_state(detections=2), np.ones(1))
    assert (state.phase.detections, state.switch) == (0, None)
    assert state.verdicts[-1].no_evidence == "numerical failure: x"


def test_the_snapshot_is_renewed_while_the_loss_is_falling(scripted: list[Verdict]) -> None:
    """And is below the first losses, 2.0, or else lift-off may have been noise."""
    for made, kept in [
        (verdict(False, argmin=1.0, least=1.9), 100),
        (verdict(False, argmin=1.0, least=2.1), 95),
        (verdict(False, argmin=1.0), 95),
        (verdict(False, argmin=0.9), 95),
        (verdict(True, argmin=1.0), 95),
        (Verdict(100, 30, no_evidence="none"), 95),
    ]:
        scripted.append(made)
        state = machine.observe(DEFAULT, default_state(), np.ones(1))
        assert (state.snapshot_step, state.restores) == (kept, 0)
    scripted.append(verdict(False, argmin=1.0, least=1.9))
    state = machine.observe(DEFAULT, default_state(), np.array([math.nan]))
    assert state.snapshot_step == 95  # the last update's weights are in doubt
    scripted.append(verdict(False, argmin=1.0, least=1.9))
    without = machine.observe(replace(DEFAULT, rewind=False), default_state(snapshot_step=None), np.ones(1))
    assert without.snapshot_step is None


def falling_state(snapshot_step: int | None) -> State[Grow]:
    """The default preset 400 updates after lift-off, in a fall that is plain, one update before a read."""
    losses = 3 - 0.005 * np.arange(399)
    return default_state(2, step=429, read=425, losses=losses, snapshot_step=snapshot_step)


@pytest.mark.parametrize(("snapshot_step", "kept"), [(430 - 20, 430), (430 - 19, 430 - 19), (31, 430)])
def test_a_plain_fall_needs_no_test_and_a_snapshot_a_stretch(
    snapshot_step: int, kept: int, scripted: list[Verdict]
) -> None:
    """A stretch is a twentieth of the window: of 400 losses, 20."""
    state = machine.observe(DEFAULT, falling_state(snapshot_step), np.ones(1))
    assert (state.read, state.phase.detections, state.verdicts) == (430, 0, ())
    assert (state.snapshot_step, state.restores) == (kept, 0)
    without = machine.observe(replace(DEFAULT, rewind=False), falling_state(None), np.ones(1))
    assert (without.snapshot_step, without.verdicts) == (None, ())


def test_without_a_screen_every_read_is_a_test(scripted: list[Verdict]) -> None:
    scripted.append(verdict(False, argmin=1.0, least=1.0))
    state = machine.observe(replace(DEFAULT, screen=None), falling_state(400), np.ones(1))
    assert len(state.verdicts) == 1
    assert state.snapshot_step == 430


def test_the_cap_is_always_tested(scripted: list[Verdict]) -> None:
    scripted.append(verdict(False, argmin=1.0))
    before = falling_state(420)
    state = machine.observe(replace(DEFAULT, total_steps=860), before, np.ones(1))
    assert len(state.verdicts) == 1
    assert state.switch is not None
    assert (state.switch.step, state.switch.capped) == (430, True)


def test_the_paper_screens_nothing() -> None:
    assert PAPER.screen is None


def test_the_switch_puts_the_snapshot_back(scripted: list[Verdict]) -> None:
    scripted.append(verdict(True, argmin=0.5))
    state = machine.observe(DEFAULT, default_state(2), np.ones(1))
    assert state.switch is not None
    assert state.switch.t_star == pytest.approx(30 + 35, rel=1e-12)
    assert state.switch.peak_lr == pytest.approx(1e-3 * 1e5 ** (35 / 500), rel=1e-12, abs=0)
    assert (state.switch.rewound_to, state.restores, state.snapshot_step) == (95, 1, 95)


# --- whole runs ---------------------------------------------------------------------------------------


def test_the_paper_tests_at_the_end_of_each_epoch_and_never_else() -> None:
    state = follow(PAPER, 3 - 0.01 * np.arange(400))[-1]
    assert [test.step for test in state.verdicts] == list(range(25, 201, 25))
    assert {test.start for test in state.verdicts} == {0}
    peak_lr = pytest.approx(1.0, rel=1e-12)
    assert state.switch == Switch(200, True, None, peak_lr, None, reason=Reason.CAP)


def test_the_cap_within_an_epoch_makes_no_test() -> None:
    config = Config.paper(total_steps=407, steps_per_epoch=30)
    state = follow(config, 3 - 0.01 * np.arange(407))[-1]
    assert [test.step for test in state.verdicts] == [30, 60, 90, 120, 150, 180]
    assert state.switch is not None
    assert (state.switch.step, state.switch.capped) == (203, True)
    assert state.switch.peak_lr == pytest.approx(config.high_lr, rel=1e-12)


def test_the_paper_switches_on_a_v_after_patience() -> None:
    state = follow(PAPER, v_shape(400, 100, 0.02))[-1]
    detected = [test.detected for test in state.verdicts]
    assert detected[-3:] == [True] * 3
    assert [test.streak for test in state.verdicts][-3:] == [1, 2, 3]
    assert state.switch is not None
    assert state.switch.step == 25 * len(detected) == 175
    assert state.switch.t_star == pytest.approx(100, abs=3)
    assert state.switch.peak_lr == pytest.approx(exponential(state.switch.t_star, 200, 1e-5, 1.0))


@pytest.mark.parametrize("decay", ["cosine", "constant-cosine"])
def test_a_run_of_the_paper_grows_by_eq_1_then_decays(decay: str) -> None:
    config = Config.paper(400, 25, decay=decay)
    state, lrs = run(config, lambda step, lr: float(v_shape(400, 100, 0.02)[step]))
    assert state.switch is not None
    begin = state.switch.step
    np.testing.assert_allclose(lrs[:begin], 1e-5 * 1e5 ** (np.arange(begin) / 200), rtol=1e-12)
    fall = 320 if decay == "constant-cosine" else begin
    cosine = 0.5 * (1 + np.cos(np.pi * np.maximum(0, np.arange(begin, 400) - fall) / (400 - fall)))
    np.testing.assert_allclose(lrs[begin:], state.switch.peak_lr * cosine, rtol=1e-9)


def test_reads_come_each_time_the_lr_has_grown_by_the_factor() -> None:
    states = []
    state = machine.start(Config(total_steps=20_000))
    config = Config(total_steps=20_000)
    loss = noisy(1e-2)
    while state.switch is None:
        states.append(state)
        steps = range(state.step, machine.next_read(config, state))
        lrs = [machine.learning_rate(config, state, step) for step in steps]
        state = machine.observe(
            config, state, np.array([loss(*pair) for pair in zip(steps, lrs, strict=True)])
        )
    assert any(isinstance(each.phase, Grow) for each in states)
    for before, after in pairwise(states):
        due = machine.next_read(config, after)
        if due == config.sweep_steps:
            continue
        lr_now = grown(config, after.phase.growth, after.step)
        growth = [grown(config, after.phase.growth, due - k) / lr_now for k in (0, 1)]
        # The first step at which the LR has grown enough, and not one later.
        assert growth[0] >= 1.1 * (1 - 1e-9)
        assert growth[1] < 1.1
        assert after.read == after.step == machine.next_read(config, before)


# --- back to the LR of lift-off -----------------------------------------------------------------------


def test_what_the_loss_does_below_the_lr_of_lift_off_is_not_looked_at() -> None:
    """It falls from lift-off on only where the LR is larger; before that it rests, and dips."""
    config = Config(total_steps=1000)
    lifted = lift_off(follow(config, 3 - 0.02 * np.arange(20)))
    assert lifted is not None
    back = lifted + round(5 * 500 / 50)  # the slow growth takes so long for five updates of the fast one
    losses = np.full(600, 3 - 0.02 * lifted) + 0.01 * np.random.default_rng(0).standard_normal(600)
    losses[:lifted] = 3 - 0.02 * np.arange(lifted)
    losses[lifted + 15 : lifted + 25] -= 0.3
    losses[back:] -= 0.004 * np.minimum(np.arange(600 - back), 200)
    losses[back + 200 :] += 0.02 * np.arange(400 - back)
    states = follow(config, losses)
    first = next(state for state in states if state.verdicts).verdicts[0]
    assert back - 15 < first.start <= back  # since the last read before that
    assert first.step >= back
    switch = states[-1].switch
    assert switch is not None
    assert switch.t_star == pytest.approx(back + 200, abs=15)
    waiting = [state for state in states if lifted < state.read < back]
    assert waiting
    assert {(state.phase.detections, state.first) for state in waiting} == {(0, lifted)}
    kept = [state.snapshot_step or 0 for state in waiting]  # renewed, unless the loss may be about to explode
    assert kept == sorted(kept)
    assert lifted < kept[-1] <= waiting[-1].read
    assert {*kept} <= {state.read for state in states}
    assert not any(state.verdicts for state in waiting)


def test_no_snapshot_is_taken_at_a_loss_that_is_not_finite_on_the_way_back() -> None:
    config = Config(total_steps=1000)
    states = follow(config, 3 - 0.02 * np.arange(60))
    lifted = next(state for state in states if not waits(state))
    due = next(at for state in states if (at := state.snapshot_step or 0) > lifted.phase.lift_off)
    assert due >= lifted.phase.lift_off + 5  # so many losses show that it has fallen
    losses = 3 - 0.02 * np.arange(due)
    assert follow(config, losses)[-1].snapshot_step == due
    losses[-1] = np.nan
    assert follow(config, losses)[-1].snapshot_step == lifted.snapshot_step


@pytest.mark.parametrize(("level", "kept"), [(2.0, 1), (1.0, 100)])
def test_on_the_way_back_the_snapshot_stays_while_lift_off_may_have_been_noise(
    level: float, kept: int
) -> None:
    losses = level + 0.2 * np.random.default_rng(0).standard_normal(69)
    losses[-10:] = level + 0.01 * np.arange(10, 0, -1)  # the last ones fall, as they must for a snapshot
    before = default_state(losses=losses, snapshot_step=1)
    before = before.replace(phase=replace(before.phase, tests_from=200))
    state = machine.observe(DEFAULT, before, np.full(1, level))
    assert (state.read, state.snapshot_step, state.verdicts) == (100, kept, ())


def test_losses_that_are_not_finite_on_the_way_back_do_not_add_up() -> None:
    config = Config(total_steps=1667)  # reads some four updates apart
    lifted = next(state for state in follow(config, 3 - 0.02 * np.arange(20)) if not waits(state))
    losses = np.full(lifted.step + 60, 3 - 0.02 * lifted.step)
    losses[: lifted.step] = 3 - 0.02 * np.arange(lifted.step)
    losses += 0.01 * np.random.default_rng(0).standard_normal(len(losses))
    losses[lifted.step + 12 :] += 1.0  # higher, but no rise to be seen as yet
    for gone in (14, 20, 26, 32, 38):
        losses[lifted.step + gone : lifted.step + gone + 6] = np.nan if gone % 12 == 2 else 3.5
    states = follow(config, losses)
    back = [state for state in states if lifted.step < state.read < lifted.step + 50]
    assert max(state.nonfinite_reads for state in back) == 1
    assert max(state.phase.detections for state in back) <= 1


@pytest.mark.parametrize("total", [400, 1000, 4000])
def test_a_network_destroyed_on_the_way_back_to_lift_off_is_seen(total: int) -> None:
    """The loss explodes before the LR is back at that of lift-off, and then stays flat; twice."""
    config = Config(total_steps=total)
    draws = np.random.default_rng(0).standard_normal(total)
    deadly, dead_since = math.inf, -1  # the LR that destroys the network, and the restores when it did

    def fragile(step: int, lr: float) -> float:
        nonlocal deadly, dead_since
        lifted = lift_off(states)
        if lifted is not None and step == lifted + 8:
            deadly = min(deadly, lr)
        if lr >= deadly:
            dead_since = states[-1].restores
        dead = states[-1].restores == dead_since
        return (8.0 if dead else float(response(np.array(lr), 0.01))) + 0.02 * float(draws[step])

    states = [machine.start(config)]
    for step in range(total // 2):
        lr = machine.learning_rate(config, states[-1], step)
        states.append(machine.observe(config, states[-1], np.array([fragile(step, lr)])))
    switch = states[-1].switch
    lifted = lift_off(states)
    assert lifted is not None
    assert switch is not None
    assert not switch.capped
    assert states[-1].verdicts[-1].step < lifted + 150
    assert switch.peak_lr < 0.02
    assert switch.rewound_to is not None
    at_snapshot = next(state for state in states if state.step == switch.rewound_to)
    alive = at_snapshot.restores > 0 or at_snapshot.step < lifted + 8
    assert alive  # before the explosion, or after the weights had gone back to before it
