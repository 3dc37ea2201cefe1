"""Changes of the detector that are tried here and nowhere else: what would they do to the rates?

Each stands in for one function of the library while a variant runs. One that earns its place goes into the
library, and leaves this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np

from autowu.config import Config
from autowu.detector import detect, noise
from benchmarks.quality.detection.dynamics import Array

WAIT = 20  # updates
_detect = detect.detect


def waiting(config: Config, losses: Array, start: int, *more: Any) -> Any:
    """No detection counts within 20 updates after a leap: five losses that are all above the five before.

    Against jumps of the loss that have nothing to do with the LR: it may go on falling after them.
    """
    verdict, adam = _detect(config, losses, start, *more)
    y = losses[noise.usable(losses, config.spike)]
    if verdict.detected and len(y) >= 10:
        windows = np.lib.stride_tricks.sliding_window_view(y, 5)
        leaps = windows[5:].min(1) - windows[:-5].max(1) > 3 * noise.noise_level(y)
        places = np.flatnonzero(leaps) + 5
        chains = places[np.diff(places, prepend=-4 * WAIT) > 3 * WAIT]  # the first of those close together
        if len(chains) and len(y) - chains[-1] < WAIT:
            verdict = replace(verdict, detected=False)
    return verdict, adam


REMEDIES = {
    "wait after a leap": ("autowu.controller.ending.detect", waiting),
}


@contextmanager
def applied(remedy: str | None) -> Iterator[None]:
    """Within it the library works with the remedy of that name."""
    with mock.patch(*REMEDIES[remedy]) if remedy else nullcontext():
        yield
