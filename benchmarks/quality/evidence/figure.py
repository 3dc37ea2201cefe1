"""The performance profile: of each method the share of workloads on which it ends close to the best."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from benchmarks.quality.evidence import pairs, profiles, table
from benchmarks.quality.evidence.pairs import Task
from benchmarks.quality.methods import AUTOWU

WITHIN: Final = np.geomspace(0.1, 30, 200)
"""Points below the best."""
DRAWN: Final = 8
"""Methods; more curves cannot be told apart."""


def profile(tasks: list[Task] | None = None) -> Any:
    """Each suite by itself: a step curve for each method.

    AutoWU, the searches and the peers with the highest curves, by the mean height over log points.

    Args:
        tasks: None for those in the tree.
    """
    from matplotlib.figure import Figure

    tasks = table.in_points(pairs.all_tasks() if tasks is None else tasks)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    titles = {"first": "first suite: against the best method", "kinds": "kinds: against the best method"}
    for axis, (suite, title) in zip(figure.subplots(1, 2, sharey=True), titles.items(), strict=True):
        mine = [task for task in tasks if task.suite == suite and AUTOWU in task.scores]
        curves = _curves(mine)
        for name, heights in curves.items():
            wide = 2.2 if name == AUTOWU else 1.1
            style = "--" if name in table.SEARCHES else "-"
            colour = "black" if name == AUTOWU else None
            axis.step(WITHIN, 100 * heights, style, where="post", label=name, linewidth=wide, color=colour)
        axis.set(xscale="log", xlabel="points below the best method", ylim=(0, 101))
        axis.set_title(f"{title} ({len(mine)} workloads)", fontsize="medium")
        if curves:
            axis.legend(fontsize="x-small", loc="lower right")
    figure.axes[0].set_ylabel("share of workloads, %")
    return figure


def _curves(tasks: list[Task]) -> dict[str, np.ndarray]:
    """Method -> share of the tasks within each of ``WITHIN`` points of the best; AutoWU is the first.

    The best is that of all methods that are on at least half of the tasks, drawn or not.
    """
    names = dict.fromkeys(name for task in tasks for name in task.scores if name != table.FREE)
    often = [name for name in names if 2 * sum(name in task.scores for task in tasks) >= len(tasks)]
    if not often:
        return {}
    behind = profiles.shortfalls(tasks, often)
    curves = {name: profiles.share(behind[name], WITHIN) for name in often}
    ordered = sorted(often, key=lambda name: (name != AUTOWU, -curves[name].mean()))
    return {name: curves[name] for name in ordered[:DRAWN]}
