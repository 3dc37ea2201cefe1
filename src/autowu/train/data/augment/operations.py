"""The operations of AutoAugment: torchvision's, on a batch of uint8 images that have the magnitude in common.

A magnitude is a level 0 … 9, spread evenly over the operation's range (Cubuk et al., 2018, Table 6) as
torchvision does it. Pixels that nothing moves to become black.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

import torch
from torch import Tensor

from autowu.integrations import torchvision_shim

LEVELS = 10
SIGNED = {
    "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness"
}  # fmt: skip
"""The operations whose magnitude is negative half of the time."""


def operations() -> dict[str, Callable[[Tensor, int, int], Tensor]]:
    """By name: functions of images of shape (n, 3, height, width), the level and the sign, -1 or 1."""
    torchvision_shim.install()
    F: Any = import_module("torchvision.transforms.v2.functional")

    move = Moves().move

    def shear(images: Tensor, x: float, y: float) -> Tensor:
        degrees = [math.degrees(math.atan(slope)) for slope in (x, y)]
        return move(
            images, F.affine, angle=0.0, translate=(0, 0), scale=1.0, shear=(*degrees,), center=(0, 0)
        )

    def translate(images: Tensor, x: float, y: float) -> Tensor:
        pixels = (int(x), int(y))
        return move(images, F.affine, angle=0.0, translate=pixels, scale=1.0, shear=(0.0, 0.0), center=None)

    def reach(size: int) -> float:  # of a translation, in pixels
        return 150 / 331 * size

    def signed(level: int, sign: int, top: float) -> float:
        return sign * _linear(0.0, top, level)

    return {
        "ShearX": lambda images, level, sign: shear(images, signed(level, sign, 0.3), 0.0),
        "ShearY": lambda images, level, sign: shear(images, 0.0, signed(level, sign, 0.3)),
        "TranslateX": lambda images, level, sign: translate(
            images, signed(level, sign, reach(images.shape[3])), 0.0
        ),
        "TranslateY": lambda images, level, sign: translate(
            images, 0.0, signed(level, sign, reach(images.shape[2]))
        ),
        "Rotate": lambda images, level, sign: move(images, F.rotate, angle=signed(level, sign, 30.0)),
        "Brightness": lambda images, level, sign: F.adjust_brightness(images, 1 + signed(level, sign, 0.9)),
        "Color": lambda images, level, sign: F.adjust_saturation(images, 1 + signed(level, sign, 0.9)),
        "Contrast": lambda images, level, sign: F.adjust_contrast(images, 1 + signed(level, sign, 0.9)),
        "Sharpness": lambda images, level, sign: sharpness(images, 1 + signed(level, sign, 0.9)),
        "Posterize": lambda images, level, sign: F.posterize(images, 8 - round(level / (LEVELS - 1) * 4)),
        "Solarize": lambda images, level, sign: F.solarize(images, 255 * _linear(1.0, 0.0, level)),
        "AutoContrast": lambda images, level, sign: F.autocontrast(images),
        "Equalize": lambda images, level, sign: F.equalize(images),
        "Invert": lambda images, level, sign: F.invert(images),
    }


class Moves:
    """Rotations, shears and translations: where each pixel comes from is found once for each of them.

    torchvision's functions put their matrix on the images' device anew each time, and the host waits for it.
    They take the nearest pixel, or black, whatever the images are. So one image of numbers that is moved by
    them, on the CPU, says which pixel goes where.
    """

    def __init__(self) -> None:
        self._sources: dict[Any, tuple[Tensor, Tensor]] = {}

    def move(self, images: Tensor, function: Callable[..., Tensor], **how: Any) -> Tensor:
        """``function(images, **how)``, of shape (n, channels, height, width).

        Args:
            images: of any size and kind.
            function: of torchvision.
            how: its arguments, hashable.
        """
        *_, height, width = images.shape
        key = (function, tuple(how.items()), height, width, images.device, images.dtype)
        if key not in self._sources:
            numbers = torch.arange(1.0, height * width + 1).view(1, 1, height, width)  # float32 has them all
            lists: dict[str, Any] = {
                n: list(cast("Any", v)) if type(v) is tuple else v for n, v in how.items()
            }
            found = function(numbers, **lists).flatten().long()
            source, there = (found - 1).clamp(min=0), (found > 0).to(images.dtype)
            self._sources[key] = (
                source.to(images.device, non_blocking=True),
                there.to(images.device, non_blocking=True),
            )
        source, there = self._sources[key]
        return images.flatten(2).index_select(2, source).mul_(there).view_as(images)


def sharpness(images: Tensor, factor: float) -> Tensor:
    """``factor`` times the images, and 1 - ``factor`` times these blurred, but for the outermost pixels.

    torchvision's ``adjust_sharpness``, but for the kernel (1 on eight sides, 5 in the middle, over 13): that
    is made on the images' device, where torchvision has the host wait for it.
    """
    whole = images.float()
    channels = images.shape[1]
    kernel = torch.full((channels, 1, 3, 3), 1 / 13, device=images.device)
    kernel[:, :, 1, 1].fill_(5 / 13)
    blurred = torch.nn.functional.conv2d(whole, kernel, groups=channels).round_()
    inner = whole[..., 1:-1, 1:-1]
    inner.add_(blurred.sub_(inner), alpha=1 - factor)
    return whole.clamp_(0, 255).to(images.dtype)


def _linear(first: float, last: float, level: int) -> float:
    # In float32, as torchvision has it: a threshold may lie on either side of a pixel's value.
    return float(torch.linspace(first, last, LEVELS)[level])
