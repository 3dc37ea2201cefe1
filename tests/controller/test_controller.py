"""The phase machine: states made by hand and stepped once, whole runs, and what must never happen in them."""

import copy
import math
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autowu import Config, Switch, Verdict
from autowu.controller import ending, machine, schedule
from autowu.controller.plain import to_plain
from autowu.controller.rate import grown
from autowu.controller.state import Grow, Growth, Reason, State
from autowu.detector.trend import Level

from .helpers import equal, follow, growth_of, noisy, run, seeded, through_plain, v_shape

T, EPOCH = 400, 25
PAPER = Config.paper(T, EPOCH)
DEFAULT = Config(total_steps=1000)


def verdict(detected: bool, *, step: int = 100, start: int = 0, argmin: float = 0.5) -> Verdict:
    p = 0.99 if detected else 0.3
    return Verdict(step, start, p_min=(p,) * 5, detected=detected, argmins=(argmin,) * 5)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[Verdict]:
    """Verdicts that the detector hands out one after the other, whatever the losses."""
    script: list[Verdict] = []

    def detect(config: Config, losses: Any, start: int, adam: Any, _: float) -> tuple[Verdict, Any]:
        return replace(script.pop(0), step=start + len(losses), start=start), adam

    monkeypatch.setattr(ending, "detect", detect)
    return script


# --- one step from a hand-made state ------------------------------------------------------------------


def paper_state(detections: int = 0, step: int = 99) -> State[Grow]:
    """The paper's run one update before the end of an epoch."""
    phase = Grow(Growth(0, 1e-5, T // 2), lift_off=0, origin=None, detections=detections)
    return State(phase, step=step, read=step + 1 - EPOCH, losses=np.ones(step))


ONE = np.ones(1)


def test_a_loss_within_an_epoch_is_only_kept() -> None:
    before = machine.start(PAPER).replace(step=30, read=25, losses=np.arange(30.0))
    after = machine.observe(PAPER, before, np.array([7.0]))
    assert after.step == 31
    np.testing.assert_array_equal(after.losses, [*np.arange(30.0), 7.0])
    unchanged = {field.name for field in fields(State)} - {"step", "losses"}
    assert all(getattr(after, name) is getattr(before, name) for name in unchanged)


def test_no_losses_change_nothing() -> None:
    before = paper_state()
    assert machine.observe(PAPER, before, np.zeros(0)) is before


@pytest.mark.parametrize(
    ("detections", "detected", "after"), [(0, True, 1), (1, True, 2), (1, False, 0), (2, False, 0)]
)
def test_a_detection_adds_to_the_streak_and_its_absence_ends_it(
    detections: int, detected: bool, after: int, scripted: list[Verdict]
) -> None:
    scripted.append(verdict(detected))
    state = machine.observe(PAPER, paper_state(detections), ONE)
    assert state.phase.detections == state.verdicts[-1].streak == after
    assert state.switch is None
    assert (state.read, machine.next_read(PAPER, state), state.step) == (100, 125, 100)


def test_the_last_detection_of_patience_switches_to_the_lr_of_t_star(scripted: list[Verdict]) -> None:
    scripted.append(verdict(True, argmin=0.62))
    state = machine.observe(PAPER, paper_state(detections=2), ONE)
    gamma = 1e5 ** (1 / 200)
    assert state.switch is not None
    assert (state.switch.step, state.switch.capped, state.switch.rewound_to) == (100, False, None)
    assert state.switch.t_star == pytest.approx(62, rel=1e-12)
    assert state.switch.peak_lr == pytest.approx(1e-5 * gamma**62, rel=1e-12, abs=0)
    assert (state.switch.reason, state.switch.reads) == (Reason.MINIMUM, 3)
    assert (machine.next_read(PAPER, state), len(state.losses), state.first) == (None, 0, 100)


def test_a_failed_test_ends_the_streak(scripted: list[Verdict]) -> None:
    scripted.append(Verdict(100, 0, no_evidence="numerical failure: x"))
    state = machine.observe(PAPER, paper_state(detections=2), ONE)
    assert (state.phase.detections, state.switch) == (0, None)
    assert state.verdicts[-1].no_evidence == "numerical failure: x"


def test_a_state_is_never_changed() -> None:
    state = machine.start(DEFAULT)
    for loss in v_shape(300, 120, 0.02):
        before, plain = state, copy.deepcopy(to_plain(state))
        state = machine.observe(DEFAULT, state, np.array([loss]))
        assert equal(to_plain(before), plain)


def default_state(detections: int = 0, **changes: Any) -> State[Grow]:
    """The default preset after lift-off at step 30 with an LR of 1e-3, one update before a test."""
    phase = Grow(Growth(30, 1e-3, 500), lift_off=30, origin=Level(2.0, 5), detections=detections)
    state = State(phase, step=99, read=95, losses=np.linspace(2, 1, 69), snapshot_step=95)
    return state.replace(**changes)


def test_the_copy_is_renewed_while_the_loss_is_falling(scripted: list[Verdict]) -> None:
    for made, kept in [
        (verdict(False, argmin=1.0), 100),
        (verdict(False, argmin=0.9), 95),
        (verdict(True, argmin=1.0), 95),
        (Verdict(100, 30, no_evidence="none"), 95),
    ]:
        scripted.append(made)
        state = machine.observe(DEFAULT, default_state(), ONE)
        assert (state.snapshot_step, state.restores) == (kept, 0)
    scripted.append(verdict(False, argmin=1.0))
    state = machine.observe(DEFAULT, default_state(), np.array([math.nan]))
    assert state.snapshot_step == 95  # the last update's weights are in doubt
    scripted.append(verdict(False, argmin=1.0))
    without = machine.observe(replace(DEFAULT, rewind=False), default_state(snapshot_step=None), ONE)
    assert without.snapshot_step is None


def falling_state(snapshot_step: int | None) -> State[Grow]:
    """The default preset 400 updates after lift-off, in a fall that is plain, one update before a read."""
    losses = 3 - 0.005 * np.arange(399)
    return default_state(2, step=429, read=425, losses=losses, snapshot_step=snapshot_step)


@pytest.mark.parametrize(("snapshot_step", "kept"), [(430 - 20, 430), (430 - 19, 430 - 19), (31, 430)])
def test_a_plain_fall_needs_no_test_and_a_copy_a_stretch(
    snapshot_step: int, kept: int, scripted: list[Verdict]
) -> None:
    """A stretch is a twentieth of the window: of 400 losses, 20."""
    state = machine.observe(DEFAULT, falling_state(snapshot_step), ONE)
    assert (state.read, state.phase.detections, state.verdicts) == (430, 0, ())
    assert (state.snapshot_step, state.restores) == (kept, 0)
    without = machine.observe(replace(DEFAULT, rewind=False), falling_state(None), ONE)
    assert (without.snapshot_step, without.verdicts) == (None, ())


def test_without_a_screen_every_read_is_a_test(scripted: list[Verdict]) -> None:
    scripted.append(verdict(False, argmin=1.0))
    state = machine.observe(replace(DEFAULT, screen=None), falling_state(400), ONE)
    assert len(state.verdicts) == 1
    assert state.snapshot_step == 430


def test_the_cap_is_always_tested(scripted: list[Verdict]) -> None:
    scripted.append(verdict(False, argmin=1.0))
    before = falling_state(420)
    state = machine.observe(replace(DEFAULT, total_steps=860), before, ONE)
    assert len(state.verdicts) == 1
    assert state.switch is not None
    assert (state.switch.step, state.switch.capped) == (430, True)


def test_the_paper_screens_nothing() -> None:
    assert PAPER.screen is None


def test_the_switch_puts_the_copy_back(scripted: list[Verdict]) -> None:
    scripted.append(verdict(True, argmin=0.5))
    state = machine.observe(replace(DEFAULT, probe=None), default_state(2), ONE)
    assert state.switch is not None
    assert state.switch.t_star == pytest.approx(30 + 35, rel=1e-12)
    assert state.switch.peak_lr == pytest.approx(1e-3 * 1e5 ** (35 / 500), rel=1e-12, abs=0)
    assert (state.switch.rewound_to, state.restores, state.snapshot_step) == (95, 1, None)


@pytest.mark.parametrize("detected", [True, False])
def test_at_the_cap_one_detection_is_enough_for_the_default(detected: bool, scripted: list[Verdict]) -> None:
    scripted.append(verdict(detected, argmin=0.5))
    state = default_state(step=499, read=495, losses=np.ones(469))
    state = machine.observe(DEFAULT, state, ONE)
    assert state.switch is not None
    assert (state.switch.step, state.switch.capped) == (500, True)
    if detected:
        assert state.switch.t_star == pytest.approx(30 + 235, rel=1e-12)
        assert state.switch.peak_lr == pytest.approx(1e-3 * 1e5 ** (235 / 500), rel=1e-12)
        assert state.switch.rewound_to == 95
    else:
        assert (state.switch.t_star, state.switch.rewound_to) == (None, None)
        assert state.switch.peak_lr == DEFAULT.max_lr


def test_at_the_cap_the_paper_decays_from_max_lr_whatever_it_saw(scripted: list[Verdict]) -> None:
    scripted.append(verdict(True))
    state = machine.observe(PAPER, paper_state(detections=1, step=199), ONE)
    peak_lr = pytest.approx(1.0, rel=1e-12)
    assert state.switch == Switch(200, True, None, peak_lr, None, reason=Reason.CAP, reads=2)


def test_a_detection_that_completes_patience_at_the_cap_is_no_cap(scripted: list[Verdict]) -> None:
    scripted.append(verdict(True))
    state = machine.observe(PAPER, paper_state(detections=2, step=199), ONE)
    assert state.switch is not None
    assert (state.switch.capped, state.switch.t_star) == (False, pytest.approx(100))


# --- the paper preset ---------------------------------------------------------------------------------


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
    assert state.switch.peak_lr == pytest.approx(config.max_lr, rel=1e-12)


def test_the_paper_switches_on_a_v_after_patience() -> None:
    state = follow(PAPER, v_shape(400, 100, 0.02))[-1]
    detected = [test.detected for test in state.verdicts]
    assert detected[-3:] == [True] * 3
    assert [test.streak for test in state.verdicts][-3:] == [1, 2, 3]
    assert state.switch is not None
    assert state.switch.step == 25 * len(detected) == 175
    assert state.switch.t_star == pytest.approx(100, abs=3)
    assert state.switch.peak_lr == pytest.approx(schedule.exponential(state.switch.t_star, 200, 1e-5, 1.0))


@pytest.mark.parametrize("decay", ["cosine", "constant-cosine"])
def test_a_run_of_the_paper_grows_by_eq_1_then_decays(decay: str) -> None:
    config = Config.paper(T, EPOCH, decay=decay)
    state, lrs = run(config, lambda step, lr: float(v_shape(400, 100, 0.02)[step]))
    assert state.switch is not None
    begin = state.switch.step
    np.testing.assert_allclose(lrs[:begin], 1e-5 * 1e5 ** (np.arange(begin) / 200), rtol=1e-12)
    fall = 320 if decay == "constant-cosine" else begin
    cosine = 0.5 * (1 + np.cos(np.pi * np.maximum(0, np.arange(begin, T) - fall) / (T - fall)))
    np.testing.assert_allclose(lrs[begin:], state.switch.peak_lr * cosine, rtol=1e-9)


@pytest.mark.parametrize("total", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("per_epoch", [1, 2, 100])
@pytest.mark.parametrize(
    "curve", [np.full(40, 2.0), np.full(40, np.nan), 3 - np.arange(40.0), np.arange(40.0)]
)
def test_the_shortest_runs_end(total: int, per_epoch: int, curve: np.ndarray) -> None:
    for config in (Config(total_steps=total), Config.paper(total, per_epoch)):
        state, lrs = run(config, lambda step, lr: float(curve[step]), 4 * total)
        assert state.switch is not None
        assert state.switch.step <= max(1, total // 2)
        assert np.all((lrs >= 0) & (lrs <= config.max_lr))
        assert np.all(lrs[:total] > 0)


@pytest.mark.parametrize("total", range(1, 130))
def test_every_length_of_a_short_run_ends_however_the_loss_falls(total: int) -> None:
    # Lift-off may come with the very update that is the cap.
    for config in (Config(total_steps=total), Config.paper(total, 1)):
        for losses in (3 - 0.01 * np.arange(total), v_shape(total, max(1, total // 4))):
            state, lrs = run(config, lambda step, lr, losses=losses: float(losses[step]))
            assert state.switch is not None
            assert state.switch.step <= config.warmup_steps
            assert np.all(np.diff(lrs[state.switch.step :]) <= 0)


# --- the default preset -------------------------------------------------------------------------------


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


@pytest.mark.parametrize("best", [1e-3, 1e-2, 1e-1])
@pytest.mark.parametrize("total", [800, 3000, 12_000])
def test_the_peak_is_near_the_best_lr(best: float, total: int) -> None:
    for seed in range(3):
        state, _ = run(Config(total_steps=total), noisy(best, seed=seed), total // 2 + 1)
        assert state.switch is not None
        assert best / 2 < state.switch.peak_lr < best * 2
        assert state.switch.rewound_to is not None


# --- dead runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dead_from", [120, 260, 333])
def test_a_run_that_dies_goes_back_in_the_default(dead_from: int) -> None:
    losses = 3 - 0.005 * np.arange(1000)
    losses[dead_from:] = np.nan
    states = follow(DEFAULT, losses)
    state = states[-1]
    assert state.switch is not None
    assert not state.switch.capped
    assert state.switch.step < dead_from + 30
    assert state.switch.t_star is not None
    assert state.switch.t_star < dead_from
    assert state.switch.rewound_to is not None
    assert state.switch.rewound_to <= dead_from
    alive = [s for s in states if s.step <= dead_from][-1]
    lr_of_death = grown(DEFAULT, growth_of(alive), dead_from)
    assert state.switch.peak_lr <= 0.5 * lr_of_death * (1 + 1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_run_that_dies_goes_back_in_the_paper(bad: float) -> None:
    losses = 3 - 0.005 * np.arange(400)
    losses[90:] = bad
    state = follow(PAPER, losses)[-1]
    assert state.switch is not None
    assert (state.switch.capped, state.switch.rewound_to) == (False, None)
    assert state.switch.step == 175  # three epochs without one finite loss end at 125, 150 and 175
    assert state.switch.t_star is not None
    assert state.switch.t_star <= 90
    assert state.switch.peak_lr <= grown(PAPER, growth_of(machine.start(PAPER)), 90)


@pytest.mark.parametrize("config", [DEFAULT, PAPER])
def test_a_run_that_never_lived_ends_at_the_least_lr(config: Config) -> None:
    state, lrs = run(config, lambda step, lr: math.nan)
    assert state.switch is not None
    assert state.switch.peak_lr <= config.min_lr * (1 + 1e-12)
    assert np.all(np.isfinite(lrs))
    # It is the first look that says so, not the cap.
    assert not state.switch.capped


@pytest.mark.parametrize("config", [DEFAULT, PAPER])
def test_a_few_losses_that_are_not_finite_do_not_matter(config: Config) -> None:
    losses = v_shape(1000, 200 if config is DEFAULT else 100, 0.02)
    clean = follow(config, losses)[-1].switch
    losses[[3, 57, 80, 81, 130]] = [np.nan, np.inf, -np.inf, np.nan, np.nan]
    gaps = follow(config, losses)[-1].switch
    assert clean is not None
    assert gaps is not None
    assert gaps.t_star == pytest.approx(clean.t_star, rel=0.05)
    assert abs(gaps.step - clean.step) <= 25


# --- spikes, scale ------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 4, 7, 30, 60, 99, 150, 189])
@pytest.mark.parametrize("height", [10.0, 1e10, 1e38])
def test_one_spike_never_ends_warm_up_in_the_default(at: int, height: float) -> None:
    losses = 3 - 0.005 * np.arange(190) + 0.02 * np.random.default_rng(0).standard_normal(190)
    losses[at] = height
    state = follow(DEFAULT, losses)[-1]
    assert state.switch is None
    assert not any(test.detected for test in state.verdicts)


@pytest.mark.parametrize("height", [1e10, 1e38, 1e300])
def test_one_spike_leaves_the_paper_a_run(height: float) -> None:
    """Raw losses: the spike may well pass for a rise, as in the reference, but every number stays one."""
    losses = 3 - 0.005 * np.arange(400)
    losses[30] = height
    state, lrs = run(PAPER, lambda step, lr: float(losses[step]))
    assert state.switch is not None
    assert np.all((lrs > 0) & (lrs <= 1))


@pytest.mark.full
def test_one_spike_anywhere_in_many_curves_never_ends_warm_up() -> None:
    early = 0
    for seed in range(1000):
        random = np.random.default_rng(seed)
        total = int(random.integers(200, 2000))
        n = int(0.45 * total)
        losses = 3 - 1.5 * np.arange(n) / n + 0.02 * random.standard_normal(n)
        losses[random.integers(n)] = 10.0 ** random.uniform(1, 38)
        config = Config(total_steps=total)
        early += machine.observe(config, machine.start(config), losses).switch is not None
    assert early == 0


def switches(scale: float, noise_sd: float) -> Switch:
    state = follow(DEFAULT, scale * v_shape(600, 200, noise_sd, seed=1))[-1]
    assert state.switch is not None
    return state.switch


@pytest.mark.parametrize("noise_sd", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("scale", [10.0**k for k in range(-9, 10) if k])
def test_a_v_shaped_curve_switches_alike_at_every_scale(scale: float, noise_sd: float) -> None:
    plain, scaled = switches(1.0, noise_sd), switches(scale, noise_sd)
    assert not plain.capped
    assert plain.t_star == pytest.approx(200, abs=20)
    assert (scaled.step, scaled.capped, scaled.rewound_to) == (plain.step, plain.capped, plain.rewound_to)
    assert scaled.t_star == pytest.approx(plain.t_star, abs=0.5)
    assert scaled.peak_lr == pytest.approx(plain.peak_lr, rel=0.01)


@pytest.mark.parametrize("exponent", [-900, -30, 30, 900])
def test_powers_of_two_switch_at_the_same_bits(exponent: int) -> None:
    assert switches(2.0**exponent, 0.05) == switches(1.0, 0.05)


# --- properties of every run --------------------------------------------------------------------------

CURVES = {
    "V": v_shape(800, 150, 0.05),
    "falling": 3 - 0.003 * np.arange(800),
    "flat": 2.3 + 0.01 * np.random.default_rng(0).standard_normal(800),
    "constant": np.full(800, 2.3),
    "dies": np.where(np.arange(800) < 130, 3 - 0.01 * np.arange(800), np.nan),
}
CONFIGS = {
    "default": Config(total_steps=500),
    "paper": Config.paper(500, 20),
    "plateau": Config(total_steps=500, decay="plateau"),
    "constant-cosine": Config(total_steps=500, decay="constant-cosine"),
    "linear growth": Config(total_steps=500, growth="linear"),
    "one step an epoch": Config.paper(500, 1),
}


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("name", CONFIGS)
def test_the_lr_stays_in_its_range_and_never_rises_after_the_switch(name: str, curve: str) -> None:
    config, losses = CONFIGS[name], CURVES[curve]
    state, lrs = run(config, lambda step, lr: float(losses[step]), 800)
    assert state.switch is not None
    begin = state.switch.step
    assert begin <= config.warmup_steps
    assert np.all((lrs[:500] > 0) & (lrs[:500] <= config.max_lr))
    assert lrs[begin] == pytest.approx(state.switch.peak_lr, rel=1e-12, abs=0)
    assert np.all(np.diff(lrs[begin:]) <= 0)
    assert np.all(lrs[500:] == lrs[500])  # overrun


@given(
    st.sampled_from(sorted(CONFIGS)),
    st.sampled_from(sorted(CURVES)),
    st.lists(st.integers(1, 799), max_size=12, unique=True),
)
@settings(seeded, max_examples=30)
def test_however_the_losses_are_cut_the_state_is_the_same(name: str, curve: str, cuts: list[int]) -> None:
    config, losses = CONFIGS[name], CURVES[curve]
    whole = machine.observe(config, machine.start(config), losses)
    state = machine.start(config)
    for part in np.split(losses, sorted(cuts)):
        state = machine.observe(config, state, part)
    assert equal(to_plain(state), to_plain(whole))


@given(
    st.integers(1, 120),
    st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 3), min_size=1, max_size=120),
    st.sampled_from(["default", "paper"]),
)
@seeded
def test_no_losses_whatever_break_a_run(total: int, losses: list[float], preset: str) -> None:
    config = Config.preset(preset, total_steps=total, steps_per_epoch=7)
    state, lrs = run(config, lambda step, lr: losses[step % len(losses)])
    assert state.switch is not None
    assert np.all((lrs > 0) & (lrs <= config.max_lr))
    assert np.all(np.diff(lrs[state.switch.step :]) <= 0)
    assert equal(to_plain(through_plain(config, state)), to_plain(state))


@pytest.mark.full
@given(
    st.integers(1, 120),
    st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 3), min_size=1, max_size=120),
    st.sampled_from(["default", "paper"]),
)
@settings(seeded, max_examples=10_000)
def test_no_losses_whatever_break_any_of_10_000_runs(total: int, losses: list[float], preset: str) -> None:
    test_no_losses_whatever_break_a_run.hypothesis.inner_test(total, losses, preset)
