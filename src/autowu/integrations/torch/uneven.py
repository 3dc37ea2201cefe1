"""Ranks with fewer batches than others: they take part in decisions until all are done.

PyTorch's `Join`, and `DistributedDataParallel.join` by it, lets a rank that is done answer the collectives
of the others' forward and backward passes. It knows nothing of those of a scheduler, which is therefore one
of the things joined.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any, cast
from weakref import WeakSet

import torch
import torch.distributed as dist
from torch.distributed.algorithms.join import Join, Joinable, JoinHook
from torch.nn.parallel import DistributedDataParallel


class Uneven(Joinable):
    """Steps a scheduler for a rank that has no more batches, so that it is one with the others.

    Its loss is NaN, which the mean over the ranks leaves out.
    """

    def __init__(self, scheduler: Any, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.scheduler, self._group = scheduler, group

    def join_hook(self, **kwargs: Any) -> JoinHook:
        """What a rank does that is done, for each update of the others."""
        return _Step(self.scheduler)

    @property
    def join_device(self) -> torch.device:
        """Of the parameters."""
        return self.scheduler.optimizer.param_groups[0]["params"][0].device

    @property
    def join_process_group(self) -> dist.ProcessGroup:
        """The ranks that decide together."""
        return self._group


class _Step(JoinHook):
    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler

    def main_hook(self) -> None:
        self._scheduler._updates.elsewhere()
        self._scheduler.step(math.nan)


_JOINED: WeakSet[Any] = WeakSet()


def join_with_ddp(scheduler: Any) -> None:
    """From now on whatever joins a DistributedDataParallel with the scheduler's parameters joins it, too.

    That is its ``join()``, and ``Join([model, …])``, as Accelerate's ``join_uneven_inputs`` has it.
    """
    _JOINED.add(scheduler)
    begin: Any = cast("Any", Join).__init__
    if getattr(begin, "joins_schedulers", False):
        return

    @functools.wraps(begin)
    def begin_with_schedulers(
        self: Join, joinables: list[Joinable], enable: bool = True, *more: Any, **kwargs: Any
    ) -> None:
        begin(self, [*joinables, *(_schedulers_of(joinables) if enable else ())], enable, *more, **kwargs)

    vars(begin_with_schedulers)["joins_schedulers"] = True
    cast("Any", Join).__init__ = begin_with_schedulers


def _schedulers_of(joinables: Iterable[Joinable]) -> list[Joinable]:
    """They come last: an update's collectives are before theirs."""
    models = [each for each in joinables if isinstance(each, DistributedDataParallel)]
    own = {id(parameter) for model in models for parameter in model.parameters()}
    return [
        Uneven(each, cast("dist.ProcessGroup", models[0].process_group))
        for each in _JOINED
        if models and each.trains(own)
    ]
