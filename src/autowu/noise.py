"""What noise explains: the noise level of a loss curve, its spikes, its fall or rise, and its plain fall."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autowu.gp import Array

ENDS = 5  # losses, at least, at each end of the window that lift-off compares
STRETCHES = 20  # of a window, a quarter of the kernel's length-scale each, that a plain fall compares
WINDOW = 1000  # the last losses, which the noise level is taken from
SPIKE_WIDTH = 6  # updates; what lasts longer is the curve
_MEDIAN_OF_5: Final = 0.28683  # variance of the median of 5 standard normal values
_NORMAL: Final = NormalDist()
_LARGEST: Final = np.finfo(np.float64).max / WINDOW  # so that a thousand of them have a sum


def noise_level(losses: Array) -> float:
    """Standard deviation σ of the noise of a smooth curve, from its first differences.

    A difference of two neighbours has variance 2 σ². The largest quarter of them, and at least two, are left
    out, so that spikes do not count; the mean size of the others is what it is for normal noise trimmed in
    the same way. Losses in a narrow format move in steps, which hide noise: half of the smallest step is
    added. Zero for fewer than 4 losses; of a long curve the last thousand count.
    """
    return _level(_differences(losses))


def _level(sizes: Array) -> float:
    """:func:`noise_level` from the sorted differences."""
    kept = len(sizes) - max(2, len(sizes) // 4)
    if kept < 1:
        return 0.0
    spread = float(sizes[:kept].sum()) / kept / _trimmed_mean(kept, len(sizes)) / math.sqrt(2)
    return math.hypot(spread, 0.5 * _step(sizes))


@lru_cache(maxsize=WINDOW)
def _trimmed_mean(kept: int, of: int) -> float:
    """E[|z|, given that |z| is among the ``kept`` smallest of so many], z standard normal."""
    share = (kept + 1) / (of + 1)  # where the smallest of those left out lies, in expectation
    largest = _NORMAL.inv_cdf((1 + share) / 2)
    return 2 * (_NORMAL.pdf(0) - _NORMAL.pdf(largest)) / share


def _differences(losses: Array) -> Array:
    """|L_s - L_{s-1}| of the last thousand losses, of finite size and in ascending order."""
    last = losses[-WINDOW:]
    with np.errstate(over="ignore"):
        sizes = np.minimum(np.abs(last[1:] - last[:-1]), _LARGEST)
    sizes.sort()
    return sizes


def _step(differences: Array) -> float:
    """The smallest difference that is not zero: next to nothing, but in a narrow floating-point format."""
    first = int(differences.searchsorted(0.0, side="right"))
    return float(differences[first]) if first < len(differences) else 0.0


def usable(losses: Array, height: float | None) -> NDArray[np.intp]:
    """The places of the losses that are finite and, given the ``height`` of :func:`spikes`, of no spike."""
    finite = np.flatnonzero(np.isfinite(losses))
    if height is None:
        return finite
    found = spikes(losses if len(finite) == len(losses) else losses[finite], height)
    return finite[~found] if found.any() else finite


def spikes(losses: Array, height: float) -> NDArray[np.bool_]:
    """Which ``losses`` are of a spike: more than ``height`` noise levels above the curve, and soon over.

    These are the losses that much above two others, equally far before and after them and at most six updates
    away: a spike of up to six updates. The first and the last loss have one neighbour to be compared with.
    """
    threshold = height * noise_level(losses)
    if threshold == 0:
        return np.zeros(len(losses), bool)
    around = np.empty(len(losses))  # the lowest that the curve can be, by the pairs around a loss
    around[0], around[1:-1], around[-1] = losses[1], np.inf, losses[-2]
    for apart in range(1, min(SPIKE_WIDTH, (len(losses) - 1) // 2) + 1):
        lowest, pair = around[apart:-apart], np.maximum(losses[: -2 * apart], losses[2 * apart :])
        np.minimum(lowest, pair, out=lowest)
    with np.errstate(over="ignore"):
        return losses - around > threshold


def below_ceiling(losses: Array, falls: float) -> Array:
    """The smaller of each loss and of L_0 + 4 σ + ``falls`` (L_0 - L_min).

    L_0 is the median of the first tenth, L_min the least median of five losses, σ the :func:`noise_level`.
    That a loss exceeds this says as much as by how far: the minimum is past. A divergence by many orders of
    magnitude would be all that a kernel of fixed length-scale can follow, and the least of the rest chance.
    """
    begin = losses[: max(ENDS, len(losses) // 10)]
    first = float(np.partition(begin, len(begin) // 2)[len(begin) // 2])
    if not losses.max() > first:
        return losses
    level = first + 4 * noise_level(losses)
    if not losses.max() > level:
        return losses
    fives = losses[: len(losses) // ENDS * ENDS].reshape(-1, ENDS)
    least = float(np.partition(fives, ENDS // 2, axis=1)[:, ENDS // 2].min(initial=first))
    return np.minimum(losses, level + falls * (first - least))


def ends(losses: int) -> int:
    """How many of so many losses make one end of the window: a twentieth, and at least five."""
    return max(ENDS, losses // STRETCHES)


@dataclass(frozen=True)
class Level:
    """Where a loss has been: the median of so many losses."""

    median: float
    losses: int


def beginning(losses: Array) -> Level:
    """Where a window of ``losses`` begins: the median of one end of it."""
    width = ends(len(losses))
    return Level(median(losses[:width]), width)


def shift(losses: Array, threshold: float, level: Level | None = None) -> int:
    """-1 if the loss has fallen by more than noise explains, 1 if it has risen by more; 0 if neither.

    The median of the window's end and that of its beginning (or the ``level``, where that is known) differ by
    more than ``threshold`` standard errors, under the noise of :func:`noise_level`, and one step of the
    losses' floating-point format. Medians, so that one spike decides nothing; of five losses at least, since
    that of three has heavy tails where the noise has.
    """
    if len(losses) < 2 * ENDS:
        return 0
    width = ends(len(losses))
    begin = beginning(losses) if level is None else level
    fall = begin.median - median(losses[-width:])
    if not fall:
        return 0
    sizes = _differences(losses)
    error = _level(sizes) * math.sqrt(_median_variance(begin.losses) + _median_variance(width))
    if not abs(fall) > threshold * error + _step(sizes):
        return 0
    return -1 if fall > 0 else 1


def _median_variance(of: int) -> float:
    """The variance of the median of so many standard normal values."""
    return _MEDIAN_OF_5 if of == ENDS else math.pi / 2 / of


def median(losses: Array) -> float:
    """The median; of an even number of losses the upper one of two."""
    middle = len(losses) // 2
    if len(losses) == ENDS:
        return sorted(losses.tolist())[middle]  # in a third of NumPy's time
    return float(np.partition(losses, middle)[middle])


def falling(losses: Array, threshold: float) -> bool:
    """Whether the loss is lower at the window's end than anywhere before, by more than noise explains.

    Of twenty stretches of equal length, the mean of the last is below that of each other one by more than
    ``threshold`` standard errors; and the straight line through the last, by least squares, falls. The errors
    are taken from the variance within the stretches, to which a trend adds: it errs on the safe side. A loss
    that is not finite leaves the question open: False.
    """
    width = len(losses) // STRETCHES
    if width < 4:
        return False
    with np.errstate(all="ignore"):
        if not losses[-width:] @ _ramp(width) < 0:
            return False
        stretches = losses[-STRETCHES * width :].reshape(STRETCHES, width)
        means = np.add.reduce(stretches, axis=1) / width
        deviations = stretches - means[:, None]
        squares = np.einsum("ij,ij->i", deviations, deviations).tolist()
    # For so few numbers a loop takes less time than NumPy's calls.
    *before, last = means.tolist()
    count = width * (width - 1)
    of_last = squares[-1] / count  # the variance of a mean
    for mean, square in zip(before, squares, strict=False):
        if not mean - last > threshold * math.sqrt(square / count + of_last):
            return False
    return True


@lru_cache(maxsize=2)
def _ramp(width: int) -> Array:
    """A straight line of so many points, with the mean 0."""
    return np.arange(width, dtype=np.float64) - 0.5 * (width - 1)
