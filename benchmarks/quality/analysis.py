"""Records -> what the page says: differences with intervals, and how many trials AutoWU is worth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np
from scipy import stats

from benchmarks.quality import methods, records
from benchmarks.quality.records import Record
from benchmarks.quality.workloads import WORKLOADS

LOSS_PER_POINT: Final = 5.0
"""% of the loss of a text that count as one point of accuracy: the bars take 0.5% for 0.1 points."""

AS_GOOD: Final = 0.5
"""Points below the best fixed peak LR, up to which another is as good."""

Scores = dict[str, dict[str, dict[int, float]]]
"""Workload -> method -> seed -> test score, higher is better; -∞ for a run that diverged."""


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% confidence interval."""

    mean: float
    low: float
    high: float


def by_workload(results: Iterable[Record]) -> Scores:
    """Test scores, in the order of the workloads."""
    scores: Scores = {name: {} for name in WORKLOADS}
    for record in results:
        mine = scores[record["workload"]].setdefault(record["method"], {})
        mine[record["seed"]] = records.score(record, "test")
    return {workload: mine for workload, mine in scores.items() if mine}


def points(workload: str, score: float, reference: float) -> float:
    """How much better ``score`` is than ``reference``, in points of accuracy, or 5% of the loss."""
    if WORKLOADS[workload].is_text:
        return 100 * (score - reference) / -reference / LOSS_PER_POINT
    return score - reference


def differences(workload: str, of: Mapping[int, float], against: Mapping[int, float]) -> list[float]:
    """Paired by seed, in :func:`points`."""
    return [points(workload, of[seed], against[seed]) for seed in sorted(of.keys() & against.keys())]


def interval(values: Sequence[float]) -> Interval:
    """By Student's t; infinite where a run diverged or there is only one."""
    mean = float(np.mean(values))
    if len(values) < 2 or not math.isfinite(mean):
        return Interval(mean, -math.inf, math.inf)
    half = float(stats.t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def over_workloads(scores: Scores, method: str, against: str, held_out: bool | None = None) -> Interval:
    """The mean difference over workloads, each workload's own mean counting once; t over workloads.

    A workload on which a run of either diverged counts by the runs that did not.
    """
    means = []
    for workload, mine in scores.items():
        if held_out is not None and WORKLOADS[workload].held_out != held_out:
            continue
        if method in mine and against in mine:
            finite = [d for d in differences(workload, mine[method], mine[against]) if math.isfinite(d)]
            means += [float(np.mean(finite))] if finite else []
    return interval(means) if means else Interval(math.nan, math.nan, math.nan)


def everywhere(scores: Scores) -> list[str]:
    """The methods run on every workload, in the order of the records."""
    names = dict.fromkeys(name for mine in scores.values() for name in mine)
    return [name for name in names if all(name in mine for mine in scores.values())]


def ordered(scores: Scores) -> list[str]:
    """The methods, by how far below the best they end, on the mean; those not run everywhere come last.

    An order to read a table in, and no more: :mod:`benchmarks.quality.evidence` has the differences.
    """
    names = dict.fromkeys(name for mine in scores.values() for name in mine)
    common = everywhere(scores)
    behind = dict.fromkeys(names, math.inf) | dict.fromkeys(common, 0.0)
    for workload, mine in scores.items():
        means = {name: float(np.mean([*mine[name].values()])) for name in common}
        for name, mean in means.items():
            behind[name] -= points(workload, mean, max(means.values()))
    return sorted(names, key=lambda name: behind[name])


def ablated(folder: Path = records.RESULTS) -> dict[str, tuple[str, list[Record]]]:
    """Each ablated variant with the mark of the part of the study that it is in, and that part's records."""
    studies = [(mark, records.read(folder, part)) for part, mark in records.ABLATIONS.items()]
    found = {}
    for name in methods.VARIANTS:
        own = [study for study in studies if any(record["method"] == name for record in study[1])]
        found |= {name: own[0]} if own else {}
    return found


def good_peaks(swept: Iterable[Record]) -> dict[str, tuple[float, float]]:
    """The least and the greatest of the fixed peak LRs whose mean test score is as good as the best one's.

    Within half a point: on most workloads that is a range of a decade, and where in it a peak lies does not
    matter.
    """
    found = {}
    for workload, mine in by_workload(swept).items():
        means = {float(name): float(np.mean(list(mine.values()))) for name, mine in mine.items()}
        most = max(means.values())
        good = [lr for lr, mean in means.items() if points(workload, mean, most) >= -AS_GOOD]
        found[workload] = (min(good), max(good))
    return found


def peak_ratios(
    results: Iterable[Record], method: str, good: Mapping[str, tuple[float, float]]
) -> list[float]:
    """log10 of the peak LR of each run of ``method`` over the nearest good one; 0 among these."""
    found = []
    for record in results:
        if record["method"] == method and record["workload"] in good and record.get("peak_lr"):
            low, high = good[record["workload"]]
            found.append(math.log10(record["peak_lr"] / min(max(record["peak_lr"], low), high)))
    return found


def diverged(results: Iterable[Record], method: str) -> tuple[int, int]:
    """How many runs of ``method`` diverged or failed, and of how many."""
    mine = [record for record in results if record["method"] == method]
    return sum(record["diverged"] for record in mine), len(mine)


def best_of(trials: Sequence[Record], budgets: Iterable[int]) -> dict[int, float]:
    """The expected test score of the trial that validation data choose among k random ones, for each k.

    Of n trials in the order of their validation scores, the i-th best (from 0) is chosen by
    C(n - 1 - i, k - 1) of the C(n, k) subsets.
    """
    ordered = sorted(trials, key=lambda record: -records.score(record, "validation"))
    finite = [records.score(record, "test") for record in ordered]
    worst = min(score for score in finite if math.isfinite(score))
    tests = [score if math.isfinite(score) else worst for score in finite]
    n = len(tests)
    return {
        k: sum(math.comb(n - 1 - i, k - 1) * test for i, test in enumerate(tests)) / math.comb(n, k)
        for k in budgets
    }


def worth(trials: Sequence[Record], score: float) -> int | None:
    """The fewest trials of random search that reach ``score`` in expectation; None: all of them do not."""
    expected = best_of(trials, range(1, len(trials) + 1))
    return next((k for k, value in expected.items() if value >= score), None)


def by_name(results: Iterable[Record]) -> dict[str, list[Record]]:
    """The records of each workload."""
    ordered = sorted(results, key=lambda record: record["workload"])
    return {name: list(mine) for name, mine in groupby(ordered, key=lambda record: record["workload"])}
