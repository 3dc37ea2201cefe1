"""A recorded loss for each way in which warm-up can end."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from autowu import Replay, replay
from autowu.controller.state import Reason

from .helpers import v_shape


class Ending(NamedTuple):
    """A record, and what is known of the end of its warm-up."""

    reason: Reason
    capped: bool
    reads: int
    """Reads in a row that gave the reason."""
    minimum: bool
    """Whether the decay begins at the LR of some step."""
    losses: np.ndarray
    total_steps: int = 1000
    settings: Mapping[str, Any] = MappingProxyType({})

    def replay(self) -> Replay:
        """What AutoWU does on it."""
        return replay(self.losses, self.total_steps, **self.settings)


def noise(n: int, sd: float = 0.01, seed: int = 0) -> np.ndarray:
    return sd * np.random.default_rng(seed).standard_normal(n)


def dead(losses: np.ndarray, since: int) -> np.ndarray:
    """``losses`` that cease to be finite."""
    return np.where(np.arange(len(losses)) < since, losses, np.nan)


T = np.arange(600)
FALL, FLAT = 3 - 0.005 * T, 2.3 + noise(600, seed=1)
TWO_RISES = np.array([2.3] * 30 + [8.0] * 4 + [2.3] * 150 + [8.0] * 116) + noise(300)
PAPER = {"preset": "paper", "steps_per_epoch": 25}
ENDINGS = {
    "a minimum": Ending(Reason.MINIMUM, False, 3, True, v_shape(600, 200, 0.02)),
    "a minimum, paper": Ending(Reason.MINIMUM, False, 3, True, v_shape(400, 100, 0.02), 400, PAPER),
    "a fall at its end": Ending(Reason.CAP, True, 0, True, 0.5 + 1.8 * np.exp(-T / 60) + noise(600)),
    "two rises": Ending(Reason.RISE, False, 0, False, TWO_RISES),
    "a rise, by the cap": Ending(
        Reason.RISE, True, 0, False, FLAT + np.where(T < 470, 0, 9), settings={"growth": "exponential"}
    ),
    "neither": Ending(Reason.NO_FALL, True, 0, False, FLAT),
    "a fall to the cap": Ending(Reason.CAP, True, 0, True, FALL),
    "a fall to the cap, bounded": Ending(Reason.CAP, True, 0, True, FALL, settings={"max_lr": 1.0}),
    "a fall to the cap, paper": Ending(Reason.CAP, True, 0, False, FALL[:400], 400, PAPER),
    "lift-off at the cap": Ending(Reason.CAP, True, 0, True, 3 - 0.1 * np.arange(22), 22),
    "dead": Ending(Reason.NONFINITE, False, 3, True, dead(FALL, 260)),
    "dead, paper": Ending(Reason.NONFINITE, False, 3, True, dead(FALL[:400], 90), 400, PAPER),
    "dead before lift-off": Ending(Reason.NONFINITE, False, 3, False, dead(FLAT, 15)),
    "never alive": Ending(Reason.NONFINITE, False, 3, False, dead(FLAT, 0)),
}
