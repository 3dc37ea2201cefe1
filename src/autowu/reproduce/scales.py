"""What a cell is at the paper's size, and at smaller ones that keep the paper's updates in an epoch.

The n images of a small set and its batches of B are the paper's, divided by the same number: ⌊n / B⌋ is the
same, and so is the peak LR of the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from autowu.reproduce.cells import Cell
from autowu.train.settings.recipes import RECIPES

CIFAR: Final = ("cifar10-resnet18", "cifar10-resnet18-lamb", "cifar100-wrn28-10", "cifar100-wrn28-10-lamb")
RESNET50: Final = "imagenet-resnet50"
BASE: Final = 256
"""The batch size at which the peak LR is η_base."""


@dataclass(frozen=True)
class Pace:
    """How fast a device trains a model: max(images / ``images``, updates / ``updates``) seconds.

    Args:
        images: images in a second.
        updates: updates in a second, however small; reading images may allow fewer.
    """

    images: float
    updates: float


@dataclass(frozen=True)
class Stand:
    """What stands for a task of the paper.

    Args:
        set: the data set.
        pace: of its model on the scale's device.
        settings: in place of the recipe's.
        divisor: of batch sizes and of the number of images.
        seeds: as many as the paper has, or more.
        images: in an epoch.
        epochs: of a run.
    """

    set: str
    pace: Pace
    seeds: int
    images: int
    epochs: int
    divisor: int = 1
    settings: Mapping[str, Any] | None = None

    def batch_size(self, of_paper: int) -> int:
        """What stands for the paper's batch size."""
        return of_paper // self.divisor


@dataclass(frozen=True)
class Scale:
    """A size of the whole study.

    Args:
        name: of the scale.
        about: what it is, for the page.
        device: whose hours an estimate is in.
        tasks: what stands for the paper's tasks; one that is not there has no cells.
    """

    name: str
    about: str
    device: str
    tasks: Mapping[str, Stand]

    def settings(self, cell: Cell) -> dict[str, Any]:
        """Of the trainer, for ``cell``; what is not there is the recipe's. ``data`` is the set's name."""
        of, schedule = self.tasks[cell.task], cell.schedule
        chosen: dict[str, Any] = {
            "data": of.set,
            **(of.settings or {}),
            **schedule.settings,
            "batch_size": of.batch_size(cell.batch_size),
            "seed": cell.seed,
        }
        if schedule.settings["schedule"] != "baseline":
            return chosen
        if schedule.peak is not None or of.divisor > 1:
            chosen["lr"] = self.peak(cell) / math.sqrt(chosen["batch_size"] / BASE)
        if schedule.warmup_epochs is not None:
            share = of.epochs / RECIPES[cell.task].settings["epochs"]
            chosen["warmup_epochs"] = max(1, round(schedule.warmup_epochs * share))
        return chosen

    def peak(self, cell: Cell) -> float:
        """The peak LR of the baseline, η_base √(B / 256) by the paper's batch size."""
        own = cell.schedule.peak
        return RECIPES[cell.task].settings["lr"] * math.sqrt(cell.batch_size / BASE) if own is None else own

    def hours(self, cell: Cell) -> float:
        """An estimate of the device's time, in hours."""
        of = self.tasks[cell.task]
        updates = of.epochs * (of.images // of.batch_size(cell.batch_size))
        return max(of.epochs * of.images / of.pace.images, updates / of.pace.updates) / 3600


def _cifar(name: str, pace: Pace) -> Stand:
    return Stand(name, pace, seeds=3, images=50_000, epochs=200)


def _imagenet(pace: Pace, epochs: int = 120) -> Stand:
    return Stand("imagenet", pace, seeds=1, images=1_281_167, epochs=epochs)


# ResNet-18 and WRN-28-10: docs/benchmarks.md, one H200, TF32 or bfloat16. The others: by their FLOPs.
_RESNET, _WIDE = Pace(60_000, 60), Pace(10_000, 40)

PAPER: Final = Scale(
    "paper",
    "The paper's tasks at their size.",
    "one H200",
    {
        "cifar10-resnet18": _cifar("cifar10", _RESNET),
        "cifar10-resnet18-lamb": _cifar("cifar10", _RESNET),
        "cifar100-wrn28-10": _cifar("cifar100", _WIDE),
        "cifar100-wrn28-10-lamb": _cifar("cifar100", _WIDE),
        "imagenet-resnet50": _imagenet(Pace(3_000, 10)),
        "imagenet-efficientnet-b0": _imagenet(Pace(3_000, 10)),
        "imagenet-vit-s16": _imagenet(Pace(3_000, 10), epochs=300),
    },
)

SMALL: Final[dict[str, Any]] = {"model": "cnn", "augment": "none", "eval_every": 10}
_CORE: Final = Pace(3_600, 110)
"""Of the small CNN on 14 × 14 pixels, measured on a core that others used, too."""


def _small(divisor: int, images: int, epochs: int, seeds: int) -> Stand:
    settings = SMALL | {"epochs": epochs}
    return Stand(f"mini-{images}", _CORE, seeds, images, epochs, divisor, settings)


MINI: Final = Scale(
    "mini",
    "Fashion-MNIST at 14 × 14 pixels and a CNN of three layers in place of the paper's tasks. For CIFAR-10 "
    "it has 3,125 training images and a sixteenth of the batch sizes, and so the paper's 200 epochs of 3, 6, "
    "48 and 195 updates; for ImageNet 5,000 images and 1/64, and so 120 epochs of 9, 19, 78 and 312 updates, "
    "a quarter of the paper's. The columns keep the paper's batch sizes and the baseline its peak LRs. No "
    "augmentation.",
    "one core",
    {
        **dict.fromkeys(CIFAR[:2], _small(16, 3_125, 200, seeds=3)),
        RESNET50: _small(64, 5_000, 120, seeds=1),
    },
)

_DIGITS: Final = Stand("digits", Pace(20_000, 400), 1, 1_442, 8, 64, SMALL | {"epochs": 8, "eval_every": 1})

TINY: Final = Scale(
    "tiny",
    "Digits of 8 × 8 pixels for 8 epochs: whether everything works, in seconds; its numbers say nothing.",
    "one core",
    {
        **dict.fromkeys(CIFAR, _DIGITS),
        **dict.fromkeys((RESNET50, "imagenet-efficientnet-b0", "imagenet-vit-s16"), _DIGITS),
    },
)

SCALES: Final[dict[str, Scale]] = {scale.name: scale for scale in (PAPER, MINI, TINY)}
