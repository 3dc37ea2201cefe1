"""Run what is not done yet, each run in a process of its own, and append its record at once."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

from benchmarks.quality import plan, records
from benchmarks.quality.plan import Job
from benchmarks.quality.workloads import WORKLOADS, Workload


def run(
    part: str, workloads: list[Workload], data: Path, results: Path, processes: int, methods: list[str]
) -> None:
    """The runs of ``part``, by default of all methods, also those that only other runs can name."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    while True:
        done = {
            (record["workload"], record["method"], record["seed"]) for record in records.read(results, part)
        }
        wanted = [job for job in plan.jobs(part, workloads, results) if not methods or job.method in methods]
        left = [job for job in wanted if job.key not in done]
        if not left:
            return
        _run(left, data, results, processes)


def _run(jobs: list[Job], data: Path, results: Path, processes: int) -> None:
    context = multiprocessing.get_context("forkserver")  # its children fork from a process without threads
    context.set_forkserver_preload(["benchmarks.quality.trial"])
    began, count = time.monotonic(), 0
    with ProcessPoolExecutor(processes, mp_context=context, max_tasks_per_child=1) as pool:
        running: dict[Future[dict[str, Any]], Job] = {}
        waiting = iter(jobs)
        while True:
            for job in waiting:
                running[pool.submit(_train, job, data)] = job
                if len(running) >= 2 * processes:
                    break
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                count += 1
                record = {
                    "workload": job.workload,
                    "method": job.method,
                    "seed": job.seed,
                    **future.result(),
                }
                records.append(results, job.part, record)
                _say(job, record, count, len(jobs), time.monotonic() - began)


def _train(job: Job, data: Path) -> dict[str, Any]:
    """In a process of its own: the record, or what went wrong, which is a result too."""
    from benchmarks.quality import trial

    try:
        return trial.run(WORKLOADS[job.workload], job.settings, job.seed, data)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}", "diverged": True}


def _say(job: Job, record: dict[str, Any], count: int, of: int, seconds: float) -> None:
    if "error" in record:
        outcome = record["error"]
    else:
        outcome = (
            f"{abs(records.score(record, 'test')):.3f} (peak LR {record['peak_lr'] or record['top_lr']:.3g})"
        )
    left = seconds / count * (of - count) / 60
    print(
        f"{count}/{of}, {left:.0f} min left: {job.workload}, {job.method}, seed {job.seed}: {outcome}",
        file=sys.stderr,
        flush=True,
    )
