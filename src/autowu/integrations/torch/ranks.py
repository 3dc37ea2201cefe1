"""One decision and one rewind for all processes of a group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import torch
import torch.distributed as dist

from autowu.controller.state import Phase, State
from autowu.integrations.torch.snapshot import Snapshot

T = TypeVar("T")


class OnAllRanks:
    """The snapshots of all ranks: each takes one, or none does; all are put back, or none is."""

    def __init__(self, snapshot: Snapshot, group: dist.ProcessGroup | None) -> None:
        self._snapshot, self._group = snapshot, group
        self.gone: list[str] = []
        """Parameters of the snapshot that are trained no longer, when it was put back."""
        self.settings: list[str] = []
        """Settings of the groups that had changed since, and went back."""

    def kept(self) -> bool:
        """Whether each rank has a snapshot, of before the first update; else none keeps its own."""
        self._snapshot.healthy()  # a first look at the optimizers' state
        if all(_gathered(self._snapshot.kept, self._group)):
            return True
        self._snapshot.drop()
        return False

    @torch.inference_mode(False)  # what is kept is written to again
    @torch.no_grad()
    def take(self) -> bool:
        """Keep a snapshot of now, if the weights are finite on every rank."""
        if not all(_gathered(self._snapshot.healthy(), self._group)):
            return False
        self._snapshot.take()
        return True

    @torch.inference_mode(False)
    @torch.no_grad()
    def restore(self) -> str | None:
        """Put the snapshot back, if it fits on every rank; else why not."""
        self.gone, settings = self._snapshot.gone(), self._snapshot.changed_settings()
        for obstacle in _gathered(self._snapshot.obstacle(), self._group):
            if obstacle is not None:
                return obstacle
        self._snapshot.restore()
        self.settings = settings
        return None

    def drop(self) -> None:
        """Forget it."""
        self._snapshot.drop()


def leaders(decide: Callable[[], State[Phase]], group: dist.ProcessGroup | None) -> State[Phase]:
    """What rank 0 of the group decides, on all of its ranks."""
    if group is None:
        return decide()
    leader = dist.get_global_rank(group, 0)
    message = [decide() if dist.get_rank() == leader else None]
    dist.broadcast_object_list(message, src=leader, group=group)
    return cast("State[Phase]", message[0])


def agree(asked: Mapping[str, object], group: dist.ProcessGroup | None) -> None:
    """All ranks of the group have to have the same values, by their names.

    Raises:
        ValueError: they have not, on each of them; the message names the first two values that differ.
    """
    for rank, other in enumerate(of_all := _gathered(asked, group)):
        for what, value in of_all[0].items():
            if other[what] != value:
                raise ValueError(f"{what} is {value!r:.80} on rank 0, but {other[what]!r:.80} on rank {rank}")


def _gathered(value: T, group: dist.ProcessGroup | None) -> list[T]:
    """Of all ranks."""
    if group is None:
        return [value]
    values: list[T] = [value] * dist.get_world_size(group)
    dist.all_gather_object(values, value, group=group)
    return values


def several(group: dist.ProcessGroup | None) -> dist.ProcessGroup | None:
    """The group, by default all ranks, if there are several ranks in it; else None."""
    if not (dist.is_available() and dist.is_initialized()):
        return None
    group = group or dist.group.WORLD
    return group if dist.get_world_size(group) > 1 else None
