"""PyTorch's one-cycle schedule (Smith and Topin, 2018), which cycles the momentum as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from autowu.train.optimizers import table
from autowu.train.schedules.method import Method, WithoutTests
from autowu.train.schedules.plan import Plan

RISE: Final = 0.3
"""The part of the run in which the LR rises: PyTorch's default."""


class OneCycle(WithoutTests):
    """:class:`torch.optim.lr_scheduler.OneCycleLR` with its defaults.

    From peak / 25 to the peak in the first 30% of the updates, then to peak / 250,000, both by a cosine;
    momentum (or β₁) falls from 0.95 to 0.85 and rises again.

    Args:
        optimizer: its groups keep the ratios of their LRs. If they have not all a momentum or all betas, as
            Muon's, momentum stays as it is.
        peak_lr: of the first group.
        total_steps: updates of the whole run.
        warmup_steps: updates of the rise.
    """

    def __init__(self, optimizer: Optimizer, peak_lr: float, total_steps: int, warmup_steps: int) -> None:
        self.optimizer = optimizer
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self._ratios = [group["lr"] / optimizer.param_groups[0]["lr"] for group in optimizer.param_groups]
        self._momenta = [
            {key: group[key] for key in _MOMENTUM & group.keys()} for group in optimizer.param_groups
        ]
        self.peak_lr = peak_lr
        self.start(peak_lr)

    def start(self, peak_lr: float) -> None:
        """Begin, with this peak."""
        self.peak_lr = peak_lr
        for group, momentum in zip(self.optimizer.param_groups, self._momenta, strict=True):
            group.update(momentum)
            group.pop("initial_lr", None)
        self._scheduler = OneCycleLR(
            self.optimizer,
            [peak_lr * ratio for ratio in self._ratios],
            total_steps=self.total_steps,
            pct_start=self.warmup_steps / self.total_steps,
            cycle_momentum=_cycles(self.optimizer),
        )

    @property
    def phase(self) -> str:
        """'warmup' or 'decay'."""
        return "warmup" if self._scheduler.last_epoch < self.warmup_steps else "decay"

    def step(self, loss: Tensor) -> None:
        """Set the LR and the momentum of the next update; the loss plays no part."""
        if self._scheduler.last_epoch < self.total_steps - 1:  # the last update has no next one
            self._scheduler.step()

    def get_last_lr(self) -> list[float | Tensor]:
        """The LR of the next update, one per parameter group."""
        return self._scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"peak_lr": self.peak_lr, "scheduler": self._scheduler.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`; the optimizer's own state has its LR and momentum."""
        groups = [dict(group) for group in self.optimizer.param_groups]
        self.start(state_dict["peak_lr"])
        self._scheduler.load_state_dict(dict(state_dict["scheduler"]))
        for group, saved in zip(self.optimizer.param_groups, groups, strict=True):
            group.update({key: saved[key] for key in _CYCLED & saved.keys()})


_MOMENTUM: Final = {"betas", "momentum"}
_CYCLED: Final = _MOMENTUM | {"lr", "initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum"}


def _cycles(optimizer: Optimizer) -> bool:
    return any(
        key in optimizer.defaults and all(key in group for group in optimizer.param_groups)
        for key in _MOMENTUM
    )


def one_cycle(plan: Plan) -> Method:
    """One cycle to a peak of η_base √(B / 256); ``--warmup-…`` is the length of its rise, by default 30%."""
    optimizer = table.build(plan.settings, plan.model)
    base_lr = optimizer.param_groups[0]["lr"]
    return Method(optimizer, *cycle(plan, optimizer, base_lr, base_lr * plan.batch_scale))


def cycle(
    plan: Plan, optimizer: Optimizer, base_lr: float, peak_lr: float
) -> tuple[OneCycle, dict[str, Any]]:
    """The schedule and its settings."""
    warmup = plan.warmup_steps(fraction=RISE)
    return OneCycle(optimizer, peak_lr, plan.total_steps, warmup), {
        "preset": plan.settings.schedule,
        "base_lr": base_lr,
        "peak_lr": peak_lr,
        "decay": "cosine",
        "warmup_steps": warmup,
        "total_steps": plan.total_steps,
    }
