"""What a read of the losses decides in warm-up, from lift-off on; what comes before is in `liftoff`.

Pure functions of configuration and state.
"""

from __future__ import annotations

import math

import numpy as np

from autowu.config import Config
from autowu.controller import ending
from autowu.controller.phases import probe, sweep
from autowu.controller.rate import growth_ends
from autowu.controller.state import State
from autowu.detector import trend


def decide(config: Config, state: State) -> State:
    """All that is decided at a read during warm-up."""
    if state.probe is not None:
        return probe.decide(config, state)
    if not math.isfinite(state.losses[-1]) or state.dead:
        since = state.losses[max(state.read, state.first) - state.first :]
        state = state.but(dead=0 if np.isfinite(since).any() else state.dead + 1)
    if config.rewind and state.copied is None:
        state = state.but(copied=state.step)
    ended = state.step >= growth_ends(config, state)
    if state.lifted is None:
        return sweep.before(config, state, ended)
    if not ended and state.read < state.settled:
        state = _settle(config, state)
        if state.step < state.settled and not state.dead:
            return state
    if not ended and config.screen is not None and trend.falling(state.losses, config.screen):
        return _falling(config, state)
    if not ended or config.return_at_cap or state.step % (config.steps_per_epoch or 1) == 0:
        state = ending.test(config, state)
    if state.streak >= config.patience:
        return probe.begin(config, state)
    return ending.at_cap(config, state) if ended else state


def _settle(config: Config, state: State) -> State:
    """The loss has fallen at these LRs already; what it does there again is no evidence, unless it rises.

    It may rest, until the LR is larger, or pass a dip that the fast growth had left behind.
    """
    assert config.lift_off is not None  # or else there is no fast growth
    risen = trend.shift(state.losses[np.isfinite(state.losses)], config.lift_off) > 0
    if state.step < state.settled:
        if state.dead:
            return state
        renew = not risen and state.copied is not None and math.isfinite(state.losses[-1])
        return state.but(streak=0, copied=state.step if renew else state.copied)
    if risen:
        return state
    first = max(state.read, state.first)
    return state.but(first=first, losses=state.losses[first - state.first :])


def _falling(config: Config, state: State) -> State:
    """No test, since the loss is plainly falling: no minimum is past.

    The copy is renewed when the loss has since fallen through a whole stretch, as far as the fall is known.
    """
    stretch = len(state.losses) // trend.STRETCHES
    renew = state.copied is not None and state.copied <= state.step - stretch
    return state.but(streak=0, copied=state.step if renew else state.copied)
