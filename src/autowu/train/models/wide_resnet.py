"""Wide ResNet for images of 32 × 32."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from autowu.train.models.drop_path import DropPath, rising


def wide_resnet_28_10(
    image_shape: tuple[int, int, int], classes: int, *, drop_path: float = 0.0
) -> WideResNet:
    """WRN-28-10 (Zagoruyko and Komodakis, 2016), without dropout: 36,479,194 parameters for 10 classes."""
    return WideResNet(image_shape[0], classes, depth=28, factor=10, drop_path=drop_path)


class WideResNet(nn.Module):
    """Three stages of (depth - 4) / 6 pre-activation blocks with 16, 32 and 64 times ``factor`` channels.

    Args:
        channels: of the images.
        classes: number of logits.
        depth: 6 n + 4 for n blocks in a stage.
        factor: k, the width.
        drop_path: stochastic depth of the last block.
    """

    def __init__(self, channels: int, classes: int, *, depth: int, factor: int, drop_path: float) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        self.stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        drop = iter(rising(drop_path, 3 * blocks))
        layers: list[nn.Module] = []
        inputs = 16
        for stage in range(3):
            outputs = 16 * 2**stage * factor
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layers.append(PreActivationBlock(inputs, outputs, stride, next(drop)))
                inputs = outputs
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(inputs)
        self.classify = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.classify.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, height, width) -> logits of shape (batch, classes)."""
        features = functional.relu(self.norm(self.blocks(self.stem(images))))
        return self.classify(features.mean((2, 3)))


class PreActivationBlock(nn.Module):
    """shortcut + conv(relu(norm(conv(relu(norm(x))))))

    The shortcut is a 1 × 1 convolution of relu(norm(x)) where shapes change, else x.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        self.drop_path = DropPath(drop_path)
        self.project = (
            nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride)."""
        active = functional.relu(self.norm(x))
        shortcut = x if self.project is None else self.project(active)
        return shortcut + self.drop_path(self.branch(active))
