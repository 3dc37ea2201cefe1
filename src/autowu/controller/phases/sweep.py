"""Before lift-off: has the loss moved by more than noise explains?

Pure functions of configuration and state. A fall ends the fast growth; a rise sends it back.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller import ending
from autowu.controller.rate import growth
from autowu.controller.state import Leg, Rise, State, no_losses
from autowu.detector import trend

# A rise shows only in medians, while the fast growth goes on. So the slow growth begins two decades below the
# LR that it was seen at: one for those updates in a short run, and one for the LR that is looked for.
RETREAT: Final = 100.0

# As in LR range tests: the loss explodes at some ten times a good LR (docs/algorithm.md, "Two speeds").
MARGIN: Final = 10.0


def before(config: Config, state: State, ended: bool) -> State:
    """No minimum counts before the loss has fallen by more than noise explains."""
    assert config.lift_off is not None  # or else lift-off is at step 0
    losses = state.losses[np.isfinite(state.losses)]
    known = state.rise and state.rise.level
    moved = trend.shift(losses, config.lift_off, known)
    if moved < 0:
        return _lifted(config, state.but(origin=known or trend.beginning(losses)))
    dead = state.dead >= config.patience
    if config.growth == "two-speed" and state.step < config.warmup_steps:
        state = state.but(streak=state.streak + 1 if moved > 0 else 0)
        if dead or (moved > 0 and (state.sweeping or state.streak >= config.patience)):
            return _risen(config, state, losses)
        return _slower(config, state, config.min_lr) if state.sweeping and ended else state
    return _never(config, state, moved > 0 or dead) if ended or dead else state


def _lifted(config: Config, state: State) -> State:
    # Tests look at the slow growth alone: since now, or since a failed sweep, when it began.
    if state.sweeping or config.growth != "two-speed":
        state = state.but(first=state.step, losses=no_losses())
    if state.sweeping:
        state = slowed(config, state)
    state = state.but(lifted=state.step, streak=0)
    if state.step == config.warmup_steps:  # the weights of now are those to go on with
        return ending.at_cap(config, state.but(copied=None))
    return state.but(copied=state.step if config.rewind else None)


def slowed(config: Config, state: State) -> State:
    """The slow growth begins at the LR from before the updates in whose losses the fall shows."""
    back = trend.ends(state.step - state.leg.start)
    leg = Leg(state.step, growth(config, state, state.step - back), config.warmup_steps)
    settled = state.step + math.ceil(back * config.warmup_steps / config.sweep_steps)
    return state.but(leg=leg, sweeping=False, settled=settled)


def _risen(config: Config, state: State, losses: Array) -> State:
    """Noise hid the fall of the loss, and the LR is far too large already, it seems.

    Back to the initial weights, two decades lower, at the slow rate. If the loss rises again at such an LR,
    that is too large for it. If at a much lower one, the first rise was seen late, or is none that the LR has
    made: back once more, and what the loss was before does not count. If it then rises at next to no LR, the
    data drift. (A loss that is not finite is neither late nor does it drift.)
    """
    lr, rise = growth(config, state, state.step), state.rise
    lower = max(lr / RETREAT, config.min_lr)
    if rise is None:
        earlier = losses[: -trend.ends(len(losses))]  # the last ones are those that have risen
        known = state.copied is not None and state.copied < state.step and len(earlier) > 0
        level = trend.Level(trend.median(earlier), len(earlier)) if known else None
        return _slower(config, state, lower).but(rise=Rise(lr, level))
    at_most = max(rise.lr, RETREAT * config.min_lr)  # growth can go back no further than to η_min
    if not state.dead and (rise.drifts or (rise.level is None and lr < MARGIN * config.min_lr)):
        state = state.but(first=state.step, losses=no_losses(), streak=0)
        return state.but(rise=Rise(min(lr, rise.lr), None, drifts=True))
    if lr < at_most / MARGIN and not state.dead:
        return _slower(config, state, lower).but(rise=Rise(lr, None))
    peak_lr = _below(config, lr)
    if not state.dead:  # or else it is known at what LR the loss ceased to be finite
        # Noise may have hidden this rise, too, until the LR was more than ten times too large. The least of
        # the loss on the way is no sign of a fall, but it takes the LR down by up to ten times more.
        state = _tested(config, state)
        if (t_star := state.verdicts[-1].t_star) is not None:
            peak_lr = min(peak_lr, max(growth(config, state, t_star), _below(config, peak_lr)))
    return ending.switch(config, state, None, peak_lr, capped=False, rewind=True)


def _slower(config: Config, state: State, lr: float) -> State:
    """The fast growth went past whatever there was to see: from the initial weights, at the slow rate."""
    leg, restores = Leg(state.step, lr, config.warmup_steps), state.restores + (state.copied is not None)
    state = state.but(leg=leg, sweeping=False, restores=restores, dead=0, streak=0)
    return state.but(first=state.step, losses=no_losses())


def _never(config: Config, state: State, risen: bool) -> State:
    """A loss that never fell shows no LR to be good: √(η_min η_max), where that is not known to be too large.

    If it has not risen either, it takes η_max, at least, to make it explode. The LR to begin with is an order
    of magnitude below that, or the LR of the least loss if a test at the cap says that it is past. Else it is
    tested for the record alone: if it has a minimum, that is one by chance.
    """
    capped = state.step >= config.warmup_steps
    if capped and not config.return_at_cap and state.dead < config.patience:
        return ending.at_cap(config, state)
    lr, middle = growth(config, state, state.step), math.sqrt(config.min_lr) * math.sqrt(config.max_lr)
    known = [_below(config, lr)] if risen else []
    if state.rise is not None:
        # Growth may have come beyond the LR of the last rise, but not of one before.
        beyond = lr > 1.01 * state.rise.lr and not state.rise.drifts
        known += [lr if beyond else _below(config, state.rise.lr)]
    finite = bool(np.isfinite(state.losses).all())
    state = _tested(config, state)
    peak_lr = min([middle, *known])
    if finite and not known and not state.sweeping:  # the fast growth alone would be too fast to tell
        verdict, peak_lr = state.verdicts[-1], _below(config, config.max_lr)
        if verdict.detected and verdict.t_star is not None:
            peak_lr = min(peak_lr, max(middle, growth(config, state, verdict.t_star)))
    return ending.switch(config, state, None, peak_lr, capped=capped, rewind=True)


def _tested(config: Config, state: State) -> State:
    """With a test of its own: the streak was one of rises, and a copy of now would never be taken."""
    return ending.test(config, state.but(streak=0)).but(copied=state.copied)


def _below(config: Config, lr: float) -> float:
    """An order of magnitude below an LR that is too large."""
    return max(lr / MARGIN, config.min_lr)
