"""What a reader of a log hands over: named columns, and rows of cells, as strict as their format is."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TextIO, TypeAlias

Cell: TypeAlias = Any  # text in CSV, any JSON value in JSON, a float from TensorBoard; None: not there


@dataclass
class Table:
    """A log as rows."""

    columns: Sequence[str]
    rows: Iterator[Sequence[Cell]]
    """Each as long as ``columns``."""
    where: Callable[[], str]
    """The file and the line of the row that was last taken, for messages."""
    strict: bool = False
    """Whether a row without a loss says that it is missing, unless it says something else; and whether steps
    must grow from row to row, but where a run was resumed. Else rows without a loss are passed over, and
    steps come as they may. Of two accounts of a step the later one counts."""
    notes: list[str] = field(default_factory=list[str])
    """What could not be read; complete when all rows have been taken."""
    planned: int | None = None
    """Updates that the whole run was to have, where the log says so."""


def lines(file: TextIO, start: str, longest: int) -> Iterator[str]:
    """The lines of ``file``, of which ``start`` has been read already; longer ones come in parts."""
    while start and not start.endswith("\n"):
        more = file.readline(longest)
        start += more
        if not more or len(start) > longest:
            break
    yield from chain(io.StringIO(start, newline=""), iter(lambda: file.readline(longest), ""))
