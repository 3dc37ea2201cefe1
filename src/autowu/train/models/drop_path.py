"""Stochastic depth (Huang et al., 2016)."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """x -> x b / (1 - p) in training, b a Bernoulli(1 - p) variable for each sample; x in evaluation.

    Args:
        p: probability, in [0, 1), with which a sample skips the residual branch.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(batch, …) -> the same shape."""
        if not self.training or not self.p:
            return x
        kept = x.new_empty((len(x),) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.p)
        return x * kept / (1 - self.p)


def rising(drop_path: float, blocks: int) -> list[float]:
    """p of each block: 0 for the first, ``drop_path`` for the last, linear in between."""
    return [drop_path * (block / max(1, blocks - 1)) for block in range(blocks)]
