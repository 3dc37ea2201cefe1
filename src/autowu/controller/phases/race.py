"""Which of a few LRs is best? Each trains from the snapshot for a while, and decays to zero: measured, not inferred.

The minimum of the loss in warm-up says which LR the loss bears while the LR grows. The best peak of a decay is
often a few times smaller, and nothing but training shows by how much.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from autowu.config import Config
from autowu.controller import schedule
from autowu.controller.state import Decay, Leg, Race, State, no_losses
from autowu.detector import noise, trend
from autowu.detector.trend import Level

STEP: Final = 1 / 3
"""Between the LR of a leg and that of the next."""

SHORTEST: Final = 30
"""Updates of a leg, at least: fewer tell nothing."""

END: Final = 0.25
"""Share of a leg, its last, whose losses are compared."""


def span(config: Config) -> int | None:
    """Updates of a leg; None where the run is too short for any."""
    if config.race is None or not config.rewind:
        return None
    updates = min(math.floor(config.race * config.total_steps), config.growth_steps)
    return updates if updates >= SHORTEST else None


def begin(config: Config, state: State[Decay]) -> State[Race] | State[Decay]:
    """The first leg, at the LR of the minimum; or the decay at once, where there is nothing to go back to."""
    decay = state.phase
    if span(config) is None or decay.switch.rewound_to is None or state.snapshot_step is None:
        return state
    legs = (Leg(state.step, decay.switch.peak_lr),)
    return state.replace(phase=Race(decay.switch, decay.growth, decay.least, legs))


def law(config: Config, state: State[Race]) -> Callable[[int], float]:
    """Linear, to zero."""
    return leg_function(config, state.phase.legs[-1])


def leg_function(config: Config, leg: Leg) -> Callable[[int], float]:
    """η of a leg."""
    end = leg.start + (span(config) or 1)
    return partial(schedule.decay, "linear", begin=leg.start, end=end, peak=leg.lr, cooldown_fraction=0.2)


def next_read(config: Config, state: State[Race]) -> int:
    """The end of the leg."""
    return state.phase.legs[-1].start + (span(config) or 1)


def decide(config: Config, state: State[Race]) -> State[Race] | State[Decay]:
    """While smaller LRs are better, the next; else on with the best."""
    race = state.phase
    *before, last = race.legs
    losses = np.where(np.isfinite(state.losses), state.losses, np.inf)
    end = losses[-max(noise.ENDS, round(END * len(losses))) :]
    last = replace(last, level=Level(trend.median(end), len(end)))
    state = state.replace(losses=no_losses(), nonfinite_reads=0)
    legs = (*before, last)
    better = not before or _lower(losses, last, before[-1])
    room = state.step + 3 * (span(config) or 1) < config.total_steps and last.lr * STEP >= config.min_lr
    if better and room and len(legs) < 4:
        legs = (*legs, Leg(state.step, last.lr * STEP))
        return state.replace(phase=replace(race, legs=legs), restores=state.restores + 1)
    best = last if better else before[-1]
    switch = replace(race.switch, step=state.step, peak_lr=best.lr, legs=legs)
    decay = Decay(switch, race.growth, race.least)
    if best is last and last.level is not None and math.isfinite(last.level.median):
        return state.replace(phase=decay, snapshot_step=state.step)
    return state.replace(phase=decay, restores=state.restores + 1)


def _lower(losses: np.ndarray, one: Leg, other: Leg) -> bool:
    if one.level is None or other.level is None:
        return False
    if not math.isfinite(one.level.median) or not math.isfinite(other.level.median):
        return True
    level = noise.noise_level(losses[np.isfinite(losses)])
    error = level * math.sqrt(
        trend.median_variance(one.level.losses) + trend.median_variance(other.level.losses)
    )
    return other.level.median - one.level.median > 2 * error
