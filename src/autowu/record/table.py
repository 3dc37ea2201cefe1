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
    """Whether steps must grow from row to row (else the last account of a step counts), and every row has a
    loss (else rows without one, such as those of an evaluation, are passed over)."""
    notes: list[str] = field(default_factory=list[str])
    """What could not be read; complete when all rows have been taken."""
