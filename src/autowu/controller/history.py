"""The LR of every update so far: closed forms of the state, pieced together."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller.rate import decay_function, growth_function
from autowu.controller.state import Decay, Growth, Phase, State


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

    if config.growth == "two-speed" and phase.growth.start > 0:
        grows(0, Growth(0, config.min_lr, config.sweep_steps))
    grows(phase.growth.start if starts else 0, phase.growth)
    if isinstance(phase, Decay):
        for start, factor in [(phase.switch.step, 1.0), *((cut.step, cut.factor) for cut in phase.cuts)]:
            starts.append(start)
            functions.append(_decay(config, state, phase, factor))
    return starts, functions


def _decay(config: Config, state: State[Phase], phase: Decay, factor: float) -> Callable[[int], float]:
    function = decay_function(config, phase.switch, phase.lr_drops, factor)
    if config.decay != "plateau" or not phase.lr_drops:
        return function
    return lambda step: math.nan if step < state.step else function(step)
