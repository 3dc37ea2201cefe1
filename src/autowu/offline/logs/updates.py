"""From entries to one loss for each update: numbered or not, whole or with gaps, or every k-th only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from autowu.arrays import Array
from autowu.errors import UserError
from autowu.offline.logs import grid
from autowu.offline.logs.columns import Choice, Columns, choose, shown
from autowu.offline.logs.entries import Entries, collect
from autowu.offline.logs.grid import Grid, Steps
from autowu.offline.logs.table import Table

LATE: Final = 5
"""A record that begins with this step, or later, is one of a run's later part; fewer updates are missing."""


@dataclass(frozen=True, eq=False)
class Record:
    """A recorded loss curve."""

    losses: Array
    """One for each ``stride`` updates [n]; NaN where it is missing."""
    lrs: Array | None
    """The learning rates beside them [n], filled in between recorded ones; None where none are recorded."""
    stride: int = 1
    """Updates from one entry to the next: k where only every k-th update was logged."""
    notes: tuple[str, ...] = ()
    """What could not be read, or not as it stands."""
    planned: float | None = None
    """Updates of the whole run, where the log says so, no fewer than :attr:`updates`; infinity for a run
    without a known end."""
    epochs: str | None = None
    """The column by which each loss is of an epoch: it numbers them, or is the loss, and called so."""
    own: bool = False
    """Whether AutoWU's callbacks say in the log that they set the learning rates."""
    absent: int = 0
    """How many entries the log does not have at all, missing or not finite, between those that it has."""

    @property
    def updates(self) -> int:
        """Updates that the record spans."""
        return self.stride * len(self.losses)

    def at_updates(self) -> Array:
        """A loss for each update [updates], NaN for those that were not logged."""
        if self.stride == 1:
            return self.losses
        spread = np.full(self.updates, math.nan)
        spread[self.stride - 1 :: self.stride] = self.losses
        return spread


def place(table: Table, name: str, choice: Choice, total_steps: int | None) -> Record:
    """The record in ``table``, of the file ``name``.

    Raises:
        UserError: a cell is of the wrong kind, or the record goes beyond ``total_steps``.
    """
    at = choose(table.columns, name, choice)
    entries = collect(table, at, total_steps)
    losses, lrs, steps = entries.losses, entries.lrs, entries.steps
    notes = [*table.notes, *at.notes, *_left_out(entries), *_no_number(table, at, lrs, name, choice)]
    of_epochs = at.epoch if entries.epochs else at.loss if at.of_epochs else None
    by = None if of_epochs is None else table.columns[of_epochs]
    if steps is None or not len(steps):
        return Record(
            losses,
            _without_gaps(lrs),
            notes=tuple(notes),
            planned=table.planned,
            epochs=by,
            own=at.own,
        )
    distinct, counts = np.unique(steps, return_counts=True)
    lies_on = grid.of(distinct)
    notes = [*notes, *_repeated(distinct, counts), *_off(lies_on)]
    if lies_on.stride == 1:
        kept = np.ones(len(steps), bool)
        places = steps - int(distinct[0] == 1)  # a record that begins at 1 counts its updates from 1
    else:
        kept = ~np.isin(steps, lies_on.strays)
        losses, lrs, places = losses[kept], lrs[kept], lies_on.places(steps[kept])
    # With a stride the first entry is of the update that its stretch begins or ends with.
    before, least = int(places.min()), LATE if lies_on.stride == 1 else 2
    if before >= least:
        notes.append(f"the record begins at step {steps[kept].min():,}, and is counted from there")
    places -= before if before >= least or lies_on.stride > 1 else 0
    n = int(places.max()) + 1
    absent = n - len(np.unique(places))
    at_losses, at_lrs = np.full(n, math.nan), np.full(n, math.nan)
    at_losses[places], at_lrs[places] = losses, lrs  # of two accounts of a step the last one stays
    return Record(
        at_losses,
        _without_gaps(at_lrs),
        lies_on.stride,
        tuple(notes),
        table.planned,
        epochs=by if lies_on.stride == 1 else None,
        own=at.own,
        absent=absent,
    )


def _left_out(entries: Entries) -> list[str]:
    """What is to be said of rows that say to be of an evaluation."""
    if not entries.evaluations:
        return []
    count = entries.evaluations
    return [f"{'1 row is' if count == 1 else f'{count:,} rows are'} of an evaluation, and left out"]


def _no_number(table: Table, at: Columns, lrs: Array, name: str, choice: Choice) -> list[str]:
    """What is to be said where the column of the learning rate has no number above 0.

    Raises:
        UserError: and the user has named it.
    """
    if at.lr is None or not len(lrs) or _are_rates(lrs):
        return []
    column = shown(table.columns[at.lr])
    if choice.lr is not None:
        raise UserError(f"{name}: --lr-column {column} must have numbers above 0, and has none")
    return [f"the column {column} has no number above 0, so the recorded learning rates are not known"]


def _are_rates(lrs: Array) -> bool:
    return bool((np.isfinite(lrs) & (lrs > 0)).any())


def _repeated(steps: Steps, counts: Steps) -> list[str]:
    """What is to be said of those of the ``steps`` [n], which grow, whose ``counts`` [n] exceed 1."""
    at = np.flatnonzero(counts > 1)
    if not len(at):
        return []
    first, last = int(at[0]), int(at[-1])
    if first == last:
        which = f"step {steps[first]:,} is"
    elif len(at) == last - first + 1:
        which = f"steps {steps[first]:,} to {steps[last]:,} are"
    else:
        which = f"{len(at):,} steps from {steps[first]:,} to {steps[last]:,} are"
    times = "twice, and the later" if counts.max() == 2 else "several times, and the last"
    return [f"{which} given {times} {'one counts' if first == last else 'ones count'}"]


def _off(of: Grid) -> list[str]:
    """What is to be said of entries that are not where the others' distance would have them."""
    notes = list[str]()
    if of.strays:
        which = " and ".join(f"{step:,}" for step in of.strays)
        which = f"step {which} is" if len(of.strays) == 1 else f"steps {which} are"
        notes.append(f"{which} left out, since the others are {of.stride:,} updates apart")
    if of.uneven:
        notes.append(f"the losses are not all {of.stride:,} updates apart, but taken as if they were")
    return notes


def _without_gaps(lrs: Array) -> Array | None:
    """``lrs`` with those of rows that are missing in a straight line between their neighbours."""
    if not _are_rates(lrs):
        return None
    known = np.flatnonzero(np.isfinite(lrs))
    first, end = int(known[0]), int(known[-1]) + 1
    lrs[first:end] = np.interp(np.arange(first, end), known, lrs[known])
    return lrs
