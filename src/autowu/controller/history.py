"""The LR of every update so far: closed forms of the state, pieced together."""

from __future__ import annotations

import math
from bisect import bisect_right

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller.rate import after_switch, growth_function
from autowu.controller.state import AfterSwitch, Decay, Growth, Phase, State


def learning_rates(config: Config, state: State[Phase], steps: Array) -> Array:
    """The LRs that the updates ``steps`` [n], counted from 0, had: NaN where 'plateau' has forgotten them."""
    phase, at = state.phase, steps.astype(int)
    pieces = [(growth.start, growth_function(config, growth)) for growth in _chain(phase.growth)]
    if isinstance(phase, AfterSwitch):
        lines = phase.lines if isinstance(phase, Decay) else ()
        changes = {phase.switch.step, *(cut.step for cut in phase.cuts), *(line.start for line in lines)}
        pieces += [(start, after_switch(config, phase, start)) for start in sorted(changes)]
    starts = [start for start, _ in pieces]
    lrs = np.array([pieces[bisect_right(starts, step) - 1][1](step) for step in at.tolist()], np.float64)
    if isinstance(phase, Decay) and phase.lr_drops:
        lrs[(phase.switch.step <= at) & (at < state.step)] = math.nan
    return lrs


def _chain(growth: Growth) -> list[Growth]:
    """Those of the run, the first one first."""
    return [*([] if growth.before is None else _chain(growth.before)), growth]
