"""Whether averages are given in place of the losses: told by the bits of the numbers.

    R_k = (L_1 + … + L_k) / k            L_k = k R_k - (k - 1) R_{k-1}
    S_i = β S_{i-1} + (1 - β) L_i        L_i = (S_i - β S_{i-1}) / (1 - β)

A loss that is read by ``.item()`` is a number of single precision. Its averages, taken in Python, need double
precision, and of them alone these L are of single precision again. The curve would not tell: that of a whole
data set is as smooth as an average. Nor are averages told that are tensors themselves.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from autowu.arrays import Array

FEW: Final = 10  # averages, at least, before they are told: one by chance is rarer than one in 400
FIRST: Final = 500  # losses after which nobody looks any more
SHARE: Final = 0.9  # of these numbers that are averages, at least: a mean may begin anew in between
FACTORS: Final = (0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)  # β that people write

_OPEN: Final = 4  # values of k that are followed at a time
_ROUNDED: Final = 8.0  # units of double precision by which sums may be off
_SURE: Final = 1e-3  # share of a unit of single precision that such errors must be below


class Averages:
    """Looks at the losses of a run until it is certain what they are."""

    def __init__(self) -> None:
        self._last, self._number = np.nan, 0  # the last of the losses, and how many there were
        self._plain = 0  # losses in a row of single precision
        self._seen = 0  # of them those of double precision, after another one
        self._of_means, self._counts = 0, list[int]()  # of these the running means; what k of the last may be
        self._of_factors = np.zeros((2, len(FACTORS)), int)  # of these the exponential averages

    def add(self, losses: Array) -> str | None:
        """What the losses are, once it is certain that they are averages; then nothing more.

        Args:
            losses: those that follow [n].
        """
        losses = losses[: max(0, FIRST - self._number)]
        if not len(losses):
            return None
        with np.errstate(all="ignore"):
            rest = losses - losses.astype(np.float32)
            if self._plain > FEW and not rest.any():  # of single precision, like those before
                self._last, self._number = float(losses[-1]), self._number + len(losses)
                return None
            before = np.append(self._last, losses[:-1])
            double = np.isfinite(losses) & ~_single(rest)  # with many digits
            if double.any():
                self._seen += int(np.count_nonzero(double & np.isfinite(before)))
                self._of_factors += self._smoothed(losses, before, double)
            self._plain = 0 if double.any() else self._plain + len(losses)
            if self._plain <= FEW:
                self._follow(losses, before, double)
            else:  # these are no averages; the last of them may be the first of a mean
                self._counts = [1]
        self._last, self._number = float(losses[-1]), self._number + len(losses)
        needed = max(FEW, SHARE * self._seen)
        found = None
        if self._of_means >= needed:
            found = "the running mean of losses"
        elif (self._of_factors >= needed).any():
            factor = FACTORS[int(self._of_factors.max(axis=0).argmax())]
            found = f"an average of losses with the factor {factor:g}"
        if found is not None:
            self._number = FIRST
        return found

    def _follow(self, losses: Array, before: Array, double: NDArray[np.bool_]) -> None:
        """Count the running means, which may begin anew with each epoch."""
        for at in range(len(losses)):
            now, then = float(losses[at]), float(before[at])
            size = max(abs(now), abs(then))
            on = [k + 1 for k in self._counts if _single((k + 1) * now - k * then, (k + 1) * size)]
            self._of_means += bool(on) and bool(double[at])
            # A mean may be of single precision itself, and the first loss of an epoch look like one.
            self._counts = on if double[at] else [*on[:_OPEN], 1]

    def _smoothed(self, losses: Array, before: Array, double: NDArray[np.bool_]) -> NDArray[np.int_]:
        """How many are exponential averages: as they are, and divided by 1 - β^i; by β [2, β]."""
        beta, i = np.array(FACTORS)[:, None], self._number + 1 + np.arange(len(losses))
        counts = list[NDArray[np.int_]]()
        for now, then in ((losses, before), (losses * (1 - beta**i), before * (1 - beta ** (i - 1)))):
            size = np.maximum(np.abs(now), np.abs(then)) / (1 - beta)
            single = _single((now - beta * then) / (1 - beta), size)
            counts.append(np.count_nonzero(single & double, axis=-1))
        return np.array(counts)


def _single(values: Array | float, size: Array | float = 0.0) -> NDArray[np.bool_]:
    """Which ``values`` are of single precision, if sums of numbers of such a ``size`` have been rounded."""
    exact = np.asarray(values, np.float64)
    near = exact.astype(np.float32)
    error = _ROUNDED * np.finfo(np.float64).eps * np.asarray(size)
    return (np.abs(exact - near) <= error) & (error <= _SURE * np.spacing(np.abs(near)))
