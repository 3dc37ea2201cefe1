"""Mixup and CutMix."""

from __future__ import annotations

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

    Raises:
        UserError: a micro-batch has an odd number of images.
    """

    def __init__(self, settings: Settings, classes: int, share: Share) -> None:
        for rows in micro_batches(settings, share):
            if (rows.stop - rows.start) % 2:
                raise UserError(
                    "--augment deit mixes images in pairs: each micro-batch must have an even number of "
                    f"images, not {rows.stop - rows.start} (see --batch-size, --micro-batch-size, --devices)"
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
