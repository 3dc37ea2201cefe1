"""What noise explains: the noise level of a loss curve, its spikes, its fall or rise, and its plain fall."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autowu.arrays import Array

ENDS = 5  # losses, at least, at each end of the window that lift-off compares
WINDOW = 1000  # the last losses, which the noise level is taken from
DECADE: Final = 10.0  # a fall by so much is judged on its logarithm
SPIKE_WIDTH = 6  # updates; what lasts longer is the curve
RARE: Final = 20  # updates before and after a spike, in which there may be one other
_NORMAL: Final = NormalDist()
_LARGEST: Final = np.finfo(np.float64).max / WINDOW  # so that a thousand of them have a sum


def finite(losses: Array) -> Array:
    """Those of ``losses`` that are finite."""
    return losses[np.isfinite(losses)]


def noise_level(losses: Array) -> float:
    """Standard deviation σ of the noise of a smooth curve, from its first differences.

    A difference of two neighbours has variance 2 σ². The largest quarter of them, and at least two, are left
    out, so that spikes do not count; the mean size of the others is what it is for normal noise trimmed in
    the same way. Losses in a narrow format move in steps, which hide noise: half of the smallest step is
    added. Zero for fewer than 4 losses; of a long curve the last thousand count.
    """
    return level(differences(losses))


def level(sizes: Array) -> float:
    """:func:`noise_level` from the sorted differences."""
    kept = len(sizes) - max(2, len(sizes) // 4)
    if kept < 1:
        return 0.0
    spread = float(sizes[:kept].sum()) / kept / _trimmed_mean(kept, len(sizes)) / math.sqrt(2)
    return math.hypot(spread, 0.5 * smallest_step(sizes))


@lru_cache(maxsize=WINDOW)
def _trimmed_mean(kept: int, of: int) -> float:
    """E[|z|, given that |z| is among the ``kept`` smallest of so many], z standard normal."""
    share = (kept + 1) / (of + 1)  # where the smallest of those left out lies, in expectation
    largest = _NORMAL.inv_cdf((1 + share) / 2)
    return 2 * (_NORMAL.pdf(0) - _NORMAL.pdf(largest)) / share


def differences(losses: Array) -> Array:
    """|L_s - L_{s-1}| of the last thousand losses, of finite size and in ascending order."""
    last = losses[-WINDOW:]
    with np.errstate(over="ignore"):
        sizes = np.minimum(np.abs(last[1:] - last[:-1]), _LARGEST)
    sizes.sort()
    return sizes


def smallest_step(differences: Array) -> float:
    """The smallest difference that is not zero: next to nothing, but in a narrow floating-point format."""
    first = int(differences.searchsorted(0.0, side="right"))
    return float(differences[first]) if first < len(differences) else 0.0


def usable(losses: Array, height: float | None) -> NDArray[np.intp]:
    """The places of the losses that are finite and, given the ``height`` of :func:`spikes`, of no spike."""
    (places,) = np.isfinite(losses).nonzero()
    if height is None:
        return places
    found = spikes(losses if len(places) == len(losses) else losses[places], height)
    return places[~found] if found.any() else places


def spikes(losses: Array, height: float) -> NDArray[np.bool_]:
    """Which ``losses`` are of a spike: over ``height`` noise levels above the curve, soon over, and rare.

    These are the losses that much above two others, equally far before and after them and at most six updates
    away: a spike of up to six updates. The first and the last loss have one neighbour to be compared with.
    Where there are three within twenty updates of one of them, that is what the losses are like: such as
    those of rare examples, which are all that is left to learn.
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
        return _rare(losses - around > threshold)


def _rare(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of ``found`` that are of a spike with at most one other near it."""
    if np.count_nonzero(found) < 3:
        return found
    begins = found.copy()
    begins[1:] &= ~found[:-1]
    (at,) = begins.nonzero()
    near = at.searchsorted(at + RARE, side="right") - at.searchsorted(at - RARE)
    rare = np.append(near < 3, False)
    return found & rare[np.cumsum(begins) - 1]


def below_ceiling(losses: Array, falls: float) -> Array:
    """The smaller of each loss and of L_0 + 4 σ + ``falls`` (L_0 - L_min).

    L_0 is the median of the first tenth, L_min the least median of five losses, σ the :func:`noise_level`.
    That a loss exceeds this says as much as by how far: the minimum is past. A divergence by many orders of
    magnitude would be all that a kernel of fixed length-scale can follow, and the least of the rest chance.
    """
    first = _first(losses)
    fall = falls * (first - _least(losses, first))
    if not losses.max() > first + fall:  # whatever σ is
        return losses
    return np.minimum(losses, first + 4 * noise_level(losses) + fall)


def fallen_tenfold(losses: Array) -> bool:
    """Whether the ``losses`` are all positive, and L_0 > 10 L_min, as in :func:`below_ceiling`.

    Of such a curve all but the first decade is next to nothing, beside its first losses.
    """
    first, lowest = _first(losses), float(losses.min())
    tenth = first / DECADE
    return 0 < lowest < tenth and _least(losses, first) < tenth


def _first(losses: Array) -> float:
    """The median of the first tenth."""
    begin = losses[: max(ENDS, len(losses) // 10)]
    return float(np.partition(begin, len(begin) // 2)[len(begin) // 2])


def _least(losses: Array, first: float) -> float:
    """The least median of five losses, at most ``first``."""
    fives = losses[: len(losses) // ENDS * ENDS].reshape(-1, ENDS)
    return float(np.partition(fives, ENDS // 2, axis=1)[:, ENDS // 2].min(initial=first))
