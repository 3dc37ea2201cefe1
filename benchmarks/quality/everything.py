"""All that the comparison rests on: what is not done yet of both suites, and search at equal cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.quality import plan, prepare, records, runner
from benchmarks.quality.budgets import plan as budgets
from benchmarks.quality.budgets import runner as searches
from benchmarks.quality.kinds import runner as kinds
from benchmarks.quality.kinds import table
from benchmarks.quality.kinds.registry import KINDS
from benchmarks.quality.suites import SUITES

SEEDS: Final = (0, 1, 2)
"""Of the kinds."""


def compared() -> list[tuple[str, str, float]]:
    """(workload, method, seconds) of the first suite's comparison that is left."""
    found = records.read(records.RESULTS, "compare")
    done = {(record["workload"], record["method"], record["seed"]) for record in found}
    jobs = plan.jobs("compare", SUITES["small"], SUITES["small"].workloads.values(), records.RESULTS)
    return [(job.workload, job.method, budgets.seconds(job.workload)) for job in jobs if job.key not in done]


def of_kinds() -> list[tuple[kinds.Job, float]]:
    """The runs of the short kinds that are left, with their seconds: AutoWU's and the peers', three seeds."""
    found = records.lines(table.RESULTS)
    done = {(record["kind"], record["method"], record["seed"]) for record in found}
    methods = [name for name in kinds.METHODS if name != "fixed"]
    jobs = kinds.jobs([kind for kind in KINDS.values() if not kind.long], methods, SEEDS, {}, "autowu")
    left = [job for job in jobs if (job.kind.name, job.label, job.seed) not in done]
    return [(job, _seconds(found, job.kind.name)) for job in left]


def run(data: Path, processes: int) -> None:
    """One after the other: the kinds, the comparison, the searches."""
    prepare.prepare(data, list(SUITES["small"].workloads.values()))
    kinds.run([job for job, _ in of_kinds()], data, table.RESULTS, processes)
    small = SUITES["small"]
    runner.run("compare", small, list(small.workloads.values()), data, records.RESULTS, processes, [])
    searches.run(all_studies(), data, budgets.RESULTS, processes)


def all_studies() -> list[budgets.Study]:
    """Of search at equal cost."""
    return list(budgets.studies(budgets.CHOSEN, budgets.METHODS))


def tell() -> None:
    """Print what :func:`run` would do, by method, and how long it takes on one core."""
    one: list[tuple[str, float]] = [(job.label, seconds) for job, seconds in of_kinds()]
    _list("kinds", one)
    _list("first suite", [(method, seconds) for _, method, seconds in compared()])
    found = budgets.read()
    runs = [(study, study.left(found)) for study in all_studies()]
    _list(
        "search at equal cost", [(s.method, left * budgets.seconds(s.workload)) for s, left in runs if left]
    )


def _list(title: str, runs: Sequence[tuple[str, float]]) -> None:
    print(f"{title}: {len(runs)} left, {sum(seconds for _, seconds in runs) / 60:.0f} minutes on one core")
    for name in dict.fromkeys(name for name, _ in runs):
        mine = [seconds for each, seconds in runs if each == name]
        print(f"  {name}: {len(mine)}, {sum(mine) / 60:.0f} min")


def _seconds(found: Sequence[dict[str, Any]], kind: str) -> float:
    mine = [record["seconds"] for record in found if record["kind"] == kind and "seconds" in record]
    return float(np.mean(mine)) if mine else 20.0
