"""The optimizers' own updates, counted beside the scheduler's: too few or too many calls of it are told."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

MISSED: Final = 25  # updates without a step(loss) before it is told: more than those that warm kernels up
IDLE: Final = 25  # calls of step(loss) since the last update, until that is told
CROWDED: Final = 25  # updates in a row, each with several step(loss) since the one before, until that is told

# Of each optimizer the hooks of the last scheduler that was made for it: one of before is out of use.
_hooks: WeakKeyDictionary[Optimizer, tuple[RemovableHandle, RemovableHandle]] = WeakKeyDictionary()


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
        self._told = self._told_crowded = self._told_idle = False
        self._at, self._crowded = 0, 0  # calls up to the last update; updates in a row with several since
        self.first = [_first(optimizer) for optimizer in optimizers]
        """The parameter that comes first in each optimizer."""
        self.before_first: Callable[[], None] | None = None
        """What is called once, before the first update."""
        for index, optimizer in enumerate(optimizers):
            _watch(optimizer, self, index)

    def restart(self) -> None:
        """Count anew: the run goes on from a checkpoint."""
        self.steps, self._made = 0, [0] * len(self._made)
        self._at, self._crowded, self.before_first = 0, 0, None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self.restart()  # no optimizer tells a copy of its updates

    def idle(self) -> Iterator[str]:
        """Say once that the optimizers have ceased to make updates, and something else trains.

        Nothing is said where few updates have been seen, or may be seen any more: engines and compiled or
        captured optimizers make theirs unseen.
        """
        idle = self.steps - self._at
        if idle < IDLE or self._told_idle or max(self._made) < MISSED:
            return
        if (first := [_first(optimizer) for optimizer in self._optimizers]) != self.first:
            self.first, self._at = first, self.steps  # others come first now, and are counted from here
            return
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        if any(group.get("capturable") or isinstance(group["lr"], Tensor) for group in groups):
            return
        self._told_idle = True
        yield (
            f"AutoWU: step(loss) has been called {idle} times since an optimizer that it was given made an"
            " update. If another one trains by now, its LR is not set, and it is not rewound. Make AutoWU"
            " anew for the optimizer that trains."
        )

    def elsewhere(self) -> None:
        """The next update is made by other ranks alone: this one has no more batches."""
        self._at = self.steps

    def count(self, index: int) -> None:
        """The optimizer with this number has made an update."""
        self._made[index] += 1
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

    def begins(*_: Any) -> None:
        nonlocal depth, calls
        if torch.compiler.is_compiling():
            return
        if (now := known()) is not None and now.steps != calls:
            depth, calls = 0, now.steps  # one before that was not ended: an error was raised in it
        depth += 1
        if now is not None and now.before_first is not None:
            first, now.before_first = now.before_first, None
            first()

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


def _first(optimizer: Optimizer) -> int | None:
    """Which parameter comes first."""
    return next((id(each) for group in optimizer.param_groups for each in group["params"]), None)
