"""AutoWU and the baseline with one face, ``schedule.step(loss)``: the loop need not know which it has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from autowu import AutoWU, Switch, Verdict
from autowu.train.options import Settings


class Schedule(Protocol):
    """What the loop asks of a schedule; :class:`autowu.AutoWU` has it."""

    @property
    def phase(self) -> str:
        """'warmup' or 'decay'."""
        ...

    @property
    def verdicts(self) -> Sequence[Verdict]:
        """The tests for a minimum so far."""
        ...

    @property
    def switch(self) -> Switch | None:
        """How AutoWU's warm-up ended; None before, and for other schedules."""
        ...

    def step(self, loss: Tensor) -> None:
        """Set the LR of the next update, given the loss of this one."""
        ...

    def get_last_lr(self) -> list[float | Tensor]:
        """The LR of the next update, one per parameter group."""
        ...


def build(
    settings: Settings, optimizer: Optimizer, model: nn.Module, steps_per_epoch: int
) -> tuple[Schedule, dict[str, Any]]:
    """The schedule that ``settings`` ask for, and its own settings, all resolved, as plain values."""
    total_steps = settings.epochs * steps_per_epoch
    if settings.schedule == "baseline":
        base_lr = optimizer.param_groups[0]["lr"]
        schedule = Baseline(optimizer, total_steps, settings.warmup * steps_per_epoch, settings.batch_size)
        return schedule, {
            "preset": "baseline",
            "base_lr": base_lr,
            "peak_lr": base_lr * schedule.scale,
            "decay": "cosine",
            "warmup_steps": schedule.warmup_steps,
            "total_steps": total_steps,
        }
    chosen: dict[str, Any] = {"seed": settings.seed}
    if settings.decay is not None:
        chosen["decay"] = settings.decay
    if settings.schedule == "paper":
        chosen |= {"preset": "paper", "steps_per_epoch": steps_per_epoch}
    schedule = AutoWU(optimizer, total_steps, model=model, **chosen)
    return schedule, {"preset": chosen.get("preset", "default"), **asdict(schedule.config)}


def warmup_cosine(step: int, warmup_steps: int, total_steps: int) -> float:
    """The share of the peak LR that the paper's baseline has at ``step`` (Section 3), W = warmup_steps:

        step / W                                                    for step < W
        ½ (1 + cos(π (step - W) / (total_steps - W)))               from W on

    The first update, step 0, has an LR of 0 if W > 0, and the last one, total_steps - 1, one above 0.
    """
    if step < warmup_steps:
        return step / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)))


class Baseline:
    """The paper's baseline: η_base √(B / 256) :func:`warmup_cosine`, set at each update (Section 3).

    Args:
        optimizer: its LR is η_base, the LR at batch size 256.
        total_steps: updates of the whole run.
        warmup_steps: updates of the linear warm-up, < total_steps.
        batch_size: B, images in an update.
    """

    verdicts: Sequence[Verdict] = ()
    switch: Switch | None = None

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup_steps: int, batch_size: int) -> None:
        self.warmup_steps = warmup_steps
        self.scale = math.sqrt(batch_size / 256)
        self._scheduler = LambdaLR(
            optimizer, lambda step: self.scale * warmup_cosine(step, warmup_steps, total_steps)
        )

    @property
    def phase(self) -> str:
        """'warmup' or 'decay'."""
        return "warmup" if self._scheduler.last_epoch < self.warmup_steps else "decay"

    def step(self, loss: Tensor) -> None:
        """Set the LR of the next update; the loss plays no part."""
        self._scheduler.step()

    def get_last_lr(self) -> list[float | Tensor]:
        """The LR of the next update, one per parameter group."""
        return self._scheduler.get_last_lr()
