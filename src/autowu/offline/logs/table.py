"""What a reader of a log hands over: named columns, and rows of cells, as strict as their format is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

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
