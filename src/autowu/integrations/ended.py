"""Runs that end, or are likely to end, before the updates that they were planned for; for every host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

FALLEN: Final = 0.1  # of the peak LR: below it little is left to gain


def ended_early(total_steps: int | None, updates: int, lr: float, peak_lr: float | None) -> str | None:
    """What to warn of, once, when a run ends after ``updates`` with its LR above ``FALLEN`` of its peak.

    Args:
        total_steps: updates that the run was planned for; None if no end was known.
        updates: those that it made.
        lr: of the update that would come next.
        peak_lr: the first LR of the decay phase; None in warm-up.

    Returns:
        None where all is well: the LR has fallen, the run was made in full, or no update was made at all.
    """
    whole = total_steps is not None and updates >= total_steps
    if whole or updates == 0 or (peak_lr is not None and lr <= FALLEN * peak_lr):
        return None
    where = "in warm-up" if peak_lr is None else f"{lr / peak_lr:.0%} of its peak"
    if total_steps is None:
        return (
            f"AutoWU: the run ended after {updates} updates, at an LR of {lr:.3g} ({where}). The loss falls"
            " most while the LR falls to 0: call cooldown(steps) so many updates before the end."
        )
    return (
        f"AutoWU: the run ended after {updates} of the {total_steps} updates that it was planned for, at an"
        f" LR of {lr:.3g} ({where}). The loss falls most while the LR falls to 0: plan for as many updates as"
        " there will be."
    )


def may_end_early(callback: object) -> str:
    """What to warn of when a run begins with a callback that stops it by a measure of its success."""
    return (
        f"AutoWU: {type(callback).__name__} may end the run while the LR is still high. What it watches need"
        " not improve then, and improves most while the LR falls to 0: leave it out, and plan for fewer"
        " updates instead."
    )


def is_over(saved: object, total_steps: int | None = None) -> int | None:
    """The updates of the run that ``saved`` is the end of, if they are not ``total_steps``.

    Args:
        saved: a scheduler's state, or anything else.
        total_steps: what a run that goes on would have.

    Returns:
        None where the run is not over, or ``saved`` does not tell.
    """
    try:
        state = cast("Mapping[str, Any]", saved)
        end, done = state["run"][0]["horizon"]["end"], state["step"]
        return end if end != total_steps and done >= end else None
    except (LookupError, TypeError):  # of another scheduler, or without an end
        return None
