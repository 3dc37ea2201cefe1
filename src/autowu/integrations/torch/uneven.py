"""Ranks with fewer batches than others: they take part in decisions until all are done.

`DistributedDataParallel.join` lets a rank that is done answer the collectives of the others' forward and
backward passes. It knows nothing of those of a scheduler, which is therefore one of the things joined.
"""

from __future__ import annotations

import functools
import math
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
        self._scheduler.step(math.nan)


_JOINED: WeakSet[Any] = WeakSet()


def join_with_ddp(scheduler: Any) -> None:
    """From now on ``join()`` of a DistributedDataParallel with the scheduler's parameters joins it, too."""
    _JOINED.add(scheduler)
    join = DistributedDataParallel.join
    if getattr(join, "joins_schedulers", False):
        return

    @functools.wraps(join)
    def joined(
        self: DistributedDataParallel,
        divide_by_initial_world_size: bool = True,
        enable: bool = True,
        throw_on_early_termination: bool = False,
    ) -> Any:
        own = {id(parameter) for parameter in self.parameters()}
        schedulers = [each for each in _JOINED if each.trains(own)]
        if not (schedulers and enable):
            return join(self, divide_by_initial_world_size, enable, throw_on_early_termination)
        others = [Uneven(each, cast("dist.ProcessGroup", self.process_group)) for each in schedulers]
        return Join(
            [cast("Joinable", self), *others],
            enable,
            throw_on_early_termination,
            divide_by_initial_world_size=divide_by_initial_world_size,
        )

    vars(joined)["joins_schedulers"] = True
    DistributedDataParallel.join = joined
