"""Training logs that others wrote: CSV, JSON, TensorBoard, Weights & Biases; read into one :class:`Record`.

columns            which column is the loss, the step, the learning rate
table              what a reader hands over: columns and rows
csv_table          CSV, also as exported from Weights & Biases
json_table         JSON lines and JSON
tensorboard_table  TensorBoard's event files
entries            rows -> entries: a step, a loss, a learning rate
grid               which updates the entries are of: all, or every k-th
updates            entries -> one loss for each update
places             which file of a folder is the log
"""

from __future__ import annotations

import codecs
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from autowu.errors import UserError
from autowu.offline.logs import csv_table, json_table, places, tensorboard_table
from autowu.offline.logs.columns import Choice
from autowu.offline.logs.updates import Record, place

__all__ = ["Choice", "Record", "places", "read"]

STANDARD_INPUT: Final = "-"
CUT_OFF: Final = "autowu: cut off"
"""How a file is decoded: one that is being written may end within a letter."""


def _without_the_rest(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError) and error.reason == "unexpected end of data":
        return "", error.end
    raise error


codecs.register_error(CUT_OFF, _without_the_rest)


def read(path: str, total_steps: int | None = None, choice: Choice | None = None) -> Record:
    """The losses (and learning rates, if there are any) of a log in whatever form it has.

    A column ``loss`` is needed, or one whose name says as much (``train/loss``). ``step``, if there, says
    which update a loss is of: a whole number, counted from 0, or from 1 where the first is 1. Where it is 5
    or more, the record is counted from there. Steps left out are missing losses; but where only every k-th
    update was logged, those are the record, and the rest is not missed: see :attr:`Record.stride`. Of two
    losses of a step the later one counts. What is not taken as it stands is told in :attr:`Record.notes`.

    Args:
        path: of the file; or of a run folder, one with TensorBoard's event files, one of Lightning's
            CSVLogger, or one in which Hugging Face's Trainer has left checkpoints; '-' is standard input.
        total_steps: the most updates there can be.
        choice: the columns to be used, where their names leave it open.

    Raises:
        UserError: the file cannot be read, or its content used; the message names the file and the line.
    """
    name = "standard input" if path == STANDARD_INPUT else path
    choice = choice or Choice()
    try:
        if path != STANDARD_INPUT and Path(path).is_dir():
            if (log := places.within(Path(path))) is None:
                raise places.missing(Path(path))
            path = str(log)
        if path != STANDARD_INPUT and tensorboard_table.is_one(Path(path)):
            record = place(tensorboard_table.read(Path(path)), name, choice, total_steps)
        else:
            source = 0 if path == STANDARD_INPUT else path
            with open(
                source,
                encoding="utf-8-sig",  # spreadsheets begin a file with a byte order mark
                errors=CUT_OFF,
                newline="",  # csv splits the lines
                closefd=path != STANDARD_INPUT,
            ) as file:
                start = json_table.beginning(file)
                if not start and Path(path).name == places.LOG:
                    raise UserError(f"{name}: no update is logged yet")
                reader = json_table if start.lstrip()[:1] in ("{", "[") else csv_table
                record = place(reader.read(file, start, name), name, choice, total_steps)
    except OSError as error:
        raise UserError(f"{name}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name}: not a text file in UTF-8; a CSV file with a column loss is needed"
        ) from error
    if not len(record.losses):
        why = f" ({'; '.join(record.notes)})" if record.notes else ""
        raise UserError(f"{name}: no loss after the first line, which names the columns{why}")
    if not np.isfinite(record.losses).any():
        raise UserError(f"{name}: no finite loss; all {len(record.losses):,} are missing, NaN or infinite")
    planned = record.planned or (None if path == STANDARD_INPUT else places.planned(Path(path)))
    return replace(record, planned=None if planned is None else max(planned, record.updates))
