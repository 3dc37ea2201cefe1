"""From rows to entries, each a step, a loss and a learning rate: rows that belong together are one."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

import numpy as np

from autowu.arrays import Array
from autowu.errors import UserError
from autowu.offline.logs.columns import Columns, shown
from autowu.offline.logs.grid import Steps
from autowu.offline.logs.table import Cell, Table

MOST_STEPS: Final = 10**7  # updates; a step far beyond is a mistake, and gets no memory
EVALUATION: Final = frozenset({"val", "valid", "validation", "eval", "evaluation", "dev", "test", "testing"})
ROWS_A_RETURN: Final = 10  # rows, at least, for each time that steps may go back; with fewer they are a mess


@dataclass(frozen=True, eq=False)
class Entries:
    """What the rows of a log say, in their order."""

    losses: Array
    """[n]; NaN where the row says that it is missing."""
    lrs: Array
    """[n]; NaN where there is none."""
    steps: Steps | None
    """As the log numbers them [n]; None where it does not."""
    epochs: bool = False
    """Whether each entry is of an epoch: nothing but a column of epochs numbers them, one by one."""
    evaluations: int = 0
    """How many rows say that they are of an evaluation, and so are left out."""


def collect(table: Table, at: Columns, total_steps: int | None) -> Entries:
    """The entries of ``table``, whose columns are ``at``.

    Raises:
        UserError: a cell is of the wrong kind, the steps are a mess, or go beyond ``total_steps``.
    """
    return _Collector(table, at, total_steps).entries()


class _Collector:
    def __init__(self, table: Table, at: Columns, total_steps: int | None) -> None:
        self._table = table
        self._at = at
        self._total_steps = total_steps
        self._end = MOST_STEPS if total_steps is None else min(total_steps, MOST_STEPS)
        self._losses, self._lrs, self._steps = array("d"), array("d"), array("q")
        self._epoch, self._epochs = math.nan, at.epoch is not None
        self._lossless = dict[int, set[int]]()
        """Entries without a loss, and which columns they fill of those that no row with a loss does."""
        self._elsewhere = set(range(len(table.columns))) - {at.loss, at.step}
        """Columns that no row with a loss fills, so far."""
        self._returns, self._restarts, self._returned = 0, 0, ""
        self._evaluations = 0

    def entries(self) -> Entries:
        for row in self._table.rows:
            if row[self._at.loss] is None and not self._table.strict:
                continue
            if any(str(row[i]).strip().lower() in EVALUATION for i in self._at.kinds):
                self._evaluations += 1
            elif self._at.step is not None:
                self._numbered(row, self._step(row[self._at.step]))
            elif len(self._losses) < self._end:
                self._see_epoch(row)
                self._add(row)
            else:
                self._refuse_beyond(len(self._losses) + 1, "update")
        losses, lrs = np.array(self._losses), np.array(self._lrs)
        if self._at.step is None:
            return Entries(losses, lrs, None, self._epochs and len(losses) > 1, self._evaluations)
        self._check_order()
        # A row without a loss that tells of something else, an evaluation say, is not of a missing loss.
        kept = np.ones(len(losses), bool)
        kept[[entry for entry, filled in self._lossless.items() if filled & self._elsewhere]] = False
        steps = np.array(self._steps, dtype=np.int64)
        return Entries(losses[kept], lrs[kept], steps[kept], evaluations=self._evaluations)

    def _see_epoch(self, row: Sequence[Cell]) -> None:
        if self._epochs and self._at.epoch is not None:
            before, self._epoch = self._epoch, _lenient(row[self._at.epoch])
            first = not self._losses and self._epoch.is_integer()
            self._epochs = first or self._epoch == before + 1 or self._epoch < before  # as by a resumed run

    def _numbered(self, row: Sequence[Cell], step: int) -> None:
        last = len(self._steps) - 1
        before, start = (self._steps[last], self._steps[0]) if self._steps else (-1, step)
        first = int(start == 1)  # a record that begins at 1 counts its updates from 1
        if step < first:
            self._refuse(f"step {step} in a record that begins at step 1")
        if step - first >= self._end:
            self._refuse_beyond(step, "step")
        lossless = self._table.strict and _empty(row[self._at.loss])
        filled = {i for i in self._elsewhere if not _empty(row[i])}
        if not lossless:
            self._elsewhere -= filled
        if step == before and (lossless or last in self._lossless):
            self._join(row, last, lossless, filled)
            return
        if step <= before:
            self._returned = self._returned or f"{self._table.where()}: step {step} after step {before}"
            self._returns += 1
            self._restarts += step == start < before
        if lossless:
            self._lossless[last + 1] = filled
        self._steps.append(step)
        self._add(row)

    def _join(self, row: Sequence[Cell], entry: int, lossless: bool, filled: set[int]) -> None:
        """Take ``row`` into the ``entry`` of its step: some loggers, Lightning's too, split what they log."""
        if math.isfinite(lr := self._lr(row)):
            self._lrs[entry] = lr
        if not lossless:
            self._losses[entry] = self._loss(row[self._at.loss])
            del self._lossless[entry]
        elif entry in self._lossless:
            self._lossless[entry] |= filled

    def _add(self, row: Sequence[Cell]) -> None:
        self._losses.append(self._loss(row[self._at.loss]))
        self._lrs.append(self._lr(row))

    def _check_order(self) -> None:
        """Steps may go back where a run was resumed, but a resumption is rare, and not a new count."""
        if self._table.strict and self._returns * ROWS_A_RETURN > len(self._steps):
            raise UserError(
                f"{self._returned}; steps must grow from row to row, "
                f"and may go back, as in a resumed run, at most once in {ROWS_A_RETURN} rows"
            )
        if self._restarts > 1:
            raise UserError(
                f"{self._returned}; steps must be counted through the whole run, "
                f"but begin again {self._restarts:,} times"
            )

    def _loss(self, cell: Cell) -> float:
        try:
            return float(cell)
        except (TypeError, ValueError, OverflowError):
            if isinstance(cell, str) and _empty(cell):
                return math.nan
            self._refuse(
                f"loss {shown(str(cell))} is not a number; leave the cell empty where a loss is missing"
            )

    def _lr(self, row: Sequence[Cell]) -> float:
        return math.nan if self._at.lr is None else _lenient(row[self._at.lr])

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


def _empty(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _lenient(cell: Cell) -> float:
    try:
        return math.nan if cell is None else float(cell)
    except (TypeError, ValueError, OverflowError):
        return math.nan
