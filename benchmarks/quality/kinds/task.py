"""What a kind of training is to the harness: a model, optimizers, batches and a test score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autowu.train.optimizers.muon import Muon, split

OptimizerName = Literal["adamw", "sgd", "muon"]
Unit = Literal["%", "loss", "dB"]

TEST_SEED = 12345
"""Of what is drawn for test scores: the same in every run."""


class Task(ABC):
    """A training, ready for its first update.

    The same seed has the same initial weights and the same batches, whatever the method.

    Args:
        seed: of both.
    """

    model: nn.Module
    optimizer: OptimizerName = "adamw"
    weight_decay: float = 0.01
    momentum: float = 0.9
    """Of SGD."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)  # initial weights
        self.random = torch.Generator().manual_seed(seed)

    def optimizers(self, lr: float) -> list[Optimizer]:
        """The task's own, all at this LR."""
        parameters = [each for each in self.model.parameters() if each.requires_grad]
        if self.optimizer == "sgd":
            return [torch.optim.SGD(parameters, lr, self.momentum, weight_decay=self.weight_decay)]
        if self.optimizer == "muon":
            group = {"params": parameters, "weight_decay": self.weight_decay}
            return [Muon(split([group], self.model), lr)]
        # Fused: on networks as small as these the others take longer than the gradients.
        return [torch.optim.AdamW(parameters, lr=lr, weight_decay=self.weight_decay, fused=True)]

    @abstractmethod
    def loss(self) -> Tensor:
        """Draw the next batch; its training loss, a scalar."""

    def after_backward(self) -> None:  # noqa: B027 (most kinds do nothing here)
        """What is done to the gradients before an update."""

    def score(self) -> float:
        """On data not trained on; higher is better: accuracy in %, minus a loss, or dB."""
        self.model.eval()
        with torch.no_grad():
            found = self.test(torch.Generator().manual_seed(TEST_SEED))
        self.model.train()
        return found

    @abstractmethod
    def test(self, random: torch.Generator) -> float:
        """The score, the model being in evaluation mode; what is random in it comes from ``random``."""

    @abstractmethod
    def trivial(self) -> float:
        """The score of the best constant answer: a run that ends below it did harm."""

    def draw(self, among: int, *shape: int) -> Tensor:
        """Indices below ``among``."""
        return torch.randint(among, shape, generator=self.random)


@dataclass(frozen=True)
class Kind:
    """A task of the suite, and how it is trained."""

    name: str
    make: Callable[[int, Path], Task]
    """(seed, data folder) -> the task."""
    total_steps: int
    """Updates of a run."""
    optimizer: OptimizerName
    centre: float
    """The middle one of the five fixed peak LRs, which are half a decade apart."""
    unit: Unit
    """'loss': the score is minus a positive loss, and differences are relative."""
    long: bool = False
    """Runs of 20,000 updates or more."""
    needs: tuple[str, ...] = ()
    """Files of the data folder."""
    held_out: bool = False
    """Never looked at while constants are chosen."""

    @property
    def peaks(self) -> list[float]:
        """The five fixed peak LRs."""
        return [float(f"{self.centre * 10 ** (half / 2):.2g}") for half in range(-2, 3)]


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """In %."""
    return 100 * (outputs.argmax(-1) == targets).double().mean().item()


def commonest(targets: Tensor) -> float:
    """Accuracy in % of the constant answer."""
    return 100 * targets.bincount().max().item() / len(targets)


def decibels(error: Tensor, targets: Tensor) -> float:
    """How far the mean square error is below the variance of the targets."""
    return 10 * (targets.var(correction=0) / error.square().mean()).log10().item()
