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
from autowu.controller.cuts import taken_back
from autowu.controller.rate import decay_function
from autowu.controller.state import Cut, Decay, State, no_losses
from autowu.detector import trend
from autowu.detector.trend import Stretch

STRETCHES: Final = 50
"""Of the run, each of which is read as one."""

SHORTEST: Final = 10
"""Updates of a stretch, at least: medians of fewer are too noisy."""

LOST: Final = 0.1
"""Share of the fall since the first losses that has to be lost again."""

CUT: Final = 1 / 3
"""By which a cut multiplies the LR: half of the decade between a good LR and one that explodes."""

FIRST: Final = 3
"""Losses right after the weights went back: they tell data that have changed from an LR that is too large."""

MOST: Final = 9
"""Cuts, at most: after so many the LR is a 20,000th of the peak, and it is not the LR's fault."""

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
    """The end of the stretch, or the run's; None where nobody looks, and after the last."""
    if state.read >= config.total_steps or (config.watch is None and config.decay != "plateau"):
        return None
    if config.decay == "plateau":
        return min(state.read + max(1, config.total_steps // config.plateau_intervals), config.total_steps)
    stretch = max(SHORTEST, config.total_steps // STRETCHES)
    end = state.read + stretch
    return end if config.total_steps - end >= stretch else config.total_steps  # none is shorter


def decide(config: Config, state: State[Decay]) -> State[Decay]:
    """Whether the loss has risen for good; whether 'plateau' drops the LR."""
    losses = state.losses
    if config.watch is not None:
        state = _watched(config, state, trend.stretch(losses, config.watch / math.sqrt(2)))
    if config.decay == "plateau" and state.step < config.total_steps:
        state = _plateau(state, losses)
    return state.replace(losses=no_losses())


# --- the watch -----------------------------------------------------------------------------------------


def _watched(config: Config, state: State[Decay], now: Stretch) -> State[Decay]:
    phase, ended = state.phase, state.step >= config.total_steps
    enough = len(state.losses) >= SHORTEST  # one NaN in a few is no lost network
    dead, judged = enough and not math.isfinite(now.median), enough and not ended
    changed = any(taken_back(phase.cuts, at) for at in range(len(phase.cuts)))  # then a rise says nothing
    if dead or (judged and not changed and _risen(state, now)):
        state = _cut_or_not(config, state, now, dead=dead)
    else:
        if judged and (phase.least is None or now.high < phase.least.high):
            state = state.replace(phase=replace(phase, least=now))
        kept = state.snapshot_step
        if kept is not None and state.step - kept >= RENEWED * config.total_steps:
            state = state.replace(snapshot_step=state.step)
    half = 2 * state.step >= config.total_steps and not ended  # at the end it helps nobody
    if half and state.origin is not None and not _fallen(state):
        state = state.replace(phase=replace(state.phase, no_fall=True))
    return state.replace(snapshot_step=None) if ended else state


def _cut_or_not(config: Config, state: State[Decay], now: Stretch, *, dead: bool) -> State[Decay]:
    """A cut, unless the loss was as high as soon as the weights had gone back: then it is the data."""
    cuts = state.phase.cuts
    if cuts and cuts[-1].step == state.read and cuts[-1].back_to is not None:
        first = state.losses[:FIRST]  # of weights that the LR has not had the time to spoil
        if dead and not np.isfinite(first).any():
            return state
        least = state.phase.least
        if not dead and least is not None and first.min() > least.high:
            return _undone(state, now)
    return _cut(state, now) if len(cuts) < MOST else state


def _risen(state: State[Decay], now: Stretch) -> bool:
    """Whether ``now`` is above the least level for good. Of a loss that never fell that says nothing."""
    least, origin = state.phase.least, state.origin
    if least is None or origin is None or not _fallen(state):
        return False
    lost = LOST * (origin.median - least.median)
    return now.low > least.high and now.median - least.median > lost


def _fallen(state: State[Decay]) -> bool:
    """Whether the least level is below the first losses by more than noise explains."""
    least, origin = state.phase.least, state.origin
    return least is not None and origin is not None and least.high < origin.low


def _cut(state: State[Decay], now: Stretch) -> State[Decay]:
    """Back to the snapshot, if there is one, and on with a third of the LR."""
    phase, back_to = state.phase, state.snapshot_step
    least = math.nan if phase.least is None else phase.least.median
    cut = Cut(state.step, CUT * factor(phase), back_to, now.median, least)
    return state.replace(
        phase=replace(phase, cuts=(*phase.cuts, cut)),
        restores=state.restores + (back_to is not None),
        nonfinite_reads=0,
    )


def _undone(state: State[Decay], now: Stretch) -> State[Decay]:
    """The data have changed: the LR is that of before the cut, and rises say nothing any more."""
    phase = state.phase
    before = phase.cuts[-2].factor if len(phase.cuts) > 1 else 1.0
    least = math.nan if phase.least is None else phase.least.median
    cut = Cut(state.step, before, None, now.median, least)
    return state.replace(phase=replace(phase, cuts=(*phase.cuts, cut)))


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
