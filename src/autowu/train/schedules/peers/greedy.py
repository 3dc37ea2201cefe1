"""GreedyLR (arXiv 2512.14527): more LR while the loss improves, else less. Package ``transformers``."""

# pyright: basic, reportMissingImports=false
# (The package is optional, and has no types.)

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from autowu.integrations import torchvision_shim
from autowu.train.optimizers import table
from autowu.train.schedules.method import Method, WithoutTests
from autowu.train.schedules.plan import Plan, Reduce

torchvision_shim.install()
from transformers.optimization import GreedyLR  # noqa: E402


def build(plan: Plan) -> Method:
    """At the package's defaults, factor 0.95, patience 10, LR in [0.001, 1], from ``--lr`` or η_base."""
    plan.refuses_warmup()
    optimizer = table.build(plan.settings, plan.model)
    schedule = Greedy(optimizer, plan.reduce)
    greedy = schedule.greedy
    return Method(
        optimizer,
        schedule,
        {
            "preset": "greedy",
            "base_lr": optimizer.param_groups[0]["lr"],
            "factor": greedy.factor,
            "patience": greedy.patience,
            "min_lr": greedy.min_lrs[0],
            "max_lr": greedy.max_lrs[0],
            "decay": "greedy",
            "total_steps": plan.total_steps,
        },
    )


class Greedy(WithoutTests):
    """GreedyLR on the loss of each update, which it waits for; over all processes."""

    phase = "decay"

    def __init__(self, optimizer: Optimizer, reduce: Reduce) -> None:
        self.greedy = GreedyLR(optimizer)
        self._reduce = reduce

    def step(self, loss: Tensor) -> None:
        """Set the LR of the next update by the loss of this one."""
        self.greedy.step(self._reduce(loss).item())

    def get_last_lr(self) -> list[float | Tensor]:
        """The LR of the next update, one per parameter group."""
        return list(self.greedy.get_last_lr())

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return self.greedy.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.greedy.load_state_dict(dict(state_dict))
