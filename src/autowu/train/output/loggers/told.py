"""What each logger has been told of a run, kept in ``loggers.json`` in its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from autowu.errors import UserError
from autowu.runlog.events import EVALUATION

FILE: Final = "loggers.json"


@dataclass
class Told:
    """What a logger knows of a run already."""

    step: int = 0
    """Updates whose steps, tests and switch it has been told."""
    evaluation: int = 0
    """Updates whose evaluation it has been told; it comes after the rest."""
    run: str | None = None
    """What the logger itself calls the run."""

    def news(self, events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those of ``events`` that it has not been told."""
        return [event for event in events if event["step"] > self._until(event)]

    def _until(self, event: Mapping[str, Any]) -> int:
        return self.evaluation if event["event"] in EVALUATION else self.step

    def add(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Take note that it has been told ``events``."""
        for event in events:
            if event["event"] in EVALUATION:
                self.evaluation = max(self.evaluation, event["step"])
            else:
                self.step = max(self.step, event["step"])


def read(folder: Path) -> dict[str, Told]:
    """What the loggers of a run have been told, by their names; nothing where there is no file.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / FILE
    try:
        content = cast("dict[str, dict[str, Any]]", json.loads(path.read_text(encoding="utf-8")))
        return {name: Told(**told) for name, told in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read, so loggers would be told twice: {error}") from error


def keep(folder: Path, of: Mapping[str, Told]) -> None:
    """Write it down, whole or not at all."""
    path = folder / FILE
    draft = path.with_suffix(".json.tmp")
    draft.write_text(json.dumps({name: vars(told) for name, told in of.items()}) + "\n")
    os.replace(draft, path)


def discard(folder: Path) -> None:
    """Forget it."""
    (folder / FILE).unlink(missing_ok=True)
