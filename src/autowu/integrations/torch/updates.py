"""The optimizers' own updates, counted beside the scheduler's: too few or too many calls of it are told."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from autowu.integrations.torch.nested import within

MISSED: Final = 25  # updates without a step(loss) before it is told: more than those that warm kernels up
IDLE: Final = 25  # calls of step(loss) since the last update, until that is told
CROWDED: Final = 25  # updates in a row, each with several step(loss) since the one before, until that is told

# Of each optimizer the hooks of the last scheduler that was made for it: one of before is out of use.
_hooks: WeakKeyDictionary[Optimizer, tuple[RemovableHandle, RemovableHandle]] = WeakKeyDictionary()

# What hears of the updates of all optimizers there are, by one hook once there is any.
_listening: WeakSet[Updates] = WeakSet()


class Updates:
    """Counts the updates that each optimizer makes; warns once where ``step`` is called too seldom or often.

    Where there are several optimizers, the one that makes the fewest counts: a critic may make more. Of too
    many calls it is told while any optimizer makes updates: those that a captured graph replays are not seen.
    Updates that a GradScaler skips are none. Reads nothing from a device.

    Args:
        optimizers: the scheduler's.
        total_steps: as it was given, for the message.
    """

    def __init__(self, optimizers: Sequence[Optimizer], total_steps: int | None) -> None:
        self.steps = 0
        """Calls of the scheduler's ``step``, since it was made or loaded."""
        self._total_steps, self._optimizers = total_steps, list(optimizers)
        self._made = [0] * len(optimizers)
        self._told = self._told_crowded = self._told_idle = self._told_captured = False
        self._other: str | None = None  # the class of an optimizer that trains in the place of these
        self._at, self._crowded = 0, 0  # calls up to the last update; updates in a row with several since
        self.first = [_first(optimizer) for optimizer in optimizers]
        """The parameter that comes first in each optimizer."""
        self.before_first: Callable[[], None] | None = None
        """What is called once, before the first update."""
        for index, optimizer in enumerate(optimizers):
            _watch(optimizer, self, index)
        _hear_all()
        _listening.add(self)

    def restart(self) -> None:
        """Count anew: the run goes on from a checkpoint."""
        self.steps, self._made = 0, [0] * len(self._made)
        self._at, self._crowded, self._other, self.before_first = 0, 0, None, None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self.restart()  # no optimizer tells a copy of its updates

    def idle(self) -> Iterator[str]:
        """Say once that the optimizers have ceased to make updates, and something else trains.

        Where none is seen in their place, nothing is said if few updates have been seen, or may be seen any
        more: engines and compiled or captured optimizers make theirs unseen.
        """
        idle, other = self.steps - self._at, self._other
        if idle < IDLE or self._told_idle or (other is None and max(self._made) < MISSED):
            return
        if (first := [_first(optimizer) for optimizer in self._optimizers]) != self.first:
            self.first, self._at = first, self.steps  # others come first now, and are counted from here
            return
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        unseen = any(group.get("capturable") or isinstance(group["lr"], Tensor) for group in groups)
        if other is None and unseen:
            return
        self._told_idle = True
        since = "since" if any(self._made) else "before"
        another = "If another one trains by now," if other is None else f"{other} trains in its place:"
        yield (
            f"AutoWU: step(loss) has been called {idle} times {since} an optimizer that it was given made an"
            f" update. {another} its LR is not set, and it is not rewound. Make AutoWU anew for the optimizer"
            " that trains."
        )

    def hear(self, optimizer: Optimizer) -> None:
        """Some ``optimizer`` has made an update: of these parameters, and by an LR that is not set here?"""
        if not IDLE // 2 <= self.steps - self._at < 2 * IDLE:  # no longer, for those whose updates are unseen
            return
        own = [group for each in within(self._optimizers) for group in each.param_groups]
        known, held = {id(group) for group in own}, {id(each) for group in own for each in group["params"]}
        if any(id(each) in held for group in optimizer.param_groups for each in group["params"]) and not any(
            id(group) in known for group in optimizer.param_groups
        ):
            self._other = type(optimizer).__name__

    def captured(self, optimizer: Optimizer) -> None:
        """Say once that an update is captured in a CUDA graph with its LR as a number."""
        if self._told_captured or all(isinstance(group["lr"], Tensor) for group in optimizer.param_groups):
            return
        self._told_captured = True
        warnings.warn(
            f"AutoWU: an update of {type(optimizer).__name__} is captured in a CUDA graph, and its LR is a"
            " number: each replay takes this one, whatever is set. Make the optimizer with a tensor, such as"
            " lr=torch.tensor(1e-3, device='cuda').",
            stacklevel=5,
        )

    def elsewhere(self) -> None:
        """The next update is made by other ranks alone, or by optimizers that a host tells of itself."""
        self._at = self.steps

    def count(self, index: int) -> None:
        """The optimizer with this number has made an update."""
        self._made[index] += 1
        self._other = None
        self._look_for_crowds()
        made = min(self._made)
        if self._told or made < 2 * self.steps or made - self.steps < MISSED:
            return
        self._told = True
        of = "" if self._total_steps is None else f", and total_steps={self._total_steps} counts updates"
        warnings.warn(
            f"AutoWU: the optimizer has made {made} updates, and step(loss) has been called {self.steps}"
            f" times meanwhile. It belongs after each optimizer.step(), not at the end of an epoch{of}. The"
            " LR changes with it alone.",
            stacklevel=4,
        )

    def _look_for_crowds(self) -> None:
        calls, self._at = self.steps - self._at, self.steps
        self._crowded = self._crowded + 1 if calls > 1 else 0
        if self._crowded < CROWDED or self._told_crowded:
            return
        self._told_crowded = True
        warnings.warn(
            f"AutoWU: step(loss) is called {calls} times for each update of the optimizer, by now"
            f" {self.steps} times: the LR goes through its course as much too fast. Call it once an update;"
            " the losses of micro-batches go to observe(loss). What Accelerate prepares is called once for"
            " each process: autowu.integrations.accelerate has what is not.",
            stacklevel=5,
        )


def _watch(optimizer: Optimizer, updates: Updates, index: int) -> None:
    while not hasattr(optimizer, "_optimizer_step_post_hooks"):  # Accelerate's, around another
        inner = getattr(optimizer, "optimizer", None)
        if not isinstance(inner, Optimizer):
            return
        optimizer = inner
    known, depth, calls = weakref.ref(updates), 0, 0

    def begins(optimizer: Optimizer, *_: Any) -> None:  # not that of around, which it would keep alive
        nonlocal depth, calls
        if torch.compiler.is_compiling():
            return
        if (now := known()) is not None:
            if now.steps != calls:
                depth, calls = 0, now.steps  # one before that was not ended: an error was raised in it
            if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
                now.captured(optimizer)
            elif now.before_first is not None:
                first, now.before_first = now.before_first, None
                first()
        depth += 1

    def ends(optimizer: Optimizer, *_: Any) -> None:
        nonlocal depth
        if torch.compiler.is_compiling():
            return
        depth -= 1  # a class may call the step of its parent, which has the same hooks
        # An engine may step the groups one by one, each as if it were the only one.
        if depth == 0 and (now := known()) is not None and _first(optimizer) == now.first[index]:
            now.count(index)

    for hook in _hooks.pop(optimizer, ()):
        hook.remove()
    _hooks[optimizer] = optimizer.register_step_pre_hook(begins), optimizer.register_step_post_hook(ends)


@cache
def _hear_all() -> None:
    register_optimizer_step_post_hook(_tell_all)


def _tell_all(optimizer: Optimizer, *_: Any) -> None:
    if torch.compiler.is_compiling():
        return
    for updates in list(_listening):
        updates.hear(optimizer)


def _first(optimizer: Optimizer) -> int | None:
    """Which parameter comes first."""
    return next((id(each) for group in optimizer.param_groups for each in group["params"]), None)
