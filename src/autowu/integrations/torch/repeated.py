"""Whether one loss is given for many updates: one that a loop reads now and then, for its progress bar.

    L L L L L M M M M M N N N N N …

No losses of updates are like that. Those of few digits (bfloat16) may be equal by chance, and those of a
network that hardly moves differ by their last digit alone. Neither counts.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from autowu.arrays import Array

GROUPS: Final = 5  # of equal losses, all of one size, at least before they are told
LOSSES: Final = 40  # in these groups, at least

_DIGITS: Final = 11  # binary ones, which float16 has; bfloat16 has fewer
_APART: Final = 1e-6  # what two groups differ by at least, relative


class Repeats:
    """Looks at the losses of a run until it is certain that each is given many times."""

    def __init__(self) -> None:
        self._last = math.nan
        self._length: int = 0  # how often the last of the losses has come by now
        self._size: int = 0  # of the last groups
        self._groups = 0  # how many of that size have come in a row
        self._told = False

    def add(self, losses: Array) -> int | None:
        """How often each is given, once it is certain; then nothing more.

        Args:
            losses: those that follow [n].
        """
        if self._told or not len(losses):
            return None
        before = np.append(self._last, losses[:-1])
        starts = [int(at) for at in np.flatnonzero(losses != before)]
        for at, earlier in zip(starts, [-self._length, *starts], strict=False):
            self._close(at - earlier, float(before[at]), float(losses[at]))
            if self._groups >= GROUPS and self._groups * self._size >= LOSSES:
                self._told = True
                return self._size
        self._last = float(losses[-1])
        self._length = len(losses) - (starts[-1] if starts else -self._length)
        return None

    def _close(self, length: int, value: float, following: float) -> None:
        """A group of ``length`` losses has ended."""
        if length < 2 or not _is_exact(value) or math.isclose(value, following, rel_tol=_APART):
            self._size = self._groups = 0
        elif length == self._size:
            self._groups += 1
        else:
            self._size, self._groups = length, 1


def _is_exact(value: float) -> bool:
    """Whether it has more digits than half precision."""
    return math.isfinite(value) and (math.frexp(value)[0] * 2**_DIGITS) % 1 != 0
