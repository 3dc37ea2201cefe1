"""The decay phase, watched to its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller.phases import watch
from autowu.controller.rate import decay_function
from autowu.controller.state import Decay, State, no_losses


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
        due = state.read + max(1, config.length // config.plateau_intervals)
    else:
        due = state.read + watch.stretch(config, state)
        if ends - due < due - state.read:  # none is shorter than the others
            due = ends
    return int(min(max(due, planned), ends))


def decide(config: Config, state: State[Decay]) -> State[Decay]:
    """Whether the loss has risen for good; whether 'plateau' drops the LR."""
    losses, state = state.losses, watch.watched(config, state)
    if config.decay == "plateau" and not state.phase.lines and not state.ended:
        state = _plateau(state, losses)
    return state.replace(losses=no_losses())


def _plateau(state: State[Decay], losses: Array) -> State[Decay]:
    """Drop the LR if the mean loss of the interval is not below the last one's by two standard errors."""
    phase, losses = state.phase, losses[np.isfinite(losses)]
    if not len(losses):
        return state
    mean = float(losses.mean())
    variance = float(losses.var(ddof=1)) / len(losses) if len(losses) > 1 else 0.0
    if phase.last_mean is not None:
        before, variance_before = phase.last_mean
        if before - mean <= 2 * math.sqrt(variance + variance_before):
            return state.replace(phase=replace(phase, lr_drops=phase.lr_drops + 1, last_mean=None))
    return state.replace(phase=replace(phase, last_mean=(mean, variance)))
