"""Runs whose end is set or moved while they go on: no end, more updates, fewer, a cooldown."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from autowu import Config
from autowu.controller import history, machine
from autowu.controller.horizon import cooled, extended
from autowu.controller.plain import to_plain
from autowu.controller.state import Decay, Grow, Phase, Reason, Stable, State

from .helpers import equal, noisy, through_plain

OPEN = Config(warmup_limit=300)
SHAPES = ("linear", "cosine", "constant-cosine", "1-sqrt")


class Run:
    """A run whose losses answer to the LR in warm-up, and stay low after the switch."""

    def __init__(self, config: Config, draws: Any = None) -> None:
        self.config, self.state = config, machine.start(config)
        self.lrs, self._draws = list[float](), draws or noisy(1e-2)

    def to(self, step: int) -> "Run":
        while len(self.lrs) < step:
            now = len(self.lrs)
            self.lrs.append(machine.learning_rate(self.config, self.state, now))
            loss = self._draws(now, self.lrs[-1] if self.state.switch is None else 1e-2)
            self.state = machine.observe(self.config, self.state, np.array([loss]))
            due = machine.next_read(self.config, self.state)
            assert due is None or due > self.state.step
        return self

    def extend(self, total_steps: int) -> "Run":
        self.state = extended(self.config, self.state, len(self.lrs), total_steps)
        return self

    def cooldown(self, steps: int) -> "Run":
        self.state = cooled(self.config, self.state, len(self.lrs), steps)
        return self

    @property
    def next_lr(self) -> float:
        return machine.learning_rate(self.config, self.state, len(self.lrs))


def never_rises(lrs: list[float]) -> bool:
    return all(after <= before for before, after in pairwise(lrs))


# --- no length ----------------------------------------------------------------------------------------


def test_without_a_length_the_peak_is_held() -> None:
    run = Run(OPEN).to(3000)
    switch = run.state.switch
    assert run.state.stage == "stable"
    assert switch is not None
    assert switch.step < 300
    assert switch.reason is Reason.MINIMUM
    assert set(run.lrs[switch.step :]) == {switch.peak_lr}


def test_the_warm_up_is_that_of_the_run_whose_slow_growth_takes_as_long() -> None:
    # ρ_w √(600 T) = 1000 for T = 6,667; 300 is ρ_w T for T = 600.
    assert Config().length == 6667
    assert Config(total_steps=6667).growth_steps == 1000 == Config().growth_steps
    assert Config(warmup_limit=300).length == 600
    open_ended, planned = Run(OPEN).to(200), Run(Config(total_steps=600)).to(200)
    assert open_ended.state.switch == planned.state.switch


def test_warm_up_never_takes_more_than_its_limit() -> None:
    flat = Run(OPEN, lambda step, lr: 2.0).to(310)
    assert flat.state.switch is not None
    assert flat.state.switch.step == 300


@pytest.mark.parametrize("shape", SHAPES)
def test_a_cooldown_falls_from_the_held_peak_to_zero(shape: Any) -> None:
    run = Run(Config(warmup_limit=300, decay=shape)).to(1000)
    peak = run.next_lr
    run.cooldown(200).to(1200)
    assert run.state.stage == "decay"
    assert run.lrs[1000] == peak
    assert never_rises(run.lrs[1000:])
    assert run.lrs[1001] < peak  # 'constant-cosine' too: it was asked for
    assert run.lrs[-1] > 0
    assert run.next_lr == 0


def test_a_linear_cooldown_is_its_formula() -> None:
    run = Run(OPEN).to(1000).cooldown(200).to(1200)
    peak = run.lrs[999]
    np.testing.assert_allclose(run.lrs[1000:], peak * (1 - np.arange(200) / 200), rtol=1e-12)


def test_plateau_needs_no_end_but_can_be_cooled_down() -> None:
    run = Run(Config(warmup_limit=300, decay="plateau")).to(700)
    assert run.state.stage == "decay"
    run.cooldown(100)
    before = run.next_lr
    run.to(800)
    np.testing.assert_allclose(run.lrs[700:], before * (1 - np.arange(100) / 100), rtol=1e-12)


def test_the_stable_phase_is_watched() -> None:
    draws = noisy(1e-2)
    run = Run(OPEN, lambda step, lr: draws(step, lr) + (1.5 if 1000 <= step < 1040 else 0.0)).to(1100)
    peak = run.lrs[999]
    assert len(run.state.cuts) == 1
    assert run.next_lr == peak / 3
    run.cooldown(100).to(1200)  # the cut holds
    assert run.lrs[1100] == peak / 3
    assert never_rises(run.lrs[1100:])


# --- a cooldown in warm-up ------------------------------------------------------------------------------


def test_a_cooldown_in_warm_up_goes_back_to_the_best_lr_known() -> None:
    run = Run(OPEN).to(100)
    assert isinstance(run.state.phase, Grow)
    run.cooldown(50)
    while run.state.switch is None:
        run.to(len(run.lrs) + 1)
    switch = run.state.switch
    assert switch.step <= 101
    assert switch.reason in (Reason.ASKED, Reason.MINIMUM)
    assert not switch.capped
    assert switch.t_star is not None
    assert switch.peak_lr <= max(run.lrs)
    run.to(150)
    assert run.next_lr == 0


@pytest.mark.parametrize("at", [0, 1, 5, 20, 31, 60])
@pytest.mark.parametrize("config", [OPEN, Config(), Config(total_steps=2000), Config.paper(2000, 100)])
def test_a_cooldown_at_any_step_of_warm_up_ends_where_it_says(config: Config, at: int) -> None:
    run = Run(config).to(at).cooldown(30).to(at + 30)
    assert run.state.stage == "decay"
    assert run.next_lr == 0
    assert run.state.switch is not None
    assert run.state.switch.step <= at + 1
    assert run.state.switch.peak_lr <= 1


def test_before_lift_off_no_lr_is_taken_that_was_not_reached() -> None:
    run = Run(Config(), lambda step, lr: 2.0).to(12)
    reached = run.lrs[-1]
    run.cooldown(20).to(14)
    assert run.state.switch is not None
    assert run.state.switch.reason is Reason.ASKED
    assert run.state.switch.peak_lr <= 1.3 * reached


# --- longer and shorter ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [*SHAPES, "plateau"])
@pytest.mark.parametrize("at", [260, 300, 590, 850, 995, 999])
@pytest.mark.parametrize("end", [1000, 2000, 100_000])
def test_a_longer_run_has_no_jump_up(shape: Any, at: int, end: int) -> None:
    run = Run(Config(total_steps=1000, decay=shape)).to(at)
    assert run.state.stage == "decay"
    planned = run.next_lr
    run.extend(end)
    assert run.next_lr == pytest.approx(planned, rel=1e-12)
    run.to(at + 100)
    assert never_rises(run.lrs[run.state.switch.step if run.state.switch else 0 :])


def test_the_line_bends_to_the_new_end() -> None:
    run = Run(Config(total_steps=1000)).to(500).extend(1500)
    begin = run.next_lr
    run.to(1500)
    np.testing.assert_allclose(run.lrs[500:], begin * (1 - np.arange(1000) / 1000), rtol=1e-12)
    assert run.next_lr == 0


def test_a_constant_part_is_longer_in_a_longer_run() -> None:
    run = Run(Config(total_steps=1000, decay="constant-cosine")).to(700).extend(2000).to(2000)
    assert len(set(run.lrs[700:1600])) == 1
    assert run.lrs[1602] < run.lrs[1599]


def test_shorter_in_the_decay() -> None:
    run = Run(Config(total_steps=1000)).to(500).extend(600).to(600)
    assert never_rises(run.lrs[500:])
    assert run.next_lr == 0


def test_longer_in_warm_up_moves_the_end_alone() -> None:
    run, same = Run(Config(total_steps=1000)).to(40).extend(5000), Run(Config(total_steps=1000))
    switch = run.to(400).state.switch
    assert switch == same.to(400).state.switch
    assert run.to(5000).next_lr == 0
    assert run.lrs[-1] > 0


def test_shorter_in_warm_up_leaves_room_for_the_decay() -> None:
    run = Run(Config(total_steps=10_000), lambda step, lr: 2.0).to(200).extend(500).to(500)
    assert run.state.switch is not None
    assert run.state.switch.step == 250  # ρ_w of the new length
    assert run.state.switch.reason is Reason.ASKED
    assert run.next_lr == 0


def test_a_run_without_a_length_gets_one() -> None:
    assert Run(OPEN).to(1000).extend(1300).to(1300).next_lr == 0
    assert Run(OPEN).to(20).extend(1300).to(1300).next_lr == 0


# --- states ---------------------------------------------------------------------------------------------


def test_a_run_that_was_extended_twice_resumes_bit_for_bit() -> None:
    config, whole = Config(total_steps=800), Run(Config(total_steps=800))
    whole.to(300).extend(1200).to(700).extend(1500).to(1500)
    part = Run(config).to(300).extend(1200)
    part.state = through_plain(config, part.state)
    part.to(700).extend(1500).to(900)
    part.state = through_plain(config, part.state)
    part.to(1500)
    assert part.lrs == whole.lrs
    assert equal(to_plain(part.state), to_plain(whole.state))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_history_knows_every_end(shape: Any) -> None:
    run = Run(Config(warmup_limit=300, decay=shape)).to(800).extend(1500).to(1000).cooldown(100).to(1050)
    shown = history.learning_rates(run.config, run.state, np.arange(1050.0))
    np.testing.assert_allclose(shown, run.lrs, rtol=1e-12)


# --- bad input ------------------------------------------------------------------------------------------


def decided(config: Config, steps: int) -> State[Phase]:
    return Run(config).to(steps).state


@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        (extended, (1000, 1000), ValueError, r"total_steps must be .* \[1001, .* 1000 are done, not 1000"),
        (extended, (1000, 7), ValueError, r"total_steps must be .* 1000 are done, not 7"),
        (extended, (1000, 2e3), TypeError, r"total_steps must be an integer ≥ 1001, .*, not 2000.0"),
        (extended, (1000, True), TypeError, "not True"),
        (cooled, (1000, 0), ValueError, r"steps must be an integer in \[1, .*, not 0"),
        (cooled, (1000, -5), ValueError, "not -5"),
        (cooled, (1000, None), TypeError, "not None"),
    ],
)  # fmt: skip
def test_bad_input(change: Any, arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    state = decided(OPEN, 1000)
    assert isinstance(state.phase, Stable)
    before = to_plain(state)
    with pytest.raises(error, match=message):
        change(OPEN, state, *arguments)
    assert equal(to_plain(state), before)


def test_after_the_end_nothing_is_extended() -> None:
    config = Config(total_steps=400)
    state = decided(config, 400)
    assert isinstance(state.phase, Decay)
    for change, asked in ((extended, r"extend\(total_steps=900\)"), (cooled, r"cooldown\(900\)")):
        with pytest.raises(ValueError, match=f"{asked} after 400 updates of a run of 400: it is over"):
            change(config, state, 400, 900)
