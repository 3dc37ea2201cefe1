"""The files of a run log that a run begins or goes on with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final, cast

from autowu.runlog.writer import ABOUT, LOG

_UPDATE: Final = b'{"event": "step"'

EARLIER: Final = "earlier"
"""Runs that were in the folder before are kept in it, in `earlier-1` and so on."""


def check(folder: Path) -> None:
    """Whether a user's own loop may write there.

    Raises:
        ValueError: it holds a run of `autowu train`, which goes on with its log by itself.
    """
    about = read_about(folder)
    if "autowu" in about and "host" not in about:
        raise ValueError(f"log: {folder} holds a run of `autowu train`; choose another folder")


def is_there(folder: Path) -> bool:
    """Whether the folder holds a log."""
    return (folder / ABOUT).exists() or (folder / LOG).exists()


def stamp(folder: Path) -> tuple[int, ...]:
    """The bytes of the log, and what else changes when somebody writes to it; empty where there is none."""
    try:
        found = (folder / LOG).stat()
    except OSError:
        return ()
    return found.st_size, found.st_mtime_ns, found.st_ino


def read_about(folder: Path) -> dict[str, Any]:
    """What ``run.json`` says; nothing where there is none, or another thing of that name."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", about) if isinstance(about, dict) else {}


def open_at(folder: Path, step: int) -> int:
    """Get the log ready for what comes after ``step``.

    What it tells of later steps, by a run that was killed, is cut off. At step 0 a run begins: what is there
    is of a run before, and is put aside. So is a file of that name which is no such log.

    Returns:
        The bytes that the log has.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / LOG
    if log.exists() and log.stat().st_size and (step == 0 or not _is_own(log)):
        _put_aside(folder)
    if log.exists() and log.stat().st_size:
        _cut_off(log, step)
    else:
        log.touch()
    return log.stat().st_size


def decisions(folder: Path) -> frozenset[bytes]:
    """The lines of the log that tell of no update, but of what was decided."""
    with open(folder / LOG, "rb") as file:
        return frozenset(line for line in file if not line.startswith(_UPDATE))


def _is_own(log: Path) -> bool:
    """Whether the file begins as a log of AutoWU does."""
    with open(log, "rb") as file:
        try:
            return "event" in json.loads(file.readline())
        except (ValueError, TypeError, RecursionError):
            return False


def _put_aside(folder: Path) -> None:
    number = 1
    while (aside := folder / f"{EARLIER}-{number}").exists():
        number += 1
    aside.mkdir()
    for name in (LOG, ABOUT):
        if (folder / name).exists():
            os.replace(folder / name, aside / name)


def _cut_off(log: Path, step: int) -> None:
    draft = log.with_suffix(".jsonl.tmp")
    with open(log, "rb") as old, open(draft, "wb") as new:
        new.writelines(line for line in old if _is_of(line, step))
    os.replace(draft, log)


def _is_of(line: bytes, step: int) -> bool:
    """Whether the line is whole, and tells of ``step`` or of one before."""
    try:
        return line.endswith(b"\n") and json.loads(line)["step"] <= step
    except (ValueError, LookupError, TypeError, RecursionError):
        return False
