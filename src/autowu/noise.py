"""What noise explains: the noise level of a loss curve, its lone spikes, and its lift-off."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autowu.gp import Array

FIRST, LAST = 5, 3  # losses at the window's two ends that lift-off compares
WINDOW = 1000  # the last losses, which the noise level is taken from
# Variance of the median of 5 and of 3 standard normal values.
_MEDIAN_VARIANCE: Final = 0.28683 + 0.44867
_NORMAL: Final = NormalDist()


def noise_level(losses: Array) -> float:
    """Standard deviation σ of the noise of a smooth curve, from its first differences.

    A difference of two neighbours has variance 2 σ². The largest tenth of them, and at least two, are left
    out, so that a lone spike (two large differences) does not count; the mean size of the others is what it
    is for normal noise trimmed in the same way. Losses in a narrow format move in steps, which hide noise:
    half of the smallest step is added. Zero for fewer than 4 losses; of a long curve the last thousand count.
    """
    with np.errstate(over="ignore"):
        sizes = np.minimum(np.abs(np.diff(losses[-WINDOW:])), np.finfo(np.float64).max / WINDOW)
    kept = len(sizes) - max(2, len(sizes) // 10)
    moved = sizes[sizes > 0]
    if kept < 1 or not len(moved):
        return 0.0
    share = (kept + 1) / (len(sizes) + 1)  # where the smallest of those left out lies, in expectation
    largest = _NORMAL.inv_cdf((1 + share) / 2)
    normal = 2 * (_NORMAL.pdf(0) - _NORMAL.pdf(largest)) / share  # E[|z|, given that |z| < largest]
    spread = float(np.partition(sizes, kept)[:kept].mean()) / normal / math.sqrt(2)
    return math.hypot(spread, 0.5 * float(moved.min()))


def lone_spikes(losses: Array, height: float) -> NDArray[np.bool_]:
    """Which ``losses`` stand more than ``height`` noise levels above all (one or two) neighbours."""
    threshold = height * noise_level(losses)
    if threshold == 0 or len(losses) < 4:
        return np.zeros(len(losses), bool)
    with np.errstate(over="ignore"):
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
    fall = float(np.median(losses[:FIRST])) - float(np.median(losses[-LAST:]))
    return fall > threshold * noise_level(losses) * math.sqrt(_MEDIAN_VARIANCE) and fall > 0
