"""Prepare the data of the quality suite, run its parts, and write its page."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

from autowu.errors import UserError
from benchmarks.quality import plan, prepare, runner
from benchmarks.quality.budgets import plan as budgets
from benchmarks.quality.suites import SUITES
from benchmarks.quality.workloads import SMALL, WORKLOADS, Workload


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, does in (("prepare", "cut out the workloads' data"), ("run", "run a part of the study")):
        command = commands.add_parser(name, help=does, description=does)
        command.add_argument(
            "--suite",
            choices=SUITES,
            default="small",
            help="pilot: long runs to choose by; probe: the long ones of small;"
            " longest: 10,000 updates or more; large: for GPUs",
        )
        command.add_argument(
            "--data",
            type=Path,
            required=True,
            help="folder with fashion-mnist.npz, cifar10.npz, cifar100.npz (Keras' layout), shakespeare.txt; "
            "the large suite takes the second and the last",
        )
        command.add_argument("--only", nargs="+", default=[], choices=WORKLOADS, metavar="WORKLOAD")
    _add_run(command)
    commands.add_parser(
        "page", help="fill the pages on quality in docs from the records, and draw their pictures"
    )
    searches = commands.add_parser("budgets", help="searches at 1, 2, 5 and 20 times a run's compute")
    searches.add_argument("--data", type=Path, required=True, help="as for run")
    searches.add_argument("--only", nargs="+", default=budgets.CHOSEN, choices=SMALL, metavar="WORKLOAD")
    searches.add_argument("--methods", nargs="+", default=budgets.METHODS, choices=budgets.METHODS)
    searches.add_argument("--studies", type=int, default=budgets.STUDIES, help="of each search on a workload")
    searches.add_argument("--runs", type=int, default=budgets.BUDGETS[-1], help="compute of a study")
    searches.add_argument("--results", type=Path, default=budgets.RESULTS, help="folder of the records")
    evidence = commands.add_parser(
        "evidence", help="what is left of kinds, comparison and budgets; the pages"
    )
    evidence.add_argument("--data", type=Path, required=True, help="as for run")
    for each in (searches, evidence):
        each.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
        each.add_argument("--dry-run", action="store_true", help="print the runs and their minutes only")
    options = parser.parse_args()
    if options.command == "prepare":
        prepare.prepare(options.data, _workloads(options, command))
    elif options.command == "run":
        _run(options, command)
    elif options.command == "budgets":
        _search(options)
    elif options.command == "evidence":
        _complete(options)
    else:
        _write_pages()


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "part", choices=(*plan.PARTS, "all"), help="all: one after the other, and then the pages"
    )
    command.add_argument("--methods", nargs="+", default=[], metavar="METHOD", help="by default all of them")
    command.add_argument(
        "--processes", type=int, help="runs at a time (default: as many as cores; large: 1, for one GPU)"
    )
    command.add_argument("--results", type=Path, help="folder of the records (default: the suite's)")
    command.add_argument(
        "--trials",
        type=int,
        help="of the random search, the same number for search and compare (default: "
        + ", ".join(f"{name}: {suite.trials}" for name, suite in SUITES.items())
        + ")",
    )
    command.add_argument("--seeds", type=int, help="compare: the first so many of the suite's")
    command.add_argument(
        "--start",
        choices=("forkserver", "spawn"),
        default="forkserver",
        help="how processes begin; spawn is slower, for a GPU that a forked process cannot use",
    )
    command.add_argument(
        "--work", type=Path, help="folder of unfinished runs, which then go on where they were stopped"
    )
    command.add_argument("--minutes", type=float, help="stop after so many, at a checkpoint in --work")


def _workloads(options: argparse.Namespace, command: argparse.ArgumentParser) -> list[Workload]:
    found = SUITES[options.suite].workloads
    if foreign := [name for name in options.only if name not in found]:
        command.error(f"--only: {', '.join(foreign)} is not in the {options.suite} suite")
    return [found[name] for name in options.only or found]


def _run(options: argparse.Namespace, command: argparse.ArgumentParser) -> None:
    began, suite = time.time(), SUITES[options.suite]
    if options.minutes is not None and options.work is None:
        command.error("--minutes needs --work, the folder that the unfinished run is kept in")
    if options.trials is not None:
        if options.trials < 1:
            command.error(f"--trials must be at least 1, not {options.trials}")
        suite = replace(suite, trials=options.trials)
    if options.seeds is not None:
        if options.seeds < 1:
            command.error(f"--seeds must be at least 1, not {options.seeds}")
        suite = replace(suite, seeds=suite.seeds[: options.seeds])
    until = None
    if options.work is not None:
        from benchmarks.quality.slices import Slice

        minutes = float("inf") if options.minutes is None else options.minutes
        until = Slice(options.work, began + 60 * minutes)
    workloads = _workloads(options, command)
    cores = len(os.sched_getaffinity(0)) if options.suite != "large" else 1
    prepare.prepare(options.data, workloads)
    for part in plan.PARTS if options.part == "all" else [options.part]:
        try:
            left = runner.run(
                part,
                suite,
                workloads,
                options.data,
                options.results or suite.results,
                options.processes or cores,
                options.methods,
                until,
                options.start,
            )
        except UserError as error:
            raise SystemExit(f"{error}") from error
        if left:
            raise SystemExit(f"time is up, {left} runs of {part} are left: the same command goes on")
    if options.part == "all" and options.results is None:
        _write_pages()


def _search(options: argparse.Namespace) -> None:
    from benchmarks.quality.budgets import runner as searches

    studies = list(budgets.studies(options.only, options.methods, options.studies, options.runs))
    if options.dry_run:
        searches.tell(studies, options.results)
        return
    prepare.prepare(options.data, [SMALL[name] for name in options.only])
    try:
        searches.run(studies, options.data, options.results, options.processes)
    except UserError as error:
        raise SystemExit(f"{error}") from error


def _complete(options: argparse.Namespace) -> None:
    from benchmarks.quality import everything

    if options.dry_run:
        everything.tell()
        return
    try:
        everything.run(options.data, options.processes)
    except UserError as error:
        raise SystemExit(f"{error}") from error
    _write_pages()


def _write_pages() -> None:
    from benchmarks.quality import page

    page.write()


if __name__ == "__main__":
    main()
