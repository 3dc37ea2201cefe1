"""Was the end of warm-up a false alarm? How fast the loss fell before it, and how fast it falls after.

The switch claims that the loss has a minimum at t*, because the LR there is the largest that it bears. Such
an LR ends the fall of the loss before t*; one that is far too small does not. In that regime each update
lowers the loss in proportion to its LR, so that the loss falls plainly up to t*, while the LR doubles for the
last time, and goes on falling at that LR after the switch, no faster than before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autowu import noise
from autowu.config import Config
from autowu.gp import Array


@dataclass(frozen=True)
class Fall:
    """The least-squares line through a stretch of losses."""

    speed: float
    """Its fall, in units of the loss per update."""
    error: float
    """The standard error of ``speed``, from the residuals."""


def window(config: Config) -> int:
    """W, updates in which the slow growth doubles the LR, and at least ``min_losses``.

    The stretch before t* is W updates long, the one after the switch 2 W.
    """
    doublings = math.log2(config.max_lr / config.min_lr)
    return max(config.min_losses, math.ceil(config.warmup_steps / doublings))


def in_time(config: Config, step: int) -> bool:
    """Whether a switch at ``step`` can be settled before the cap, with growth that has doublings."""
    return config.growth != "linear" and step + 2 * window(config) < config.warmup_steps


def fall(config: Config, losses: Array) -> Fall | None:
    """The fall of ``losses`` [n], without spikes and non-finite ones; None if too few are left."""
    at = noise.usable(losses, config.spike)
    n = len(at)
    if n < max(3, config.min_losses):
        return None
    with np.errstate(all="ignore"):
        x, y = at - at.mean(), losses[at]
        y = y - y.mean()
        spread = x @ x
        speed = -float(x @ y) / spread
        residuals = y + speed * x
        error = math.sqrt(float(residuals @ residuals) / (n - 2) / spread)
    return Fall(float(speed), error) if math.isfinite(speed) and math.isfinite(error) else None


def plain(fall: Fall | None, threshold: float) -> bool:
    """Whether the loss falls by more than ``threshold`` standard errors explain."""
    return fall is not None and fall.speed > threshold * fall.error


def refuted(before: Fall, after: Fall | None, threshold: float) -> bool:
    """Whether a loss that fell plainly up to t* falls plainly after the switch too, and no faster."""
    if after is None or not (plain(before, threshold) and plain(after, threshold)):
        return False
    return after.speed - before.speed <= threshold * math.hypot(before.error, after.error)
