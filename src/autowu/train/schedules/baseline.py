"""The paper's baseline: linear warm-up from 0, then a cosine to 0."""

from __future__ import annotations

import math

from torch import nn

from autowu.train import optimizers
from autowu.train.options import Settings
from autowu.train.schedules.length import warmup_steps
from autowu.train.schedules.method import Method
from autowu.train.schedules.shape import Shape


def warmup_cosine(step: int, warmup_steps: int, total_steps: int) -> float:
    """The share of the peak LR that the paper's baseline has at ``step`` (Section 3), W = warmup_steps:

        step / W                                                    for step < W
        ½ (1 + cos(π (step - W) / (total_steps - W)))               from W on

    The first update, step 0, has an LR of 0 if W > 0, and the last one, total_steps - 1, one above 0.
    """
    if step < warmup_steps:
        return step / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)))


def baseline(settings: Settings, model: nn.Module, total_steps: int, steps_per_epoch: int | None) -> Method:
    """η_base √(B / 256) :func:`warmup_cosine`, B the batch size (Section 3); 5 epochs of warm-up by default.

    A run without epochs warms up for 5% of its updates by default.
    """
    scale = math.sqrt(settings.batch_size / 256)
    optimizer = optimizers.build(settings, model)
    warmup = warmup_steps(settings, total_steps, steps_per_epoch, epochs=5, fraction=0.05)
    base_lr = optimizer.param_groups[0]["lr"]
    return Method(
        optimizer,
        Shape(optimizer, lambda step: scale * warmup_cosine(step, warmup, total_steps), warmup),
        {
            "preset": "baseline",
            "base_lr": base_lr,
            "peak_lr": base_lr * scale,
            "decay": "cosine",
            "warmup_steps": warmup,
            "total_steps": total_steps,
        },
    )
