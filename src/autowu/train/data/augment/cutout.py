"""Cutout."""

from __future__ import annotations

import torch
from torch import Tensor

from autowu.train.data.augment.crop import Augment

SIDE = 16
"""Pixels."""


class Cutout(Augment):
    """A square of 16 × 16 pixels becomes 0, the mean, in each image (DeVries and Taylor, 2017).

    Its centre is any pixel, so that a part of it may lie outside.
    """

    numbers = 2

    def __init__(self, height: int, width: int) -> None:
        self._height, self._width = height, width

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Columns: row and column of the centre."""
        rows = torch.randint(self._height, (count, 1), generator=generator)
        columns = torch.randint(self._width, (count, 1), generator=generator)
        return torch.cat([rows, columns], 1)

    def standardised(self, images: Tensor, draws: Tensor) -> Tensor:
        """Cut."""
        row, column = draws.to(images.device, non_blocking=True).view(-1, 2, 1).unbind(1)
        across, down = _within(column, self._width), _within(row, self._height)
        return images.masked_fill_((down[:, :, None] & across[:, None, :])[:, None], 0.0)


def _within(centre: Tensor, size: int) -> Tensor:
    """Which of the places 0 … size - 1 are within the side: centres of shape (n, 1) -> (n, size)."""
    places = torch.arange(size, device=centre.device)
    return (places >= centre - SIDE // 2) & (places < centre + SIDE // 2)
