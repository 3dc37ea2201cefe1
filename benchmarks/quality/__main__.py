"""Prepare the data of the quality suite, run its parts, and write its page."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.quality import plan, prepare, records, runner
from benchmarks.quality.workloads import WORKLOADS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, does in (("prepare", "cut out the workloads' data"), ("run", "run a part of the study")):
        command = commands.add_parser(name, help=does, description=does)
        command.add_argument(
            "--data",
            type=Path,
            required=True,
            help="folder with fashion-mnist.npz, cifar10.npz, cifar100.npz (Keras' layout), shakespeare.txt",
        )
    command.add_argument("part", choices=plan.PARTS)
    command.add_argument("--only", nargs="+", default=[], choices=WORKLOADS, metavar="WORKLOAD")
    command.add_argument("--methods", nargs="+", default=[], metavar="METHOD", help="by default all of them")
    command.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    command.add_argument("--results", type=Path, default=records.RESULTS, help="folder of the records")
    commands.add_parser("page", help="write docs/quality.md and its pictures from the records")
    options = parser.parse_args()
    if options.command == "prepare":
        prepare.prepare(options.data)
    elif options.command == "run":
        prepare.prepare(options.data)
        chosen = plan.named(options.only)
        runner.run(options.part, chosen, options.data, options.results, options.processes, options.methods)
    else:
        from benchmarks.quality import page

        page.write()


if __name__ == "__main__":
    main()
