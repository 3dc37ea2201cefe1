"""Run both suites and the hard tasks without each rule, and print the tables."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from typing import Final

from benchmarks.quality import records
from benchmarks.quality.kinds.registry import KINDS
from benchmarks.quality.kinds.runner import PRELOADED
from benchmarks.quality.rent import faults, hard, rules, runs, table
from benchmarks.quality.rent.runs import Job
from benchmarks.quality.workloads import SMALL

SHORT: Final = 1_000
"""Updates of the first suite's runs, at most: the longer ones take minutes."""

SPOILED: Final = ("lstm", "vae", "infonce", "raw-inputs", "diffusion", "smooth-regression")
"""The kinds that faults are put into: looked at, quick, and each of another sort."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.rent", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help="run what is not done yet")
    command.add_argument("--data", type=Path, required=True, help="folder of the data of both suites")
    command.add_argument("--results", type=Path, required=True, help="file of the records, appended to")
    command.add_argument(
        "--work", type=Path, required=True, help="folder of the losses of the default's runs"
    )
    command.add_argument(
        "--suites",
        nargs="+",
        choices=("kinds", "first", "faults", "hard"),
        default=["kinds", "first", "faults"],
        help="by default all but the hard tasks, which have seeds of their own",
    )
    command.add_argument("--rules", nargs="+", choices=rules.RULES, default=list(rules.RULES), metavar="RULE")
    command.add_argument("--seeds", nargs="+", type=int, default=[0])
    command.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    shown = commands.add_parser("table", help="print a table")
    shown.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args()
    if options.command == "table":
        found = [record for file in options.files for record in records.lines(file)]
        print(hard.write(found) if found and found[0]["suite"] == "hard" else table.write(found))
        return
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    for seed, suite in product(options.seeds, options.suites):
        for rule in (None, *options.rules):  # the default first: the others need its losses
            _run(list(_jobs(suite, seed, rule)), options)


def _jobs(suite: str, seed: int, rule: str | None) -> Iterator[Job]:
    if suite == "first":
        for workload in SMALL.values():
            if workload.total_steps < SHORT:
                yield Job(suite, workload.name, seed, None, rule)
    elif suite == "kinds":
        for kind in KINDS.values():
            if not kind.long:
                yield Job(suite, kind.name, seed, None, rule)
    elif suite == "hard":
        for task, seeds in hard.SEEDS.items():
            for each in seeds:
                yield Job(suite, task, each, None, rule)
    else:
        for kind, fault in product(SPOILED, faults.FAULTS):
            yield Job("kinds", kind, seed, fault, rule)


def _run(wanted: list[Job], options: argparse.Namespace) -> None:
    done = {tuple(each[name] for name in Job._fields) for each in records.lines(options.results)}
    left = [job for job in wanted if tuple(job) not in done]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, "benchmarks.quality.trial"])
    began = time.monotonic()
    with ProcessPoolExecutor(options.processes, mp_context=context, max_tasks_per_child=1) as pool:
        running = {pool.submit(runs.run, job, options.data, options.work): job for job in left}
        for count, future in enumerate(as_completed(running), 1):
            record = future.result()
            records.add(options.results, record)
            score = "the same" if record["same"] else record["score"]
            seconds = (time.monotonic() - began) / count * (len(left) - count)
            print(
                f"{count}/{len(left)}, {seconds:.0f} s left: {running[future]}: {score}",
                file=sys.stderr,
                flush=True,
            )


if __name__ == "__main__":
    main()
