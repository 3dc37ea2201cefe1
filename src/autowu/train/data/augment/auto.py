"""AutoAugment with the policy that was found on CIFAR-10 (Cubuk et al., 2018), for a whole batch."""

from __future__ import annotations

import torch
from torch import Tensor

from autowu.train.data.augment.crop import Augment
from autowu.train.data.augment.operations import SIGNED, operations

# Table 7: two operations with their probability and their level, one pair for each image.
POLICY = (
    (("Invert", 0.1, 0), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 0)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 0), ("Equalize", 0.6, 0)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
    (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)),
)

NOTHING = 0


class AutoAugment(Augment):
    """One of 25 pairs of operations for each image, each operation with its probability.

    The images of a batch are put in the order of their operations: each operation runs once, on a slice.
    """

    numbers = 2

    def __init__(self) -> None:
        self._functions = operations()
        # Each operation that differs from the others has a number from 1 on, for both of its signs.
        self.kinds = sorted(
            {
                (name, level, sign)
                for pair in POLICY
                for name, _, level in pair
                for sign in ((-1, 1) if name in SIGNED else (1,))
            }
        )
        number = {kind: 1 + index for index, kind in enumerate(self.kinds)}
        self._number = torch.tensor(
            [
                [[number.get((name, level, sign), number[name, level, 1]) for sign in (-1, 1)]
                 for name, _, level in pair]
                for pair in POLICY
            ]
        )  # fmt: skip  # (25, 2 operations, 2 signs)
        self._probability = torch.tensor([[probability for _, probability, _ in pair] for pair in POLICY])

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Columns: numbers of the first and of the second operation; 0 is none."""
        pair = torch.randint(len(POLICY), (count,), generator=generator)
        happens = torch.rand((count, 2), generator=generator) < self._probability[pair]
        sign = torch.randint(2, (count, 2), generator=generator)
        number = self._number[pair].gather(2, sign[:, :, None]).squeeze(2)
        return torch.where(happens, number, NOTHING)

    def pixels(self, images: Tensor, draws: Tensor) -> Tensor:
        """The first operations, then the second ones."""
        for numbers in draws.unbind(1):
            images = self._operate(images, numbers)
        return images

    def _operate(self, images: Tensor, numbers: Tensor) -> Tensor:
        order = numbers.argsort(stable=True)
        moved = order.to(images.device, non_blocking=True)
        images = images[moved]
        start = 0
        counts = numbers.bincount()  # on the CPU, without waiting for the device
        for number in range(len(counts)):
            count = int(counts[number])
            if count and number != NOTHING:
                name, level, sign = self.kinds[number - 1]
                group = images[start : start + count]
                group.copy_(self._functions[name](group, level, sign))
            start += count
        back = torch.empty_like(images)
        back[moved] = images
        return back
