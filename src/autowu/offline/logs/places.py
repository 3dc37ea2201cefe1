"""Where the log is in a folder that a trainer has written, and what stands beside it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final, cast

from autowu.config import LONGEST
from autowu.errors import UserError
from autowu.offline.logs import tensorboard_table
from autowu.runlog.writer import ABOUT, LOG

TRAINER: Final = "trainer_state.json"  # of Hugging Face's Trainer, in each checkpoint
LIGHTNING: Final = "metrics.csv"  # of Lightning's CSVLogger
CHECKPOINT: Final = "checkpoint-"
LARGEST_ABOUT: Final = 1 << 22  # bytes
SHOWN: Final = 3  # of the folders that may be meant


def within(folder: Path) -> Path | None:
    """The log in ``folder``: a file, or the folder itself where it has TensorBoard's event files.

    None where there is none, or ``folder`` is a file.
    """
    if not folder.is_dir():
        return None
    if (own := folder / LOG).is_file():
        return own
    if states := [file for each in (folder, *_checkpoints(folder)) if (file := each / TRAINER).is_file()]:
        return states[-1]
    if tensorboard_table.has_events(folder):
        return folder
    return csv if (csv := folder / LIGHTNING).is_file() else None


def missing(folder: Path) -> UserError:
    """What is said of a ``folder`` in which no log is: what was looked for, and where it may be instead."""
    inner = [each for each in sorted(folder.iterdir()) if each.is_dir() and within(each) is not None]
    names = [str(each) for each in inner[:SHOWN]]
    names += [f"{len(inner) - SHOWN} more"] if len(inner) > SHOWN else []
    meant = " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
    return UserError(
        f"{folder}: no log is in this folder: no {LOG}, {TRAINER}, {LIGHTNING} or event file of "
        f"TensorBoard{f'; did you mean {meant}?' if meant else ''}"
    )


def _checkpoints(path: Path) -> list[Path]:
    """Of Hugging Face's Trainer, the last one last."""
    found = [(folder.name.removeprefix(CHECKPOINT), folder) for folder in path.glob(f"{CHECKPOINT}*")]
    return [folder for _, folder in sorted((int(step), folder) for step, folder in found if step.isdecimal())]


def planned(log: Path) -> float | None:
    """How many updates the run of autowu's own ``log`` was to have, by the run.json beside it.

    Infinity for a run that began without a known end; None where there is nothing to tell.
    """
    if log.name != LOG:
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
