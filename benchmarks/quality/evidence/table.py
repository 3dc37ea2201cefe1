"""The tables: AutoWU's mean difference to each other method, with interval, p and count of workloads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from benchmarks.quality.analysis import AS_GOOD
from benchmarks.quality.evidence import bootstrap, pairs, profiles
from benchmarks.quality.evidence.bootstrap import Difference
from benchmarks.quality.evidence.pairs import Task
from benchmarks.quality.methods import ADVISED, AUTOWU

SEARCHES: Final = ("tuned 20", "tuned 10", "tuned 5", "tuned 1", pairs.BEST_FIXED)
"""Not peers: they have trials."""
OWN: Final = (AUTOWU, "paper")
FREE: Final = "lr-finder, range test for free"
"""No peer either: it pays nothing for its search."""


def peers(tasks: Iterable[Task]) -> list[str]:
    """The published methods that any task has, in the order of the records, and those advised, run or not."""
    names = dict.fromkeys((*(name for task in tasks for name in task.scores), *ADVISED))
    return [name for name in names if name not in (*OWN, *SEARCHES, FREE)]


def claim() -> str:
    """Against each peer: what was held out of either suite, with Holm's p over the peers; then all."""
    tasks = in_points(pairs.all_tasks())
    return _claim(tasks, peers(tasks))


def searches() -> str:
    """The same against searches, which have trials."""
    return _claim(in_points(pairs.all_tasks()), SEARCHES)


def by_suite() -> str:
    """Each suite by itself, and the regressions in dB, which are in no other column."""
    tasks = pairs.all_tasks()
    points = in_points(tasks)
    parts: dict[str, Callable[[Task], bool]] = {
        "first suite": lambda task: task.suite == "first",
        "looked at": lambda task: task.suite == "first" and not task.held_out,
        "held out": lambda task: task.suite == "first" and task.held_out,
        "kinds": lambda task: task.suite == "kinds",
        "looked at ": lambda task: task.suite == "kinds" and not task.held_out,
        "held out ": lambda task: task.suite == "kinds" and task.held_out,
    }
    rows = []
    for name in (*peers(tasks), *SEARCHES):
        cells = [_cell(against(filter(part, points), name)) for part in parts.values()]
        rows.append([name, *cells, _cell(against((each for each in tasks if each.unit == "dB"), name))])
    return _table(["AutoWU against", *(part.strip() for part in parts), "kinds in dB"], rows)


def to_target() -> str:
    """Of each method the share of workloads on which it reaches the target, and how much later than others.

    A dash until records have curves.
    """
    from benchmarks.quality import records

    slow = profiles.slowdowns(profiles.times(records.read(records.RESULTS, "compare")))
    rows = []
    for name, ratios in slow.items() if slow else [("–", np.array([]))]:
        reached = ratios[np.isfinite(ratios)]
        share = f"{len(reached)} of {len(ratios)}" if len(ratios) else "–"
        fastest = f"{(ratios <= 1).mean():.0%}" if len(ratios) else "–"
        within = f"{(ratios <= 1.5).mean():.0%}" if len(ratios) else "–"
        rows.append([name, share, fastest, within])
    return _table(["method", "reaches the target", "first to it", "within 1.5 times the first"], rows)


def in_points(tasks: Iterable[Task]) -> list[Task]:
    """Those whose differences are points: dB are another unit, and are not converted."""
    return [task for task in tasks if task.unit != "dB"]


def against(tasks: Iterable[Task], name: str, count: int = bootstrap.REPLICATES) -> Difference | None:
    """AutoWU's mean difference to ``name`` over ``tasks``."""
    return bootstrap.difference([task.differences(AUTOWU, name) for task in tasks], count)


def _claim(tasks: Sequence[Task], names: Sequence[str]) -> str:
    held_out = [task for task in tasks if task.held_out]
    found = {name: against(held_out, name, bootstrap.PRECISE) for name in names}
    known = {name: of.p for name, of in found.items() if of is not None}
    adjusted = dict(zip(known, bootstrap.holm(list(known.values())), strict=True))
    rows = []
    for name in sorted(names, key=lambda name: found[name].mean if found[name] else math.inf):
        looked_at = [task for task in tasks if not task.held_out]
        p = f"{adjusted[name]:.3f}" if name in adjusted else "–"
        count = _count([task.differences(AUTOWU, name) for task in held_out])
        rest = [_cell(against(part, name)) for part in (looked_at, tasks)]
        rows.append([name, _cell(found[name]), p, count, *rest])
    head = ["AutoWU against", "held out", "p", "ahead, level, behind", "looked at", "all"]
    return _table(head, rows)


def _count(groups: Iterable[np.ndarray]) -> str:
    """Workloads on which the mean difference is above, within and below half a point."""
    means = np.array([group.mean() for group in groups if len(group)])
    if not len(means):
        return "–"
    return f"{(means > AS_GOOD).sum()}, {(abs(means) <= AS_GOOD).sum()}, {(means < -AS_GOOD).sum()}"


def _cell(of: Difference | None) -> str:
    if of is None:
        return "–"
    if not math.isfinite(of.low):
        return f"{of.mean:+.2f} ({of.workloads})"
    return f"{of.mean:+.2f} ({of.low:+.2f} to {of.high:+.2f}; {of.workloads})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
