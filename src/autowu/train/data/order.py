"""Which samples an update takes, and which of them a process takes at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from autowu.errors import UserError
from autowu.train.data.task import Share
from autowu.train.run.randomness import generator
from autowu.train.settings.options import Settings


def shuffled(count: int, seed: int, turn: int, repeats: int = 1) -> Tensor:
    """The order of ``count`` samples in the epoch (or the pass) ``turn``: int64 of shape (count,).

    With ``repeats`` k > 1 it has the first ⌈count / k⌉ samples of a permutation, each k times in a row and
    the last one perhaps less often: the repeated augmentation of Hoffer et al. (2020).
    """
    order = torch.randperm(count, generator=generator(seed, "order", turn))
    return order.repeat_interleave(repeats)[:count]


@dataclass(frozen=True)
class Epochs:
    """How the n images of an epoch make updates: ⌊n / B⌋ of B images, and n mod B images are left over.

    They sit the epoch out: every update then has the same batch size, so that the losses of all updates have
    the same noise and one LR means the same throughout. If ``keeps_last``, they are one more update.
    """

    train_size: int
    batch_size: int
    keeps_last: bool = False

    @property
    def steps(self) -> int:
        """Updates in an epoch."""
        return self.train_size // self.batch_size + (self.keeps_last and self.left_over > 0)

    @property
    def left_over(self) -> int:
        """n mod B."""
        return self.train_size % self.batch_size

    @property
    def per_update(self) -> float:
        """Images in an update: B, or the mean over an epoch where the last one is kept."""
        return self.train_size / self.steps if self.keeps_last else self.batch_size

    def rows(self, update: int) -> range:
        """What ``update``, counted from 0, takes of the order of its epoch."""
        start = update % self.steps * self.batch_size
        return range(start, min(start + self.batch_size, self.train_size))


def epochs(train_size: int, settings: Settings, share: Share) -> Epochs:
    """Of ``train_size`` images.

    Raises:
        UserError: there are fewer than in one batch; or the last batch of an epoch is to be kept, and has not
            two for each process (BatchNorm needs two).
    """
    if train_size < settings.batch_size:
        raise UserError(
            f"--batch-size must be at most the number of training images, {train_size:,}, "
            f"not {settings.batch_size:,}"
        )
    found = Epochs(train_size, settings.batch_size, settings.keep_last_batch)
    if found.keeps_last and 0 < found.left_over < 2 * share.world:
        raise UserError(
            f"--keep-last-batch: the last batch of an epoch, {found.left_over} of {train_size:,} images, must"
            f" have two or more for each process, of which there are {share.world}"
        )
    return found


def micro_batches(samples: int, settings: Settings, share: Share) -> list[slice]:
    """The rows of a global batch of ``samples`` that a process takes, cut into consecutive micro-batches.

    All processes have as many of them, since parts of a model communicate in each. Where the shares of an
    epoch's last batch are unequal, the micro-batches are therefore about as large as each other.
    """
    rows, most = share.of(samples), settings.micro_batch_size
    if most is None or samples % share.world == 0:
        return pieces(rows, most or len(rows))
    count = min(math.ceil(math.ceil(samples / share.world) / most), samples // share.world)
    parts = [Share(part, count).of(len(rows)) for part in range(count)]
    return [slice(rows.start + part.start, rows.start + part.stop) for part in parts]


def pieces(rows: range, size: int) -> list[slice]:
    """``rows``, cut into consecutive pieces of ``size``; the last one may have fewer."""
    return [slice(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size)]


def evaluation_size(settings: Settings, share: Share, values: int) -> int:
    """How many test samples of ``values`` numbers a process takes at a time.

    Without gradients memory is no concern: as many as training takes, or what makes up 1,024 images of
    32 × 32 pixels.
    """
    training = micro_batches(settings.batch_size, settings, share)[0]
    return max(training.stop - training.start, min(1024, 1024 * 3 * 32 * 32 // values))
