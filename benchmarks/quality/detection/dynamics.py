"""Two models of how training answers to the LR; many runs at once, each with an LR of its own.

Both have an edge of stability, and what has been learned depends on every LR so far. A model is frozen; its
state is an array of which the first axis counts the runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Model(Protocol):
    """A training run without the noise of its loss."""

    def start(self, runs: int) -> Array:
        """The state before the first update [runs, …]."""
        ...

    def loss(self, state: Array) -> Array:
        """The expected training loss [runs]."""
        ...

    def update(self, state: Array, lr: Array) -> Array:
        """The state after one more update with the LRs [runs]."""
        ...


@dataclass(frozen=True, eq=False)
class Quadratic:
    """SGD on a noisy quadratic: E[e_i] ← (1 - η λ_i)² e_i + v (η λ_i)², loss Σ e_i.

    e_i is the loss in the direction of curvature λ_i. The noise of the gradient is proportional to the
    curvature, as in Zhang et al. (2019, arXiv 1907.04164), which leaves e_i at v η λ_i / (2 - η λ_i); beyond
    η = 2 / λ_max the loss grows without bound, or, as with normalised layers, up to a ceiling.
    """

    curvature: Array
    """λ [modes]."""
    begin: Array
    """e before the first update [modes]."""
    noise: float
    """v."""
    ceiling: float
    """The loss that the worst network has; infinite where the loss diverges."""

    @classmethod
    def of(cls, random: np.random.Generator, edge: float) -> Quadratic:
        """One with its edge of stability at the LR ``edge``: a power-law spectrum of 16 curvatures."""
        relative = 10 ** np.linspace(0, -random.uniform(2, 4), 16)
        begin = relative ** random.uniform(-0.1, 0.5)
        noise = 10 ** random.uniform(-4, -1.5)
        ceiling = random.choice([np.inf, random.uniform(2, 20)])
        return cls(2 / edge * relative, begin / begin.sum(), noise, ceiling)

    def start(self, runs: int) -> Array:
        """E[e] [runs, modes]."""
        return np.tile(self.begin, (runs, 1))

    def loss(self, state: Array) -> Array:
        """Σ e_i, or what the ceiling leaves of it."""
        total = state.sum(-1)
        return total if np.isinf(self.ceiling) else -self.ceiling * np.expm1(-total / self.ceiling)

    def update(self, state: Array, lr: Array) -> Array:
        """One step of SGD."""
        x = lr[:, None] * self.curvature
        return (1 - x) ** 2 * state + self.noise * x**2


@dataclass(frozen=True, eq=False)
class Valley:
    """A river in a valley: progress D along the river at the speed of the LR, and height h on the hillside.

    With x = η / edge, as an adaptive optimizer's steps are as long as the LR,

        D ← (D + η / (1 + x²)) (1 - r h²),   h ← max(x, 1)^g h + r (H x² - h),
        loss 1 / (1 + (D / D_0)^β) + h

    (after the picture in Wen et al., 2024, arXiv 2410.05192). Up to the edge the height follows H x² with
    memory 1/r, which a decay of the LR takes back. Beyond, it grows at an exponential rate up to a ceiling,
    and what was learned is lost. β > 1 begins with a plateau.
    """

    edge: float
    scale: float
    """D_0."""
    power: float
    """β."""
    hill: float
    """H."""
    rate: float
    """r."""
    growth: float
    """g."""
    ceiling: float

    @classmethod
    def of(cls, random: np.random.Generator, edge: float, total_steps: int) -> Valley:
        """One that gets at the edge's LR from 10 to 3,000 times D_0 far in ``total_steps``."""
        return cls(
            edge=edge,
            scale=total_steps * edge * 10 ** random.uniform(-3.5, -1),
            power=random.uniform(0.5, 2),
            hill=10 ** random.uniform(-2, -0.5),
            rate=10 ** random.uniform(-1.3, -0.5),
            growth=random.uniform(0.2, 1),
            ceiling=random.uniform(1, 5),
        )

    def start(self, runs: int) -> Array:
        """(D, h) [runs, 2]."""
        return np.zeros((runs, 2))

    def loss(self, state: Array) -> Array:
        """What is left to learn, and the height on the hillside."""
        return 1 / (1 + (state[:, 0] / self.scale) ** self.power) + state[:, 1]

    def update(self, state: Array, lr: Array) -> Array:
        """One step."""
        way, height = state.T
        x = lr / self.edge
        way = (way + lr / (1 + x * x)) * np.maximum(1 - self.rate * height**2, 0)
        height = np.maximum(x, 1) ** self.growth * height + self.rate * (self.hill * x * x - height)
        return np.stack([way, np.minimum(height, self.ceiling)], axis=1)
