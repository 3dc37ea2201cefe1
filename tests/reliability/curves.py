"""Loss curves to try things on, made by a seed."""

from __future__ import annotations

import numpy as np

from autowu.config import Config
from autowu.controller import machine
from autowu.controller.state import State

Array = np.ndarray


def v_curve(steps: int, seed: int = 0, *, noise: float | None = None) -> Array:
    """A loss [steps] that falls to a minimum before the middle and rises; shape and noise by the seed."""
    random = np.random.default_rng(seed)
    lowest, width, depth = random.uniform(0.15, 0.35), random.uniform(0.03, 0.1), random.uniform(0.5, 3)
    sd = random.uniform(0.005, 0.1) if noise is None else noise
    at = np.arange(steps) / steps
    fall = depth / (1 + np.exp(np.minimum((at - lowest + 2 * width) / (width / 2), 50)))
    rise = np.maximum(at - lowest, 0) * random.uniform(2, 10)
    return 0.5 + fall + rise + sd * random.standard_normal(steps)


def follow(config: Config, losses: Array) -> tuple[State, list[float]]:
    """The core driven by losses [n]: its last state, and the LR of each update and of the one after."""
    state, lrs = machine.start(config), []
    step = 0
    while step < len(losses):
        end = len(losses) if state.read_at is None else min(state.read_at, len(losses))
        lrs += [machine.learning_rate(config, state, at) for at in range(step, end)]
        state = machine.observe(config, state, losses[step:end])
        step = end
    return state, [*lrs, machine.learning_rate(config, state, len(losses))]


def decisions(state: State) -> tuple[object, ...]:
    """What is decided by yes or no, or a whole number: where tests came, what they said, the switch."""
    switch = state.switch
    tests = tuple((v.step, v.start, v.detected, v.streak, v.no_evidence) for v in state.verdicts)
    return tests, state.lifted, switch and (switch.step, switch.capped, switch.rewound_to)
