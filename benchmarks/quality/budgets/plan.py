"""Which studies there are, what of them is left, and how long that takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.quality import records
from benchmarks.quality.budgets import halving
from benchmarks.quality.workloads import SMALL

BUDGETS: Final = (1, 2, 5, 20)
"""Runs' compute."""
STUDIES: Final = 3
METHODS: Final = (*halving.METHODS, "pbt")
CHOSEN: Final = (
    "fashion-mlp-batchnorm-sgd",
    "cifar10-cnn-adamp",
    "shakespeare-gpt-adamw",
    "fashion-vit-adamp",
    "cifar100-cnn-adamw",
    "shakespeare-gpt-adamp",
)
"""By data, model and optimizer as far apart as six can be; the last three are held out."""
RESULTS: Final = records.RESULTS / "budgets"


@dataclass(frozen=True)
class Study:
    """One search: on a workload, by a method, with a seed."""

    workload: str
    method: str
    """'asha', 'hyperband' or 'pbt K', K members."""
    number: int
    runs: int
    """Of compute, at most; a study of the first two goes on to the trial that reaches it."""

    @property
    def part(self) -> str:
        """The file that its records are in."""
        return "population" if self.method.startswith("pbt") else "halving"

    def done(self, found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Its records, in order."""
        key = (self.workload, self.method, self.number)
        return [each for each in found if (each["workload"], each["method"], each["seed"]) == key]

    def left(self, found: Iterable[dict[str, Any]]) -> float:
        """Runs' compute until it is finished."""
        spent = sum(record["steps"] for record in self.done(found)) / SMALL[self.workload].total_steps
        return max(0.0, self.runs - spent)


def studies(
    workloads: Sequence[str], methods: Sequence[str], count: int = STUDIES, runs: int = BUDGETS[-1]
) -> Iterator[Study]:
    """One study of everything before the next, so that half of them say something too."""
    for number in range(count):
        for workload in workloads:
            for method in methods:
                if method == "pbt":
                    for members in (each for each in BUDGETS if each <= runs):
                        yield Study(workload, f"pbt {members}", number, members)
                else:
                    yield Study(workload, method, number, runs)


def seconds(workload: str) -> float:
    """Of one run on one core, as the tuned baseline's were recorded; 10 without records."""
    mine = [
        record["seconds"]
        for record in records.read(records.RESULTS, "compare")
        if record["workload"] == workload and record["method"].startswith("tuned")
    ]
    return float(np.mean(mine)) if mine else 10.0


def read(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All records of all studies."""
    return records.read(folder, "halving") + records.read(folder, "population")
