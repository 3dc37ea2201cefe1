"""Images that fit in memory: they live on the device, where batches are gathered and augmented."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from autowu.train.data import augment, order
from autowu.train.data.arrays import Images
from autowu.train.data.task import Batch, Share, digest
from autowu.train.run.randomness import generator
from autowu.train.settings.options import Settings

CHUNK = 64  # images whose moments are taken at a time: few enough for a processor's cache, in float64


class ImagesInMemory:
    """A :class:`~autowu.train.data.task.Task` over arrays.

    Images stay as they are, uint8 or float32, until a batch of them has been augmented; then each channel is
    standardised by the mean and the deviation of the training images.

    Raises:
        UserError: the batch is larger than the training set, or the images cannot be augmented as asked.
    """

    kind: Literal["images"] = "images"
    samples: Literal["images"] = "images"

    def __init__(self, images: Images, settings: Settings, share: Share, device: torch.device) -> None:
        self.name = images.name
        self.classes = images.classes
        _, *shape = images.train.images.shape
        self.input_shape = tuple(shape)
        self.train_size, self.test_size = len(images.train.labels), len(images.test.labels)
        self._epochs = order.epochs(self.train_size, settings, share)
        self.per_update, self.steps_per_epoch = self._epochs.per_update, self._epochs.steps
        self.description = (
            f"{self.name}: {self.train_size:,} training and {self.test_size:,} test images of "
            f"{' × '.join(map(str, self.input_shape))}, {self.classes} classes"
        )
        everything = (*images.train, *images.test)
        self.fingerprint = digest(
            part for tensor in everything for part in (str(tuple(tensor.shape)).encode(), tensor.numpy().data)
        )

        self._augment = augment.build(settings.augment, images.train.images)
        mean, deviation = moments(images.train.images)
        self._mean, self._scale = mean.to(device), (1 / deviation).to(device)
        self._train, self._test = images.train.to(device), images.test.to(device)
        self._seed, self._device = settings.seed, device
        self._settings, self._share = settings, share
        values = images.train.images[0].numel()
        self._pieces = order.pieces(share.of(self.test_size), order.evaluation_size(settings, share, values))
        self._epoch, self._order = -1, torch.empty(0)

    def size(self, update: int) -> int:
        """Images in ``update``, over all processes."""
        return len(self._epochs.rows(update))

    def updates(self, first: int, last: int) -> Iterator[Iterator[Batch]]:
        """For each update ``first`` … ``last`` - 1, counted from 0: the micro-batches of this process."""
        for update in range(first, last):
            yield self._update(update)

    def _update(self, update: int) -> Iterator[Batch]:
        places = self._epochs.rows(update)
        indices = self._epoch_order(update // self.steps_per_epoch)[places.start : places.stop]
        # Drawn for the whole batch, so that no other process and no other micro-batch size draws otherwise.
        draws = self._augment.draw(len(places), generator(self._seed, "augment", update))
        for rows in order.micro_batches(len(places), self._settings, self._share):
            index = indices[rows]
            images = self._augment.pixels(self._train.images[index], draws[rows])
            images = self._augment.standardised(self._standardise(images), draws[rows])
            yield Batch(images, self._train.labels[index])

    def evaluation(self) -> Iterator[Batch]:
        """This process's share of the test set, in pieces."""
        for rows in self._pieces:
            yield Batch(self._standardise(self._test.images[rows]), self._test.labels[rows])

    def close(self) -> None:
        """Nothing runs beside the training."""

    def _standardise(self, images: Tensor) -> Tensor:
        return (images - self._mean) * self._scale  # float32, also of uint8 images

    def _epoch_order(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            indices = order.shuffled(self.train_size, self._seed, epoch)
            self._epoch, self._order = epoch, indices.to(self._device, non_blocking=True)
        return self._order


def moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel: float32 of shape (1, channels, 1, 1).

    A channel that is blank has a deviation of 1, and so stays blank.
    """
    count = images.numel() // images.shape[1]
    chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    mean = torch.stack([chunk.double().sum((0, 2, 3), keepdim=True) for chunk in chunks]).sum(0) / count
    squares = [(chunk.double() - mean).square_().sum((0, 2, 3), keepdim=True) for chunk in chunks]
    deviation = (torch.stack(squares).sum(0) / max(count - 1, 1)).sqrt_()
    return mean.float(), torch.where(deviation < 1e-8, 1.0, deviation).float()
