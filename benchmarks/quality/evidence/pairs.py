"""Workloads of both suites as one thing: scores by method and seed, and paired differences in points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from benchmarks.quality import analysis, records
from benchmarks.quality.analysis import LOSS_PER_POINT
from benchmarks.quality.kinds import table as kinds
from benchmarks.quality.kinds.registry import KINDS
from benchmarks.quality.workloads import SMALL, Workload

Suite = Literal["first", "kinds"]
Unit = Literal["%", "loss", "dB"]

BEST_FIXED: Final = "best of five peaks"
"""Of the kinds: the fixed peak LR that is best on the test data, chosen with hindsight."""
CHARACTERS: Final = 65
"""Of Shakespeare's text."""


@dataclass(frozen=True)
class Task:
    """One workload, and what every method got on it."""

    name: str
    suite: Suite
    held_out: bool
    unit: Unit
    scores: Mapping[str, Mapping[int, float]]
    """Method -> seed -> score, finite; higher is better: accuracy in %, minus a loss, or dB."""

    def better(self, score: float, than: float) -> float:
        """How much better a score is: points, or dB.

        A point is one of accuracy, or 5% of a loss: 100 ln(loss' / loss) / 5, so that the difference of two
        methods is the same whichever is named first.
        """
        if self.unit == "loss":
            return 100 * math.log(than / score) / LOSS_PER_POINT
        return score - than

    def differences(self, of: str, against: str) -> np.ndarray:
        """Paired by seed, in :meth:`better`; empty if no seed has both."""
        mine, theirs = self.scores.get(of, {}), self.scores.get(against, {})
        seeds = sorted(mine.keys() & theirs.keys())
        return np.array([self.better(mine[seed], theirs[seed]) for seed in seeds])


def chance(workload: Workload) -> float:
    """The score of a guess: what a run of the first suite counts as that failed or diverged."""
    if workload.is_text:
        return -math.log(CHARACTERS)
    return 1.0 if workload.source == "cifar100.npz" else 10.0


def first_suite(results: Iterable[dict[str, Any]]) -> list[Task]:
    """The workloads of the first suite that have records."""
    tasks = []
    for name, mine in analysis.by_workload(results).items():
        if name not in SMALL:
            continue
        workload = SMALL[name]
        floor = chance(workload)
        scores = {
            method: {seed: score if math.isfinite(score) else floor for seed, score in of.items()}
            for method, of in mine.items()
        }
        unit: Unit = "loss" if workload.is_text else "%"
        tasks.append(Task(name, "first", workload.held_out, unit, scores))
    return tasks


def kinds_suite(results: Iterable[dict[str, Any]]) -> list[Task]:
    """The kinds that have records; a run that diverged or ended below a constant answer counts as that."""
    tasks = []
    for name, mine in kinds.means(results).items():
        scores = {method: of for method, of in mine.items() if not method.startswith("fixed ")}
        if peaks := kinds.fixed_peaks(mine):
            scores[BEST_FIXED] = mine[max(peaks, key=lambda peak: peaks[peak])]
        tasks.append(Task(name, "kinds", KINDS[name].held_out, KINDS[name].unit, scores))
    return tasks


def all_tasks() -> list[Task]:
    """Of both suites, from the records in the tree."""
    first = first_suite(records.read(records.RESULTS, "compare"))
    return first + kinds_suite(records.lines(kinds.RESULTS))
