"""A schedule that is a function of the update's number alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from autowu.train.schedules.method import WithoutTests


class Shape(WithoutTests):
    """LR of update n = the group's own LR × ``factor(n)``, n = 0, 1, ….

    Args:
        optimizer: its groups hold their own LRs, which stand for a factor of 1.
        factor: n -> a number ≥ 0; by default 1.
        warmup_steps: the first update that is not warm-up; only for :attr:`phase`.
        decays_from: the first update of the decay, inf where there is none; by default all after warm-up.
        effective: the LR that an optimizer makes of a group's LR, for optimizers that find their own.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: Callable[[int], float] = lambda step: 1.0,
        warmup_steps: int = 0,
        effective: Callable[[dict[str, Any]], float | Tensor] = lambda group: group["lr"],
        decays_from: float = 0,
    ) -> None:
        self.optimizer = optimizer
        self.factor = factor
        self.warmup_steps = warmup_steps
        self.effective = effective
        self.decays_from = decays_from
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self._go_to(0)

    @property
    def phase(self) -> str:
        """'warmup', 'stable' or 'decay'."""
        if self.done < self.warmup_steps:
            return "warmup"
        return "stable" if self.done < self.decays_from else "decay"

    def step(self, loss: Tensor) -> None:
        """Set the LR of the next update; the loss plays no part."""
        self._go_to(self.done + 1)

    def get_last_lr(self) -> list[float | Tensor]:
        """The LR of the next update, one per parameter group."""
        return [self.effective(group) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """How many updates are done, and the groups' own LRs; the rest follows."""
        return {"done": self.done, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`, and write the LR into the optimizer."""
        self.base_lrs = list(state_dict["base_lrs"])
        self._go_to(state_dict["done"])

    def _go_to(self, done: int) -> None:
        self.done = done
        for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            lr = base_lr * self.factor(done)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)  # in place: a compiled optimizer holds this very tensor
            else:
                group["lr"] = lr
