"""Classes of images, from noisy labels, raw inputs and in long runs; and several losses in one sum."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.quality.kinds import data
from benchmarks.quality.kinds.data import Images
from benchmarks.quality.kinds.parts import mlp
from benchmarks.quality.kinds.task import TEST_SEED, Task, accuracy, commonest


class Classes(Task):
    """Images are classified."""

    images: Images
    batch = 50
    noise = 0.0
    """The part of the training labels that are drawn at random."""

    def prepare(self, images: Images, model: nn.Module) -> None:
        """Set both; labels are spoilt the same way in all runs."""
        random = torch.Generator().manual_seed(TEST_SEED)
        spoilt = torch.rand(len(images.y), generator=random) < self.noise
        wrong = torch.randint(int(images.y.max()) + 1, images.y.shape, generator=random)
        self.images, self.model = images._replace(y=torch.where(spoilt, wrong, images.y)), model

    def loss(self) -> Tensor:
        """Cross-entropy."""
        rows = self.draw(len(self.images.x), self.batch)
        return functional.cross_entropy(self.model(self.images.x[rows]), self.images.y[rows])

    def test(self, random: torch.Generator) -> float:
        """Accuracy."""
        return accuracy(self.model(self.images.test_x), self.images.test_y)

    def trivial(self) -> float:
        """The commonest class."""
        return commonest(self.images.test_y)


class BatchesOf2(Classes):
    """Digits, a fifth of the labels wrong, two at a time."""

    batch, noise = 2, 0.2

    def __init__(self, seed: int, _: Path) -> None:
        super().__init__(seed)
        self.prepare(data.digits().standardised().flat(), mlp([64, 64, 10]))


class BatchesOf8(Classes):
    """Clothes, two labels of five drawn at random, eight at a time, by SGD."""

    optimizer, weight_decay, batch, noise = "sgd", 5e-4, 8, 0.4

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        images = data.images(folder / data.FASHION, 10_000).standardised().flat()
        self.prepare(images, mlp([196, 64, 10]))


class RawInputs(Classes):
    """Pixels from 0 to 255, as they are, by SGD."""

    optimizer, weight_decay = "sgd", 5e-4

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        self.prepare(data.images(folder / data.FASHION, 10_000).flat(), mlp([196, 64, 10]))


class LongMLP(Classes):
    """By SGD, many updates of small batches."""

    optimizer, weight_decay, batch = "sgd", 5e-4, 32

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        images = data.images(folder / data.FASHION, 40_000).standardised().flat()
        self.prepare(images, mlp([196, 64, 10]))


class LongCNN(Classes):
    """Two convolutions on clothes of 7 by 7 pixels, by AdamW."""

    batch = 16

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        images = data.images(folder / data.FASHION, 40_000, pool=4).standardised()
        layers = (nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten())
        self.prepare(images, nn.Sequential(*layers, nn.Linear(144, 10)))


class Detection(Task):
    """A digit somewhere in a noisy picture, or none: is there one, which, and where; one sum of losses."""

    side, batch = 20, 32

    def __init__(self, seed: int, _: Path) -> None:
        super().__init__(seed)
        self.digits = data.digits().scaled()
        self.model = nn.Sequential(
            *(nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten()),
            *(nn.Linear(600, 64), nn.ReLU(), nn.Linear(64, 13)),
        )

    def pictures(
        self, x: Tensor, y: Tensor, count: int, random: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pictures, whether there is a digit, its class and the place of its corner in [0, 1]."""
        rows = torch.randint(len(x), (count,), generator=random)
        there = torch.rand(count, generator=random) < 0.7
        corners = torch.randint(self.side - 7, (count, 2), generator=random)
        canvas = 0.3 * torch.rand(count, self.side, self.side, generator=random)
        within = torch.arange(8)
        down, across = corners[:, 0, None] + within, corners[:, 1, None] + within
        digit = x[rows, 0] * there[:, None, None]
        canvas[torch.arange(count)[:, None, None], down[:, :, None], across[:, None, :]] += digit
        return canvas[:, None], there.float(), y[rows], corners / (self.side - 8)

    def summed(self, pictures: Tensor, there: Tensor, classes: Tensor, corners: Tensor) -> Tensor:
        """Class and place count where there is a digit."""
        outputs = self.model(pictures)
        of_class = functional.cross_entropy(outputs[:, 3:], classes, reduction="none")
        of_place = functional.smooth_l1_loss(outputs[:, 1:3], corners, reduction="none", beta=0.1).sum(1)
        found = functional.binary_cross_entropy_with_logits(outputs[:, 0], there)
        return found + ((of_class + 5 * of_place) * there).mean()

    def loss(self) -> Tensor:
        """Of fresh pictures."""
        return self.summed(*self.pictures(self.digits.x, self.digits.y, self.batch, self.random))

    def test(self, random: torch.Generator) -> float:
        """Minus the sum, with digits not seen before."""
        return -self.summed(*self.pictures(self.digits.test_x, self.digits.test_y, 4_000, random)).item()

    def trivial(self) -> float:
        """About that of constant outputs: entropies of the digit's presence and class, and its mean place."""
        random = torch.Generator().manual_seed(TEST_SEED)
        _, there, classes, corners = self.pictures(self.digits.test_x, self.digits.test_y, 4_000, random)
        share = there.mean()
        entropy = -(share * share.log() + (1 - share) * (1 - share).log())
        frequencies = classes.bincount() / len(classes)
        middle = corners.mean(0).expand_as(corners)
        of_place = functional.smooth_l1_loss(middle, corners, reduction="none", beta=0.1).sum(1).mean()
        return -(entropy + share * (-(frequencies * frequencies.log()).sum() + 5 * of_place)).item()
