"""What the small ViT and the small GPT share: the pre-norm Transformer block and GPT-2's initial weights."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from autowu.errors import UserError
from autowu.train.models.drop_path import DropPath


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), the hidden layer of the MLP 4 times as wide.

    Args:
        width: of the residual stream, a multiple of ``heads``.
        heads: of the attention.
        causal: whether a position sees only itself and those before it.
        drop_path: probability of skipping each of the two branches.

    Raises:
        UserError: the heads cannot share the width.
    """

    def __init__(self, width: int, heads: int, *, causal: bool, drop_path: float) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"--width must be a multiple of --heads, {heads}, not {width}")
        self.heads = heads
        self.causal = causal
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, positions, width) -> the same shape."""
        x = x + self.drop_path(self._attention(self.attention_norm(x)))
        return x + self.drop_path(self.mlp_out(functional.gelu(self.mlp_in(self.mlp_norm(x)))))

    def _attention(self, x: Tensor) -> Tensor:
        batch, positions, width = x.shape
        heads = self.query_key_value(x).view(batch, positions, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind()  # each (batch, heads, positions, width / heads)
        out = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.attention_out(out.transpose(1, 2).reshape(batch, positions, width))


def initialize(model: nn.Module, blocks: int) -> None:
    """GPT-2's initial weights: N(0, 0.02²), biases 0, and what writes to the residual stream scaled down.

    2 ``blocks`` branches add to the stream; 1/√(2 blocks) keeps its variance that of one branch.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        if isinstance(module, Block):
            for layer in (module.attention_out, module.mlp_out):
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * blocks))
