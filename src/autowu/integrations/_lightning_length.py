"""How many updates a Lightning trainer will make, from where it is."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


_OR_OPEN: Final = ". (With max_epochs=-1 the run has no known end, until scheduler.cooldown(steps).)"


class Start(NamedTuple):
    """How far the trainer was when the scheduler had done no update."""

    step: int
    """Its ``global_step``."""
    epoch: int
    """Epochs done."""
    batch: int
    """Batches done of the epoch after these, where a checkpoint is from within an epoch."""

    @classmethod
    def of(cls, trainer: Trainer) -> Start:
        """Where ``trainer`` is now, in ``on_train_start``."""
        loop = cast("Any", trainer.fit_loop)
        epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
        if not (loop.restarting and epochs.ready > epochs.processed):
            return cls(trainer.global_step, epochs.processed, 0)
        if batches.processed >= trainer.num_training_batches:
            return cls(trainer.global_step, epochs.processed + 1, 0)  # only validation is left of it
        return cls(trainer.global_step, epochs.processed, batches.processed)


def updates_from(start: Start, trainer: Trainer, pl_module: LightningModule) -> int | None:
    """Updates from ``start`` to the trainer's limits on epochs and steps; None where it has neither.

    ``trainer.estimated_stepping_batches`` counts from the beginning of the first epoch, wherever the trainer
    is, and takes each epoch to accumulate as the first one does.

    Raises:
        ValueError: it has a limit, but does not know how many updates that is.
    """
    max_epochs = None if trainer.max_epochs == -1 else trainer.max_epochs
    if max_epochs is None and trainer.max_steps == -1:
        return None
    if not pl_module.automatic_optimization:
        raise ValueError(
            "give total_steps: with manual optimization the trainer does not know how often training_step"
            f" will call optimizer.step(){_OR_OPEN}"
        )
    by_epochs = math.inf
    if max_epochs is not None and math.isfinite(trainer.num_training_batches):
        by_epochs = _updates_of_epochs(start, max_epochs, trainer)
    by_steps = math.inf if trainer.max_steps == -1 else trainer.max_steps - start.step
    updates = min(by_epochs, by_steps)
    if math.isinf(updates):
        raise ValueError(
            "give total_steps, or max_steps to the Trainer: it does not know how many updates"
            f" max_epochs={max_epochs} will be, since the data have no length{_OR_OPEN}"
        )
    return int(updates)


class _Accumulation(Protocol):
    """Lightning's GradientAccumulationScheduler, of either package."""

    epochs: list[int]

    def get_accumulate_grad_batches(self, epoch: int) -> int: ...


def _updates_of_epochs(start: Start, end: int, trainer: Trainer) -> int:
    """An epoch's last update is made with whatever batches there are."""
    changing: list[_Accumulation] = [
        callback
        for callback in cast("Any", trainer).callbacks
        if hasattr(callback, "get_accumulate_grad_batches")
    ]
    for callback in changing:
        if getattr(callback, "mode", "epoch") != "epoch":
            raise ValueError(f"give total_steps: {type(callback).__name__} does not go by epochs")

    def batches_of_an_update(epoch: int) -> int:
        # The last one in the list has the last word.
        return (
            changing[-1].get_accumulate_grad_batches(epoch) if changing else trainer.accumulate_grad_batches
        )

    changes = {epoch for callback in changing for epoch in callback.epochs if start.epoch < epoch < end}
    updates = sum(
        (after - epoch) * math.ceil(trainer.num_training_batches / batches_of_an_update(epoch))
        for epoch, after in pairwise(sorted({start.epoch, *changes, end}))
    )
    return updates - start.batch // batches_of_an_update(start.epoch)
