"""Mixup and CutMix."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from autowu.errors import UserError
from autowu.integrations import torchvision_shim
from autowu.train.data.images import seeded
from autowu.train.data.order import micro_batches
from autowu.train.data.task import Batch, Share
from autowu.train.run.randomness import seed_for
from autowu.train.settings.options import Settings


class Mix:
    """Mixup of strength 0.8 or CutMix of strength 1, as likely as each other (Touvron et al., 2021, Table 9).

    timm's: one draw for a micro-batch, whose first image is mixed with its last one, and so on. What an image
    is mixed with therefore depends on the micro-batch size, and on the number of processes where that
    changes the micro-batches.

    Args:
        settings: the run's.
        classes: of the images.
        sizes: of the global batches that there are.
        processes: that share them.

    Raises:
        UserError: a micro-batch has an odd number of images.
    """

    def __init__(self, settings: Settings, classes: int, sizes: Iterable[int], processes: int) -> None:
        shares = [Share(rank, processes) for rank in range(processes)]
        cut = [rows for size in sizes for share in shares for rows in micro_batches(size, settings, share)]
        if odd := next((count for rows in cut if (count := rows.stop - rows.start) % 2), 0):
            flags = "--batch-size, --micro-batch-size, --devices, --keep-last-batch"
            raise UserError(
                "--augment deit mixes images in pairs: each micro-batch must have an even number of images, "
                f"not {odd} (see {flags})"
            )
        torchvision_shim.install()
        mixup: Any = import_module("timm.data").Mixup
        self._mixup = mixup(
            mixup_alpha=0.8,
            cutmix_alpha=1.0,
            label_smoothing=settings.label_smoothing,
            num_classes=classes,
        )
        self._seed = settings.seed

    def __call__(self, batch: Batch, update: int, row: int) -> Batch:
        """The micro-batch of ``update`` that begins with ``row`` of the global batch, mixed in place."""
        with seeded(seed_for(self._seed, "mix", update, row)):
            return Batch(*self._mixup(batch.inputs, batch.targets))
