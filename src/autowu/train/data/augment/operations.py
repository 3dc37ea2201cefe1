"""The operations of AutoAugment: torchvision's, on a batch of uint8 images that have the magnitude in common.

A magnitude is a level 0 … 9, spread evenly over the operation's range (Cubuk et al., 2018, Table 6) as
torchvision does it. Pixels that nothing moves to become black.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from autowu.train import torchvision_shim

LEVELS = 10
SIGNED = {
    "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness"
}  # fmt: skip
"""The operations whose magnitude is negative half of the time."""


def operations() -> dict[str, Callable[[Tensor, int, int], Tensor]]:
    """By name: functions of images of shape (n, 3, height, width), the level and the sign, -1 or 1."""
    torchvision_shim.install()
    F: Any = import_module("torchvision.transforms.v2.functional")

    def affine(
        images: Tensor, *, translate: list[int], shear: list[float], center: list[int] | None
    ) -> Tensor:
        return F.affine(
            images, angle=0.0, translate=translate, scale=1.0, shear=shear, center=center
        )  # nearest pixel

    def shear(images: Tensor, x: float, y: float) -> Tensor:
        degrees = [math.degrees(math.atan(slope)) for slope in (x, y)]
        return affine(images, translate=[0, 0], shear=degrees, center=[0, 0])

    def translate(images: Tensor, x: float, y: float) -> Tensor:
        return affine(images, translate=[int(x), int(y)], shear=[0.0, 0.0], center=None)

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
        "Rotate": lambda images, level, sign: F.rotate(images, signed(level, sign, 30.0)),
        "Brightness": lambda images, level, sign: F.adjust_brightness(images, 1 + signed(level, sign, 0.9)),
        "Color": lambda images, level, sign: F.adjust_saturation(images, 1 + signed(level, sign, 0.9)),
        "Contrast": lambda images, level, sign: F.adjust_contrast(images, 1 + signed(level, sign, 0.9)),
        "Sharpness": lambda images, level, sign: F.adjust_sharpness(images, 1 + signed(level, sign, 0.9)),
        "Posterize": lambda images, level, sign: F.posterize(images, 8 - round(level / (LEVELS - 1) * 4)),
        "Solarize": lambda images, level, sign: F.solarize(images, 255 * _linear(1.0, 0.0, level)),
        "AutoContrast": lambda images, level, sign: F.autocontrast(images),
        "Equalize": lambda images, level, sign: F.equalize(images),
        "Invert": lambda images, level, sign: F.invert(images),
    }


def _linear(first: float, last: float, level: int) -> float:
    # In float32, as torchvision has it: a threshold may lie on either side of a pixel's value.
    return float(torch.linspace(first, last, LEVELS)[level])
