"""A small GPT for characters or bytes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from autowu.train.models.drop_path import rising
from autowu.train.models.transformer import Block, initialize


class GPT(nn.Module):
    """GPT-2's architecture, small: 2 causal pre-norm blocks of width 48 with 4 heads, learnt positions.

    The matrix that embeds tokens is also the one that gives their logits (tied, as in GPT-2).

    Args:
        vocabulary: number of tokens.
        context: the most tokens in a sequence.
        drop_path: stochastic depth of the last block.
        blocks: how many, by default as above, as width and heads.
        width: of the residual stream, a multiple of ``heads``.
        heads: of the attention.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        *,
        drop_path: float = 0.0,
        blocks: int = 2,
        width: int = 48,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(
            *(Block(width, heads, causal=True, drop_path=p) for p in rising(drop_path, blocks))
        )
        self.norm = nn.LayerNorm(width)
        initialize(self, blocks)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, length) of int64, length ≤ context -> logits of shape (batch, length, vocabulary)."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x: Tensor = self.blocks(self.tokens(tokens) + self.positions(positions))
        return functional.linear(self.norm(x), self.tokens.weight)
