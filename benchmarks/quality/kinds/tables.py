"""Tables whose columns are in their own units, as they come: ages beside areas beside metres."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.quality.kinds.parts import mlp
from benchmarks.quality.kinds.task import OptimizerName, Task, accuracy, commonest, decibels


class RawTable(Task):
    """Kinds of wine, or of tumours, by a table of scikit-learn; its largest entries are in the thousands.

    Args:
        seed: of initial weights and batches.
        name: 'wine' or 'breast_cancer'.
        optimizer: that trains it.
        weight_decay: of the optimizer.
    """

    batch, train = 16, 0.7

    def __init__(
        self,
        seed: int,
        _: Path,
        name: str = "wine",
        optimizer: OptimizerName = "adamw",
        weight_decay: float = 0.01,
    ) -> None:
        from sklearn import datasets

        super().__init__(seed)
        self.optimizer, self.weight_decay = optimizer, weight_decay
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        self.x, self.y = torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y)[order]
        self.rows = int(self.train * len(x))
        self.model = mlp([x.shape[1], 32, int(y.max()) + 1])

    def loss(self) -> Tensor:
        """Cross-entropy of random rows."""
        at = self.draw(self.rows, self.batch)
        return functional.cross_entropy(self.model(self.x[at]), self.y[at])

    def test(self, _: torch.Generator) -> float:
        """Accuracy on the rows not trained on."""
        return accuracy(self.model(self.x[self.rows :]), self.y[self.rows :])

    def trivial(self) -> float:
        """The commonest class of these."""
        return commonest(self.y[self.rows :])


class Houses(Task):
    """Prices by area, rooms, year and metres from the centre: linear, and no LR above 1e-7 serves it."""

    optimizer, weight_decay, batch, rows, tested = "sgd", 0.0, 32, 3_000, 1_000

    def __init__(self, seed: int, _: Path) -> None:
        super().__init__(seed)
        draw = torch.Generator().manual_seed(1)  # of the table, which is the same for all seeds
        count = self.rows + self.tested
        shares = torch.rand(count, 4, generator=draw)
        low, high = torch.tensor([[500.0, 1, 1900, 0], [3_500, 8, 2020, 20_000]])
        self.x = low + (high - low) * shares
        worth = self.x @ torch.tensor([0.15, 12, 0.5, -0.004])
        self.y = worth - 900 + 20 * torch.randn(count, generator=draw)
        self.model = mlp([4, 1])

    def loss(self) -> Tensor:
        """Mean square error of random rows."""
        at = self.draw(self.rows, self.batch)
        return functional.mse_loss(self.model(self.x[at])[:, 0], self.y[at])

    def test(self, _: torch.Generator) -> float:
        """Below the variance of the prices."""
        y = self.y[self.rows :]
        return decibels(self.model(self.x[self.rows :])[:, 0] - y, y)

    def trivial(self) -> float:
        """The mean."""
        return 0.0
