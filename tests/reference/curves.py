"""The recorded loss curves in tests/data/curves, which experiments/record_curves.py writes."""

import csv
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "data" / "curves"
INDEX: dict[str, dict[str, Any]] = json.loads((FOLDER / "curves.json").read_text())
"""For each curve: what was trained and on what schedule."""


def losses(name: str) -> list[float]:
    """The loss of every update; NaN where it was not finite."""
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return [float(row["loss"] or "nan") for row in csv.DictReader(file)]


def schedule(name: str) -> dict[str, Any]:
    """The numbers that a decision depends on besides the losses."""
    keys = ("total_steps", "steps_per_epoch", "min_lr", "max_lr", "warmup_fraction")
    return {key: INDEX[name][key] for key in keys}
