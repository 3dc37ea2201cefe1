"""Was the end of warm-up a false alarm? How fast the loss fell before it, and how fast it falls after.

The switch claims that the loss has a minimum at t*, because the LR there is the largest that it bears. Such
an LR ends the fall of the loss before t*; one that is far too small does not. In that regime each update
lowers the loss in proportion to its LR, so that the loss falls plainly up to t*, while the LR doubles for the
last time, and goes on falling at that LR after the switch, no faster than before.
"""

from __future__ import annotations

import math

from autowu.config import Config
from autowu.detector.trend import Fall, plain


def window(config: Config) -> int:
    """W, updates in which the slow growth doubles the LR, and at least ``min_losses``.

    The stretch before t* is W updates long, the one after the switch 2 W.
    """
    doublings = math.log2(config.max_lr / config.min_lr)
    return max(config.min_losses, math.ceil(config.warmup_steps / doublings))


def in_time(config: Config, step: int) -> bool:
    """Whether a switch at ``step`` can be settled before the cap, with growth that has doublings."""
    return config.growth != "linear" and step + 2 * window(config) < config.warmup_steps


def refuted(before: Fall, after: Fall | None, threshold: float) -> bool:
    """Whether a loss that fell plainly up to t* falls plainly after the switch too, and no faster."""
    if after is None or not (plain(before, threshold) and plain(after, threshold)):
        return False
    return after.speed - before.speed <= threshold * math.hypot(before.error, after.error)
