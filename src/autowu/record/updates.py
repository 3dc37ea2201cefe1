"""From rows to one loss for each update: numbered or not, whole or with gaps, or every k-th only."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from autowu.errors import UserError
from autowu.gp import Array
from autowu.record.columns import Choice, Columns, choose, shown
from autowu.record.table import Cell, Table

MOST_STEPS: Final = 10**7  # updates; a step far beyond is a mistake, and gets no memory
FEWEST_REGULAR: Final = 10  # rows that must keep a distance before it is taken for the rule


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
    """What could not be read."""

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
    return _Placer(table, name, choose(table.columns, name, choice), total_steps).record()


class _Placer:
    def __init__(self, table: Table, name: str, at: Columns, total_steps: int | None) -> None:
        self._table = table
        self._name = name
        self._at = at
        self._total_steps = total_steps
        self._end = MOST_STEPS if total_steps is None else min(total_steps, MOST_STEPS)
        self._losses, self._lrs, self._steps = array("d"), array("d"), array("q")

    def record(self) -> Record:
        first, last = 0, -1
        for row in self._table.rows:
            cell = row[self._at.loss]
            if cell is None and not self._table.strict:
                continue
            if self._at.step is not None:
                step = self._step(row[self._at.step])
                if last < 0:
                    first = int(step == 1)  # a record that begins at 1 counts its updates from 1
                if step <= last and self._table.strict:
                    self._refuse(f"step {step} after step {last}; steps must grow from row to row")
                if step - first >= self._end:
                    self._refuse_beyond(step, "step")
                last = step
                self._steps.append(step - first)
            elif len(self._losses) >= self._end:
                self._refuse_beyond(len(self._losses) + 1, "update")
            self._losses.append(self._loss(cell))
            self._lrs.append(_lenient(None if self._at.lr is None else row[self._at.lr]))
        return self._numbered() if self._at.step is not None else self._built(slice(None), len(self._losses))

    def _numbered(self) -> Record:
        steps = np.array(self._steps, dtype=np.int64)
        if not len(steps):
            return self._built(slice(None), 0)
        stride = _stride(np.unique(steps))
        if stride > 1:  # the first entry is of the update that its stretch begins or ends with
            steps = steps // stride - int(steps.min() // stride)
        return self._built(steps, int(steps.max()) + 1, stride)

    def _built(self, at: NDArray[np.int64] | slice, n: int, stride: int = 1) -> Record:
        losses, lrs = np.full(n, math.nan), np.full(n, math.nan)
        losses[at], lrs[at] = self._losses, self._lrs  # of two accounts of a step the last one stays
        return Record(losses, _without_gaps(lrs), stride, tuple(self._table.notes))

    def _loss(self, cell: Cell) -> float:
        try:
            return float(cell)
        except (TypeError, ValueError, OverflowError):
            if isinstance(cell, str) and not cell.strip():
                return math.nan
            self._refuse(
                f"loss {shown(str(cell))} is not a number; leave the cell empty where a loss is missing"
            )

    def _step(self, cell: Cell) -> int:
        try:
            step = int(cell)
        except (TypeError, ValueError, OverflowError):
            number = _lenient(cell)
            step = int(number) if number.is_integer() else -1
        if step < 0 or (isinstance(cell, float) and not cell.is_integer()):
            self._refuse(f"step {shown(str(cell))} is not a whole number ≥ 0")
        return step

    def _refuse_beyond(self, number: int, what: str) -> NoReturn:
        if self._end == self._total_steps:
            self._refuse(
                f"{what} {number:,} is beyond --total-steps {self._end:,}, which must cover the record"
            )
        self._refuse(f"{what} {number:,} is beyond {MOST_STEPS:,}, the most that can be replayed")

    def _refuse(self, problem: str) -> NoReturn:
        raise UserError(f"{self._table.where()}: {problem}")


def _lenient(cell: Cell) -> float:
    try:
        return math.nan if cell is None else float(cell)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _without_gaps(lrs: Array) -> Array | None:
    """``lrs`` with those of rows that are missing in a straight line between their neighbours."""
    known = np.flatnonzero(np.isfinite(lrs))
    if not len(known):
        return None
    first, end = int(known[0]), int(known[-1]) + 1
    lrs[first:end] = np.interp(np.arange(first, end), known, lrs[known])
    return lrs


def _stride(steps: NDArray[np.int64]) -> int:
    """The distance that all ``steps`` keep; 1 where they are too few to tell."""
    return int(np.gcd.reduce(np.diff(steps))) if len(steps) >= FEWEST_REGULAR else 1
