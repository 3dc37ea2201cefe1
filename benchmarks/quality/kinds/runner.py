"""Runs that are not done yet, each in a process of its own; its record is appended at once."""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.quality import records
from benchmarks.quality.kinds.task import Kind
from benchmarks.quality.methods import ADVISED

METHODS = ("fixed", "autowu", "lr-finder", "nadamw", "schedule-free", "prodigy", *ADVISED)
"""'fixed': all five peaks."""
PRELOADED = [
    "benchmarks.quality.kinds.train",
    "benchmarks.quality.kinds.registry",
    "sklearn.datasets",
    "torch._dynamo",  # which the first update of an optimizer imports, for seconds
]
"""What runs import, once, in the process that those of the runs fork from."""


class Job(NamedTuple):
    """A run to be done."""

    kind: Kind
    method: str
    label: str
    """The method's name in the record."""
    seed: int
    settings: Mapping[str, Any]


def jobs(
    kinds: Iterable[Kind],
    methods: Iterable[str],
    seeds: Iterable[int],
    settings: Mapping[str, Any],
    label: str,
) -> Iterator[Job]:
    """All runs, one seed after the other."""
    methods = tuple(methods)
    kinds = tuple(kinds)
    for seed in seeds:
        for kind in kinds:
            for method in methods:
                if method == "fixed":
                    for peak in kind.peaks:
                        yield Job(kind, f"fixed {peak:g}", f"fixed {peak:g}", seed, {})
                elif method == "autowu":
                    yield Job(kind, method, label, seed, settings)
                else:
                    yield Job(kind, method, method, seed, {})


def run(wanted: Iterable[Job], data: Path, results: Path, processes: int) -> None:
    """What ``results`` does not have yet."""
    done = {(each["kind"], each["method"], each["seed"]) for each in records.lines(results)}
    left = [job for job in wanted if (job.kind.name, job.label, job.seed) not in done]
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    began = time.monotonic()
    with ProcessPoolExecutor(processes, mp_context=context, max_tasks_per_child=1) as pool:  # fresh memory
        running = {
            pool.submit(_train, job.kind.name, job.method, job.seed, data, job.settings): job for job in left
        }
        for count, future in enumerate(as_completed(running), 1):
            job = running[future]
            record = {**future.result(), "method": job.label}
            if job.settings:
                record["settings"] = dict(job.settings)
            records.add(results, record)
            _say(record, count, len(left), time.monotonic() - began)


def _train(kind: str, method: str, seed: int, data: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """By the kind's name: tasks do not travel between processes."""
    from benchmarks.quality.kinds import registry, train

    try:
        return train.run(registry.KINDS[kind], method, seed, data, settings)
    except Exception as error:
        traceback.print_exc()
        failed = {"kind": kind, "method": method, "seed": seed, "score": None, "finite": False}
        return failed | {"error": f"{type(error).__name__}: {error}"}


def _say(record: Mapping[str, Any], count: int, of: int, seconds: float) -> None:
    score, peak = record["score"], record.get("peak_lr")
    outcome = record.get("error") or ("diverged" if score is None else f"{score:.4g}")
    print(
        f"{count}/{of}, {seconds / count * (of - count) / 60:.0f} min left: {record['kind']},"
        f" {record['method']}, seed {record['seed']}: {outcome}"
        f" (peak LR {peak or math.nan:.3g}, {record.get('seconds', 0):.0f} s)",
        file=sys.stderr,
        flush=True,
    )
