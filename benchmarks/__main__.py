"""Run the benchmarks: print one table, and write it to runs/benchmarks."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import datetime, timezone
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.timing import Row, table

NAMES = ("paper_test", "default_test", "scaling", "step", "training", "loader")
RESULTS = Path(__file__).parents[1] / "runs" / "benchmarks"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; by default all")
    parser.add_argument("--quick", action="store_true", help="few repetitions, nothing written")
    parser.add_argument("--output", type=Path, help="file to write in place of runs/benchmarks/<date>.json")
    options = parser.parse_args()
    for name in options.names:
        if name not in NAMES:
            parser.error(f"NAME must be one of {', '.join(NAMES)}, not {name!r}")

    torch.set_num_threads(1)
    rows: list[Row] = []
    for name in options.names or NAMES:
        print(f"{name} …", file=sys.stderr)
        rows += import_module(f"benchmarks.{name}").run(quick=options.quick)
    print(table(rows))
    if options.output or not options.quick:
        path = options.output or RESULTS / f"{datetime.now(timezone.utc):%Y-%m-%d}.json"
        contents = {"machine": machine(), "rows": [row.to_json() for row in rows]}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(contents, indent=2, ensure_ascii=False) + "\n")
        print(f"\nWritten to {path}.", file=sys.stderr)


def machine() -> dict[str, object]:
    """What the figures depend on."""
    packages = ("autowu", "numpy", "torch", "gpytorch")
    return {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "cpu": _cpu(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],  # other processes share caches, and so slow down CPU time too
        "clock": "CPU time of the process",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
    }


def _cpu() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor()


if __name__ == "__main__":
    main()
