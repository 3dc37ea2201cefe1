"""Run the second quality suite, and print its table."""

from __future__ import annotations

import argparse
import ast
import os
from pathlib import Path
from typing import Any

from benchmarks.quality import records
from benchmarks.quality.kinds import runner, table
from benchmarks.quality.kinds import search as tuning
from benchmarks.quality.kinds.registry import KINDS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.kinds", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help="run what is not done yet")
    command.add_argument(
        "--data", type=Path, required=True, help="folder of the full sets, and of what is made"
    )
    command.add_argument("--results", type=Path, required=True, help="file of the records, appended to")
    command.add_argument("--only", nargs="+", choices=KINDS, metavar="KIND", help="by default all")
    command.add_argument("--skip", nargs="+", choices=KINDS, default=[], metavar="KIND")
    command.add_argument(
        "--methods", nargs="+", default=runner.METHODS, help="'fixed' for five peaks, or 'fixed 0.01'"
    )
    command.add_argument("--seeds", nargs="+", type=int, default=[100])
    command.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    command.add_argument(
        "--set", nargs="+", type=_setting, default=[], metavar="NAME=VALUE", help="settings of AutoWU"
    )
    command.add_argument("--label", default="autowu", help="what AutoWU with these settings is called")
    search = commands.add_parser("search", help="random search on the short kinds, what is not done yet")
    search.add_argument("--data", type=Path, required=True, help="as for run")
    search.add_argument("--results", type=Path, required=True, help="as for run: what came of the best")
    search.add_argument("--trials", type=Path, required=True, help="file of the trials, appended to")
    search.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    shown = commands.add_parser("table", help="print a table")
    shown.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args()
    if options.command == "table":
        print(table.write([record for file in options.files for record in records.lines(file)]))
        return
    if options.command == "search":
        short = [kind for kind in KINDS.values() if not kind.long]
        tuning.run(short, options.data, options.results, options.trials, options.processes)
        return
    if options.set and options.label == "autowu":
        command.error("--set needs a --label other than autowu, the name of the default")
    kinds = [KINDS[name] for name in options.only or KINDS if name not in options.skip]
    if missing := sorted({n for kind in kinds for n in kind.needs if not (options.data / n).exists()}):
        command.error(f"--data {options.data} lacks {', '.join(missing)}")
    wanted = runner.jobs(kinds, options.methods, options.seeds, dict(options.set), options.label)
    runner.run(wanted, options.data, options.results, options.processes)


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


if __name__ == "__main__":
    main()
