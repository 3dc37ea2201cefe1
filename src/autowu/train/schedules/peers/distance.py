"""What Prodigy and D-Adaptation share: an estimate d of the distance to the solution scales the LR."""

from __future__ import annotations

import contextlib
import io
from typing import Any

from torch.optim import Optimizer

from autowu.train.optimizers import table
from autowu.train.schedules.baseline import warmup_cosine
from autowu.train.schedules.method import Method
from autowu.train.schedules.plan import Plan
from autowu.train.schedules.shape import Shape


def adapted_by_distance(plan: Plan, optimizer_class: type[Optimizer], **options: Any) -> Method:
    """``optimizer_class`` at its defaults (LR 1, no weight decay), with a cosine to 0 and no warm-up."""
    plan.replaces("adamw")
    settings = plan.settings
    lr, weight_decay, warmup = settings.lr or 1.0, settings.weight_decay or 0.0, plan.warmup_steps()
    groups = table.groups(plan.model, weight_decay, settings.weight_decay_on)
    with contextlib.redirect_stdout(io.StringIO()):  # both packages print that weight decay is decoupled
        optimizer = optimizer_class(groups, lr=lr, **options)  # pyright: ignore[reportCallIssue]

    def effective(group: dict[str, Any]) -> float:
        return group["d"] * group["lr"]

    return Method(
        optimizer,
        Shape(optimizer, lambda step: warmup_cosine(step, warmup, plan.total_steps), warmup, effective),
        {
            "preset": settings.schedule,
            "base_lr": lr,
            "weight_decay": weight_decay,
            "decay": "cosine",
            "warmup_steps": warmup,
            "total_steps": plan.total_steps,
        },
    )
