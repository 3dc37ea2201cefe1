"""CSV: the first line names the columns; whatever does not fit is refused with its line."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from typing import Final, NoReturn, TextIO

from autowu.errors import UserError
from autowu.offline.logs.table import Cell, Table, lines

LONGEST_LINE: Final = 1 << 20  # characters; no row of numbers has that many


def read(file: TextIO, start: str, name: str) -> Table:
    """The rows of ``file``, of which ``start`` has been read already.

    Raises:
        UserError: it is empty, or not CSV.
    """
    reader = _Reader(file, start, name)
    return Table(reader.header, reader.rows(), reader.where, strict=True, notes=reader.notes)


class _Reader:
    def __init__(self, file: TextIO, start: str, name: str) -> None:
        self._rows = csv.reader(
            self._last_seen(lines(file, start, LONGEST_LINE)), strict=True, skipinitialspace=True
        )
        self._name, self._line = name, ""
        self.notes = list[str]()
        self.header = self._header()

    def _last_seen(self, lines: Iterator[str]) -> Iterator[str]:
        for self._line in lines:
            yield self._line

    def _header(self) -> list[str]:
        try:
            header = [cell.strip() for cell in next(filter(any, self._rows), list[str]())]
        except csv.Error as error:
            self._refuse(f"not CSV ({error})")
        if not header:
            raise UserError(f"{self._name}: empty; the first line must name the columns, one of them loss")
        return header

    def rows(self) -> Iterator[list[Cell]]:
        """Each with as many cells as there are columns.

        Blank lines are passed over, but in a file of one column they are empty cells, save at its end. A last
        line that is still being written is left out.
        """
        columns, blank = len(self.header), 0
        try:
            for row in self._rows:
                if any(row) and self._cut_off(row):
                    self.notes.append("the last line is cut off and left out")
                elif len(row) == columns:
                    if row[0].strip() == self.header[0] and [cell.strip() for cell in row] == self.header:
                        self._refuse("the columns are named again; a log must be of one run")
                    while blank:
                        blank -= 1
                        yield [""]
                    yield row
                elif any(row):
                    cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
                    self._refuse(f"{cells}, where the first line names {columns} columns")
                elif columns == 1:
                    blank += 1
        except csv.Error as error:
            self._refuse(f"not CSV ({error})")

    def _cut_off(self, row: list[str]) -> bool:
        """Whether ``row`` is the last one, has no end of line, and lacks cells or the end of a number."""
        if self._line.endswith(("\n", "\r")):
            return False
        cell = row[-1].strip()
        return len(row) < len(self.header) or (cell != "" and not _number(cell) and _number(f"{cell}0"))

    def where(self) -> str:
        return f"{self._name}, line {self._rows.line_num}"

    def _refuse(self, problem: str) -> NoReturn:
        raise UserError(f"{self.where()}: {problem}")


def _number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
