"""The learning rate: a closed form of configuration, state and step."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from autowu.config import Config
from autowu.controller import schedule
from autowu.controller.state import State


def learning_rate(config: Config, state: State, step: int) -> float:
    """η of update ``step`` (counted from 0), for ``state.step ≤ step ≤ state.read_at``; a closed form.

    From ``total_steps`` on the LR stays what it is there.
    """
    return law(config, state)(step)


def law(config: Config, state: State) -> Callable[[int], float]:
    """:func:`learning_rate` as a function of the step alone: good until the next decision."""
    switch = state.switch
    if switch is None:
        return _growth(config, state, config.max_lr)
    if config.decay == "plateau":
        return partial(_constant, switch.peak_lr * config.plateau_factor**state.drops)
    return partial(
        schedule.decay,
        config.decay,
        begin=switch.step,
        end=config.total_steps,
        peak=switch.peak_lr,
        cooldown_fraction=config.cooldown_fraction,
    )


def growth(config: Config, state: State, step: float) -> float:
    """η of warm-up at ``step``, which may be t* and so a real number; never above η_max."""
    return _growth(config, state, config.max_lr)(step)


def _growth(config: Config, state: State, most: float) -> Callable[[float], float]:
    low, high, leg = config.min_lr, config.max_lr, state.leg
    if config.growth == "linear":
        return partial(_linear, config.warmup_steps, low, high, most)
    return partial(schedule.growing, leg.start, leg.span, high / low, leg.lr, most)


def _linear(span: float, low: float, high: float, most: float, step: float) -> float:
    return min(schedule.linear(step, span, low, high), most)


def _constant(lr: float, step: float) -> float:
    return lr


def growth_ends(config: Config, state: State) -> int:
    """The end of the fast growth, if it is on; else the cap, ⌊ρ_w T⌋."""
    return config.sweep_steps if state.sweeping else config.warmup_steps


def grown_at(config: Config, state: State, factor: float) -> int:
    """The first step at which η of warm-up is ``factor`` times what it is at ``state.step``.

    An LR that has come to η_max before the cap stays there; the answer is as if it grew.
    """
    target = _growth(config, state, math.inf)(state.step) * factor
    low, high, leg = config.min_lr, config.max_lr, state.leg
    if config.growth == "linear":
        at = schedule.linear_step(target, config.warmup_steps, low, high)
    else:
        at = leg.start + schedule.exponential_step(target, leg.span, low, high, leg.lr)
    return max(state.step + 1, math.ceil(at - 1e-9))
