"""Which samples an update takes, and which of them a process takes at a time."""

from __future__ import annotations

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


def steps_per_epoch(train_size: int, batch_size: int) -> int:
    """⌊n / B⌋ updates. The n mod B samples left over sit the epoch out.

    Every update then has the same batch size, so that the losses of all updates have the same noise and one
    LR means the same throughout.

    Raises:
        UserError: there are fewer samples than in one batch.
    """
    if train_size < batch_size:
        raise UserError(
            f"--batch-size must be at most the number of training images, {train_size:,}, not {batch_size:,}"
        )
    return train_size // batch_size


def micro_batches(settings: Settings, share: Share) -> list[slice]:
    """The rows of the global batch that a process takes, cut into consecutive micro-batches."""
    rows = share.of(settings.batch_size)
    return pieces(rows, settings.micro_batch_size or len(rows))


def pieces(rows: range, size: int) -> list[slice]:
    """``rows``, cut into consecutive pieces of ``size``; the last one may have fewer."""
    return [slice(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size)]


def evaluation_size(settings: Settings, share: Share, values: int) -> int:
    """How many test samples of ``values`` numbers a process takes at a time.

    Without gradients memory is no concern: as many as training takes, or what makes up 1,024 images of
    32 × 32 pixels.
    """
    training = micro_batches(settings, share)[0]
    return max(training.stop - training.start, min(1024, 1024 * 3 * 32 * 32 // values))
