"""Images and texts of the data folder, as tensors that fit in memory."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

FASHION, CIFAR10, CIFAR100, TEXT = "fashion-mnist.npz", "cifar10.npz", "cifar100.npz", "shakespeare.txt"
TESTED = 4_000
"""Test images: their accuracy is known to 0.5 points."""
SPLIT = 20_000
"""Characters at the end of a text that are not trained on."""


class Images(NamedTuple):
    """Inputs float32 [N, C, H, W], raw (0 to 255), and classes."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor

    def standardised(self) -> Images:
        """To mean 0 and standard deviation 1 over the training part."""
        mean, std = self.x.mean(), self.x.std()
        return self._replace(x=(self.x - mean) / std, test_x=(self.test_x - mean) / std)

    def scaled(self) -> Images:
        """To [0, 1]."""
        return self._replace(x=self.x / self.x.max(), test_x=self.test_x / self.x.max())

    def flat(self) -> Images:
        """A row for each image."""
        return self._replace(x=self.x.flatten(1), test_x=self.test_x.flatten(1))


@cache
def images(path: Path, train: int, pool: int = 2) -> Images:
    """The first images of a set, averaged over squares of ``pool`` pixels a side."""
    with np.load(path) as file:
        x, y, test_x, test_y = (file[part] for part in ("x_train", "y_train", "x_test", "y_test"))
    return Images(
        _pooled(x[:train], pool),
        _classes(y[:train]),
        _pooled(test_x[:TESTED], pool),
        _classes(test_y[:TESTED]),
    )


@cache
def digits() -> Images:
    """1,442 and 355 handwritten digits of 8 by 8 pixels, which come with the trainer."""
    with resources.files("autowu.train").joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        x, y, test_x, test_y = (arrays[part] for part in ("x_train", "y_train", "x_test", "y_test"))
    return Images(_pooled(x, 1), _classes(y), _pooled(test_x, 1), _classes(test_y))


class Text(NamedTuple):
    """Characters as numbers."""

    train: Tensor
    test: Tensor
    characters: str
    """What the numbers stand for."""


@cache
def text(path: Path) -> Text:
    """A text; its end is not trained on."""
    content = path.read_text(encoding="utf-8")
    characters = "".join(sorted(set(content)))
    places = {character: place for place, character in enumerate(characters)}
    codes = torch.tensor([places[character] for character in content])
    return Text(codes[:-SPLIT], codes[-SPLIT:], characters)


def windows(codes: Tensor, starts: Tensor, length: int) -> Tensor:
    """Pieces of ``length`` + 1 characters: inputs and, one further, targets."""
    return codes[starts[:, None] + torch.arange(length + 1)]


def successive(codes: Tensor, length: int, most: int = 200) -> Tensor:
    """Pieces one after the other."""
    return windows(codes, torch.arange(0, len(codes) - length - 1, length)[:most], length)


def guess(codes: Tensor) -> float:
    """Minus the loss of a prediction by the frequencies of characters."""
    share = codes.bincount() / len(codes)
    return -functional.cross_entropy(share.log().clamp(min=-30).expand(len(codes), -1), codes).item()


def _pooled(array: np.ndarray, pool: int) -> Tensor:
    x = torch.from_numpy(np.ascontiguousarray(array)).float()
    x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)
    return functional.avg_pool2d(x, pool).contiguous() if pool > 1 else x.contiguous()


def _classes(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.int64).reshape(-1))
