"""A range test in words."""

from __future__ import annotations

from typing import Final

import numpy as np

from autowu.controller.state import Phase, Reason, Search, State, Sweep
from autowu.offline.logs import Record
from autowu.offline.range_test import RangeTest, factor

LOWER: Final = "Begin at a lower learning rate, and sweep more slowly (more updates)."


def premise(name: str, of: RangeTest, record: Record, guessed: bool = False) -> str:
    """What the sweep is of; and that it is one is ``guessed`` where the user has not said so."""
    doubt = " (--no-sweep if it is not)" if guessed else ""
    missing = int((~np.isfinite(record.losses)).sum())
    notes = "".join(f" ({note}.)" for note in record.notes)
    return (
        f"{name}: {len(of.lrs):,} losses at learning rates that grow from {of.lrs[0]:.3g} to "
        f"{of.lrs[-1]:.3g}, "
        f"{missing or 'none'} of them missing or not finite: a learning-rate sweep{doubt}.{notes}"
    )


def verdict(of: RangeTest) -> str:
    """The peak LR and how sure it is; or why there is none."""
    if of.peak_lr is None:
        if (finite := _ended_early(of)) is not None:
            return finite
        if _never_fell(of.replay.state):
            return (
                "Your LR sweep says nothing: the loss has not fallen by more than its noise explains. "
                "Sweep more slowly (more updates), or to a higher learning rate."
            )
        tests = of.replay.tests
        if tests and tests[-1].p_min and not tests[-1].falling:
            return (
                f"Your LR sweep says: by {of.lrs[-1]:.3g}, where it ends, the loss had not risen by more "
                "than its noise explains. Sweep to a higher learning rate."
            )
        return (
            f"Your LR sweep says: the loss was still falling at {of.lrs[-1]:.3g}, where it ends. "
            "Sweep to a higher learning rate."
        )
    if of.low is None or of.high is None:
        return (
            f"Your LR sweep says: peak LR {of.peak_lr:.3g}, half of the last learning rate known to be good; "
            "the loss ceased to be finite before its minimum was seen, so no uncertainty can be told."
        )
    subsets = "" if of.replay.config.subset_size is None else " and other subsets"
    return (
        f"Your LR sweep says: peak LR {of.peak_lr:.3g}, with 90% probability between {of.low:.3g} and "
        f"{of.high:.3g} (a factor of {factor(of):.2f} either way). "
        f"{len(of.peaks)} of {of.repetitions} repetitions with other smoothing{subsets} found a "
        f"minimum, from {min(of.peaks):.3g} to {max(of.peaks):.3g}."
    )


def _ended_early(of: RangeTest) -> str | None:
    """What is to be said where the losses, not the sweep, ended before a minimum; None where they did not."""
    finite, least = np.flatnonzero(np.isfinite(of.losses)), of.replay.config.min_losses
    last = of.lrs[finite[-1]] if len(finite) else of.lrs[0]
    if len(finite) < least:
        return (
            f"Your LR sweep says nothing: too few losses are finite ({len(finite)}, of at least {least}), "
            f"the last at {last:.3g}. {LOWER}"
        )
    switch = of.replay.state.switch
    if switch is None or switch.reason is not Reason.NONFINITE:
        return None
    before = finite[finite < switch.step]
    last = of.lrs[before[-1]] if len(before) else of.lrs[0]
    return (
        f"Your LR sweep says nothing: the loss ceased to be finite, or to be recorded, at {last:.3g}, "
        f"before it had fallen by more than its noise explains. {LOWER}"
    )


def _never_fell(state: State[Phase]) -> bool:
    switch = state.switch
    if switch is None:
        return isinstance(state.phase, (Sweep, Search))
    return switch.reason in (Reason.RISE, Reason.NO_FALL)
