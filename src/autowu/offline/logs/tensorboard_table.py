"""TensorBoard's event files, through TensorBoard's own reader: a row for each step, a column for each tag."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from autowu.errors import UserError
from autowu.offline.logs.table import Table

MARK = "tfevents"  # in the name of every event file


def is_one(path: Path) -> bool:
    """Whether ``path`` is an event file, or a folder of them."""
    return path.is_dir() or (MARK in path.name and path.is_file())


def has_events(folder: Path) -> bool:
    """Whether there are event files in ``folder``."""
    return any(MARK in file.name for file in folder.iterdir())


def read(path: Path) -> Table:
    """The scalars of an event file, or of all event files of a folder.

    Raises:
        UserError: they have no scalar.
        ImportError: TensorBoard, of the extra ``tensorboard``, is not installed.
    """
    scalars = _scalars(path)
    if not scalars:
        raise UserError(f"{path}: no scalars in the event files")
    tags = list(scalars)
    steps = sorted({step for events in scalars.values() for step in events})
    at = 0

    def rows() -> Iterator[Sequence[Any]]:
        nonlocal at
        for at in steps:
            yield [at, *(scalars[tag].get(at) for tag in tags)]

    return Table(["step", *tags], rows(), lambda: f"{path}, step {at}")


def _scalars(path: Path) -> dict[str, dict[int, float]]:
    """By tag and step; of several accounts of a step, the last one."""
    reader: Any = import_module("tensorboard.backend.event_processing.event_accumulator")
    tensors: Any = import_module("tensorboard.util.tensor_util")
    logger = logging.getLogger("tensorboard")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of each file that a resumed run has begun
    try:
        events = reader.EventAccumulator(
            str(path), size_guidance={reader.SCALARS: 0, reader.TENSORS: 0}, purge_orphaned_data=True
        ).Reload()
    finally:
        logger.setLevel(level)
    tags = events.Tags()
    found = {
        tag: {event.step: float(event.value) for event in events.Scalars(tag)} for tag in tags["scalars"]
    }
    for tag in tags["tensors"]:  # how newer writers store scalars
        series = {event.step: tensors.make_ndarray(event.tensor_proto) for event in events.Tensors(tag)}
        if all(value.shape == () and value.dtype.kind in "fiu" for value in series.values()):
            found[tag] = {step: float(value) for step, value in series.items()}
    return found
