"""The schedule of a method that sets its optimizer's LR itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from autowu.train.schedules.method import WithoutTests


class Adapted(WithoutTests):
    """Leaves the LR as it is, and counts updates.

    Args:
        optimizer: its groups hold the LR.
    """

    phase = "decay"

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self.done = 0
        """Updates done."""

    def step(self, loss: Tensor) -> None:
        """Count the update."""
        self.done += 1

    def get_last_lr(self) -> list[float | Tensor]:
        """The LR of each parameter group, as the method has left it."""
        return [group["lr"] for group in self._optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """How many updates are done; the LR is in the optimizer's state."""
        return {"done": self.done}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.done = state_dict["done"]
