"""What several files need: loss curves, runs that answer to the LR, and what is known of their states."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from autowu import Config, Switch
from autowu.controller import machine, schedule
from autowu.controller.cuts import taken_back
from autowu.controller.plain import from_plain, to_plain
from autowu.controller.rate import line
from autowu.controller.state import Decay, Grow, Growth, Horizon, Search, State, Sweep

# Neither an example nor the drawing of them has a limit of time, which a machine that others use would fail.
seeded = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, max_examples=100
)


def bound(config: Config) -> float:
    """The LR that none of a run exceeds."""
    return math.inf if config.max_lr is None else config.max_lr


def v_shape(n: int, lowest: int, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """``n`` losses that fall in a straight line from 2 to 1 at step ``lowest``, then rise as fast."""
    random = np.random.default_rng(seed)
    return 1 + np.abs(np.arange(n) - lowest) / lowest + noise * random.standard_normal(n)


def response(lr: np.ndarray, best: float) -> np.ndarray:
    """A loss over the LR: flat at 2.3 while the LR is small, least (0.5) at ``best``, back at 2.3 beyond."""
    z = np.log(np.asarray(lr) / best)
    return 2.3 - 1.8 * np.exp(-0.5 * (z / np.where(z < 0, 1.5, 1.0)) ** 2)


def watched(
    config: Config, loss: Callable[[int, float], float], steps: int | None = None
) -> tuple[list[State], np.ndarray]:
    """A run whose losses answer to the LR: the states after each decision, and the LR of each update."""
    states, lrs = [machine.start(config)], []
    for step in range(config.total_steps if steps is None else steps):
        lrs.append(machine.learning_rate(config, states[-1], step))
        state = machine.observe(config, states[-1], np.array([loss(step, lrs[-1])]))
        assert state.step == step + 1
        due = machine.next_read(config, state)
        assert due is None or due > state.step
        if states[-1].read == state.read and len(states) > 1:
            states.pop()
        states.append(state)
    return states, np.array(lrs)


def run(
    config: Config, loss: Callable[[int, float], float], steps: int | None = None
) -> tuple[State, np.ndarray]:
    """The same with the last state alone."""
    states, lrs = watched(config, loss, steps)
    return states[-1], lrs


def follow(config: Config, losses: np.ndarray) -> list[State]:
    """The states after each decision of a recorded curve, the first state included."""
    states = [machine.start(config)]
    for loss in losses:
        state = machine.observe(config, states[-1], np.array([loss]))
        if len(states) > 1 and states[-1].read == state.read:
            states.pop()
        states.append(state)
    return states


def waits(state: State) -> bool:
    """Whether the loss has not fallen as yet: before lift-off."""
    return isinstance(state.phase, (Sweep, Search))


def growth_of(state: State) -> Growth:
    """The last growth: of the LR now, or of the end of warm-up."""
    return state.phase.growth


def lift_off(states: list[State]) -> int | None:
    """The step of the last lift-off that is known of after a decision."""
    grows = [state.phase for state in states if isinstance(state.phase, Grow)]
    return grows[-1].lift_off if grows else None


def too_large(states: list[State]) -> float | None:
    """The last LR that growth went back for."""
    found = [state.phase.too_large for state in states if isinstance(state.phase, Search)]
    return found[-1] if found else None


def falls(state: State, lrs: np.ndarray) -> bool:
    """Whether the LR only falls after the switch, but where a cut is taken back."""
    cuts = state.phase.cuts
    back = [cut.step for at, cut in enumerate(cuts) if taken_back(cuts, at)]
    steps = np.setdiff1d(np.arange(state.switch.step + 1, len(lrs)), back)
    return bool(np.all(np.diff(lrs)[steps - 1] <= 0))


def exponential(t: float, span: float, low: float, high: float, start: float | None = None) -> float:
    """Eq. 1 of the paper, ``t`` updates after a growth from ``start``, by default ``low``."""
    return schedule.exponential(0, span, high / low, low if start is None else start, math.inf, t)


def through_plain(config: Config, state: State) -> State:
    """The state as a checkpoint gives it back."""
    return from_plain(copy.deepcopy(to_plain(state)), config)


def noisy(best: float, sd: float = 0.02, seed: int = 0) -> Callable[[int, float], float]:
    """:func:`response` with noise, by step and LR."""
    draws = np.random.default_rng(seed).standard_normal(100_000)
    return lambda step, lr: float(response(np.array(lr), best)) + sd * float(draws[step])


def equal(a: Any, b: Any) -> bool:
    """Equality bit for bit, of nested plain values and arrays."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return type(a) is type(b) and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


def close(value: float, rel: float = 1e-12) -> Any:
    return pytest.approx(value, rel=rel, abs=0)


def decaying(config: Config, begin: int, **more: Any) -> State[Decay]:
    """The state at a switch, made by hand."""
    switch, end = Switch(begin, False, float(begin), 0.02, None), config.total_steps
    lines = () if config.decay == "plateau" else (line(config, begin, end),)
    phase = Decay(switch, Growth(0, 1e-5, 500), lines=lines, **more)
    return State(phase, Horizon(end), step=begin, read=begin)
