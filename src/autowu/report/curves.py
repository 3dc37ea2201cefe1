"""Long records made small enough for a picture, without losing what one looks for in it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autowu.runlog.run import Run

Array = NDArray[np.float64]


def lr_ends(run: Run) -> tuple[float, float] | None:
    """The least LR to be shown, and the largest one; None where none is above zero.

    The least of warm-up, and three decades under the largest, so that the decay is seen: it ends too near
    zero to be shown. A peak far below the largest, as where growth has begun anew, has a decade and a half.
    """
    above = run.lrs > 0
    if not above.any():
        return None
    lrs = run.lrs[above]
    least, largest = float(lrs[0]), float(lrs.max())
    if run.switch is not None:
        warmup = run.lrs[above & (run.steps <= run.switch.step)]
        least = min(run.switch.peak_lr / 30, float(warmup.min(initial=least)))
    return min(least, largest / 1000), largest


def numbers(values: ArrayLike | Sequence[float | None]) -> list[float | None]:
    """``values`` [n] for JSON: five significant digits, null where not finite."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in np.asarray(values, float)]


def thinned(y: Array, most: int) -> NDArray[np.int64]:
    """Indices of about ``most`` of the values ``y`` [n]: the least and the greatest of each stretch.

    Spikes survive, which a plain stride would drop or keep by chance.
    """
    if len(y) <= most:
        return np.arange(len(y))
    kept = {0, len(y) - 1}
    for part in np.array_split(np.arange(len(y)), max(1, most // 2)):
        finite = part[np.isfinite(y[part])]
        if len(finite):
            kept |= {int(finite[y[finite].argmin()]), int(finite[y[finite].argmax()])}
    return np.array(sorted(kept))


def smoothed(x: NDArray[np.int64], y: Array, most: int, share: float = 0.01) -> tuple[Array, Array]:
    """At most ``most`` points of a smooth curve through (x, y): block means, then a Gaussian.

    Its width is a ``share`` of the curve. Non-finite values are left out. A running sum would be faster, but
    one huge loss would spoil all that follow it.
    """
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) < 3:
        return x.astype(float), y
    starts = np.arange(0, len(x), math.ceil(len(x) / most))
    counts = np.diff(np.append(starts, len(x)))
    at, mean = np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts
    width = max(1.0, share * len(at))
    reach = min(math.ceil(3 * width), (len(at) - 1) // 2)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    weight = np.convolve(np.ones_like(mean), kernel, mode="same")
    return at, np.convolve(mean, kernel, mode="same") / weight


def span(*curves: ArrayLike, cut: float = 0.5) -> tuple[float, float] | None:
    """The range of all but ``cut`` percent of the values at either end; None without finite values."""
    values = np.concatenate([np.asarray(curve, float).ravel() for curve in curves] or [np.zeros(0)])
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.percentile(values, [cut, 100 - cut])
    return float(low), float(high)
