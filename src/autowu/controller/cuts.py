"""What the changes of the LR in the decay phase come to, for all that tell of them."""

from __future__ import annotations

from collections.abc import Sequence

from autowu.controller.state import Cut


def taken_back(cuts: Sequence[Cut], at: int = -1) -> bool:
    """Whether change ``at`` gives the LR of before the last cut back, since it was the data that changed."""
    if not cuts:
        return False
    at = range(len(cuts))[at]
    return cuts[at].factor > (cuts[at - 1].factor if at else 1.0)
