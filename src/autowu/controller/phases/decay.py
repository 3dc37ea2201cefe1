"""The decay phase; `Trial` while the switch may still prove to be a false alarm, `Decay` for good.

The switch claims that the loss has a minimum at t*, because the LR there is the largest that it bears. Such
an LR ends the fall of the loss before t*; one that is far too small does not. In that regime each update
lowers the loss in proportion to its LR, so that the loss falls plainly up to t*, while the LR doubles for the
last time, and goes on falling at that LR after the switch, no faster than before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from autowu.config import Config
from autowu.controller import ending
from autowu.controller.rate import decay_function
from autowu.controller.state import Decay, Grow, Growth, Phase, Reopening, State, Trial, no_losses
from autowu.detector import trend
from autowu.detector.trend import Fall


def law(config: Config, state: State[Trial | Decay]) -> Callable[[int], float]:
    """The shape ``config.decay``, from the switch to the end."""
    phase = state.phase
    return decay_function(config, phase.switch, phase.lr_drops if isinstance(phase, Decay) else 0)


def next_read(config: Config, state: State[Trial | Decay]) -> int | None:
    """The end of the trial; in 'plateau' the end of each interval; else none."""
    if isinstance(state.phase, Trial):
        return state.phase.switch.step + 2 * ending.window(config)
    if config.decay == "plateau":
        end = state.read + max(1, config.total_steps // config.plateau_intervals)
        return end if end < config.total_steps else None
    return None


def decide(config: Config, state: State[Trial | Decay]) -> State[Phase]:
    """The outcome of the trial, or whether 'plateau' drops the LR."""
    match state.phase:
        case Trial() as trial:
            return _settled(config, state, trial)
        case Decay() as phase:
            return _plateau(state, phase)


def _settled(config: Config, state: State[Trial | Decay], trial: Trial) -> State[Phase]:
    """Back to warm-up, from the LR as it is, if the loss refutes the switch; else the switch is final."""
    after = trend.fall(config, state.losses)
    state = state.replace(losses=no_losses())
    if not refuted(trial.fall_before, after, config.reopen or math.inf):
        return state.replace(phase=Decay(trial.switch, trial.grow.growth))
    lr = law(config, state)(state.step)
    reopening = Reopening(state.step, lr, trial.switch, trial.grow.growth)
    return state.replace(
        phase=Grow(Growth(state.step, lr, config.warmup_steps), state.step, trial.grow.origin),
        reopenings=(*state.reopenings, reopening),
    )


def refuted(before: Fall, after: Fall | None, threshold: float) -> bool:
    """Whether a loss that fell plainly up to t* falls plainly after the switch too, and no faster."""
    if after is None or not (trend.plain(before, threshold) and trend.plain(after, threshold)):
        return False
    return after.speed - before.speed <= threshold * math.hypot(before.error, after.error)


def _plateau(state: State[Trial | Decay], phase: Decay) -> State[Decay]:
    """Drop the LR if the mean loss of the interval is not below the last one's by two standard errors."""
    losses = state.losses[np.isfinite(state.losses)]
    state = state.replace(losses=no_losses())
    if not len(losses):
        return state.replace()
    mean = float(losses.mean())
    variance = float(losses.var(ddof=1)) / len(losses) if len(losses) > 1 else 0.0
    if phase.last_mean is not None:
        before, variance_before = phase.last_mean
        if before - mean <= 2 * math.sqrt(variance + variance_before):
            return state.replace(phase=replace(phase, lr_drops=phase.lr_drops + 1, last_mean=None))
    return state.replace(phase=replace(phase, last_mean=(mean, variance)))
