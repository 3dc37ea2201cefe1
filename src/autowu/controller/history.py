"""The LR of every update so far: closed forms of the state, pieced together."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller.rate import decay_function, growth_function
from autowu.controller.state import AfterSwitch, Decay, Growth, Phase, State


def learning_rates(config: Config, state: State[Phase], steps: Array) -> Array:
    """The LRs that the updates ``steps`` [n], counted from 0, had: NaN where 'plateau' has forgotten them."""
    starts, functions = _pieces(config, state)
    return np.array(
        [functions[bisect_right(starts, int(step)) - 1](int(step)) for step in steps], dtype=np.float64
    )


def _pieces(config: Config, state: State[Phase]) -> tuple[list[int], list[Callable[[int], float]]]:
    """What set the LR, and the first step that it did for."""
    phase = state.phase
    starts, functions = list[int](), list[Callable[[int], float]]()

    def grows(start: int, growth: Growth) -> None:
        starts.append(start)
        functions.append(growth_function(config, growth))

    for growth in _chain(phase.growth):
        grows(growth.start, growth)
    if isinstance(phase, AfterSwitch):
        lines = phase.lines if isinstance(phase, Decay) else ()
        changes = (*(cut.step for cut in phase.cuts), *(line.start for line in lines))
        for start in sorted({phase.switch.step, *changes}):
            starts.append(start)
            functions.append(_after_switch(config, state, phase, start))
    return starts, functions


def _chain(growth: Growth) -> list[Growth]:
    """Those of the run, the first one first."""
    return [*([] if growth.before is None else _chain(growth.before)), growth]


def _after_switch(
    config: Config, state: State[Phase], phase: AfterSwitch, start: int
) -> Callable[[int], float]:
    """By the last cut and the last line that had come at ``start``."""
    factors = [cut.factor for cut in phase.cuts if cut.step <= start]
    peak_lr = (factors[-1] if factors else 1.0) * phase.switch.peak_lr
    if not isinstance(phase, Decay):
        return decay_function(config, peak_lr, None)
    lines = [line for line in phase.lines if line.start <= start]
    lowered = peak_lr * config.plateau_factor**phase.lr_drops
    function = decay_function(config, lowered, lines[-1] if lines else None)
    if not phase.lr_drops:
        return function
    return lambda step: math.nan if step < state.step else function(step)
