"""Closed-loop simulations: AutoWU sets the LR, and the loss follows from the LRs so far.

Each is a run of 200 to 20,000 updates by a model of `dynamics`, whose loss is seen through noise. The best
peak LR is known by brute force. The static simulations, where the loss is a function of the LR alone, are
those that tests/reliability/faults.py tries faults on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autowu.config import Config
from autowu.controller import machine
from autowu.controller.state import Decay, State
from benchmarks.quality.detection.dynamics import Array, Model, Quadratic, Valley

PEAKS = 10 ** np.linspace(-5, 0, 51)  # the candidates for the best peak LR
LINEAR_WARMUP = 0.05  # of the run, before the decay from each of them
NOISES = ("normal", "heavy tails", "follows the loss", "spikes", "a burst")


class Moment:
    """The model after some updates; what comes next is kept by LR, as many variants begin alike."""

    def __init__(self, model: Model, weights: Array):
        self.model, self.weights = model, weights
        self.loss = float(model.loss(weights)[0])
        self.next: dict[float, Moment] = {}

    def after(self, lr: float) -> Moment:
        """The moment after one more update."""
        if lr not in self.next:
            self.next[lr] = Moment(self.model, self.model.update(self.weights, np.array([lr])))
        return self.next[lr]


@dataclass(frozen=True, eq=False)
class Task:
    """A training run that waits for its LRs."""

    seed: int
    total_steps: int
    steps_per_epoch: int
    model: Model
    depth: float
    """Factor from the model's loss, which starts at about 1, to the one that is seen."""
    floor: float
    """What is added to it."""
    drift: float
    """What is added until the end besides, as data get harder (or, below zero, easier)."""
    noise: str
    """One of NOISES."""
    sd: float
    """Standard deviation of the noise, as a share of the depth."""

    @cached_property
    def begin(self) -> Moment:
        """Before the first update."""
        return Moment(self.model, self.model.start(1))

    @cached_property
    def finals(self) -> Array:
        """The model's loss after a run without AutoWU: a linear decay to zero from each of PEAKS."""
        warmup = max(1, round(LINEAR_WARMUP * self.total_steps))
        at = np.arange(self.total_steps)
        shape = np.minimum((at + 1) / warmup, (self.total_steps - at) / (self.total_steps - warmup))
        state = self.model.start(len(PEAKS))
        with np.errstate(over="ignore", invalid="ignore"):
            for share in shape:
                state = self.model.update(state, share * PEAKS)
            return np.nan_to_num(self.model.loss(state), nan=np.inf, posinf=np.inf)

    @property
    def best(self) -> float:
        """The peak LR of the least final loss."""
        return float(PEAKS[self.finals.argmin()])

    def lost(self, peak: float) -> float:
        """The share of the loss's fall in the best run that a run from ``peak`` is short of, in [0, 1]."""
        least = float(self.finals.min())
        shares = np.minimum((self.finals - least) / (self.begin.loss - least), 1)
        return float(np.interp(np.log(peak), np.log(PEAKS), shares))

    def noises(self) -> tuple[Array, Array]:
        """Standard noise, and spikes in units of the depth, of each update [total_steps]."""
        random, steps = np.random.default_rng([self.seed, 2]), self.total_steps
        draw = random.standard_t(3, steps) / 3**0.5 if self.noise == "heavy tails" else None
        standard = random.standard_normal(steps) if draw is None else draw
        spikes = np.zeros(steps)
        if self.noise == "spikes":
            spikes = (random.random(steps) < 0.01) * random.pareto(1.5, steps)
        elif self.noise == "a burst":  # within the first half, where the LR grows
            first = int(random.integers(steps // 2))
            length = int(random.integers(3, 9))
            spikes[first : first + length] = 1 + random.pareto(1.5, length)
        return standard, spikes

    def seen(self, clean: Array, step: int, noises: tuple[Array, Array]) -> Array:
        """What is seen of the model's losses [n] of the updates from ``step`` on."""
        standard, spikes = (of[step : step + len(clean)] for of in noises)
        sd = self.sd * clean if self.noise == "follows the loss" else self.sd
        drift = self.drift * np.arange(step, step + len(clean)) / self.total_steps
        return self.floor + self.depth * (clean + sd * standard + spikes + drift)


def task(family: str, seed: int) -> Task:
    """The ``seed``-th task of a family, 'quadratic' or 'valley'."""
    random = np.random.default_rng([seed, *family.encode()])
    total_steps = round(10 ** random.uniform(np.log10(200), np.log10(20_000)))
    edge = 10 ** random.uniform(-3, 0)
    model = Quadratic.of(random, edge) if family == "quadratic" else Valley.of(random, edge, total_steps)
    return Task(
        seed=seed,
        total_steps=total_steps,
        steps_per_epoch=max(1, total_steps // int(random.choice([20, 30, 50, 100]))),
        model=model,
        depth=random.uniform(0.5, 5),
        floor=random.uniform(0, 1),
        drift=random.choice([0, random.uniform(-0.1, 0.1)]),
        noise=NOISES[seed % len(NOISES)],
        sd=10 ** random.uniform(-2.3, -0.7),
    )


def train(config: Config, of: Task) -> State[Decay]:
    """AutoWU's state when the switch is final, as a host gets there that goes back to copies when told."""
    noises = of.noises()
    state, step = machine.start(config), 0
    moment = copy = of.begin
    while not isinstance(state.phase, Decay):
        end = machine.next_read(config, state)
        assert end is not None  # since no switch is final yet
        clean = np.empty(end - step)
        with np.errstate(over="ignore", invalid="ignore"):
            for at in range(step, end):
                clean[at - step] = moment.loss
                moment = moment.after(machine.learning_rate(config, state, at))
            losses = of.seen(clean, step, noises)
        before, state = state, machine.observe(config, state, losses)
        if state.restores > before.restores:
            moment = copy
        elif state.snapshot_step == state.step:
            copy = moment
        step = end
    return state
