"""ResNet-18 for images of 32 × 32."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from autowu.train.models.drop_path import DropPath, rising


def resnet18(image_shape: tuple[int, int, int], classes: int, *, drop_path: float = 0.0) -> ResNet:
    """ResNet-18 (He et al., 2016) as it is used on CIFAR: 11,173,962 parameters for 10 classes.

    The stem is one 3 × 3 convolution of stride 1 without max-pooling, so that the last stage still sees 4 × 4
    pixels; the rest is the ImageNet network.
    """
    return ResNet(image_shape[0], classes, blocks=(2, 2, 2, 2), drop_path=drop_path)


class ResNet(nn.Module):
    """Stages of 64, 128, 256 and 512 channels, the last three of stride 2; mean over pixels; linear.

    Args:
        channels: of the images.
        classes: number of logits.
        blocks: basic blocks in each stage.
        drop_path: stochastic depth of the last block.
    """

    def __init__(self, channels: int, classes: int, *, blocks: tuple[int, ...], drop_path: float) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        )
        drop = iter(rising(drop_path, sum(blocks)))
        layers: list[nn.Module] = []
        inputs = 64
        for stage, count in enumerate(blocks):
            outputs = 64 * 2**stage
            for block in range(count):
                stride = 2 if stage and not block else 1
                layers.append(BasicBlock(inputs, outputs, stride, next(drop)))
                inputs = outputs
        self.blocks = nn.Sequential(*layers)
        self.classify = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, height, width) -> logits of shape (batch, classes)."""
        features: Tensor = self.blocks(self.stem(images))
        return self.classify(features.mean((2, 3)))


class BasicBlock(nn.Module):
    """relu(shortcut(x) + norm(conv(relu(norm(conv(x))))))

    The shortcut is a 1 × 1 convolution with a norm where shapes change, else the identity.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, drop_path: float) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.drop_path = DropPath(drop_path)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride)."""
        return functional.relu(self.shortcut(x) + self.drop_path(self.branch(x)))
