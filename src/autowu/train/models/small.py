"""A CNN and an MLP for small images, quick enough for one CPU core."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from autowu.train.settings.options import Norm


class CNN(nn.Module):
    """Three 3 × 3 convolutions of 16, 32 and 64 channels, strides 1, 2 and 2; mean over pixels; linear.

    Args:
        image_shape: (channels, height, width).
        classes: number of logits.
        norm: after every convolution, BatchNorm ('batch') or LayerNorm over channels and pixels ('layer').
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, norm: Norm = "batch") -> None:
        super().__init__()
        channels = (image_shape[0], 16, 32, 64)
        self.features = nn.Sequential(
            *(
                nn.Sequential(
                    # No bias: the norm has one.
                    nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
                    nn.BatchNorm2d(outputs) if norm == "batch" else nn.GroupNorm(1, outputs),
                    nn.ReLU(inplace=True),
                )
                for inputs, outputs, stride in zip(channels[:-1], channels[1:], (1, 2, 2), strict=True)
            )
        )
        self.classify = nn.Linear(channels[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, height, width) -> logits of shape (batch, classes)."""
        features: Tensor = self.features(images)
        return self.classify(features.mean((2, 3)))


class MLP(nn.Module):
    """Two hidden layers of 128 units.

    Args:
        image_shape: (channels, height, width).
        classes: number of logits.
        norm: after every hidden layer, BatchNorm ('batch') or LayerNorm ('layer').
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, norm: Norm = "batch") -> None:
        super().__init__()
        widths = (math.prod(image_shape), 128, 128)
        self.layers = nn.Sequential(
            nn.Flatten(),
            *(
                nn.Sequential(
                    nn.Linear(inputs, outputs, bias=False),  # the norm has a bias
                    nn.BatchNorm1d(outputs) if norm == "batch" else nn.LayerNorm(outputs),
                    nn.ReLU(inplace=True),
                )
                for inputs, outputs in pairwise(widths)
            ),
            nn.Linear(widths[-1], classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, height, width) -> logits of shape (batch, classes)."""
        logits: Tensor = self.layers(images)
        return logits
