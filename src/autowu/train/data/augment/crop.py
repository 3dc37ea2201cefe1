"""The face that all augmentations have, and random crops and flips."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PADDING = 4
"""Pixels on each side."""


class Augment:
    """Leaves images as they are.

    A draw is one row of integers for each image, on the CPU: it is made for a whole batch, and each process
    takes the rows of its own images.
    """

    numbers = 0
    """In a row of a draw."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """What is to happen to ``count`` images: int64 of shape (count, numbers)."""
        return torch.empty((count, 0), dtype=torch.int64)

    def pixels(self, images: Tensor, draws: Tensor) -> Tensor:
        """What is done to pixels as they are in the file: (n, channels, height, width) to the same."""
        return images

    def standardised(self, images: Tensor, draws: Tensor) -> Tensor:
        """What is done to images that have been standardised, where 0 is the mean; may write into them."""
        return images


class CropFlip(Augment):
    """Crops of the images' size after padding by 4 pixels of 0, and a flip of half of them."""

    numbers = 3

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Columns: down and right, 0 … 8 pixels within the padded image; flip, 0 or 1."""
        offsets = torch.randint(2 * PADDING + 1, (count, 2), generator=generator)
        flips = torch.randint(2, (count, 1), generator=generator)
        return torch.cat([offsets, flips], 1)

    def pixels(self, images: Tensor, draws: Tensor) -> Tensor:
        """Crop, then flip."""
        down, right, flip = draws.to(images.device, non_blocking=True).unbind(1)
        *_, height, width = images.shape
        windows = functional.pad(images, [PADDING] * 4).unfold(2, height, 1).unfold(3, width, 1)
        # (n, channels, 9, 9, height, width), a view: one window of each image is copied.
        crops = windows[torch.arange(len(images), device=images.device), :, down, right]
        return torch.where(flip.bool().view(-1, 1, 1, 1), crops.flip(3), crops)
