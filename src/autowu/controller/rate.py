"""The learning rate as closed forms: of a growth, and of a decay from a switch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from autowu.config import Config
from autowu.controller import schedule
from autowu.controller.state import Growth, Switch


def growth_function(config: Config, growth: Growth, most: float | None = None) -> Callable[[float], float]:
    """η of warm-up as a function of the step, never above ``most`` (by default η_max).

    The step may be t*, and so a real number.
    """
    low, high = config.min_lr, config.max_lr
    most = high if most is None else most
    if config.growth == "linear":
        return partial(_linear, config.warmup_steps, low, high, most)
    return partial(schedule.growing, growth.start, growth.span, high / low, growth.lr, most)


def grown(config: Config, growth: Growth, step: float) -> float:
    """η of warm-up at ``step``."""
    return growth_function(config, growth)(step)


def grown_by(config: Config, growth: Growth, step: int, factor: float) -> int:
    """The first step at which η of warm-up is ``factor`` times what it is at ``step``.

    An LR that has come to η_max before the cap stays there; the answer is as if it grew.
    """
    target = growth_function(config, growth, math.inf)(step) * factor
    low, high = config.min_lr, config.max_lr
    if config.growth == "linear":
        at = schedule.linear_step(target, config.warmup_steps, low, high)
    else:
        at = growth.start + schedule.exponential_step(target, growth.span, low, high, growth.lr)
    return max(step + 1, math.ceil(at - 1e-9))


def cap(config: Config, growth: Growth) -> int:
    """The last step of a slow growth: when it would have crossed the whole range of LRs, or ⌊ρ_w T⌋."""
    return min(growth.start + growth.span, config.warmup_steps)


def next_test(config: Config, growth: Growth, step: int, spacing: float | None) -> int:
    """The step at which η has grown by ``spacing`` since ``step``; None: the end of the epoch."""
    if spacing is not None:
        return grown_by(config, growth, step, spacing)
    epoch = config.steps_per_epoch or config.total_steps  # Config sees to it that there is one
    return (step // epoch + 1) * epoch


def decay_function(
    config: Config, switch: Switch, lr_drops: int = 0, factor: float = 1.0
) -> Callable[[int], float]:
    """η of the decay phase as a function of the step: ``factor`` times the line of the switch."""
    if config.decay == "plateau":
        return partial(_constant, factor * switch.peak_lr * config.plateau_factor**lr_drops)
    return partial(
        schedule.decay,
        config.decay,
        begin=switch.step,
        end=config.total_steps,
        peak=factor * switch.peak_lr,
        cooldown_fraction=config.cooldown_fraction,
    )


def _linear(span: float, low: float, high: float, most: float, step: float) -> float:
    return min(schedule.linear(step, span, low, high), most)


def _constant(lr: float, step: float) -> float:
    return lr
