"""JSON: a line for each row, or one value for all of them.

Understood are a list of rows, an object of columns, what Weights & Biases exports (``columns`` and ``data``,
or rows), and the ``log_history`` of Hugging Face's trainers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final, TextIO, cast

from autowu.errors import UserError
from autowu.offline.logs import places
from autowu.offline.logs.table import Table, lines

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
    notes, planned = list[str](), None
    rest = _limited(lines(file, start, LARGEST), name)
    head = list(islice(filter(str.strip, rest), 2))
    if len(head) == 2 and isinstance(_value(head[0]), dict):
        # Line by line, and never all of the text at once: a long run's log is large.
        rows = _Rows(_of_lines(chain(head, rest), notes))
    else:
        text = "".join(chain(head, rest))
        try:
            value = json.loads(text)
            rows, planned = _Rows(_rows(value)), _planned(value)
        except RecursionError as error:
            raise UserError(f"{name}: JSON that is nested too deeply") from error
        except ValueError as error:
            of = re.split(r"\r\n?|\n", text)  # other ends of lines may be in a string
            rows = _Rows(_of_lines(of, notes))
            if not rows and notes:
                raise UserError(f"{name}: JSON that is cut off or broken ({error})") from error
    if not rows:
        raise UserError(f"{name}: no rows of a log; lines of JSON objects or a list of them are needed")
    columns, at = tuple(dict.fromkeys(chain.from_iterable(rows.names))), 0

    def cells() -> Iterator[Sequence[Any]]:
        nonlocal at
        for at, (names, row) in enumerate(rows, start=1):  # noqa: B007 (`where` reads it)
            if names == columns:
                yield row
            else:
                known = dict(zip(names, row, strict=True))
                yield [known.get(column) for column in columns]

    return Table(columns, cells(), lambda: f"{name}, row {at}", notes=notes, planned=planned)


class _Rows(list[tuple[tuple[str, ...], tuple[Any, ...]]]):
    """Names and values of each row; JSON gives each row names of its own, and they take most of the room."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.names = dict[tuple[str, ...], tuple[str, ...]]()
        for row in rows:
            names = tuple(row)
            self.append((self.names.setdefault(names, names), tuple(row.values())))


def _planned(value: Any) -> int | None:
    """The length of the whole run, as ``trainer_state.json`` of Hugging Face's Trainer has it."""
    if not isinstance(value, dict) or "log_history" not in value:
        return None
    return places.steps(cast("dict[str, Any]", value).get("max_steps"))


def _limited(of: Iterator[str], name: str) -> Iterator[str]:
    """The lines, until they are too many."""
    length = 0
    for line in of:
        length += len(line)
        if length > LARGEST:
            raise UserError(
                f"{name}: more than {LARGEST >> 20:,} MiB of JSON; a CSV file may have any length"
            )
        yield line


def _value(line: str) -> Any:
    """What is on a line; None where it is cut off or broken."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _of_lines(of: Iterable[str], notes: list[str]) -> Iterator[Mapping[str, Any]]:
    broken = 0
    for line in filter(str.strip, of):
        row = _value(line)
        broken += row is None
        # In autowu's own log only the updates are rows; the tests and epochs among them are not.
        if isinstance(row, dict) and cast("dict[str, Any]", row).get("event", "step") == "step":
            yield cast("dict[str, Any]", row)
    if broken:
        notes.append(f"{broken:,} {'line is' if broken == 1 else 'lines are'} cut off and left out")


def _rows(value: Any) -> Iterable[Mapping[str, Any]]:
    """The rows of one JSON value, a list of losses among them; none where it is no table."""
    if isinstance(value, list):
        entries = cast("list[Any]", value)
        rows = [cast("dict[str, Any]", row) for row in entries if isinstance(row, dict)]
        return rows or ({"loss": entry} for entry in entries if not isinstance(entry, list))
    if not isinstance(value, dict):
        return []
    table = cast("dict[str, Any]", value)
    if isinstance(table.get("log_history"), list):
        return _rows(table["log_history"])
    if isinstance(table.get("columns"), list) and isinstance(table.get("data"), list):
        names = [str(column) for column in cast("list[Any]", table["columns"])]
        data = cast("list[Any]", table["data"])
        return [
            dict(zip(names, cast("list[Any]", row), strict=False)) for row in data if isinstance(row, list)
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
