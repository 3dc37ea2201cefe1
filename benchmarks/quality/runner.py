"""Run what is not done yet, each run in a process of its own, and append its record at once."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import time
import traceback
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.quality import plan, records
from benchmarks.quality.plan import Job
from benchmarks.quality.suites import Suite
from benchmarks.quality.workloads import WORKLOADS, Workload

if TYPE_CHECKING:
    from benchmarks.quality.slices import Slice

PRELOADED = ["benchmarks.quality.slices", "lightning_fabric", "torchvision.transforms.v2.functional"]
"""What every run imports, and what takes seconds: once, in the process that those of the runs fork from."""


def run(
    part: str,
    suite: Suite,
    workloads: list[Workload],
    data: Path,
    results: Path,
    processes: int,
    methods: list[str],
    until: Slice | None = None,
    start: str = "forkserver",
) -> int:
    """The runs of ``part``, also those that only other runs can name; how many are left when time is up.

    Args:
        part: of the study.
        suite: the study.
        workloads: those of its workloads to run.
        data: the data folder.
        results: folder of the records.
        processes: runs at a time.
        methods: by default all.
        until: the slice of time to run in; None: all the time it takes, each run in a single go.
        start: how multiprocessing starts the processes.
    """
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # to ask for a GPU must not keep forked ones from it
    while True:
        done = {
            (record["workload"], record["method"], record["seed"]) for record in records.read(results, part)
        }
        wanted = [
            job for job in plan.jobs(part, suite, workloads, results) if not methods or job.method in methods
        ]
        left = [job for job in wanted if job.key not in done]
        if not left or _over(until):
            return len(left)
        _run(left, data, results, processes, until, start)


def _run(jobs: list[Job], data: Path, results: Path, processes: int, until: Slice | None, start: str) -> None:
    context = multiprocessing.get_context(start)  # a fork server's children fork from one without threads
    context.set_forkserver_preload(PRELOADED)
    began, count = time.monotonic(), 0
    with ProcessPoolExecutor(processes, mp_context=context, max_tasks_per_child=1) as pool:
        running: dict[Future[dict[str, Any] | None], Job] = {}
        waiting = iter(jobs)
        while True:
            for job in () if _over(until) else waiting:
                running[pool.submit(_train, job, data, until)] = job
                if len(running) >= 2 * processes:
                    break
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                outcome = future.result()
                if outcome is None:
                    continue  # its time was up
                count += 1
                record = {"workload": job.workload, "method": job.method, "seed": job.seed, **outcome}
                records.append(results, job.part, record)
                if until is not None:
                    shutil.rmtree(until.work / job.folder, ignore_errors=True)
                _say(job, record, count, len(jobs), time.monotonic() - began)


def _over(until: Slice | None) -> bool:
    return until is not None and until.over


def _train(job: Job, data: Path, until: Slice | None) -> dict[str, Any] | None:
    """In a process of its own: the record, or what went wrong, which is a result too; None: time is up."""
    from benchmarks.quality import slices, trial

    of = WORKLOADS[job.workload], job.settings, job.seed, data
    try:
        if until is None:
            return trial.run(*of)
        return None if _over(until) else slices.run(*of, until.work / job.folder, until)
    except Exception as error:
        if until is not None and isinstance(error, slices.PASSING):
            raise
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
