"""Where the log is in a folder that a trainer has written, and what stands beside it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final, cast

from autowu.config import LONGEST
from autowu.offline.logs import tensorboard_table

OWN_LOG: Final = "log.jsonl"
ABOUT: Final = "run.json"
TRAINER: Final = "trainer_state.json"  # of Hugging Face's Trainer, in each checkpoint
LIGHTNING: Final = "metrics.csv"  # of Lightning's CSVLogger
CHECKPOINT: Final = "checkpoint-"
LARGEST_ABOUT: Final = 1 << 22  # bytes


def within(path: Path) -> Path | None:
    """The log in the folder ``path``: a file, or the folder itself where it has TensorBoard's event files.

    None where there is none, or ``path`` is no folder.
    """
    if not path.is_dir():
        return None
    if (own := path / OWN_LOG).is_file():
        return own
    if states := [file for folder in (path, *_checkpoints(path)) if (file := folder / TRAINER).is_file()]:
        return states[-1]
    if tensorboard_table.has_events(path):
        return path
    return csv if (csv := path / LIGHTNING).is_file() else None


def _checkpoints(path: Path) -> list[Path]:
    """Of Hugging Face's Trainer, the last one last."""
    found = [(folder.name.removeprefix(CHECKPOINT), folder) for folder in path.glob(f"{CHECKPOINT}*")]
    return [folder for _, folder in sorted((int(step), folder) for step, folder in found if step.isdecimal())]


def planned(log: Path) -> float | None:
    """How many updates the run of autowu's own ``log`` was to have, by the run.json beside it.

    Infinity for a run that began without a known end; None where there is nothing to tell.
    """
    if log.name != OWN_LOG:
        return None
    try:
        with log.with_name(ABOUT).open("rb") as file:
            about: Any = json.loads(file.read(LARGEST_ABOUT))
    except (OSError, ValueError, RecursionError):
        return None
    schedule: Any = cast("dict[str, Any]", about).get("schedule") if isinstance(about, dict) else None
    if not isinstance(schedule, dict):
        return None
    length: Any = cast("dict[str, Any]", schedule).get("total_steps", 0)
    return math.inf if length is None else steps(length)


def steps(value: Any) -> int | None:
    """``value`` as a number of updates; None where it is none."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 < value <= LONGEST else None
