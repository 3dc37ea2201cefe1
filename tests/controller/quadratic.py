"""Training that can be had in milliseconds: gradient descent on a noisy quadratic, driven by the core.

    L = ½ Σ h θ²,   θ ← θ - η (h θ + noise)

The loss falls at a speed in proportion to the LR while that is small, and rises where η h exceeds 2.
"""

from __future__ import annotations

import math
from copy import deepcopy
from typing import NamedTuple

import numpy as np

from autowu.config import Config
from autowu.controller import machine
from autowu.controller.state import State, Switch

from .helpers import waits

LONGER = (2, 4, 8, 16)  # factors of the peak LR that more growth could have come to


class Quadratic:
    """One of many: the spectrum, the start, the noise of gradients and of losses are drawn."""

    def __init__(self, seed: int) -> None:
        self.random = random = np.random.default_rng([seed, 7])
        rank = np.arange(1, 41.0)
        self.h = 10 ** random.uniform(0.3, 3) * rank ** -random.uniform(1.6, 3.4)
        start = random.standard_normal(40) * np.sqrt(rank ** -random.uniform(0.3, 1.5) / self.h)
        self.theta = start * math.sqrt(2 / (0.5 * self.h @ start**2))
        self.gradient_noise = 10 ** random.uniform(-1.5, 0.3) * np.sqrt(self.h)
        self.loss_noise = 10 ** random.uniform(-2, -0.7)
        self.longest_step = random.uniform(3, 1000) if random.integers(2) else math.inf

    @property
    def excess(self) -> float:
        return float(0.5 * self.h @ self.theta**2)

    def update(self, lr: float) -> float:
        """The loss that an update sees; NaN beyond 1e30."""
        excess = self.excess
        loss = 1 + excess + self.loss_noise * self.random.standard_normal() * math.sqrt(1 + min(excess, 10))
        gradient = self.h * self.theta + self.gradient_noise * self.random.standard_normal(40)
        norm = math.sqrt(gradient @ gradient)
        self.theta = self.theta - lr * gradient * min(1.0, self.longest_step / norm)
        return loss if loss < 1e30 else math.nan


class Outcome(NamedTuple):
    """A whole run."""

    state: State
    first: Switch | None
    """The first switch, taken back or not."""
    excess: float
    """Of the loss, at the end."""
    beaten: float
    """``excess`` without a reopening, over the least with 2 to 16 times the first switch's peak LR."""


def train(config: Config, seed: int, bump_from: float = math.inf) -> Outcome:
    """A run, with weights put back as the core says.

    Args:
        config: of the schedule.
        seed: of the task.
        bump_from: the LR, after lift-off, from which the losses seen rise by a half, until the first switch.
    """
    task, kept, bump, first, beaten = Quadratic(seed), None, 0, None, math.nan
    state = machine.start(config)
    with np.errstate(all="ignore"):
        while state.step < config.total_steps:
            end = min(machine.next_read(config, state) or config.total_steps, config.total_steps)
            losses: list[float] = []
            for step in range(state.step, end):
                lr = machine.learning_rate(config, state, step)
                bump += first is None and (bump > 0 or (not waits(state) and lr >= bump_from))
                losses.append(task.update(lr) + (0.1 * min(bump, 5) if first is None else 0.0))
            before, state = state, machine.observe(config, state, np.array(losses))
            if state.restores > before.restores and kept is not None:
                task.theta = kept
            if state.switch is None and state.snapshot_step == state.step:
                kept = task.theta
            if first is None and state.switch is not None:
                first = state.switch
                ends = [_decay(config, task, first, factor) for factor in (1, *LONGER)]
                beaten = ends[0] / min(ends[1:])
    return Outcome(state, first, task.excess, beaten)


def _decay(config: Config, task: Quadratic, switch: Switch, factor: float) -> float:
    """The excess at the end of a decay from ``factor`` times the peak."""
    task, left = deepcopy(task), config.total_steps - switch.step
    for step in range(left):
        task.update(factor * switch.peak_lr * (left - step) / left)
    return task.excess if math.isfinite(task.excess) else math.inf
