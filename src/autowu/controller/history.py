"""The LR of every update so far: closed forms of the state, pieced together."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller.rate import decay_function, grown, growth_function
from autowu.controller.state import Decay, Growth, Phase, Probe, State, Switch, Trial


def learning_rates(config: Config, state: State[Phase], steps: Array) -> Array:
    """The LRs that the updates ``steps`` [n], counted from 0, had: NaN where 'plateau' has forgotten them."""
    starts, functions = _pieces(config, state)
    return np.array(
        [functions[bisect_right(starts, int(step)) - 1](int(step)) for step in steps], dtype=np.float64
    )


def _pieces(config: Config, state: State[Phase]) -> tuple[list[int], list[Callable[[int], float]]]:
    """What set the LR, and the first step that it did for."""
    starts, functions = list[int](), list[Callable[[int], float]]()
    phase = state.phase

    def grows(start: int, growth: Growth) -> None:
        starts.append(start)
        functions.append(growth_function(config, growth))

    def probes(growth: Growth, start: int | None) -> None:
        if start is not None:
            grows(start, Growth(start, grown(config, growth, start), config.sweep_steps))

    def decays(switch: Switch, function: Callable[[int], float]) -> None:
        starts.append(switch.step)
        functions.append(function)

    growths = [of.growth for of in state.reopenings]
    growths.append(phase.grow.growth if isinstance(phase, (Probe, Trial)) else phase.growth)
    if config.growth == "two-speed" and growths[0].start > 0:
        grows(0, Growth(0, config.min_lr, config.sweep_steps))
    grows(growths[0].start if starts else 0, growths[0])
    for of, before, growth in zip(state.reopenings, growths, growths[1:], strict=False):
        if of.probed:
            probes(before, of.switch.step)
        else:
            probes(before, of.switch.probed)
            decays(of.switch, decay_function(config, of.switch))
        grows(of.step, growth)
    if isinstance(phase, Probe):
        probes(growths[-1], phase.switch.step)
    elif isinstance(phase, (Trial, Decay)):
        probes(growths[-1], phase.switch.probed)
        decays(phase.switch, _last_decay(config, state, phase))
    return starts, functions


def _last_decay(config: Config, state: State[Phase], phase: Trial | Decay) -> Callable[[int], float]:
    drops = phase.lr_drops if isinstance(phase, Decay) else 0
    function = decay_function(config, phase.switch, drops)
    if config.decay != "plateau" or not drops:
        return function
    return lambda step: math.nan if step < state.step else function(step)
