"""Augmentations one after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from autowu.train.data.augment.crop import Augment


class Chain(Augment):
    """All that ``parts`` do to pixels, in their order, and then all that they do to standardised images."""

    def __init__(self, *parts: Augment) -> None:
        self._parts = parts
        self.numbers = sum(part.numbers for part in parts)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """The columns of the first part, of the second, …"""
        return torch.cat([part.draw(count, generator) for part in self._parts], 1)

    def pixels(self, images: Tensor, draws: Tensor) -> Tensor:
        """Of each part, in turn."""
        for part, columns in zip(self._parts, self._columns(draws), strict=True):
            images = part.pixels(images, columns)
        return images

    def standardised(self, images: Tensor, draws: Tensor) -> Tensor:
        """Of each part, in turn."""
        for part, columns in zip(self._parts, self._columns(draws), strict=True):
            images = part.standardised(images, columns)
        return images

    def _columns(self, draws: Tensor) -> list[Tensor]:
        return list(draws.split_with_sizes([part.numbers for part in self._parts], 1))
