"""Faults put into real runs: what goes wrong in people's trainings, at a known update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import Tensor

from benchmarks.quality.kinds.task import Task

HEIGHT: Final = 100.0
"""Times the loss, of a spike."""

EARLY, LATE = 0.1, 0.5
"""Shares of the run: in warm-up, and in the decay."""


def _at(
    share: float, updates: int, change: Callable[[Tensor, Tensor], Tensor]
) -> Callable[[Task, int], None]:
    """So many updates from a share of the run on, each with ``change(loss, first loss)`` for its loss."""

    def spoil(task: Task, steps: int) -> None:
        draw, begin, step, first = task.loss, round(share * steps), 0, list[Tensor]()

        def loss() -> Tensor:
            nonlocal step
            drawn, now = draw(), step
            first.append(drawn.detach()) if not first else None
            step += 1
            return change(drawn, first[0]) if begin <= now < begin + updates else drawn

        task.loss = loss  # type: ignore[method-assign]

    return spoil


def _spike(loss: Tensor, _: Tensor) -> Tensor:
    return HEIGHT * loss


def _skipped(loss: Tensor, _: Tensor) -> Tensor:
    """As with a gradient scaler: the loss is NaN, and the gradient of no effect."""
    return 0 * loss + loss.detach() * float("nan")


def _nan(loss: Tensor, _: Tensor) -> Tensor:
    """The weights are NaN after it."""
    return loss * float("nan")


def _jump(loss: Tensor, first: Tensor) -> Tensor:
    """Harder data: half of the first loss is added for good."""
    return loss + 0.5 * first.abs()


def harder(task: Task, steps: int) -> None:
    """Data that get harder through a third of the run, as in a curriculum: the first loss is added."""
    draw, step, first = task.loss, 0, list[Tensor]()

    def loss() -> Tensor:
        nonlocal step
        drawn = draw()
        first.append(drawn.detach().abs()) if not first else None
        step += 1
        return drawn + first[0] * min(1.0, 3 * (step - 1) / steps)

    task.loss = loss  # type: ignore[method-assign]


_FOREVER: Final = 10**9

FAULTS: Final[dict[str, Callable[[Task, int], None]]] = {
    f"{name}, {when}": _at(share, updates, change)
    for when, share in (("warm-up", EARLY), ("decay", LATE))
    for name, updates, change in (
        ("a spike", 1, _spike),
        ("five spikes in a row", 5, _spike),
        ("a NaN loss", 1, _skipped),
        ("NaN weights", 1, _nan),
        ("a jump of the data", _FOREVER, _jump),
    )
} | {"a drift of the data, warm-up": harder}
"""By name."""
