"""One recipe with each schedule: a table of what comes out, several runs at a time.

    python experiments/schedules.py cifar10-cnn --data cifar10.npz --out DIR --longer paper:30 paper:100

DIR gets a run folder for each, `schedules.json` and `schedules.md`, which are written anew after each run:
what is not done when ``--minutes`` are over is named. A schedule whose package is not installed says so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autowu.train.settings.options import SCHEDULES
from autowu.train.settings.recipes import RECIPES

HEAD = ("schedule", "epochs", "updates", "test accuracy", "test loss", "peak LR", "switch step", "seconds")


@dataclass(frozen=True)
class Case:
    """A schedule, and epochs; None: the recipe's."""

    schedule: str
    epochs: int | None = None

    @property
    def name(self) -> str:
        """Of the run folder."""
        return self.schedule + (f"-{self.epochs}" if self.epochs else "")


def train(case: Case, options: argparse.Namespace, end: float) -> dict[str, Any]:
    """The run, in a process of its own; its row."""
    folder, left = options.out / case.name, end - time.time()
    row: dict[str, Any] = {
        "schedule": case.schedule,
        "epochs": case.epochs or RECIPES[options.recipe].settings.get("epochs"),
    }
    if left <= 0:
        return row | {"problem": "not begun: time was up"}
    command = [
        sys.executable,
        "-m",
        "autowu",
        "train",
        "--recipe",
        options.recipe,
        "--schedule",
        case.schedule,
    ]
    command += ["--out", str(folder), "--seed", str(options.seed)]
    command += ["--data", str(options.data)] if options.data else []
    command += ["--epochs", str(case.epochs)] if case.epochs else []
    try:
        done = subprocess.run(
            command, timeout=left, check=False, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except subprocess.TimeoutExpired:
        return row | {"problem": "not finished: time was up"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return row | {"problem": lines[-1]}
    return row | json.loads((folder / "run.json").read_text())["metrics"]


def table(rows: list[dict[str, Any]]) -> str:
    """The best first, in Markdown."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for row in sorted(rows, key=lambda row: -row.get("test_accuracy", -1.0)):
        if "problem" in row:
            cells = ("–", row["problem"], "–", "–", "–", "–")
        else:
            peak, switch = row["peak_lr"], row["switch_step"]
            cells = (
                f"{row['steps']:,}",
                f"{row['test_accuracy']:.2%}",
                f"{row['test_loss']:.4f}",
                "–" if peak is None else f"{peak:.3g}",
                "–" if switch is None else f"{switch:,}{' (the cap)' if row['capped'] else ''}",
                f"{row['seconds']:.0f}",
            )
        lines.append((row["schedule"], str(row["epochs"]), *cells))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def longer(text: str) -> Case:
    schedule, _, epochs = text.partition(":")
    return Case(schedule, int(epochs))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--data", type=Path, help="in place of the recipe's")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=SCHEDULES, default=SCHEDULES, metavar="SCHEDULE")
    parser.add_argument("--longer", nargs="*", type=longer, default=[], metavar="SCHEDULE:EPOCHS")
    parser.add_argument("--processes", type=int, default=4, help="runs at a time")
    parser.add_argument("--minutes", type=float, default=10_000.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    end = time.time() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    cases = [*sorted(options.longer, key=lambda case: -(case.epochs or 0)), *map(Case, options.only)]
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(options.processes) as pool:
        for future in as_completed([pool.submit(train, case, options, end) for case in cases]):
            rows.append(future.result())
            print(json.dumps(rows[-1]), flush=True)
            written = {"recipe": options.recipe, "seed": options.seed, "rows": rows} | about(options.out)
            (options.out / "schedules.json").write_text(json.dumps(written, indent=2) + "\n")
            (options.out / "schedules.md").write_text(table(rows))
    print(table(rows))


def about(folder: Path) -> dict[str, Any]:
    """Versions and machine, as any of the runs has them."""
    for path in folder.glob("*/run.json"):
        run = json.loads(path.read_text())
        return {"versions": run["versions"], "machine": run["machine"]}
    return {}


if __name__ == "__main__":
    main()
