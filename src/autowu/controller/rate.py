"""The learning rate as closed forms: of a growth, and from the switch on."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial

from autowu.config import Config
from autowu.controller import schedule
from autowu.controller.cuts import factor
from autowu.controller.state import AfterSwitch, Decay, Growth, Line


def growth_function(config: Config, growth: Growth, most: float | None = None) -> Callable[[float], float]:
    """η of warm-up as a function of the step, never above ``most`` (by default η_max, unless it is open).

    The step may be t*, and so a real number.
    """
    low, high = config.min_lr, config.high_lr
    if most is None:
        most = math.inf if growth.open and config.max_lr is None else high
    if config.growth == "linear":
        return partial(_linear, config.warmup_steps, low, high, most, growth)
    return partial(schedule.exponential, growth.start, growth.span, high / low, growth.lr, most)


def grown(config: Config, growth: Growth, step: float) -> float:
    """η of warm-up at ``step``."""
    return growth_function(config, growth)(step)


def grown_by(config: Config, growth: Growth, step: int, factor: float) -> int:
    """The first step at which η of warm-up is ``factor`` times what it is at ``step``.

    An LR that has come to η_max before the cap stays there; the answer is as if it grew.
    """
    target = min(growth_function(config, growth, math.inf)(step) * factor, sys.float_info.max)
    low, high = config.min_lr, config.high_lr
    if config.growth == "linear":
        at = growth.start + schedule.linear_step(target - (growth.lr - low), config.warmup_steps, low, high)
    else:
        at = growth.start + schedule.exponential_step(target, growth.span, low, high, growth.lr)
    return max(step + 1, math.ceil(at - 1e-9))


def cap(config: Config, growth: Growth) -> int:
    """The last step of a slow growth: when it would have crossed the whole range of LRs, or ⌊ρ_w T⌋.

    One that begins below η_min comes up to a ``max_lr`` that was given.
    """
    crossed = growth.start + growth.span
    if config.max_lr is not None and growth.lr < config.min_lr:
        crossed = math.ceil(
            growth.start
            + schedule.exponential_step(config.max_lr, growth.span, config.min_lr, config.max_lr, growth.lr)
        )
    return min(crossed, config.warmup_steps)


def next_test(config: Config, growth: Growth, step: int, spacing: float | None) -> int:
    """The step at which η has grown by ``spacing`` since ``step``; None: the end of the epoch."""
    if spacing is not None:
        return grown_by(config, growth, step, spacing)
    epoch = config.steps_per_epoch or config.length  # Config sees to it that there is one
    return (step // epoch + 1) * epoch


def decay_function(config: Config, peak_lr: float, line: Line | None) -> Callable[[int], float]:
    """η from the switch on as a function of the step: it falls by ``line``; without one it is the peak."""
    if line is None:
        return partial(_constant, peak_lr)
    return partial(schedule.decay, config.decay, line.share, line.falls_from, line.end, peak_lr)


def after_switch(config: Config, phase: AfterSwitch, since: float = math.inf) -> Callable[[int], float]:
    """η from the switch on, by the last cut and the last line that had come at step ``since``."""
    peak_lr = factor([cut for cut in phase.cuts if cut.step <= since]) * phase.switch.peak_lr
    if not isinstance(phase, Decay):
        return decay_function(config, peak_lr, None)
    lines = [line for line in phase.lines if line.start <= since]
    lowered = peak_lr * config.plateau_factor**phase.lr_drops
    return decay_function(config, lowered, lines[-1] if lines else None)


def line(config: Config, step: int, end: int, *, share: float = 1.0, at_once: bool = False) -> Line:
    """The fall of the LR to zero at step ``end``, as it is planned at ``step``.

    'constant-cosine' keeps the peak until the last ``cooldown_fraction`` of all ``end`` steps (Section 2.2),
    unless it is to fall ``at_once``, or has begun to, and a ``share`` of the fall is left.
    """
    constant = config.decay == "constant-cosine" and share == 1.0 and not at_once
    falls_from = max(step, end - config.cooldown_fraction * end) if constant else step
    return Line(step, float(falls_from), share, end)


def _linear(span: float, low: float, high: float, most: float, growth: Growth, step: float) -> float:
    """The line of the first growth, moved to where ``growth`` has begun."""
    return min(schedule.linear(step - growth.start, span, low, high) + (growth.lr - low), most)


def _constant(lr: float, step: float) -> float:
    return lr
