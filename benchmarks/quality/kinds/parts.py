"""Networks that several kinds share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


def mlp(sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers with ``activation`` between them."""
    layers: list[nn.Module] = []
    for rows, columns in pairwise(sizes):
        layers += [nn.Linear(rows, columns), activation()]
    return nn.Sequential(*layers[:-1])


class Block(nn.Module):
    """Attention and an MLP, each after a LayerNorm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, L, width] to the same shape."""
        batch, length, width = x.shape
        parts = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    """Characters [B, L] to logits [B, L, characters]."""

    def __init__(
        self, characters: int, context: int, width: int = 64, blocks: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(characters, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, characters, bias=False)
        for each in self.modules():
            if isinstance(each, nn.Embedding | nn.Linear):
                nn.init.normal_(each.weight, std=0.02)

    def forward(self, codes: Tensor) -> Tensor:
        """Logits of the next character at each place."""
        x = self.embed(codes) + self.place.weight[: codes.shape[1]]
        return self.head(self.norm(self.blocks(x)))


class LSTM(nn.Module):
    """Characters [B, L] to logits [B, L, characters]."""

    def __init__(self, characters: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, 32)
        self.lstm = nn.LSTM(32, width, batch_first=True)
        self.head = nn.Linear(width, characters)

    def forward(self, codes: Tensor) -> Tensor:
        """Logits of the next character at each place."""
        return self.head(self.lstm(self.embed(codes))[0])


class LoRA(nn.Module):
    """A linear layer that stays as it is, and an adapter beside it that begins at zero (Hu et al., 2022)."""

    def __init__(self, layer: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.a = nn.Parameter(torch.empty(rank, layer.in_features))
        self.b = nn.Parameter(torch.zeros(layer.out_features, rank))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output with the adapter's added."""
        return self.layer(x) + self.scale * (x @ self.a.T @ self.b.T)


def next_loss(model: nn.Module, pieces: Tensor) -> Tensor:
    """Cross-entropy of each next character in pieces of one more than the context."""
    return functional.cross_entropy(model(pieces[:, :-1]).flatten(0, 1), pieces[:, 1:].flatten())
