"""A CSV file of losses: read into one array, or refused with the line and what would do."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator
from typing import Final, NoReturn, TextIO

import numpy as np

from autowu.errors import UserError
from autowu.gp import Array

MOST_STEPS: Final = 10**7  # updates; a step far beyond is a mistake, and gets no memory


def read_losses(path: str, total_steps: int | None = None) -> Array:
    """The loss of each update [n], NaN where it is missing.

    The first line names the columns. ``loss`` is needed; an empty cell is a missing loss. ``step``, if
    there, says which update a loss is of: a whole number, growing from row to row, counted from 0, or from 1
    where the first is 1. Steps left out are missing losses. Other columns are ignored.

    Args:
        path: of the file; '-' is standard input.
        total_steps: the most updates there can be.

    Raises:
        UserError: the file cannot be read, or its content used; the message names the file and the line.
    """
    name = "standard input" if path == "-" else path
    try:
        # utf-8-sig: spreadsheets begin a file with a byte order mark. newline: csv splits the lines itself.
        with open(0 if path == "-" else path, encoding="utf-8-sig", newline="", closefd=path != "-") as file:
            losses = _Reader(file, name, total_steps).read()
    except OSError as error:
        raise UserError(f"{name}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name}: not a text file in UTF-8; a CSV file with a column loss is needed"
        ) from error
    if not len(losses):
        raise UserError(f"{name}: no loss after the first line, which names the columns")
    if not np.isfinite(losses).any():
        raise UserError(f"{name}: no finite loss; all {len(losses):,} are missing, NaN or infinite")
    return losses


class _Reader:
    """Goes through the rows of one file, and knows the line for the messages."""

    def __init__(self, file: TextIO, name: str, total_steps: int | None) -> None:
        self._rows = csv.reader(file, strict=True, skipinitialspace=True)
        self._name = name
        self._total_steps = total_steps
        self._end = MOST_STEPS if total_steps is None else min(total_steps, MOST_STEPS)

    def read(self) -> Array:
        try:
            header = self._header()
            at_step = header.index("step") if "step" in header else None
            if at_step is None:
                return self._consecutive(len(header), header.index("loss"))
            return self._numbered(len(header), header.index("loss"), at_step)
        except csv.Error as error:
            self._refuse(f"not CSV ({error})")

    def _header(self) -> list[str]:
        header = [cell.strip() for cell in next(filter(any, self._rows), list[str]())]
        if not header:
            raise UserError(f"{self._name}: empty; the first line must name the columns, one of them loss")
        if "loss" not in header:
            raise UserError(f"{self._name}: no column loss among {_listed(header)}")
        for column in ("loss", "step"):
            if header.count(column) > 1:
                raise UserError(f"{self._name}: {header.count(column)} columns {column}; there must be one")
        return header

    def _consecutive(self, columns: int, at_loss: int) -> Array:
        """Losses without numbers: one update each."""
        losses = array("d")
        for row in self._whole(columns):
            if len(losses) >= self._end:
                self._refuse_beyond(len(losses) + 1, "update")
            losses.append(self._loss(row[at_loss]))
        return np.array(losses)

    def _numbered(self, columns: int, at_loss: int, at_step: int) -> Array:
        """Losses with numbers: the others in between are missing."""
        losses, steps = array("d"), array("q")
        first, last = 0, -1
        for row in self._whole(columns):
            step = self._step(row[at_step])
            if last < 0:
                first = int(step == 1)  # a record that begins at 1 counts its updates from 1
            if step <= last:
                self._refuse(f"step {step} after step {last}; steps must grow from row to row")
            if step - first >= self._end:
                self._refuse_beyond(step, "step")
            losses.append(self._loss(row[at_loss]))
            steps.append(step)
            last = step
        placed = np.full(last + 1 - first if steps else 0, math.nan)
        placed[np.array(steps, dtype=np.int64) - first] = losses
        return placed

    def _whole(self, columns: int) -> Iterator[list[str]]:
        """The rows, each with as many cells as there are columns.

        Blank lines are passed over, but in a file of one column they are empty cells, save at its end.
        """
        blank = 0
        for row in self._rows:
            if len(row) == columns:
                while blank:
                    blank -= 1
                    yield [""]
                yield row
            elif any(row):
                self._refuse(f"{len(row)} cells, where the first line names {columns} columns")
            elif columns == 1:
                blank += 1

    def _loss(self, cell: str) -> float:
        try:
            return float(cell)
        except ValueError:
            if cell.strip():
                self._refuse(
                    f"loss {_shown(cell)} is not a number; leave the cell empty where a loss is missing"
                )
            return math.nan

    def _step(self, cell: str) -> int:
        try:
            step = int(cell)
        except ValueError:
            step = -1
        if step < 0:
            self._refuse(f"step {_shown(cell)} is not a whole number ≥ 0")
        return step

    def _refuse_beyond(self, number: int, what: str) -> NoReturn:
        if self._end == self._total_steps:
            self._refuse(
                f"{what} {number:,} is beyond --total-steps {self._end:,}, which must cover the record"
            )
        self._refuse(f"{what} {number:,} is beyond {MOST_STEPS:,}, the most that can be replayed")

    def _refuse(self, problem: str) -> NoReturn:
        raise UserError(f"{self._name}, line {self._rows.line_num}: {problem}")


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else f"{cell[:40]}…")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(map(_shown, names[:20])) + more
