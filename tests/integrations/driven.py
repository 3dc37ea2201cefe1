"""Weights that a driver is to rewind, and losses for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from autowu.config import Config
from autowu.integrations.driver import Driver
from autowu.integrations.weights import Weights
from controller.helpers import v_shape

STEPS = 200

IN_WARMUP = 25


def losses(seed: int = 0) -> np.ndarray:
    """A fall, a rise until warm-up has ended, and a loss that is low again with the weights of before."""
    curve = v_shape(STEPS, 50, noise=0.02, seed=seed)
    curve[60:] = 1 + v_shape(STEPS, 50, noise=0.02, seed=seed)[60:] - v_shape(STEPS, 50)[60:]
    return curve


def config(**settings: Any) -> Config:
    return Config.preset(total_steps=STEPS, **settings)


def weights(value: float = 0.0) -> Weights:
    return Weights(
        {"w": np.full(3, value)}, {"count": np.array(7), "moment": np.full((2, 2), value, np.float32)}
    )


class Model:
    """Weights that say how many updates they have seen."""

    def __init__(self, driver: Driver, *, broken_from: float = np.inf) -> None:
        self.driver, self.broken_from = driver, broken_from
        self.updates = driver.step_count
        self.reads: list[int] = []
        self.restored: list[float] = []

    def read(self) -> Weights:
        self.reads.append(self.updates)
        return weights(np.nan if self.updates >= self.broken_from else self.updates)

    def train(self, losses: Iterable[float]) -> list[float]:
        lrs: list[float] = []
        for loss in losses:
            lrs.append(self.driver.learning_rate)
            self.updates += 1
            self.driver.observe(loss)
            restored = self.driver.step(self.read)
            if restored is not None:
                self.restored.append(float(restored.parameters["w"][0]))
        return lrs
