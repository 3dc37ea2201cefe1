"""Averages of the weights that other callbacks keep: they begin anew where the weights go back."""

from __future__ import annotations

from collections.abc import Iterable

from torch.optim.swa_utils import AveragedModel

from autowu.integrations.readable import Readable


class Averages:
    """Past the minimum an average takes in weights of an LR that was too large.

    Where the weights go back, it takes the next ones as they are, as it did the first. Which those are is the
    callback's matter. Seen are attributes that are an ``AveragedModel``, as WeightAveraging has it.

    Args:
        scheduler: whose rewinds are followed from now on.
    """

    def __init__(self, scheduler: Readable) -> None:
        self._rewinds = scheduler.rewinds

    def follow(self, scheduler: Readable, callbacks: Iterable[object]) -> None:
        """To be called after each update, and what it has put back."""
        if scheduler.rewinds == self._rewinds:
            return
        self._rewinds = scheduler.rewinds
        for callback in callbacks:
            for value in vars(callback).values():
                if isinstance(value, AveragedModel):
                    value.n_averaged.zero_()
