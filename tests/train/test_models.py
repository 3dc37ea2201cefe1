"""The small networks."""

from typing import get_args

import pytest
import torch
from torch import nn

from autowu.train import models
from autowu.train.options import Model, Norm


@pytest.mark.parametrize("name", get_args(Model))
@pytest.mark.parametrize("norm", get_args(Norm))
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_logits_and_gradients(name, norm, shape):
    model = models.build(name, shape, 7, norm)
    logits = model(torch.randn(4, *shape))
    assert logits.shape == (4, 7)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    kinds = {type(module) for module in model.modules()}
    batch_norms = {nn.BatchNorm1d, nn.BatchNorm2d}
    assert bool(kinds & batch_norms) == (norm == "batch")
    assert bool(kinds & {nn.LayerNorm, nn.GroupNorm}) == (norm == "layer")
    assert bool(list(model.buffers())) == (norm == "batch")


def test_sizes():
    def count(name):
        return sum(p.numel() for p in models.build(name, (1, 8, 8), 10, "batch").parameters())

    # Convolutions 9 (1·16 + 16·32 + 32·64), norms 2 (16 + 32 + 64), classifier 64·10 + 10.
    assert count("cnn") == 9 * (16 + 512 + 2048) + 2 * 112 + 650
    # Layers 64·128 + 128·128, norms 2 (128 + 128), classifier 128·10 + 10.
    assert count("mlp") == 64 * 128 + 128 * 128 + 512 + 1290
