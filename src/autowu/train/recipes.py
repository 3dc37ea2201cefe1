"""Settings under one name: the paper's tasks, and quick ones for a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Recipe:
    """Some of the settings of a run."""

    settings: dict[str, Any]
    about: str


RECIPES: Final[dict[str, Recipe]] = {
    "digits-cnn": Recipe({"data": "digits", "model": "cnn"}, "the demo"),
}
