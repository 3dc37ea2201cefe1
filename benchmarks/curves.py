"""The synthetic loss curves that the benchmarks look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def past_its_minimum(n: int) -> NDArray[np.float64]:
    """A parabola with its minimum at 0.62 of the window, and noise."""
    x = np.arange(n) / n
    return 1.9 + (x - 0.62) ** 2 + 0.03 * np.random.default_rng(0).standard_normal(n)


def falling(n: int) -> NDArray[np.float64]:
    """A straight fall, and noise: warm-up goes on to its cap, through every test there can be."""
    return np.linspace(2.3, 0.3, n) + 0.05 * np.random.default_rng(0).standard_normal(n)


def hidden(n: int) -> NDArray[np.float64]:
    """A quick fall, within the sweep, then one that noise hides: no read is plain, and most need a test."""
    x = np.arange(n) / n
    return 2.3 - 1.5 * np.minimum(x / 0.004, 1) - 0.5 * x + 0.6 * np.random.default_rng(0).standard_normal(n)
