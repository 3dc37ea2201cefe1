"""What is done to a batch of images on the device.

Contents:
    crop         Augment, the face that all have; random crops and flips
    auto         AutoAugment; operations.py has what it chooses from
    cutout       Cutout
    chain        one after the other
"""

from __future__ import annotations

import torch
from torch import Tensor

from autowu.errors import UserError
from autowu.train.data.augment.auto import AutoAugment
from autowu.train.data.augment.chain import Chain
from autowu.train.data.augment.crop import Augment, CropFlip
from autowu.train.data.augment.cutout import Cutout
from autowu.train.settings.options import Augment as Name

__all__ = ["Augment", "build"]


def build(name: Name, images: Tensor) -> Augment:
    """The augmentation ``name`` for images such as ``images``, of shape (n, channels, height, width).

    ``cifar`` is that of the paper (Appendix A), with the crops and flips that are usual there.

    Raises:
        UserError: such images cannot be augmented so.
    """
    if name == "none":
        return Augment()
    if name == "crop-flip":
        return CropFlip()
    if images.dtype != torch.uint8 or images.shape[1] != 3:
        kind = "uint8" if images.dtype == torch.uint8 else "floating-point"
        raise UserError(
            "--augment cifar (AutoAugment) needs uint8 images of 3 channels, "
            f"not {kind} images of {images.shape[1]}; --augment crop-flip takes any"
        )
    *_, height, width = images.shape
    return Chain(AutoAugment(), CropFlip(), Cutout(height, width))
