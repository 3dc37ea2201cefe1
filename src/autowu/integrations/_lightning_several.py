"""Several optimizers under Lightning: the one that makes the fewest updates counts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final

from torch.optim import Optimizer

CEASED: Final = 250  # updates of one optimizer without any of another, until that is told


class Several:
    """Counts the updates of each of several optimizers: Lightning's ``global_step`` is the sum."""

    def __init__(self) -> None:
        self._steps: list[_Steps] = []  # since training started; empty for one optimizer
        self._closed = 0  # updates of theirs
        self._most = 0  # of the one that makes most, when the one that makes fewest made its last
        self._told = False

    def restart(self, optimizers: Sequence[Optimizer]) -> None:
        """Training starts with these; of one there is nothing to count."""
        several = list(optimizers) if len(optimizers) > 1 else []
        self._steps, self._closed, self._most = [_Steps(optimizer) for optimizer in several], 0, 0

    def __bool__(self) -> bool:
        return bool(self._steps)

    def begin(self, optimizer: Optimizer, number: int) -> None:
        """A step of ``optimizer`` begins, the one with this ``number`` of all optimizers."""
        for steps in self._steps:
            if steps.optimizer is optimizer:
                steps.begin(number)

    @property
    def unread(self) -> int:
        """Updates that have not been closed. The one that makes the fewest counts: a critic may make more."""
        return min(steps.count for steps in self._steps) - self._closed

    def close(self) -> int:
        """The same, which are closed from now on; says once if one of the optimizers makes none any more."""
        updates = self.unread
        self._closed += updates
        most = max(steps.count for steps in self._steps)
        if updates:
            self._most = most
        if most - self._most >= CEASED and not self._told:
            self._told = True
            made = ", ".join(f"{type(each.optimizer).__name__} {each.count}" for each in self._steps)
            warnings.warn(
                f"AutoWU: one of the optimizers has made no update in the last {most - self._most} of another"
                f" ({made} updates). The LR of all goes by the one that makes the fewest, and so does"
                " total_steps. If it has ceased, or each has a loss of its own, let each have a scheduler of"
                " its own (autowu.AutoWU) in configure_optimizers.",
                stacklevel=3,
            )
        return updates


class _Steps:
    """How often an optimizer has been stepped, as Lightning counts it: also where mixed precision skips."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.count = 0
        self._last: int | None = None

    def begin(self, number: int) -> None:
        """Step ``number`` of all optimizers begins; or goes on: L-BFGS evaluates the loss several times."""
        self.count += number != self._last
        self._last = number
