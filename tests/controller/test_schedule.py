"""Growth and decay of the LR against the formulas of the paper, at their ends and joins."""

import math
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autowu import Config
from autowu.controller import machine, schedule
from autowu.controller.rate import decay_function, grown, line
from autowu.controller.state import Grow, Growth, State

from .helpers import exponential, growth_of, seeded

LOW, HIGH = 1e-5, 1.0
SMOOTH = ("cosine", "linear", "1-sqrt")

spans = st.integers(1, 10**7)

ranges = st.tuples(st.floats(1e-8, 1e-2), st.floats(1.5, 1e8)).map(lambda pair: (pair[0], pair[0] * pair[1]))


def close(value: float, rel: float = 1e-12) -> Any:
    return pytest.approx(value, rel=rel, abs=0)


# --- growth -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [20, 391, 12_000])
def test_exponential_growth_is_the_product_of_eq_1(total: int) -> None:
    span = math.floor(0.5 * total)
    gamma = (HIGH / LOW) ** (1 / span)
    lr = LOW
    for t in range(span + 1):
        assert exponential(t, span, LOW, HIGH) == close(lr, 1e-12 * max(1, span / 1000))
        lr *= gamma


@given(spans, ranges)
@seeded
def test_exponential_growth_starts_at_min_lr_and_ends_at_max_lr(
    span: int, limits: tuple[float, float]
) -> None:
    assert exponential(0, span, *limits) == limits[0]
    assert exponential(span, span, *limits) == close(limits[1])


@given(spans, ranges, st.floats(0, 1))
@seeded
def test_linear_growth_is_eq_6(span: int, limits: tuple[float, float], u: float) -> None:
    low, high = limits
    t = round(u * span)
    assert schedule.linear(t, span, low, high) == close(low + (high - low) * t / span)
    assert schedule.linear(0, span, low, high) == low
    assert schedule.linear(span, span, low, high) == close(high)


@given(spans, ranges, st.floats(0, 1))
@seeded
def test_the_step_of_an_lr_inverts_the_growth(span: int, limits: tuple[float, float], u: float) -> None:
    t = u * span
    lr = exponential(t, span, *limits)
    assert schedule.exponential_step(lr, span, *limits, limits[0]) == pytest.approx(
        t, rel=1e-9, abs=1e-9 * span
    )
    lr = schedule.linear(t, span, *limits)
    assert schedule.linear_step(lr, span, *limits) == pytest.approx(t, rel=1e-9, abs=1e-9 * span)


@given(spans, ranges, st.floats(0, 1), st.floats(1, 100))
@seeded
def test_growth_from_another_start_is_the_same_growth(
    span: int, limits: tuple[float, float], u: float, ratio: float
) -> None:
    start, t = ratio * limits[0], u * span
    lr = exponential(t, span, *limits, start)
    assert lr == close(ratio * exponential(t, span, *limits))
    assert schedule.exponential_step(lr, span, *limits, start) == pytest.approx(t, rel=1e-9, abs=1e-9 * span)


@pytest.mark.parametrize("growth", ["exponential", "linear"])
def test_warm_up_goes_from_min_lr_to_max_lr_at_the_cap(growth: str) -> None:
    config = Config.paper(12_000, 391, growth=growth)
    lr = [grown(config, growth_of(machine.start(config)), t) for t in range(config.warmup_steps + 1)]
    assert lr[0] == config.min_lr
    assert lr[-1] == close(config.max_lr)
    assert all(a < b for a, b in pairwise(lr))


@pytest.mark.parametrize("lifted", [0, 37, 99])
def test_the_two_speeds_join_at_lift_off(lifted: int) -> None:
    config = Config(total_steps=12_000)
    before = machine.start(config)
    lr = grown(config, growth_of(before), lifted)
    after = State(Grow(Growth(lifted, lr, config.growth_steps), lifted, None), step=lifted, read=lifted)
    assert lr == close(1e-5 * 1e5 ** (lifted / 100))
    assert machine.learning_rate(config, after, lifted) == close(lr)
    for t in (0.5, 1, 1000):
        expected = lr * 1e5 ** (t / 1000)
        assert grown(config, after.phase.growth, lifted + t) == close(min(expected, 1.0))


def test_growth_stops_at_max_lr() -> None:
    assert grown(Config(total_steps=1000), Growth(20, 0.5, 500), 499) == 1.0
    beyond = Growth(20, 0.5, 500, open=True)
    assert grown(Config(total_steps=1000, max_lr=1.0), beyond, 499) == 1.0
    assert grown(Config(total_steps=1000), beyond, 499) == close(0.5 * 1e5 ** (479 / 500))


# --- decay --------------------------------------------------------------------------------------------


def decay(shape: str, step: int, begin: int, end: int, peak: float, cooldown: float) -> float:
    """η at ``step`` of a decay that begins at ``begin``, as it is planned there."""
    config = Config(decay=cast("Any", shape), cooldown_fraction=cooldown)
    return decay_function(config, peak, line(config, begin, end))(step)


FORMULAS = {
    "cosine": lambda u: math.sin(math.pi / 2 * (1 - u)) ** 2,  # = ½(1 + cos πu), and no digit cancels
    "linear": lambda u: 1 - u,
    "1-sqrt": lambda u: 1 - math.sqrt(u),
}


@pytest.mark.parametrize("shape", SMOOTH)
@pytest.mark.parametrize(("begin", "end"), [(0, 1), (1, 2), (520, 1200), (4000, 12_000)])
def test_decay_is_its_formula(shape: str, begin: int, end: int) -> None:
    for step in range(begin, end):
        u = (step - begin) / (end - begin)
        lr = decay(shape, step, begin, end, 0.02, 0.2)
        assert lr == close(0.02 * FORMULAS[shape](u))


@pytest.mark.parametrize("shape", [*SMOOTH, "constant-cosine"])
@pytest.mark.parametrize("end", [2, 1200, 10**6, 10**9])
def test_decay_begins_at_the_peak_and_ends_just_above_zero(shape: str, end: int) -> None:
    begin = end // 3
    assert decay(shape, begin, begin, end, 0.02, 0.2) == 0.02
    assert decay(shape, end - 1, begin, end, 0.02, 0.2) > 0
    assert decay(shape, end, begin, end, 0.02, 0.2) == 0
    assert decay(shape, 10 * end, begin, end, 0.02, 0.2) == 0


def test_the_last_update_of_a_long_cosine_is_exact() -> None:
    begin, end = 400_000, 10**6
    expected = 0.02 * math.sin(math.pi / 2 / (end - begin)) ** 2
    assert decay("cosine", end - 1, begin, end, 0.02, 0.2) == close(expected)


@given(
    st.sampled_from([*SMOOTH, "constant-cosine"]),
    st.integers(2, 5000),
    st.floats(0, 1),
    st.floats(0.01, 0.99),
)
@seeded
def test_decay_never_rises(shape: str, end: int, share: float, cooldown: float) -> None:
    begin = min(int(share * end), end - 1)
    lr = [decay(shape, step, begin, end, 0.02, cooldown) for step in range(begin, end + 1)]
    assert lr[0] == 0.02
    assert lr[-1] == 0
    assert lr[-2] > 0
    assert all(a >= b for a, b in pairwise(lr))


def test_constant_then_cosine_cools_down_in_the_last_fifth_of_all_epochs() -> None:
    begin, end = 200, 1000

    def lr(step: int) -> float:
        return decay("constant-cosine", step, begin, end, 0.02, 0.2)

    assert {lr(step) for step in range(begin, 801)} == {0.02}
    assert lr(801) < 0.02
    assert lr(801) == close(0.02, 1e-4)  # no jump at the join
    for step in range(800, 1000):
        assert lr(step) == close(0.01 * (1 + math.cos(math.pi * (step - 800) / 200)))


def test_constant_then_cosine_that_starts_late_is_a_cosine() -> None:
    for step in range(900, 1000):
        late = decay("constant-cosine", step, 900, 1000, 0.02, 0.2)
        assert late == decay("cosine", step, 900, 1000, 0.02, 0.2)
