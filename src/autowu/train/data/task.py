"""What the loop sees of a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from torch import Tensor


class Batch(NamedTuple):
    """Samples on the device, ready for the model."""

    inputs: Tensor
    """float32 of shape (n, channels, height, width), or int64 of shape (n, context)."""
    targets: Tensor
    """int64 of shape (n,), or (n, context); after mixup, probabilities of shape (n, classes)."""


@dataclass(frozen=True)
class Share:
    """The part of all samples that one of ``world`` processes takes: number ``rank``, from 0."""

    rank: int = 0
    world: int = 1

    def of(self, count: int) -> range:
        """⌊r n / w⌋ … ⌊(r + 1) n / w⌋ - 1 of ``count`` n rows: each row is in exactly one share."""
        return range(self.rank * count // self.world, (self.rank + 1) * count // self.world)


class Task(Protocol):
    """A data set with its batches.

    What an update sees is a function of the seed and of the update's number alone, so that a run can begin at
    any update, and the shares of any number of processes make up the same batch.
    """

    @property
    def name(self) -> str:
        """Of the data: ``cifar10``."""
        ...

    @property
    def kind(self) -> Literal["images", "text"]:
        """What a sample is."""
        ...

    @property
    def classes(self) -> int:
        """Classes, or the size of the vocabulary."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width), or (context,)."""
        ...

    @property
    def train_size(self) -> int:
        """Images, or windows in one pass over the text."""
        ...

    @property
    def test_size(self) -> int:
        """Images, or windows."""
        ...

    @property
    def steps_per_epoch(self) -> int | None:
        """Updates in an epoch; None for a text, which has no epochs."""
        ...

    @property
    def samples(self) -> Literal["images", "tokens"]:
        """What :attr:`per_update` counts."""
        ...

    @property
    def per_update(self) -> float:
        """Images or tokens in an update, over all processes; a mean, where an epoch's last one has fewer."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digest of what is learnt from: other data have another."""
        ...

    @property
    def description(self) -> str:
        """One line for a person."""
        ...

    def size(self, update: int) -> int:
        """Images or windows in ``update``, counted from 0, over all processes."""
        ...

    def updates(self, first: int, last: int) -> Iterator[Iterator[Batch]]:
        """For each update ``first`` … ``last`` - 1, counted from 0: the micro-batches of this process.

        The micro-batches of an update have to be taken before those of the next.
        """
        ...

    def evaluation(self) -> Iterator[Batch]:
        """This process's share of the test set, in pieces: over all processes each sample exactly once."""
        ...

    def close(self) -> None:
        """Stop the processes that read data, if there are any."""
        ...


def digest(parts: Iterable[bytes | memoryview]) -> str:
    """SHA-256 of ``parts``, one after the other."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()
