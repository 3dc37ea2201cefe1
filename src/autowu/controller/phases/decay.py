"""The decay phase, watched to its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller.phases import watch
from autowu.controller.rate import after_switch
from autowu.controller.state import Decay, State, no_losses, replace
from autowu.detector import noise

LEAST: Final = 1e-30
"""Share of the peak LR below which 'plateau' does not go, lest the LR become 0 in a run without an end."""


def law(config: Config, state: State[Decay]) -> Callable[[int], float]:
    """The decay from the peak, times the factor of the last cut and the drops of 'plateau'."""
    return after_switch(config, state.phase)


def next_read(config: Config, state: State[Decay]) -> int | None:
    """The end of the stretch, or the run's; None where nobody looks, and after the last."""
    phase, plateau = state.phase, config.decay == "plateau"
    ends = math.inf if state.horizon.end is None else state.horizon.end
    if state.read >= ends or (config.watch is None and not plateau):
        return None
    stretch = watch.stretch(config, state, config.plateau_intervals if plateau else watch.STRETCHES)
    due = state.read + stretch
    if not plateau and ends - due < stretch:  # none is shorter than the others
        due = ends
    planned = phase.lines[-1].start + 1 if phase.lines else 0
    return int(min(max(due, planned), ends))


def decide(config: Config, state: State[Decay]) -> State[Decay]:
    """Whether the loss has risen for good; whether 'plateau' drops the LR."""
    state = watch.watched(config, state)
    phase = state.phase
    if config.decay == "plateau" and not phase.lines and not state.ended:
        phase = _plateau(config, phase, noise.finite(state.losses))
    return state.replace(phase=phase, losses=no_losses())


def _plateau(config: Config, phase: Decay, losses: Array) -> Decay:
    """Drop the LR if the mean loss of the interval is not below the last one's by two standard errors."""
    if len(losses) < 2:
        return phase
    mean, error = _mean(losses)
    if phase.last_mean is not None:
        before, error_before = phase.last_mean
        if before - mean <= 2 * math.hypot(error, error_before):
            lower = config.plateau_factor ** (phase.lr_drops + 1) >= LEAST
            return replace(phase, lr_drops=phase.lr_drops + lower, last_mean=None)
    return replace(phase, last_mean=(mean, error))


def _mean(losses: Array) -> tuple[float, float]:
    """The mean of ``losses``, and its standard error. Their squares may be too large for floating point."""
    unit = float(np.abs(losses).max()) or 1.0
    part = losses / unit
    return unit * float(part.mean()), unit * float(part.std(ddof=1)) / math.sqrt(len(part))
