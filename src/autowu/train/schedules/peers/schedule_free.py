"""Schedule-Free AdamW (Defazio et al., 2024): averaging in place of a schedule. Package ``schedulefree``."""

# pyright: basic, reportMissingImports=false
# (The package is optional, and has no types.)

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from schedulefree import AdamWScheduleFree
from torch import nn

from autowu.train.optimizers import table
from autowu.train.schedules.averaging import Averaging
from autowu.train.schedules.plan import Plan
from autowu.train.schedules.shape import Shape

if TYPE_CHECKING:
    from autowu.train.data.task import Batch

BATCHES: Final = 50
"""With which BatchNorm's statistics are measured again at the average: the authors' advice."""


def build(plan: Plan) -> ScheduleFree:
    """At the package's defaults: LR 0.0025, no weight decay, no warm-up (the authors recommend some)."""
    plan.replaces("adamw")
    settings = plan.settings
    lr, weight_decay, warmup = settings.lr or 0.0025, settings.weight_decay or 0.0, plan.warmup_steps()
    groups = table.groups(plan.model, weight_decay, settings.weight_decay_on)
    optimizer: Any = AdamWScheduleFree(groups, lr=lr, warmup_steps=warmup)
    optimizer.train()

    def effective(group: dict[str, Any]) -> float:
        return group["lr"] * min(1.0, (group["k"] + 1) / max(1, group["warmup_steps"]))

    return ScheduleFree(
        optimizer,
        Shape(optimizer, warmup_steps=warmup, effective=effective),
        {
            "preset": "schedule-free",
            "peak_lr": lr,
            "weight_decay": weight_decay,
            "decay": "none",
            "warmup_steps": warmup,
            "total_steps": plan.total_steps,
        },
        plan.model,
    )


class ScheduleFree(Averaging):
    """Trains at y, evaluates at the average x."""

    def place_average(self, batches: Iterator[Batch] | None) -> None:
        """x in the place of y; BatchNorm's statistics, which are those at y, are measured again.

        Without ``batches`` they stay those at y, and a network with BatchNorm does worse than it could.
        """
        optimizer: Any = self.optimizer
        optimizer.eval()
        if batches is not None and any(isinstance(module, _BATCH_NORMS) for module in self.model.modules()):
            training = self.model.training
            self.model.train()
            for batch in islice(batches, BATCHES):
                self.model(batch.inputs)
            self.model.train(training)

    def train(self) -> None:
        """Back to y."""
        optimizer: Any = self.optimizer
        optimizer.train()  # close to y
        super().train()  # y itself


_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
