"""JSON: a line for each row, or one value for all of them.

Understood are a list of rows, an object of columns, what Weights & Biases exports (``columns`` and ``data``,
or rows), and the ``log_history`` of Hugging Face's trainers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TextIO, cast

from autowu.errors import UserError
from autowu.offline.logs import places
from autowu.offline.logs.table import Table

LARGEST: Final = 1 << 29  # characters of a file that is read whole
BEGINNING: Final = 4096


def beginning(file: TextIO) -> str:
    """The first characters of a file; enough to see what it is."""
    return file.read(BEGINNING)


def read(file: TextIO, start: str, name: str) -> Table:
    """The rows of ``file``, of which ``start`` has been read already.

    Raises:
        UserError: it is too large, or no table.
    """
    text = start + file.read(LARGEST)
    if len(text) > LARGEST:
        raise UserError(f"{name}: more than {LARGEST >> 20:,} MiB of JSON; a CSV file may have any length")
    notes, planned = list[str](), None
    try:
        value = json.loads(text)
        rows, planned = _rows(value), _planned(value)
    except RecursionError as error:
        raise UserError(f"{name}: JSON that is nested too deeply") from error
    except ValueError as error:
        rows = _of_lines(text, notes)
        if not rows and notes:
            raise UserError(f"{name}: JSON that is cut off or broken ({error})") from error
    if not rows:
        raise UserError(f"{name}: no rows of a log; lines of JSON objects or a list of them are needed")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    at = 0

    def cells() -> Iterator[Sequence[Any]]:
        nonlocal at
        for at, row in enumerate(rows, start=1):  # noqa: B007 (`where` reads it)
            yield [row.get(column) for column in columns]

    return Table(columns, cells(), lambda: f"{name}, row {at}", notes=notes, planned=planned)


def _planned(value: Any) -> int | None:
    """The length of the whole run, as ``trainer_state.json`` of Hugging Face's Trainer has it."""
    if not isinstance(value, dict) or "log_history" not in value:
        return None
    return places.steps(cast("dict[str, Any]", value).get("max_steps"))


def _of_lines(text: str, notes: list[str]) -> list[Mapping[str, Any]]:
    rows, broken = list[Mapping[str, Any]](), 0
    for line in re.split(r"\r\n?|\n", text):  # other ends of lines may stand within a string
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            broken += 1
            continue
        # In autowu's own log only the updates are rows; the tests and epochs among them are not.
        if isinstance(row, dict) and cast("dict[str, Any]", row).get("event", "step") == "step":
            rows.append(cast("dict[str, Any]", row))
    if broken:
        notes.append(f"{broken:,} {'line is' if broken == 1 else 'lines are'} cut off and left out")
    return rows


def _rows(value: Any) -> list[Mapping[str, Any]]:
    """The rows of one JSON value; none where it is no table."""
    if isinstance(value, list):
        return [row for row in cast("list[Any]", value) if isinstance(row, dict)]
    if not isinstance(value, dict):
        return []
    table = cast("dict[str, Any]", value)
    if isinstance(table.get("log_history"), list):
        return _rows(table["log_history"])
    if isinstance(table.get("columns"), list) and isinstance(table.get("data"), list):
        names = [str(column) for column in cast("list[Any]", table["columns"])]
        rows = cast("list[Any]", table["data"])
        return [
            dict(zip(names, cast("list[Any]", row), strict=False)) for row in rows if isinstance(row, list)
        ]
    columns = {key: _values(column) for key, column in table.items()}
    columns = {key: column for key, column in columns.items() if column is not None}
    if not columns:
        return [table]  # a log of one line
    longest = max(map(len, columns.values()))
    return [{key: column[i] for key, column in columns.items() if i < len(column)} for i in range(longest)]


def _values(column: Any) -> list[Any] | None:
    """A column: a list, or an object by row number as pandas writes it."""
    if isinstance(column, list):
        return cast("list[Any]", column)
    return list(cast("dict[str, Any]", column).values()) if isinstance(column, dict) else None
