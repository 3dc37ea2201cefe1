"""Simulated training whose loss follows from the LR, and what may go wrong with a loss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from autowu.config import Config
from autowu.controller import machine
from autowu.controller.state import Decay, State

STEPS, PER_EPOCH = 800, 20
EARLY, LATE = 4.0, 4.0  # factors from the best LR to the peak, from which a decision is a mistake


class Task(NamedTuple):
    """A training run's response to the LR."""

    best: float
    """The LR of the least loss."""
    depth: float
    noise: float
    seed: int

    def loss(self, lr: float) -> float:
        """Flat at 2.3 while the LR is small, least at ``best``, back up beyond."""
        z = np.log(lr / self.best)
        return float(2.3 - self.depth * np.exp(-0.5 * (z / (1.5 if z < 0 else 1.0)) ** 2))


KINDS = (
    "none",
    "spikes",
    "plateau",
    "double minimum",
    "label noise",
    "jumps",
    "drifting noise",
)


def task(seed: int) -> Task:
    """One of many: best LRs over two and a half decades."""
    random = np.random.default_rng([seed, 1])
    return Task(10 ** random.uniform(-3, -0.5), random.uniform(1, 1.9), random.uniform(0.02, 0.15), seed)


def run(config: Config, of: Task, kind: str) -> State:
    """Train ``of`` with a fault of ``kind`` until the switch is final."""
    steps = config.total_steps
    random = np.random.default_rng([of.seed, 2])
    noise = of.noise * random.standard_normal(steps)
    jump = int(random.integers(steps // 10, steps // 2))
    height = float(random.uniform(0.1, 0.4)) * of.depth * random.choice([-1, 1])
    spikes = random.random(steps) < 0.02
    heights = random.pareto(1.5, steps) * of.depth
    low = of.best / 30  # of the false minimum, or the plateau
    state, step = machine.start(config), 0
    while not isinstance(state.phase, Decay):
        end = machine.next_read(config, state)
        assert end is not None
        losses = []
        for at in range(step, end):
            lr = machine.learning_rate(config, state, at)
            loss = of.loss(lr)
            z = np.log(lr / low)
            if kind == "plateau":  # half of the fall, then a decade of nothing, then the other half
                early = 0.5 * of.depth / (1 + np.exp(-4 * z))
                loss = 2.3 - early - 0.5 * (2.3 - loss)
            elif kind == "double minimum":
                loss -= 0.25 * of.depth * np.exp(-0.5 * (z / 0.5) ** 2)
            elif kind == "jumps" and at >= jump:
                loss += height
            if kind == "label noise":
                loss += 0.3 * of.depth * float(noise[at] / of.noise)
            elif kind == "drifting noise":
                loss += noise[at] * (0.2 + 4 * at / steps)
            else:
                loss += noise[at]
            if kind == "spikes" and spikes[at]:
                loss += heights[at]
            losses.append(loss)
        state, step = machine.observe(config, state, np.array(losses)), end
    return state


def judge(config: Config, of: Task, state: State) -> str:
    """'early' or 'late' where the peak LR is beyond a factor of the best, else 'right'."""
    assert state.switch is not None
    ratio = state.switch.peak_lr / of.best
    if ratio < 1 / EARLY:
        return "early"
    return "late" if ratio > LATE else "right"
