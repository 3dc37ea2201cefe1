"""What noise explains: the noise level of a loss curve, its lone spikes, and its lift-off."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autowu.gp import Array

FIRST, LAST = 5, 3  # losses at the window's two ends that lift-off compares
# Variance of the median of 5 and of 3 standard normal values.
_MEDIAN_VARIANCE: Final = 0.28683 + 0.44867
# Mean of |d| / sd for a normal d, over the smaller 90% of the |d|.
_TRIMMED_MEAN: Final = 0.65731


def noise_level(losses: Array) -> float:
    """Standard deviation of the noise of a smooth curve, from its first differences.

    A difference of two neighbours has variance 2 σ². The largest tenth of them, and at least two, are left
    out, so that a lone spike (two large differences) does not count. Zero for fewer than 4 losses.
    """
    differences = np.sort(np.abs(np.diff(losses)))
    kept = differences[: len(differences) - max(2, len(differences) // 10)]
    return float(kept.mean()) / _TRIMMED_MEAN / math.sqrt(2) if len(kept) else 0.0


def lone_spikes(losses: Array, height: float) -> NDArray[np.bool_]:
    """Which ``losses`` stand more than ``height`` noise levels above all (one or two) neighbours."""
    threshold = height * noise_level(losses)
    if threshold == 0 or len(losses) < 4:
        return np.zeros(len(losses), bool)
    above_left = np.diff(losses, prepend=math.inf) > threshold
    above_right = -np.diff(losses, append=-math.inf) > threshold
    above_left[0] = True  # the first loss has no left neighbour to be below of
    return above_left & above_right


def lifted_off(losses: Array, threshold: float) -> bool:
    """Whether the loss has fallen by more than noise explains.

    The median of the first five losses less the median of the last three, over its standard error under the
    noise of :func:`noise_level`, exceeds ``threshold``. Medians, so that one spike decides nothing.
    """
    if len(losses) < FIRST + LAST:
        return False
    fall = float(np.median(losses[:FIRST]) - np.median(losses[-LAST:]))
    return fall > threshold * noise_level(losses) * math.sqrt(_MEDIAN_VARIANCE) and fall > 0
