"""Is the minimum the last one? Once it is detected the LR goes on, at the fast rate, before it goes back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from autowu.config import SHORTEST_SWEEP, Config
from autowu.controller import ending
from autowu.controller.phases import sweep
from autowu.controller.rate import grown, growth_function, next_test
from autowu.controller.state import (
    Decay,
    Grow,
    Growth,
    Phase,
    Probe,
    Reopening,
    State,
    Trial,
    no_losses,
)
from autowu.detector import noise, trend
from autowu.detector.trend import Level


def begin(config: Config, state: State[Grow]) -> State[Phase]:
    """Patience has run out: beyond the minimum, where that costs little, or else into the decay phase."""
    decided, grow = ending.back(config, state, capped=False), state.phase
    lr, t_star = grown(config, grow.growth, state.step), state.verdicts[-1].t_star
    # The weights of beyond are not to be trained on, and 40 updates are a tax on a short run.
    cheap = config.sweep_fraction * config.total_steps >= SHORTEST_SWEEP
    # A snapshot of this very step is a wish as yet: a host takes none of weights that are not finite.
    worth = cheap and state.snapshot_step is not None and state.snapshot_step < state.step
    room = lr < config.max_lr and state.step < config.warmup_steps and config.growth == "two-speed"
    if config.probe is None or t_star is None or state.nonfinite_reads or not (worth and room):
        return decided
    at, width = math.floor(t_star) - state.first, trend.end_width(len(state.losses))
    around = state.losses[max(0, at - width) : at + width + 1]
    around = around[np.isfinite(around)]
    if not len(around) or grow.origin is None:
        return decided
    phase = Probe(
        growth=Growth(state.step, lr, config.sweep_steps),
        grow=grow,
        switch=decided.phase.switch,
        fall_before=decided.phase.fall_before if isinstance(decided.phase, Trial) else None,
        minimum=Level(trend.median(around), len(around)),
        origin=grow.origin,
    )
    return state.replace(phase=phase, losses=no_losses())


def law(config: Config, state: State[Probe]) -> Callable[[int], float]:
    """Eq. 1 of the paper."""
    return growth_function(config, state.phase.growth)


def next_read(config: Config, state: State[Probe]) -> int:
    """As before lift-off, or the cap."""
    spacing = min(sweep.LOOKS, config.test_growth or sweep.LOOKS)
    return min(next_test(config, state.phase.growth, state.read, spacing), config.warmup_steps)


def decide(config: Config, state: State[Probe]) -> State[Phase]:
    """Whether the loss has fallen below the minimum, by more than noise explains, or the LR is far beyond it.

    A rise says nothing as yet: the first of two minima may have a hill behind it. A loss above the first ones
    does, or one that is not finite, since then all is lost that had been learned.
    """
    probe, most = state.phase, config.probe or 1.0  # Config has one, or there is no probe
    if not np.isfinite(state.losses).all():
        return _confirmed(config, state)
    capped = state.step >= config.warmup_steps  # and no time to go on growing
    if not capped and trend.shift(state.losses, config.fall_threshold, probe.minimum) < 0:
        return _refuted(config, state)
    lost = trend.shift(state.losses, config.fall_threshold, probe.origin) > 0
    lr = grown(config, probe.growth, state.step)
    far = lr >= most * probe.growth.lr * (1 - 1e-9) and len(state.losses) >= 2 * noise.ENDS
    return _confirmed(config, state) if lost or far or lr >= config.max_lr or capped else state


def _refuted(config: Config, state: State[Probe]) -> State[Grow]:
    """The slow growth goes on from here, as it does from lift-off."""
    probe = state.phase
    growth, tests_from = sweep.slowed(config, probe.growth, state.step)
    reopening = Reopening(state.step, growth.lr, probe.switch, probe.grow.growth, probed=True)
    return state.replace(
        phase=Grow(growth, state.step, probe.origin, tests_from),
        snapshot_step=state.step,
        losses=no_losses(),
        reopenings=(*state.reopenings, reopening),
    )


def _confirmed(config: Config, state: State[Probe]) -> State[Trial | Decay]:
    """The decay phase begins."""
    probe = state.phase
    switch = replace(probe.switch, step=state.step, probed=probe.switch.step)
    fall_before = probe.fall_before if ending.in_time(config, state.step) else None
    return ending.into_decay(state, switch, probe.grow, fall_before, restore=True)
