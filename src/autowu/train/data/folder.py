"""A folder of images, decoded by worker processes as they are needed."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader

from autowu.errors import UserError
from autowu.train.data import order, workers
from autowu.train.data.images import ImageFiles, Key, Unreadable, collate, transform
from autowu.train.data.listing import Listing, read
from autowu.train.data.mix import Mix
from autowu.train.data.task import Batch, Share, digest
from autowu.train.settings.options import Settings

REPEATS = 3  # of an image in an epoch, with --augment deit


def load(settings: Settings, share: Share, device: torch.device) -> ImageFolder:
    """The folder ``settings.data`` with ``train/`` and ``val/``, each with a folder for each class.

    Raises:
        UserError: the folder is not like that, or the settings do not fit it.
    """
    root = Path(settings.data)
    return ImageFolder(root.resolve().name, *read(root), settings, share, device)


class ImageFolder:
    """A :class:`~autowu.train.data.task.Task` over image files.

    Each image draws its augmentation from a generator of its own, that of (seed, epoch, image): neither the
    number of workers nor where a run begins changes it. ImageNet's mean and deviation standardise the images.

    With ``deit`` an epoch has a third of the images, each three times (Hoffer et al., 2020), as in DeiT's own
    sampler.
    """

    kind: Literal["images"] = "images"
    samples: Literal["images"] = "images"

    def __init__(
        self,
        name: str,
        train: Listing,
        test: Listing,
        settings: Settings,
        share: Share,
        device: torch.device,
    ) -> None:
        size = settings.image_size
        self.name = name
        self.classes = len(train.classes)
        self.input_shape = (3, size, size)
        self.train_size, self.test_size = len(train.labels), len(test.labels)
        self._epochs = order.epochs(self.train_size, settings, share)
        self.per_update, self.steps_per_epoch = self._epochs.per_update, self._epochs.steps
        self.fingerprint = digest(part.inventory for part in (train, test))
        self.description = (
            f"{name}: {self.train_size:,} training and {self.test_size:,} test images, "
            f"to {size} × {size} pixels, {self.classes} classes"
        )
        deit = settings.augment == "deit"
        self._repeats = REPEATS if deit else 1
        self._mix = Mix(settings, self.classes, self._sizes(), share.world) if deit else None
        self._train, self._test = (
            ImageFiles(
                part.paths,
                part.labels,
                partial(transform, settings.augment, size, training=part is train),
                settings.seed,
            )
            for part in (train, test)
        )
        self._seed, self._workers, self._device = settings.seed, settings.workers, device
        self._settings, self._share = settings, share
        pieces = order.evaluation_size(settings, share, 3 * size * size)
        self._pieces = order.pieces(share.of(self.test_size), pieces)
        self._running: weakref.WeakSet[Any] = weakref.WeakSet()
        self._evaluation: DataLoader[Any] | None = None
        self._started: list[BaseProcess] = []

    def size(self, update: int) -> int:
        """Images in ``update``, over all processes."""
        return len(self._epochs.rows(update))

    def updates(self, first: int, last: int) -> Iterator[Iterator[Batch]]:
        """For each update ``first`` … ``last`` - 1, counted from 0: the micro-batches of this process.

        Workers run ahead of the training, and end with the iterator.
        """
        updates = self._updates(first, last)
        self._running.add(updates)
        return updates

    def _updates(self, first: int, last: int) -> Iterator[Iterator[Batch]]:
        loader = self._loader(self._train, _Plan(self._keys, first, last))
        batches = self._batches(loader)
        for update in range(first, last):
            mine = self._update(update, batches)
            yield mine
            for _ in mine:  # what the caller has left: the next batch is the next update's
                pass

    def _update(self, update: int, batches: Iterator[Batch]) -> Iterator[Batch]:
        rows_of = self._micro_batches(update)
        for rows, batch in zip(rows_of, islice(batches, len(rows_of)), strict=True):
            yield self._mix(batch, update, rows.start) if self._mix else batch

    def _sizes(self) -> set[int]:
        """Of the global batches."""
        return {self.size(update) for update in (0, self.steps_per_epoch - 1)}

    def _micro_batches(self, update: int) -> list[slice]:
        return order.micro_batches(self.size(update), self._settings, self._share)

    def _keys(self, first: int, last: int) -> Iterator[list[Key]]:
        """The keys of each micro-batch of the updates ``first`` … ``last`` - 1."""
        known, images = -1, np.empty(0, np.int64)
        for update in range(first, last):
            epoch = update // self.steps_per_epoch
            if epoch != known:
                known = epoch
                shuffled = order.shuffled(self.train_size, self._seed, epoch, self._repeats)
                images = np.asarray(shuffled, np.int64)
            of_update = self._epochs.rows(update)
            for rows in self._micro_batches(update):
                places = of_update[rows]
                yield [Key(int(images[place]), epoch, place % self._repeats) for place in places]

    def evaluation(self) -> Iterator[Batch]:
        """This process's share of the test set, in pieces; the workers wait for the next evaluation."""
        if self._evaluation is None:
            keys = [[Key(index) for index in range(rows.start, rows.stop)] for rows in self._pieces]
            self._evaluation = self._loader(self._test, keys, stay=True)
        return self._batches(self._evaluation)

    def close(self) -> None:
        """Stop the workers."""
        for updates in list(self._running):
            updates.close()
        self._evaluation = None
        workers.end(self._started)

    def _loader(
        self, images: ImageFiles, keys: Iterable[list[Key]], *, stay: bool = False
    ) -> DataLoader[Any]:
        return DataLoader(
            images,
            batch_sampler=keys,  # pyright: ignore[reportArgumentType]  # any iterable of lists will do
            num_workers=self._workers,
            multiprocessing_context=workers.START if self._workers else None,
            worker_init_fn=workers.ignore_signals,
            persistent_workers=stay and self._workers > 0,
            collate_fn=collate,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # else it draws a seed for workers from the global one
        )

    def _batches(self, loader: DataLoader[Any]) -> Iterator[Batch]:
        for batch in workers.begin(loader, self._started):
            if isinstance(batch, Unreadable):
                raise UserError(f"cannot read the image {batch.path}: {batch.reason}")
            images, labels = batch
            yield Batch(
                images.to(self._device, non_blocking=True), labels.to(self._device, non_blocking=True)
            )


class _Plan:
    """What a loader asks for its keys: an iterable that can begin anew."""

    def __init__(self, keys: Any, first: int, last: int) -> None:
        self._keys, self._first, self._last = keys, first, last

    def __iter__(self) -> Iterator[list[Key]]:
        return self._keys(self._first, self._last)
