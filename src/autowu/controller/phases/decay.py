"""The decay phase, watched to its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller.phases import watch
from autowu.controller.rate import decay_function
from autowu.controller.state import Decay, State, no_losses

LEAST: Final = 1e-30
"""Share of the peak LR below which 'plateau' does not go, lest the LR become 0 in a run without an end."""


def law(config: Config, state: State[Decay]) -> Callable[[int], float]:
    """The shape ``config.decay`` along the last line, times the factor of the last cut."""
    phase = state.phase
    peak_lr = watch.factor(phase) * phase.switch.peak_lr * config.plateau_factor**phase.lr_drops
    return decay_function(config, peak_lr, phase.lines[-1] if phase.lines else None)


def next_read(config: Config, state: State[Decay]) -> int | None:
    """The end of the stretch, or the run's; None where nobody looks, and after the last."""
    ends = math.inf if state.horizon.end is None else state.horizon.end
    if state.read >= ends or (config.watch is None and config.decay != "plateau"):
        return None
    planned = state.phase.lines[-1].start + 1 if state.phase.lines else 0
    if config.decay == "plateau":
        interval = max(config.length, state.read) // config.plateau_intervals
        due = state.read + max(watch.SHORTEST, interval)
    else:
        due = state.read + watch.stretch(config, state)
        if ends - due < due - state.read:  # none is shorter than the others
            due = ends
    return int(min(max(due, planned), ends))


def decide(config: Config, state: State[Decay]) -> State[Decay]:
    """Whether the loss has risen for good; whether 'plateau' drops the LR."""
    losses, state = state.losses, watch.watched(config, state)
    if config.decay == "plateau" and not state.phase.lines and not state.ended:
        state = _plateau(config, state, losses)
    return state.replace(losses=no_losses())


def _plateau(config: Config, state: State[Decay], losses: Array) -> State[Decay]:
    """Drop the LR if the mean loss of the interval is not below the last one's by two standard errors."""
    phase, losses = state.phase, losses[np.isfinite(losses)]
    if len(losses) < 2:
        return state
    mean, error = _mean(losses)
    if phase.last_mean is not None:
        before, error_before = phase.last_mean
        if before - mean <= 2 * math.hypot(error, error_before):
            lower = config.plateau_factor ** (phase.lr_drops + 1) >= LEAST
            return state.replace(phase=replace(phase, lr_drops=phase.lr_drops + lower, last_mean=None))
    return state.replace(phase=replace(phase, last_mean=(mean, error)))


def _mean(losses: Array) -> tuple[float, float]:
    """The mean of ``losses``, and its standard error. Their squares may be too large for floating point."""
    unit = float(np.abs(losses).max()) or 1.0
    part = losses / unit
    return unit * float(part.mean()), unit * float(part.std(ddof=1)) / math.sqrt(len(part))
