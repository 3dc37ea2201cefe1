"""The end of warm-up: its reason, and the LR that the decay begins with, where a minimum was seen and not."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autowu import Config, Switch, Verdict
from autowu.controller import copies, ending, machine
from autowu.controller.phases import sweep
from autowu.controller.rate import grown
from autowu.controller.state import Growth, Horizon, Reason, Search, State
from autowu.detector.detect import detect
from autowu.detector.trend import Stretch

from .endings import ENDINGS
from .helpers import equal, follow, growth_of, run, seeded
from .made import default_state, paper_state, verdict

CONFIG = Config(total_steps=1000)
GROWTH = Growth(0, CONFIG.min_lr, 500)
MIDDLE = math.sqrt(1e-5)  # of the range of LRs, 1e-5 to 1
DEFAULT = Config(total_steps=1000)
PAPER = Config.paper(400, 25)


# --- the LR where no minimum was seen -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "lr"),
    [
        ({"good": 0.03}, 0.03),
        ({"too_large": 0.5}, 0.05),
        ({"too_large": 5e-5}, 1e-5),  # η_min
        ({"good": 0.03, "too_large": 0.1}, 0.01),
        ({"good": 0.003, "too_large": 0.1}, 0.003),
        ({}, 0.1),
    ],
)
def test_the_lr_where_no_minimum_was_seen(known: dict[str, float], lr: float) -> None:
    assert ending.fallback(CONFIG, GROWTH, **known) == pytest.approx(lr, rel=1e-12)


def test_a_range_of_less_than_an_order_of_magnitude_has_no_lr_below_it() -> None:
    narrow = Config(total_steps=1000, min_lr=1e-3, max_lr=4e-3)
    for known in ({}, {"too_large": 4e-3}):
        assert ending.fallback(narrow, Growth(0, 1e-3, 100), **known) == 1e-3


lrs = st.none() | st.floats(1e-5, 1.0)


@given(lrs, lrs)
@seeded
def test_it_is_in_the_range_and_no_larger_than_what_is_known(
    good: float | None, too_large: float | None
) -> None:
    lr = ending.fallback(CONFIG, GROWTH, good=good, too_large=too_large)
    assert CONFIG.min_lr <= lr <= CONFIG.high_lr
    assert good is None or lr <= good
    assert too_large is None or lr <= max(too_large / ending.MARGIN, CONFIG.min_lr)


def test_below_the_range_it_goes_down_to_where_growth_began() -> None:
    low = Growth(40, 1e-8, 500)
    assert ending.fallback(CONFIG, low, too_large=2e-6) == pytest.approx(2e-7, rel=1e-12)
    assert ending.fallback(CONFIG, low, too_large=5e-8) == 1e-8
    assert ending.fallback(CONFIG, GROWTH, too_large=5e-8) == CONFIG.min_lr


# --- the reason ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENDINGS)
def test_the_end_of_warm_up_has_its_reason(name: str) -> None:
    known, switch = ENDINGS[name], ENDINGS[name].replay().state.switch
    assert switch is not None
    found = switch.reason, switch.capped, switch.reads, switch.t_star is not None
    assert found == (known.reason, known.capped, known.reads, known.minimum)


def test_each_reason_is_among_them() -> None:
    assert {of.reason for of in ENDINGS.values()} == set(Reason) - {Reason.ASKED}  # of no record


@pytest.mark.parametrize("name", ENDINGS)
def test_a_verdict_is_what_a_test_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a run that has ceased to be finite: only its streak is counted beside it."""
    measured = list[Verdict]()

    def spy(*given: Any) -> tuple[Verdict, Any]:
        verdict, adam = detect(*given)
        measured.append(verdict)
        return verdict, adam

    monkeypatch.setattr(ending, "detect", spy)
    kept = ENDINGS[name].replay().tests
    assert [equal(asdict(of) | {"streak": 0}, asdict(by)) for of, by in zip(kept, measured, strict=True)] == (
        [True] * len(kept)
    )


@pytest.mark.parametrize("name", ["dead", "dead, paper"])
def test_reads_without_a_finite_loss_count_though_they_detect_nothing(name: str) -> None:
    last = ENDINGS[name].replay().tests[-3:]
    assert [test.streak for test in last] == [1, 2, 3]
    assert not any(test.detected for test in last)


# --- where the decay begins ---------------------------------------------------------------------------


def grown_by(step: float, span: int) -> float:
    return 1e-5 * 1e5 ** (step / span)


def test_it_begins_with_the_lr_of_the_minimum() -> None:
    found = ENDINGS["a minimum, paper"].replay()
    assert found.t_star is not None
    assert found.peak_lr == pytest.approx(grown_by(found.t_star, 200), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "lr"),
    [
        ("a rise, by the cap", MIDDLE),
        ("neither", 0.1),
        ("a fall to the cap, bounded", 1.0),
        ("a fall to the cap, paper", 1.0),
        ("lift-off at the cap", grown_by(6, 11)),  # five losses before the last
        ("dead, paper", grown_by(89, 200)),  # its last finite loss; nothing is rewound
        ("dead before lift-off", 1e-5),
        ("never alive", 1e-5),
    ],
)
def test_or_with_what_is_known_to_be_good(name: str, lr: float) -> None:
    assert ENDINGS[name].replay().peak_lr == pytest.approx(lr, rel=1e-12)


def test_a_run_that_died_goes_on_at_half_of_the_lr_of_its_snapshot() -> None:
    found = ENDINGS["dead"].replay()
    switch = found.state.switch
    assert switch is not None
    assert switch.t_star == switch.rewound_to is not None
    assert found.peak_lr == pytest.approx(0.5 * found.learning_rates[switch.rewound_to], rel=1e-12)


def test_after_two_rises_with_a_tenth_of_the_lr_that_the_second_was_seen_at() -> None:
    found = ENDINGS["two rises"].replay()
    first, switch = 184, found.switch_step  # of the losses that are high
    assert switch is not None
    assert found.learning_rates[switch - 1] == pytest.approx(100 * found.peak_lr, rel=0.1)
    assert 1 < 10 * found.peak_lr / found.learning_rates[first] < 1.5  # three reads after some of them


# --- at the cap ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("detected", [True, False])
def test_at_the_cap_the_default_decays_from_the_least_loss_be_it_detected_or_not(
    detected: bool, scripted: list[Verdict]
) -> None:
    scripted.append(verdict(detected, argmin=0.5))
    state = default_state(step=499, read=495, losses=np.ones(469))
    state = machine.observe(DEFAULT, state, np.ones(1))
    assert state.switch is not None
    assert (state.switch.step, state.switch.capped) == (500, True)
    assert state.switch.reason is (Reason.MINIMUM if detected else Reason.CAP)
    assert state.switch.t_star == pytest.approx(30 + 235, rel=1e-12)
    assert state.switch.peak_lr == pytest.approx(1e-3 * 1e5 ** (235 / 500), rel=1e-12)
    assert state.switch.rewound_to == 95


def test_at_the_cap_the_paper_decays_from_max_lr_whatever_it_saw(scripted: list[Verdict]) -> None:
    scripted.append(verdict(True))
    state = machine.observe(PAPER, paper_state(detections=1, step=199), np.ones(1))
    peak_lr = pytest.approx(1.0, rel=1e-12)
    assert state.switch == Switch(200, True, None, peak_lr, None, reason=Reason.CAP, reads=2)


def test_a_detection_that_completes_patience_at_the_cap_is_no_cap(scripted: list[Verdict]) -> None:
    scripted.append(verdict(True))
    state = machine.observe(PAPER, paper_state(detections=2, step=199), np.ones(1))
    assert state.switch is not None
    assert (state.switch.capped, state.switch.t_star) == (False, pytest.approx(100))


# --- dead runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dead_from", [120, 260, 333])
def test_a_run_that_dies_goes_back_in_the_default(dead_from: int) -> None:
    losses = 3 - 0.005 * np.arange(1000)
    losses[dead_from:] = np.nan
    states = follow(DEFAULT, losses)
    state = states[-1]
    assert state.switch is not None
    assert not state.switch.capped
    assert state.switch.step < dead_from + 40  # twice: once for a bad batch
    assert next(s for s in states if s.switch is not None).restores == 2
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


# --- copies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "kept"),
    [
        (Stretch(3.9, 4.0, 4.1), 3.9, True),
        (Stretch(3.9, 4.0, 4.1), 25.0, True),
        (Stretch(3.9, 4.0, 4.1), 45.0, False),
        (Stretch(3.9, 4.0, 4.1), 1e6, False),
        (Stretch(-1.0, 0.01, 1.0), 1.5, True),  # a level next to zero: its noise is its size
        (Stretch(-1.0, 0.01, 1.0), 25.0, False),
    ],
)
def test_no_copy_is_taken_while_the_last_loss_is_far_above_the_first_ones(
    first: Stretch, last: float, kept: bool
) -> None:
    """One batch of a thousandfold had spoiled the weights that a run went back to, though it was known."""
    losses = np.r_[np.linspace(4, 1, 68), last]
    state = default_state(losses=losses).replace(origin=first)
    assert copies.healthy(DEFAULT, state) is kept


def test_after_two_deaths_the_least_lr_that_was_too_large_counts() -> None:
    """A ViT had risen at 0.24, died at 1, and began its decay at 0.1."""
    search = Search(Growth(40, 1e-4, 387), too_large=0.02)
    state = State(search, Horizon(1000), step=300, read=299, losses=np.full(260, np.nan), nonfinite_reads=3)
    switch = sweep.decide(DEFAULT, state).switch
    assert switch is not None
    assert (switch.reason, switch.capped) == (Reason.NONFINITE, False)
    assert switch.peak_lr == pytest.approx(0.002)
