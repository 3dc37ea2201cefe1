"""A small Vision Transformer for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autowu.errors import UserError
from autowu.train.models.drop_path import rising
from autowu.train.models.transformer import Block, initialize

MOST_PATCHES = 64


class ViT(nn.Module):
    """ViT (Dosovitskiy et al., 2021), small: 4 pre-norm blocks of width 64 with 4 heads, mean over patches.

    Patches are squares of the least side p ≥ 2 that divides height and width and makes 64 patches at most:
    2 × 2 for images of 8 × 8, 4 × 4 for 28 × 28 and 32 × 32.

    Args:
        image_shape: (channels, height, width).
        classes: number of logits.
        drop_path: stochastic depth of the last block.
        blocks: how many, by default as above, as width and heads.
        width: of the residual stream, a multiple of ``heads``.
        heads: of the attention.

    Raises:
        UserError: no p divides both height and width.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        *,
        drop_path: float = 0.0,
        blocks: int = 4,
        width: int = 64,
        heads: int = 4,
    ) -> None:
        super().__init__()
        channels, image_height, image_width = image_shape
        side = _patch(image_height, image_width)
        patches = (image_height // side) * (image_width // side)
        self.patches = nn.Conv2d(channels, width, side, stride=side)
        self.positions = nn.Parameter(torch.empty(1, patches, width))
        self.blocks = nn.Sequential(
            *(Block(width, heads, causal=False, drop_path=p) for p in rising(drop_path, blocks))
        )
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, classes)
        initialize(self, blocks)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, height, width) -> logits of shape (batch, classes)."""
        patches: Tensor = self.patches(images)
        x: Tensor = self.blocks(patches.flatten(2).transpose(1, 2) + self.positions)
        return self.classify(self.norm(x.mean(1)))


def _patch(height: int, width: int) -> int:
    for side in range(2, min(height, width) + 1):
        if height % side == 0 == width % side and (height // side) * (width // side) <= MOST_PATCHES:
            return side
    raise UserError(
        "--model vit needs images whose height and width have a common divisor above 1, "
        f"not {height} × {width}"
    )
