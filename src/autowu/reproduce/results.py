"""Finished cells: one JSON line each, in ``results.jsonl`` of a scale's folder."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import autowu
from autowu.errors import UserError
from autowu.text import printable

try:
    import fcntl
except ImportError:  # Windows: there, one process at a time
    fcntl = None

NAME: Final = "results.jsonl"
KEYS: Final[dict[str, type]] = {
    "cell": str,
    "key": str,
    "scale": str,
    "command": str,
    "commit": str,
    "versions": dict,
    "machine": dict,
    "seconds": float,
    "metrics": dict,
}
"""What a line has."""


@dataclass(frozen=True)
class Result:
    """One line."""

    cell: str
    key: str
    scale: str
    command: str
    commit: str
    versions: dict[str, Any]
    machine: dict[str, Any]
    seconds: float
    """Of the updates, over all slices."""
    metrics: dict[str, Any]
    """The trainer's, of run.json."""

    @property
    def accuracy(self) -> float:
        """Of the test set, after the last update, in %."""
        return 100 * float(self.metrics["test_accuracy"])

    @property
    def peak_lr(self) -> float | None:
        """The first LR of the decay phase; of a baseline its peak."""
        value = self.metrics.get("peak_lr")
        return None if value is None else float(value)


def read(folder: Path, scale: str, commit: str | None) -> list[Result]:
    """The lines of ``folder``; none if there is no file. A cell that is there twice counts once.

    Args:
        folder: of the scale.
        scale: that all lines must be of.
        commit: that all lines must be of; None: any.

    Raises:
        UserError: a line is damaged, of another scale or of another commit; it is named.
    """
    path = folder / NAME
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    found = dict[tuple[str, str], Result]()
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        result = _result(line, where)
        if result.scale != scale:
            raise UserError(
                f"{where} is of the scale {printable(result.scale)!r}, not {scale!r}: move it out"
            )
        if commit is not None and result.commit != commit:
            raise UserError(
                f"{where} is of the commit {printable(result.commit)}, and this is {commit}: --any-commit "
                "takes it all the same, another --out begins anew"
            )
        found[result.cell, result.key] = result
    return list(found.values())


def _result(line: bytes, where: str) -> Result:
    problem = None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry, problem = {}, "it is not JSON"
    if not problem and not line.endswith(b"\n"):
        problem = "it is cut off"
    if not isinstance(entry, dict):
        entry, problem = {}, "it is not an object"
    found = cast("dict[str, Any]", entry)
    for name, kind in KEYS.items():
        value = found.get(name)
        fits = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
        if problem is None and not fits:
            problem = f"it has no {name}" if value is None else f"its {name} is no {kind.__name__}"
    problem = problem or _wrong_number(found)
    if problem is not None:
        raise UserError(f"{where} is damaged ({problem}): remove it, and the cell is run again")
    return Result(**{name: found[name] for name in KEYS})


def _wrong_number(line: dict[str, Any]) -> str | None:
    """What no run writes; a line may have been mended by hand."""
    metrics = line["metrics"]
    accuracy, peak = metrics.get("test_accuracy"), metrics.get("peak_lr")
    if not _is_number(accuracy) or not 0 <= accuracy <= 1:
        return "its test_accuracy is not in [0, 1]"
    if peak is not None and (not _is_number(peak) or peak <= 0):
        return "its peak_lr is no number above 0"
    if not _is_number(line["seconds"]):
        return "its seconds are not finite"
    return None if line["seconds"] >= 0 else "its seconds are below 0"


def _is_number(value: Any) -> bool:
    """Whether it is finite, and no integer beyond all floats."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def append(folder: Path, result: Result) -> None:
    """Add a line; several processes may do so at once.

    Raises:
        UserError: it cannot be written.
    """
    line = json.dumps({name: getattr(result, name) for name in KEYS}, ensure_ascii=False) + "\n"
    try:
        with (folder / NAME).open("ab", buffering=0) as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write(line.encode())
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"cannot write {folder / NAME}: {error.strerror or error}") from error


def commit() -> str:
    """The last commit of the package's sources, with '+' where they differ from it; else the version."""
    source = Path(autowu.__file__).parent
    if not _git(source, "ls-files", "__init__.py"):
        return f"v{autowu.__version__}"  # not a checkout, or that of somebody else's project
    changed = "+" if _git(source, "status", "--porcelain", "--", ".") else ""
    return _git(source, "log", "-1", "--format=%h", "--abbrev=12", "--", ".") + changed


def _git(folder: Path, *words: str) -> str:
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *words], check=True, capture_output=True, text=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def commits(results: Sequence[Result]) -> list[str]:
    """Those of the lines, in order, each once."""
    return list(dict.fromkeys(result.commit for result in results))
