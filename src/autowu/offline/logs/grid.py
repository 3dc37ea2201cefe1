"""Which updates were logged: each of them, or every k-th, and then which entries keep that distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Steps = NDArray[np.int64]

FEWEST_REGULAR: Final = 10  # entries that must share a divisor before it is taken for the rule
OWN_PLACE: Final = 0.9  # of the entries, at least, must have a place of their own on a grid


@dataclass(frozen=True)
class Grid:
    """Places that are ``stride`` updates apart; entry i has the i-th of them, or the nearest one."""

    stride: int
    offset: int
    """The remainder that most steps leave when divided by the stride."""
    strays: tuple[int, ...] = ()
    """A first or a last step at another distance, such as the very first update beside every fifth."""
    uneven: bool = False
    """Whether other entries, too, are at other distances."""

    def places(self, steps: Steps) -> Steps:
        """The places of ``steps`` [n], counted from that of step ``offset``."""
        return (2 * (steps - self.offset) + self.stride) // (2 * self.stride)


def of(steps: Steps) -> Grid:
    """The grid that ``steps`` [n], growing, lie on: stride 1 where they are too few or too mixed to tell.

    The stride is the most common distance of neighbours, not the largest that divides all distances: one odd
    entry makes that 1, and nearly all losses would count as missing. It must occur twice, and leave nearly
    all entries places of their own.
    """
    apart = np.diff(steps)
    if not len(apart):
        return Grid(1, 0)
    sizes, counts = np.unique(apart, return_counts=True)
    if counts.max() > 1:
        found = _with(int(sizes[counts.argmax()]), steps, apart)
        if len(np.unique(found.places(steps))) >= OWN_PLACE * (len(steps) - len(found.strays)):
            return found
    return _with(int(np.gcd.reduce(apart)) if len(steps) >= FEWEST_REGULAR else 1, steps, apart)


def _with(stride: int, steps: Steps, apart: Steps) -> Grid:
    off = apart % stride != 0
    remainders, counts = np.unique(steps % stride, return_counts=True)
    strays = tuple(int(steps[at]) for at in (0, -1) if off[at])
    return Grid(stride, int(remainders[counts.argmax()]), strays, bool(off[1:-1].any()))
