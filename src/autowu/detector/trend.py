"""Is the loss falling, or rising, by more than noise explains? Medians of two ends, or a line through it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from autowu.arrays import Array
from autowu.detector import noise

STRETCHES = 20  # of a window, a quarter of the kernel's length-scale each, that a plain fall compares
LAST: Final = 30  # losses that a mean of now is taken of
SKEWED: Final = 0.3  # standard deviations from median to mean: of an exponential distribution 0.31
PLACES: Final = 3  # stretches of large losses, at least: one alone is of bad batches, or of the median
OUTLIER: Final = 5.0  # ranges of four losses, by which a fifth is no loss like them
NOISY: Final = 5.0  # noise levels that a mild difference has at most
QUIET: Final = 0.5  # of the noise level that there was at first, each beside the median
FALLEN: Final = 4.0  # times, as far as the first losses are above those of a constant answer
LATER: Final = 2  # losses after a jump's first five, that show whether the loss rises on
_MEDIAN_OF_5: Final = 0.28683  # variance of the median of 5 standard normal values


def end_width(losses: int) -> int:
    """How many of so many losses make one end of the window: a twentieth, and at least five."""
    return max(noise.ENDS, losses // STRETCHES)


@dataclass(frozen=True)
class Level:
    """Where a loss has been: the median of so many losses."""

    median: float
    losses: int
    noise: float = 0.0
    """Noise level of the losses there; 0 where it is not known."""


@dataclass(frozen=True)
class Stretch:
    """The median of a stretch of losses, and how far from it noise explains."""

    low: float
    median: float
    high: float

    def below(self, other: Stretch | None) -> bool:
        """Whether it is below the ``other``, if there is one, by more than noise explains."""
        return other is not None and self.high < other.low


def stretch(losses: Array, errors: float) -> Stretch:
    """That of ``losses`` [n], with bounds of so many standard errors of the median.

    Whatever the distribution, k of n independent losses are below its median with a mean of n / 2 and a
    standard deviation of √n / 2. So the bounds are losses, so many ranks from the middle: of few losses the
    least and the largest. Losses that are not finite are left out, unless they are half of all: then they
    count as infinite.
    """
    ranked = noise.finite(losses)
    if 2 * len(ranked) <= len(losses):
        ranked = np.where(np.isfinite(losses), losses, np.inf)
    ranked.sort()
    n = len(ranked)
    ranks = math.ceil(min(n, 0.5 * errors * math.sqrt(n)))
    low, high = max(0, (n - 1) // 2 - ranks), min(n - 1, n // 2 + ranks)
    return Stretch(float(ranked[low]), float(ranked[n // 2]), float(ranked[high]))


def far_above(first: Stretch) -> float:
    """The level from which on a loss has exploded: above the ``first`` one by ten times its size."""
    size = max(abs(first.median), first.high - first.low)  # a level may be next to zero
    return first.median + noise.DECADE * size


def without_outlier(losses: Array) -> Array:
    """``losses`` [n] without the least, where that lies apart: five times the range of the others below them.

    A batch without targets, among the first few of a run, would be a level that the loss never falls below.
    """
    ranked: list[float] = sorted(losses.tolist())
    if len(ranked) < noise.ENDS or not ranked[1] - ranked[0] > OUTLIER * (ranked[-1] - ranked[1]):
        return losses
    return np.array(ranked[1:])


def beginning(losses: Array) -> Level:
    """Where a window of ``losses`` begins: the median of one end of it."""
    width = end_width(len(losses))
    return Level(median(losses[:width]), width)


def shift(
    losses: Array,
    threshold: float,
    level: Level | None = None,
    *,
    least: int = 2 * noise.ENDS,
    mild: float = 0.0,
) -> int:
    """-1 if the loss has fallen by more than noise explains, 1 if it has risen by more; 0 if neither.

    The median of the window's end and that of its beginning (or the ``level``, where that is known) differ by
    more than ``threshold`` standard errors, under the noise of :func:`noise.noise_level`, and one step of the
    losses' floating-point format. Medians, so that one spike decides nothing; of five losses at least, since
    that of three has heavy tails where the noise has. Of fewer than ``least`` losses it says nothing. A
    difference of no more than a share ``mild`` of the level's size, and five noise levels, is none: the level
    alone may be large, as that of a likelihood of many values is, and what it moves by a small share of it.
    """
    if len(losses) < least:
        return 0
    width = end_width(len(losses))
    begin = beginning(losses) if level is None else level
    fall = begin.median - median(losses[-width:])
    if not fall:
        return 0
    sizes = noise.differences(losses)
    sigma = noise.level(sizes)
    error = sigma * math.sqrt(median_variance(begin.losses) + median_variance(width))
    if not abs(fall) > threshold * error + noise.smallest_step(sizes):
        return 0
    if not abs(fall) > min(mild * abs(begin.median), NOISY * sigma):
        return 0
    return -1 if fall > 0 else 1


def median_variance(of: int) -> float:
    """The variance of the median of so many standard normal values."""
    return _MEDIAN_OF_5 if of == noise.ENDS else math.pi / 2 / of


def median(losses: Array) -> float:
    """The median; of an even number of losses the upper one of two."""
    middle = len(losses) // 2
    if len(losses) == noise.ENDS:
        return sorted(losses.tolist())[middle]  # in a third of NumPy's time
    return float(np.partition(losses, middle)[middle])


def constant(losses: Array, first: Level) -> bool | None:
    """Whether the losses may be those of a network that gives all inputs the same answer.

    Of the last thirty the median is below a quarter of the ``first`` level; and beside its median, their
    noise level is below half of what it was there. A network that learns tells inputs apart, and some of its
    losses are next to nothing: its noise grows beside the median. What is left to a constant answer is the
    noise of the targets. None: of fewer than thirty that is not known.
    """
    last = losses[-LAST:]
    if not first.noise or not len(last) or not 0 < FALLEN * (now := median(last)) < first.median:
        return False
    if len(last) < LAST:
        return None
    return noise.noise_level(last) / now < QUIET * first.noise / first.median


def rising(losses: Array) -> bool:
    """Whether the median of the last five losses is above that of the five before.

    Those that are not finite are left out. True where they are half of either five.
    """
    if len(losses) < 2 * noise.ENDS:
        return False
    ten = losses[-2 * noise.ENDS :]
    before, last = ten[: noise.ENDS], ten[noise.ENDS :]
    if not np.isfinite(ten).all():
        before, last = noise.finite(before), noise.finite(last)
        if 2 * min(len(before), len(last)) <= noise.ENDS:
            return True
    return median(last) > median(before)


def jumped(losses: Array, since: int, height: float) -> bool:
    """Whether the loss is higher from one update on, after ``since``, and then has risen by no more.

    The lowest of five losses is above the highest of the five before by more than ``height`` noise levels.
    The last five, which end at least two updates later, are not above them by another half of that jump.
    """
    finite = noise.finite(losses[max(0, since - noise.ENDS) :])
    if len(finite) < 2 * noise.ENDS + LATER:
        return False
    fives = sliding_window_view(finite, noise.ENDS)[:-LATER]
    before, after = fives[: -noise.ENDS], fives[noise.ENDS :]
    with np.errstate(over="ignore"):
        gaps = after.min(axis=1) - before.max(axis=1)
    at = int(gaps.argmax())
    gap = gaps[at]
    if not gap > height * noise.noise_level(noise.finite(losses)):
        return False
    low, high, last = median(before[at]), median(after[at]), median(finite[-noise.ENDS :])
    return last - high < 0.5 * (high - low)


def _tail(losses: Array, height: float | None) -> float | None:
    """The mean of the last thirty losses, spikes aside, if it is made by a few of them; else None.

    It is above four fifths of them, or above the median by 0.3 standard deviations. (Of normal values that is
    two standard errors.) Of fewer than ten losses that is not known.
    """
    last = losses[-LAST:]
    if len(last) < 2 * noise.ENDS or len(kept := last[noise.usable(last, height)]) < 2 * noise.ENDS:
        return None
    largest = float(np.abs(kept).max()) or 1.0  # squares may be too large for floating point
    ranked, n = np.sort(kept / largest), len(kept)
    mean, spread = float(ranked.mean()), float(ranked.std())
    few = mean > ranked[4 * n // 5] or mean - ranked[n // 2] > SKEWED * spread
    return mean * largest if few else None


def tail_above(losses: Array, height: float | None, level: float) -> bool:
    """Whether a few of the last losses, here and there, bring their mean above ``level``.

    Where rare examples are all that is left to learn, most losses are next to nothing. With too large an LR
    their median falls on, while the few others, and with them the mean, explode.
    """
    over = losses[-LAST:] > level
    if np.count_nonzero(over[1:] & ~over[:-1]) + np.count_nonzero(over[:1]) < PLACES:
        return False
    mean = _tail(losses, height)
    return mean is not None and mean > level


def worse(losses: Array, height: float | None, first: Stretch | None, least: Stretch | None) -> bool:
    """Whether the loss, which had fallen to ``least``, is on the mean above ``first`` by a few large ones."""
    if first is None or least is None or not least.below(first):
        return False
    return tail_above(losses, height, first.high)


def tail_grows(losses: Array) -> bool:
    """Whether a few of the last losses, be they spikes, make their mean, and it is above that of before."""
    mean, before = _tail(losses, None), noise.finite(losses[-2 * LAST : -LAST])
    if mean is None or not len(before):
        return False
    with np.errstate(over="ignore"):
        return mean > float(before.mean())


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
