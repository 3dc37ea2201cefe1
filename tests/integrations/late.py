"""A run whose lift-off is late: the first weights go back in it before warm-up ends."""

from __future__ import annotations

import numpy as np

STEPS, LATE, FIRST = 120, 38, 0
"""Updates, the one that sees the fall, and those that the copy has seen."""

STOPS = (LATE - 1, LATE, LATE + 3)
"""Updates to save and go on from."""


def late_fall() -> np.ndarray:
    """Losses that rest until the LR is above 0.2, and fall then, and once more after the weights are back."""
    step = np.arange(STEPS)
    falls = np.where(step < LATE, 0.1 * np.maximum(step - 34, 0), 0.05 * np.clip(step - LATE - 2, 0, 30))
    noise = np.random.default_rng(0).normal(0, 0.01, STEPS)
    return np.float32(2.3 - falls + noise).astype(np.float64)
