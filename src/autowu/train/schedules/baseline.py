"""Schedules whose peak LR somebody has to choose: the paper's baseline, constant, warm-up-stable-decay."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from autowu.train.optimizers import table
from autowu.train.schedules.method import Method
from autowu.train.schedules.plan import Plan
from autowu.train.schedules.shape import Shape

COOLDOWN: Final = 0.2
"""The last part of a warm-up-stable-decay run, as a fraction of all updates (Hägele et al., 2024)."""


def warmup_cosine(step: int, warmup_steps: int, total_steps: int) -> float:
    """The share of the peak LR that the paper's baseline has at ``step`` (Section 3), W = warmup_steps:

        step / W                                                    for step < W
        ½ (1 + cos(π (step - W) / (total_steps - W)))               from W on

    The first update, step 0, has an LR of 0 if W > 0, and the last one, total_steps - 1, one above 0.
    """
    if step < warmup_steps:
        return step / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)))


def warmup_constant(step: int, warmup_steps: int) -> float:
    """step / W for step < W, then 1."""
    return step / warmup_steps if step < warmup_steps else 1.0


def warmup_stable_decay(step: int, warmup_steps: int, total_steps: int, cooldown_steps: int) -> float:
    """:func:`warmup_constant`, and in the last C updates, C = cooldown_steps,

        1 - √u,    u = (step - (total_steps - C)) / C

    the decay that Hägele et al. (2024) found best.
    """
    u = (step - (total_steps - cooldown_steps)) / cooldown_steps
    return warmup_constant(step, warmup_steps) if u <= 0 else 1 - math.sqrt(min(u, 1.0))


def baseline(plan: Plan) -> Method:
    """The paper's baseline, :func:`warmup_cosine`: 5 epochs of warm-up, or 5% where there are no epochs."""
    warmup = plan.warmup_steps(epochs=5, fraction=0.05)
    return _scaled(plan, warmup, "cosine", lambda step: warmup_cosine(step, warmup, plan.total_steps))


def constant(plan: Plan) -> Method:
    """:func:`warmup_constant`, without warm-up by default."""
    warmup = plan.warmup_steps()
    return _scaled(plan, warmup, "constant", lambda step: warmup_constant(step, warmup), math.inf)


def wsd(plan: Plan) -> Method:
    """:func:`warmup_stable_decay` with a cooldown of the last 20%, and the baseline's warm-up."""
    total = plan.total_steps
    warmup = plan.warmup_steps(epochs=5, fraction=0.05)
    cooldown = min(max(1, round(COOLDOWN * total)), total - warmup)
    method = _scaled(
        plan,
        warmup,
        "1-sqrt",
        lambda step: warmup_stable_decay(step, warmup, total, cooldown),
        total - cooldown,
    )
    method.settings["cooldown_steps"] = cooldown
    return method


def _scaled(
    plan: Plan,
    warmup_steps: int,
    decay: str,
    factor: Callable[[int], float],
    decays_from: float = 0,
) -> Method:
    """``factor`` times the peak LR, which is η_base √(B / 256) (Section 3)."""
    optimizer = table.build(plan.settings, plan.model)
    scale = plan.batch_scale
    base_lr = optimizer.param_groups[0]["lr"]
    settings: dict[str, Any] = {
        "preset": plan.settings.schedule,
        "base_lr": base_lr,
        "peak_lr": base_lr * scale,
        "decay": decay,
        "warmup_steps": warmup_steps,
        "total_steps": plan.total_steps,
    }
    shape = Shape(optimizer, lambda step: scale * factor(step), warmup_steps, decays_from=decays_from)
    return Method(optimizer, shape, settings)
