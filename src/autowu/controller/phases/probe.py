"""Is the minimum the last one? Once it is detected the LR goes on, at the fast rate, before it goes back.

Pure functions of configuration and state.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from autowu.config import SHORTEST_SWEEP, Config
from autowu.controller import ending
from autowu.controller.phases import decay, sweep
from autowu.controller.rate import growth
from autowu.controller.state import Leg, Probe, Reopening, State, no_losses
from autowu.detector import noise, trend


def begin(config: Config, state: State) -> State:
    """Patience has run out: beyond the minimum, where that costs little, or else into the decay phase."""
    decided = ending.back(config, state, capped=False)
    switch, lr = decided.switch, growth(config, state, state.step)
    assert switch is not None
    t_star = state.verdicts[-1].t_star
    # The weights of beyond are not to be trained on, and 40 updates are a tax on a short run.
    cheap = config.sweep_fraction * config.total_steps >= SHORTEST_SWEEP
    # A copy of this very step is a wish as yet: a host takes none of weights that are not finite.
    worth = cheap and state.copied is not None and state.copied < state.step
    room = lr < config.max_lr and state.step < config.warmup_steps and config.growth == "two-speed"
    if config.probe is None or t_star is None or state.dead or not (worth and room):
        return decided
    at, width = math.floor(t_star) - state.first, trend.ends(len(state.losses))
    around = state.losses[max(0, at - width) : at + width + 1]
    around = around[np.isfinite(around)]
    if not len(around):
        return decided
    level = trend.Level(trend.median(around), len(around))
    leg = Leg(state.step, lr, config.sweep_steps)
    probe = Probe(switch, decided.doubt, state.leg, level)
    return state.but(probe=probe, leg=leg, first=state.step, losses=no_losses())


def decide(config: Config, state: State) -> State:
    """Whether the loss has fallen below the minimum, by more than noise explains, or the LR is far beyond it.

    A rise says nothing as yet: the first of two minima may have a hill behind it. A loss above the first ones
    does, or one that is not finite, since then all is lost that had been learned.
    """
    assert state.probe is not None
    assert config.probe is not None
    assert config.lift_off is not None
    if not np.isfinite(state.losses).all():
        return _confirmed(config, state, state.probe)
    capped = state.step >= config.warmup_steps  # and no time to go on growing
    if not capped and trend.shift(state.losses, config.lift_off, state.probe.level) < 0:
        return _refuted(config, state)
    lost = trend.shift(state.losses, config.lift_off, state.origin) > 0
    lr = growth(config, state, state.step)
    far = lr >= config.probe * state.leg.lr * (1 - 1e-9) and len(state.losses) >= 2 * noise.ENDS
    ended = far or lr >= config.max_lr or capped
    return _confirmed(config, state, state.probe) if lost or ended else state


def _refuted(config: Config, state: State) -> State:
    """The slow growth goes on from here, as it does from lift-off."""
    assert state.probe is not None
    probe, state = state.probe, sweep.slowed(config, state)
    reopening = Reopening(state.step, state.leg.lr, probe.switch, probe.leg, probed=True)
    state = state.but(probe=None, streak=0, lifted=state.step, reopenings=(*state.reopenings, reopening))
    return state.but(copied=state.step, first=state.step, losses=no_losses())


def _confirmed(config: Config, state: State, probe: Probe) -> State:
    """The decay phase begins."""
    switch = replace(probe.switch, step=state.step, probed=probe.switch.step)
    doubt = probe.doubt if decay.in_time(config, state.step) else None
    state = state.but(switch=switch, doubt=doubt, leg=probe.leg, probe=None, copied=None)
    return state.but(restores=state.restores + 1, first=state.step, losses=no_losses())
