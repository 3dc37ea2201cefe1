"""The records of finished runs: one JSON object a line, in files that a run is added to at once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

from benchmarks.quality.workloads import WORKLOADS

RESULTS: Final = Path(__file__).parent / "results"
ABLATIONS: Final = {
    "ablations": "",
    "ablations-elsewhere": " ‡",
    "ablations-stall": " ‡",
    "fourth-freeze-ablations": " †",
}
"""The parts that hold variants, each with a default of its own beside them, and the mark of their rows: those
run on another machine, and those that were not run again beside the default as it is."""

Record = dict[str, Any]


def read(folder: Path, part: str) -> list[Record]:
    """All records of a part of the study; none where there is no file."""
    return lines(folder / f"{part}.jsonl")


def append(folder: Path, part: str, record: Record) -> None:
    """Add one record of a part of the study."""
    add(folder / f"{part}.jsonl", record)


def lines(path: Path) -> list[Record]:
    """All records of a file; none where there is none. A line cut off by a kill is left out."""
    found = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in found if line.endswith("\n")]


def add(path: Path, record: Record) -> None:
    """Add one record to a file; what a kill left of a line before is cut off, so that it spoils no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.truncate(path.read_bytes().rfind(b"\n") + 1)
        file.write(json.dumps(record).encode() + b"\n")


def score(record: Record, part: str) -> float:
    """Accuracy in %, or minus the loss in nats a character; higher is better, -∞ if the run failed."""
    if "error" in record or record["diverged"]:
        return -math.inf
    if WORKLOADS[record["workload"]].is_text:
        loss = record[f"{part}_loss"]
        return -math.inf if loss is None else -loss
    return 100 * record[f"{part}_accuracy"]
