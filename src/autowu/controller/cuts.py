"""What the changes of the LR in the decay phase come to, for all that tell of them."""

from __future__ import annotations

from collections.abc import Sequence

from autowu.controller.state import Cut


def factor(cuts: Sequence[Cut]) -> float:
    """The share of the switch's line that the LR is after these changes."""
    return cuts[-1].factor if cuts else 1.0


def taken_back(cuts: Sequence[Cut], at: int = -1) -> bool:
    """Whether change ``at`` gives the LR of before the last cut back, since it was the data that changed."""
    if not cuts:
        return False
    at = range(len(cuts))[at]
    return cuts[at].factor > factor(cuts[:at])
