"""Rare examples: most batches have none, and a trained network's loss is then next to nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

from benchmarks.quality.kinds.parts import mlp
from benchmarks.quality.kinds.task import Task


class RareExamples(Task):
    """Some 5 of 100 rows of a table are positive, by a product of two columns and a sum of all.

    Args:
        seed: of initial weights and batches.
        share: of rows that are above the threshold; a few more are positive.
        batch: rows in a batch.
    """

    columns, rows, tested = 30, 16_000, 4_000

    def __init__(self, seed: int, _: Path, share: float = 0.03, batch: int = 16) -> None:
        super().__init__(seed)
        draw = torch.Generator().manual_seed(5)  # of the table, which is the same for all seeds
        count = self.rows + self.tested
        x = torch.randn(count, self.columns, generator=draw)
        z = x @ torch.randn(self.columns, generator=draw) / 3 + x[:, 0] * x[:, 1]
        z -= z.kthvalue(int(count * (1 - share))).values
        self.x, self.y = x, (torch.rand(count, generator=draw) < (4 * z).sigmoid()).float()
        self.batch, self.model = batch, mlp([self.columns, 64, 1])

    def loss(self) -> Tensor:
        """Binary cross-entropy of random rows."""
        at = self.draw(self.rows, self.batch)
        return binary_cross_entropy_with_logits(self.model(self.x[at])[:, 0], self.y[at])

    def test(self, _: torch.Generator) -> float:
        """Minus that of the rows not trained on."""
        logits = self.model(self.x[self.rows :])[:, 0]
        return -binary_cross_entropy_with_logits(logits, self.y[self.rows :]).item()

    def trivial(self) -> float:
        """The share of positive rows as the answer."""
        y = self.y[self.rows :]
        return -binary_cross_entropy(y.mean().expand(len(y)), y).item()
