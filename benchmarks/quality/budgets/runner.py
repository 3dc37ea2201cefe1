"""Run what is left of the studies: one trial, or one population, a process; a record at once."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autowu.errors import UserError
from benchmarks.quality import records, runner
from benchmarks.quality.budgets import plan
from benchmarks.quality.budgets.plan import Study
from benchmarks.quality.workloads import SMALL


def run(studies: Sequence[Study], data: Path, folder: Path, processes: int) -> None:
    """All that is left; a study's trials one after the other, studies beside each other.

    Raises:
        UserError: a study needs Optuna, and it is not installed.
    """
    waiting = deque(study for study in studies if study.left(plan.read(folder)))
    if find_spec("optuna") is None and any(study.part == "halving" for study in waiting):
        raise UserError("ASHA and Hyperband need Optuna: pip install optuna, or --methods pbt")
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(runner.PRELOADED)
    with ProcessPoolExecutor(processes, mp_context=context, max_tasks_per_child=1) as pool:
        running: dict[Future[dict[str, Any]], Study] = {}
        while waiting or running:
            while waiting and len(running) < processes:
                study = waiting.popleft()
                running[pool.submit(one, study, data, study.done(plan.read(folder)))] = study
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                study = running.pop(future)
                record = future.result()
                records.append(folder, study.part, record)
                left = study.left(plan.read(folder))
                _say(study, record, left)
                if left:
                    waiting.appendleft(study)


def one(study: Study, data: Path, done: list[dict[str, Any]]) -> dict[str, Any]:
    """The next record of a study that has one, in a process of its own."""
    from benchmarks.quality.budgets import halving, population

    workload = SMALL[study.workload]
    if study.part == "population":
        return population.study(workload, study.runs, study.number, data)
    return next(halving.study(workload, study.method, study.number, study.runs, data, done))


def _say(study: Study, record: dict[str, Any], left: float) -> None:
    print(
        f"{study.workload}, {study.method}, study {study.number}: {record['steps']} updates,"
        f" {abs(records.score(record, 'test')):.3f}; {left:.1f} of {study.runs} runs left",
        file=sys.stderr,
        flush=True,
    )


def tell(studies: Sequence[Study], folder: Path) -> float:
    """Print what a run would do; the minutes that it takes on one core."""
    found, total = plan.read(folder), 0.0
    for study in studies:
        left = study.left(found)
        if left:
            minutes = left * plan.seconds(study.workload) / 60
            total += minutes
            print(
                f"{study.workload}, {study.method}, study {study.number}: {left:.1f} runs, {minutes:.1f} min"
            )
    print(f"together {total:.0f} minutes on one core")
    return total
