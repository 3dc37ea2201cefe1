"""Loss curves to try things on, made by a seed."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from autowu.config import Config
from autowu.controller import machine
from autowu.controller.state import Grow, State

Array = np.ndarray


def bound(config: Config) -> float:
    """The LR that none of a run exceeds."""
    return math.inf if config.max_lr is None else config.max_lr


def v_curve(steps: int, seed: int = 0, *, noise: float | None = None) -> Array:
    """A loss [steps] that falls to a minimum before the middle and rises; shape and noise by the seed."""
    random = np.random.default_rng(seed)
    lowest, width, depth = random.uniform(0.15, 0.35), random.uniform(0.03, 0.1), random.uniform(0.5, 3)
    sd = random.uniform(0.005, 0.1) if noise is None else noise
    at = np.arange(steps) / steps
    fall = depth / (1 + np.exp(np.minimum((at - lowest + 2 * width) / (width / 2), 50)))
    rise = np.maximum(at - lowest, 0) * random.uniform(2, 10)
    return 0.5 + fall + rise + sd * random.standard_normal(steps)


class Run(NamedTuple):
    """What the core did with a record of losses."""

    state: State[Any]
    """The last."""
    lrs: list[float]
    """Of each update, and of the one after."""
    lift_off: int | None
    """The step of the last lift-off."""

    def decisions(self) -> tuple[object, ...]:
        """What is decided by yes or no, or a whole number: where tests came, what they said, the switch."""
        switch = self.state.switch
        tests = tuple((v.step, v.start, v.detected, v.streak, v.no_evidence) for v in self.state.verdicts)
        decided = switch and (switch.step, switch.capped, switch.rewound_to, switch.reason, switch.reads)
        return tests, self.lift_off, decided


def follow(config: Config, losses: Array) -> Run:
    """The core driven by losses [n]."""
    state, lrs, lift_off = machine.start(config), [], None
    step = 0
    while step < len(losses):
        due = machine.next_read(config, state)
        end = len(losses) if due is None else min(due, len(losses))
        lrs += [machine.learning_rate(config, state, at) for at in range(step, end)]
        state = machine.observe(config, state, losses[step:end])
        step = end
        lift_off = state.phase.lift_off if isinstance(state.phase, Grow) else lift_off
    return Run(state, [*lrs, machine.learning_rate(config, state, len(losses))], lift_off)
