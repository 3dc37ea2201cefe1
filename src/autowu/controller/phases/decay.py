"""The decay phase, watched to its end: where the loss rises for good, back to the snapshot, and on with less.

The losses are read in stretches of a fiftieth of the run. If the median of one is above the least so far by
more than noise explains, and by a tenth of what the loss has fallen, the LR was too large after all: the
weights go back to the snapshot, and the LR falls to a third. If the loss is as high right after that, it was
the data that changed, and the LR goes back to what it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller.rate import decay_function
from autowu.controller.state import Cut, Decay, State, no_losses
from autowu.detector import noise, trend
from autowu.detector.trend import Level

STRETCHES: Final = 50
"""Of the run, each of which is read as one."""

SHORTEST: Final = 10
"""Updates of a stretch, at least: medians of fewer are too noisy."""

LOST: Final = 0.1
"""Share of the fall since the first losses that has to be lost again."""

CUT: Final = 1 / 3
"""By which a cut multiplies the LR: half of the decade between a good LR and one that explodes."""

KEPT: Final = math.sqrt(0.9)
"""Share of the noise that is known, when that of a further stretch comes in."""

RENEWED: Final = 0.2
"""Share of the run after which the snapshot is taken anew."""


def law(config: Config, state: State[Decay]) -> Callable[[int], float]:
    """The shape ``config.decay``, from the switch to the end, times the factor of the last cut."""
    phase = state.phase
    return decay_function(config, phase.switch, phase.lr_drops, factor(phase))


def factor(phase: Decay) -> float:
    """The share of the switch's line that the LR is now."""
    return phase.cuts[-1].factor if phase.cuts else 1.0


def next_read(config: Config, state: State[Decay]) -> int | None:
    """The end of the stretch; None where nobody watches, and after the last."""
    if config.decay == "plateau":
        end = state.read + max(1, config.total_steps // config.plateau_intervals)
        return end if end < config.total_steps else None
    if config.watch is None or state.read >= config.total_steps:
        return None
    return min(state.read + max(SHORTEST, config.total_steps // STRETCHES), config.total_steps)


def decide(config: Config, state: State[Decay]) -> State[Decay]:
    """Whether the loss has risen for good; whether 'plateau' drops the LR."""
    losses = state.losses
    if config.watch is not None:
        state = _watched(config, state, config.watch)
    if config.decay == "plateau":
        state = _plateau(state, losses)
    return state.replace(losses=no_losses())


# --- the watch -----------------------------------------------------------------------------------------


def _watched(config: Config, state: State[Decay], threshold: float) -> State[Decay]:
    phase, losses = state.phase, np.where(np.isfinite(state.losses), state.losses, np.inf)
    now = Level(trend.median(losses), len(losses))
    if _risen(state, losses, now, threshold):
        first = trend.beginning(losses)
        after_cut = bool(phase.cuts) and phase.cuts[-1].step == state.read
        if after_cut and phase.cuts[-1].back_to is not None and _risen(state, losses, first, threshold):
            return _undone(state, now)
        return _cut(state, now)
    lower = math.isfinite(now.median) and (phase.least is None or now.median < phase.least.median)
    phase = replace(phase, least=now if lower else phase.least, noise=_noise(phase, losses))
    state = state.replace(phase=phase)
    if state.read < config.total_steps / 2 <= state.step and not _fallen(state, losses, threshold):
        state = state.replace(phase=replace(state.phase, no_fall=True))
    if state.snapshot_step is None:
        return state
    if state.step >= config.total_steps:
        return state.replace(snapshot_step=None)
    due = state.step - state.snapshot_step >= RENEWED * config.total_steps
    return state.replace(snapshot_step=state.step) if due else state


def _risen(state: State[Decay], losses: Array, now: Level, threshold: float) -> bool:
    """Whether ``now`` is above the least level for good. Of a loss that never fell only the end is seen."""
    if not math.isfinite(now.median):
        return True
    least = state.phase.least
    if least is None or not _fallen(state, losses, threshold):
        return False
    lost = LOST * (state.origin.median - least.median) if state.origin else 0.0
    rise = now.median - least.median
    return rise > lost and rise > threshold * _error(state, losses, now, least)


def _fallen(state: State[Decay], losses: Array, threshold: float) -> bool:
    """Whether the least level is below the first losses by more than noise explains."""
    least, origin = state.phase.least, state.origin
    if least is None or origin is None:
        return False
    return origin.median - least.median > threshold * _error(state, losses, least, origin)


def _error(state: State[Decay], losses: Array, one: Level, other: Level) -> float:
    """The standard error of the difference of two levels, under the noise of before ``losses``, if known."""
    known = state.phase.noise
    level = _level(losses) if known is None else known
    return level * math.sqrt(trend.median_variance(one.losses) + trend.median_variance(other.losses))


def _noise(phase: Decay, losses: Array) -> float:
    """With that of ``losses``, which have not risen: a mean over some ten stretches, since one has few.

    The end of a stretch may be where the loss explodes, and so none counts for more than twice what is known.
    """
    known, level = phase.noise, _level(losses)
    if not known:
        return level
    return math.hypot(KEPT * known, math.sqrt(1 - KEPT**2) * min(level, 2 * known))


def _level(losses: Array) -> float:
    return noise.noise_level(losses[np.isfinite(losses)])


def _cut(state: State[Decay], now: Level) -> State[Decay]:
    """Back to the snapshot, if there is one, and on with a third of the LR."""
    phase, back_to = state.phase, state.snapshot_step
    least = math.nan if phase.least is None else phase.least.median
    cut = Cut(state.step, CUT * factor(phase), back_to, now.median, least)
    return state.replace(
        phase=replace(phase, cuts=(*phase.cuts, cut)),
        restores=state.restores + (back_to is not None),
        nonfinite_reads=0,
    )


def _undone(state: State[Decay], now: Level) -> State[Decay]:
    """The data have changed: the LR is that of before the cut, and what the loss was does not count."""
    phase = state.phase
    before = phase.cuts[-2].factor if len(phase.cuts) > 1 else 1.0
    least = math.nan if phase.least is None else phase.least.median
    cut = Cut(state.step, before, None, now.median, least)
    return state.replace(phase=replace(phase, cuts=(*phase.cuts, cut), least=now, noise=None))


# --- 'plateau' -----------------------------------------------------------------------------------------


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
