"""The phase machine: pure functions over a frozen state.

    start(config) -> state
    observe(config, state, losses) -> state
    learning_rate(config, state, step) -> η

Warm-up grows the LR. In the paper preset it is tested at each epoch's end whether the minimum of the loss is
past (Algorithm 1). In the default preset growth is fast until lift-off, then slow, and a test comes each time
the LR has grown by a fixed factor. When the minimum has been detected ``patience`` times in a row, or after
⌊ρ_w T⌋ updates, the cap, the decay phase begins: in the default preset after a look at larger LRs, the probe,
for a loss that is lower still. If the loss had been falling up to then, and goes on falling no faster, the
switch was a false alarm, and warm-up goes on.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller.phases import decay
from autowu.controller.phases import growth as growing
from autowu.controller.rate import grown_at, growth, growth_ends, law, learning_rate
from autowu.controller.state import Leg, Reopening, State, no_losses
from autowu.detector import trend

__all__ = ["growth", "law", "learning_rate", "observe", "start"]


LOOKS: Final = 1.1
"""Growth of the LR, at most, between two reads at the fast rate, however far tests are apart.

The fast growth may cross the whole range of LRs within an epoch.
"""


def start(config: Config) -> State:
    """The state before the first update."""
    sweeping = config.growth == "two-speed"
    span = config.sweep_steps if sweeping else config.warmup_steps
    state = State(
        step=0,
        read_at=0,
        leg=Leg(0, config.min_lr, span),
        sweeping=sweeping,
        lifted=0 if config.lift_off is None else None,
    )
    return state.but(read_at=_next_read(config, state))


def observe(config: Config, state: State, losses: Array) -> State:
    """Take in the losses of the next updates [n], one each, and decide whatever falls due among them.

    The outcome does not depend on how the losses are cut into calls. A caller may hold them back until
    ``state.read_at``; until then :func:`learning_rate` needs none.
    """
    losses = np.asarray(losses, dtype=np.float64)
    while len(losses):
        due = len(losses) if state.read_at is None else state.read_at - state.step
        state, losses = _take(state, losses[:due]), losses[due:]
        if state.step == state.read_at:
            state = _decide(config, state)
            state = state.but(read=state.step, read_at=_next_read(config, state))
    return state


def _take(state: State, losses: Array) -> State:
    kept = state.losses if state.read_at is None else np.concatenate([state.losses, losses])
    return state.but(step=state.step + len(losses), losses=kept)


def _decide(config: Config, state: State) -> State:
    if state.switch is None:
        return growing.decide(config, state)
    return _plateau(config, state) if state.doubt is None else _settle(config, state)


# --- when ---------------------------------------------------------------------------------------------


def _next_read(config: Config, state: State) -> int | None:
    if state.switch is None:
        return min(_next_test(config, state), growth_ends(config, state))
    if state.doubt is not None:
        return state.switch.step + 2 * decay.window(config)
    if config.decay == "plateau":
        end = state.step + max(1, config.total_steps // config.plateau_intervals)
        return end if end < config.total_steps else None
    return None


def _next_test(config: Config, state: State) -> int:
    """The end of the epoch, or the step at which the LR will have grown by ``test_growth``."""
    spacing = config.test_growth
    if config.growth == "two-speed" and (state.lifted is None or state.probe is not None):
        spacing = min(LOOKS, spacing or LOOKS)
    if spacing is not None:
        return grown_at(config, state, spacing)
    assert config.steps_per_epoch is not None  # Config sees to it
    return (state.step // config.steps_per_epoch + 1) * config.steps_per_epoch


# --- a switch that may be wrong -------------------------------------------------------------------------


def _settle(config: Config, state: State) -> State:
    """Back to warm-up, from the LR as it is, if the loss refutes the switch; else the switch is final."""
    assert state.switch is not None
    assert state.doubt is not None
    assert config.reopen is not None  # or else there is no doubt
    after = trend.fall(config, state.losses)
    settled = state.but(doubt=None, first=state.step, losses=no_losses())
    if not decay.refuted(state.doubt, after, config.reopen):
        return settled
    lr = learning_rate(config, state, state.step)
    return settled.but(
        switch=None,
        reopenings=(*state.reopenings, Reopening(state.step, lr, state.switch, state.leg)),
        leg=Leg(state.step, lr, config.warmup_steps),
        lifted=state.step,
        streak=0,
    )


# --- decay --------------------------------------------------------------------------------------------


def _plateau(config: Config, state: State) -> State:
    """Drop the LR if the mean loss of the interval is not below the last one's by two standard errors."""
    losses = state.losses[np.isfinite(state.losses)]
    state = state.but(first=state.step, losses=no_losses())
    if not len(losses):
        return state
    mean = float(losses.mean())
    variance = float(losses.var(ddof=1)) / len(losses) if len(losses) > 1 else 0.0
    if state.previous is not None:
        before, variance_before = state.previous
        if before - mean <= 2 * math.sqrt(variance + variance_before):
            return state.but(drops=state.drops + 1, previous=None)
    return state.but(previous=(mean, variance))
