"""The command: count, or write the tables of what was counted."""

from __future__ import annotations

import argparse

from benchmarks.quality.detection import rates, tables
from benchmarks.quality.detection.variants import VARIANTS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.detection", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="count mistakes; what results.jsonl has already is left out")
    run.add_argument("--only", nargs="+", metavar="VARIANT", choices=[variant.name for variant in VARIANTS])
    run.add_argument("--end", type=int, default=rates.SIMULATED, help="seeds below this only")
    commands.add_parser("tables", help="write docs/quality-detection.md and its picture")
    options = parser.parse_args()
    if options.command == "tables":
        tables.write()
    else:
        rates.run([v for v in VARIANTS if not options.only or v.name in options.only], options.end)


if __name__ == "__main__":
    main()
