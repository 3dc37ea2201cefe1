"""CSV: the first line names the columns; whatever does not fit is refused with its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import chain
from typing import Final, NoReturn, TextIO

from autowu.errors import UserError
from autowu.offline.logs.table import Cell, Table

LONGEST_LINE: Final = 1 << 20  # characters; no row of numbers has that many


def read(file: TextIO, start: str, name: str) -> Table:
    """The rows of ``file``, of which ``start`` has been read already.

    Raises:
        UserError: it is empty, or not CSV.
    """
    reader = _Reader(file, start, name)
    return Table(reader.header(), reader.rows(), reader.where, strict=True)


class _Reader:
    def __init__(self, file: TextIO, start: str, name: str) -> None:
        self._rows = csv.reader(_lines(file, start), strict=True, skipinitialspace=True)
        self._name = name
        self._columns = 0

    def header(self) -> list[str]:
        try:
            header = [cell.strip() for cell in next(filter(any, self._rows), list[str]())]
        except csv.Error as error:
            self._refuse(f"not CSV ({error})")
        if not header:
            raise UserError(f"{self._name}: empty; the first line must name the columns, one of them loss")
        self._columns = len(header)
        return header

    def rows(self) -> Iterator[list[Cell]]:
        """Each with as many cells as there are columns.

        Blank lines are passed over, but in a file of one column they are empty cells, save at its end.
        """
        blank = 0
        try:
            for row in self._rows:
                if len(row) == self._columns:
                    while blank:
                        blank -= 1
                        yield [""]
                    yield row
                elif any(row):
                    self._refuse(f"{len(row)} cells, where the first line names {self._columns} columns")
                elif self._columns == 1:
                    blank += 1
        except csv.Error as error:
            self._refuse(f"not CSV ({error})")

    def where(self) -> str:
        return f"{self._name}, line {self._rows.line_num}"

    def _refuse(self, problem: str) -> NoReturn:
        raise UserError(f"{self.where()}: {problem}")


def _lines(file: TextIO, start: str) -> Iterator[str]:
    """The lines of the file; its beginning, read to tell its kind, is put before the rest."""
    while start and not start.endswith("\n"):
        more = file.readline(LONGEST_LINE)
        start += more
        if not more or len(start) > LONGEST_LINE:
            break
    yield from chain(io.StringIO(start, newline=""), iter(lambda: file.readline(LONGEST_LINE), ""))
