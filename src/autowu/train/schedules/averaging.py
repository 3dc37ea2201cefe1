"""For methods that evaluate other weights than they train."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autowu.train.schedules.method import Method, Schedule

if TYPE_CHECKING:
    from autowu.train.data.task import Batch


class Averaging(Method, ABC):
    """Puts an average of the weights in place for evaluations, and the trained weights back, bit for bit.

    So evaluations leave no trace in training. While an average is in place, the trained weights are kept: the
    memory of the model once more.

    Args:
        optimizer: takes the updates.
        schedule: sets its LR.
        settings: for ``run.json``.
        model: the one that is trained.
    """

    def __init__(
        self, optimizer: Optimizer, schedule: Schedule, settings: dict[str, Any], model: nn.Module
    ) -> None:
        super().__init__(optimizer, schedule, settings)
        self.model = model
        self._trained: dict[str, Tensor] | None = None

    @abstractmethod
    def place_average(self, batches: Iterator[Batch] | None) -> None:
        """Put the average in the place of the model's weights and buffers."""

    @torch.no_grad()
    def eval(self, batches: Iterator[Batch] | None = None) -> None:
        """Put the average in place, unless it is."""
        if self._trained is None:
            self._trained = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
            self.place_average(batches)

    @torch.no_grad()
    def train(self) -> None:
        """Put the trained weights back, unless they are in place."""
        if self._trained is not None:
            for name, tensor in self.model.state_dict().items():
                tensor.copy_(self._trained[name])
            self._trained = None
