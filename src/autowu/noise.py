"""What noise explains: the noise level of a loss curve, its spikes, and its lift-off."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autowu.gp import Array

FIRST, LAST = 5, 3  # losses at the window's two ends that lift-off compares
WINDOW = 1000  # the last losses, which the noise level is taken from
SPIKE_WIDTH = 6  # updates; what lasts longer is the curve
# Variance of the median of 5 and of 3 standard normal values.
_MEDIAN_VARIANCE: Final = 0.28683 + 0.44867
_NORMAL: Final = NormalDist()


def noise_level(losses: Array) -> float:
    """Standard deviation σ of the noise of a smooth curve, from its first differences.

    A difference of two neighbours has variance 2 σ². The largest quarter of them, and at least two, are left
    out, so that spikes do not count; the mean size of the others is what it is for normal noise trimmed in
    the same way. Losses in a narrow format move in steps, which hide noise: half of the smallest step is
    added. Zero for fewer than 4 losses; of a long curve the last thousand count.
    """
    sizes = _differences(losses)
    kept = len(sizes) - max(2, len(sizes) // 4)
    if kept < 1:
        return 0.0
    share = (kept + 1) / (len(sizes) + 1)  # where the smallest of those left out lies, in expectation
    largest = _NORMAL.inv_cdf((1 + share) / 2)
    normal = 2 * (_NORMAL.pdf(0) - _NORMAL.pdf(largest)) / share  # E[|z|, given that |z| < largest]
    spread = float(np.partition(sizes, kept)[:kept].mean()) / normal / math.sqrt(2)
    return math.hypot(spread, 0.5 * _step(sizes))


def _differences(losses: Array) -> Array:
    """|L_s - L_{s-1}| of the last thousand losses; of finite size."""
    with np.errstate(over="ignore"):
        return np.minimum(np.abs(np.diff(losses[-WINDOW:])), np.finfo(np.float64).max / WINDOW)


def _step(differences: Array) -> float:
    """The smallest difference that is not zero: next to nothing, but in a narrow floating-point format."""
    moved = differences[differences > 0]
    return float(moved.min()) if len(moved) else 0.0


def spikes(losses: Array, height: float) -> NDArray[np.bool_]:
    """Which ``losses`` are of a spike: more than ``height`` noise levels above the curve, and soon over.

    These are the losses that much above two others, equally far before and after them and at most six updates
    away: a spike of up to six updates. The first and the last loss have one neighbour to be compared with.
    """
    found = np.zeros(len(losses), bool)
    threshold = height * noise_level(losses)
    if threshold == 0:
        return found
    with np.errstate(over="ignore"):
        for apart in range(1, min(SPIKE_WIDTH, (len(losses) - 1) // 2) + 1):
            middle = losses[apart:-apart]
            above = middle - np.maximum(losses[: -2 * apart], losses[2 * apart :])
            found[apart:-apart] |= above > threshold
        found[0] = losses[0] - losses[1] > threshold
        found[-1] = losses[-1] - losses[-2] > threshold
    return found


def lifted_off(losses: Array, threshold: float) -> bool:
    """Whether the loss has fallen by more than noise explains.

    The median of the first five losses less the median of the last three exceeds ``threshold`` standard
    errors of that difference, under the noise of :func:`noise_level`, and one step of the losses'
    floating-point format. Medians, so that one spike decides nothing.
    """
    if len(losses) < FIRST + LAST:
        return False
    fall = float(np.median(losses[:FIRST])) - float(np.median(losses[-LAST:]))
    error = noise_level(losses) * math.sqrt(_MEDIAN_VARIANCE)
    return fall > threshold * error + _step(_differences(losses))
