"""Performance profiles (Dolan and Moré, 2002): of each method the share of workloads it does well on.

AlgoPerf profiles the time to a target: ρ(τ) is the share of workloads on which a method needs at most τ times
what the fastest method does. Where records have only final scores, the same is done with points: the share of
workloads on which it ends at most τ points below the best method.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from benchmarks.quality import records
from benchmarks.quality.analysis import AS_GOOD
from benchmarks.quality.evidence.pairs import Task
from benchmarks.quality.workloads import WORKLOADS

TARGET: Final = "tuned 5"
"""The target is half a point (2.5% of a loss) below what this ends at on validation data, on the mean."""


def shortfalls(tasks: Sequence[Task], methods: Sequence[str]) -> dict[str, np.ndarray]:
    """Of each method, how many points below the best of ``methods`` its mean score is on each task.

    Infinite where it was not run. The tasks' units must not be dB.
    """
    found: dict[str, list[float]] = {name: [] for name in methods}
    for task in tasks:
        means = {n: float(np.mean([*task.scores[n].values()])) for n in methods if n in task.scores}
        best = max(means.values())
        for name in methods:
            found[name].append(task.better(best, means[name]) if name in means else math.inf)
    return {name: np.array(values) for name, values in found.items()}


def share(values: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Of ``values`` the share that is at most each of ``within``."""
    return (values[:, None] <= within).mean(0)


def target(workload: str, results: Iterable[dict[str, Any]]) -> float | None:
    """The validation score to reach on a workload; None without records of the tuned baseline."""
    reached = [
        records.score(record, "validation")
        for record in results
        if record["workload"] == workload and record["method"] == TARGET
    ]
    if not reached:
        return None
    mean = float(np.mean(reached))
    return mean * (1 + 0.05 * AS_GOOD) if WORKLOADS[workload].is_text else mean - AS_GOOD


def time_to(record: Mapping[str, Any], score: float) -> float:
    """Updates of training, a search's own among them, until validation first gives ``score``; ∞ if never.

    Args:
        record: with a ``curve`` of (updates, validation score).
        score: to reach, higher is better.
    """
    spent = WORKLOADS[record["workload"]].total_steps - record["steps"]
    return next((spent + step for step, reached in record["curve"] if reached >= score), math.inf)


def times(results: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Workload -> method -> median over seeds of :func:`time_to`, of the records that have a curve."""
    found: dict[str, dict[str, list[float]]] = {}
    targets = {name: target(name, results) for name in {record["workload"] for record in results}}
    for record in results:
        goal = targets[record["workload"]]
        if goal is not None and "curve" in record:
            mine = found.setdefault(record["workload"], {})
            mine.setdefault(record["method"], []).append(time_to(record, goal))
    return {name: {of: float(np.median(each)) for of, each in mine.items()} for name, mine in found.items()}


def slowdowns(of: Mapping[str, Mapping[str, float]]) -> dict[str, np.ndarray]:
    """Of each method its time over the fastest method's, on the workloads on which any reaches the target.

    Infinite where it does not, or was not run.

    Args:
        of: what :func:`times` returns.
    """
    reached = [mine for mine in of.values() if math.isfinite(min(mine.values()))]
    names = dict.fromkeys(name for mine in reached for name in mine)
    return {
        name: np.array([mine.get(name, math.inf) / min(mine.values()) for mine in reached]) for name in names
    }
