"""What it costs not to know how long the run is: three tasks, as planned, without an end, and extended.

python -m benchmarks.quality.kinds.horizons --data DIR --results benchmarks/quality/kinds/horizons.jsonl
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

import autowu
from benchmarks.quality import records
from benchmarks.quality.kinds.registry import KINDS
from benchmarks.quality.kinds.schedules import update

TASKS: Final = {"long-cnn": 3_000, "mixed-shapes": 2_000, "finetune-cnn": 1_000}
"""A CNN from scratch, a GPT, and a CNN that is fine-tuned: T of each, in updates."""


def _nothing(scheduler: autowu.AutoWU, step: int, total: int) -> None:
    pass


def _cooled(scheduler: autowu.AutoWU, step: int, total: int) -> None:
    if step == round(0.8 * total):
        scheduler.cooldown(total - step)


def _extended(share: float) -> Callable[[autowu.AutoWU, int, int], None]:
    def act(scheduler: autowu.AutoWU, step: int, total: int) -> None:
        if step == round(share * total / 2):
            scheduler.extend(total)

    return act


PLANS: Final[dict[str, tuple[int | None, int, Callable[[autowu.AutoWU, int, int], None]]]] = {
    # The T that AutoWU is told, in T; the updates that are made, in T; and what is done on the way.
    "knew T": (1, 1, _nothing),
    "no end, cooled down in the last fifth of T": (None, 1, _cooled),
    "knew 2T": (2, 2, _nothing),
    "no end, cooled down in the last fifth of 2T": (None, 2, _cooled),
    "no end, extended to 2T at T": (None, 2, _extended(1.0)),
    "knew T, extended to 2T at half of T": (1, 2, _extended(0.5)),
    "knew T, extended to 2T at 0.9 T": (1, 2, _extended(0.9)),
}


def run(name: str, plan: str, seed: int, data: Path) -> dict[str, Any]:
    """One run, one record."""
    torch.set_num_threads(1)
    began, kind = time.perf_counter(), KINDS[name]
    told, made, act = PLANS[plan]
    total = made * TASKS[name]
    task = kind.make(seed, data)
    task.model.train()
    optimizers = task.optimizers(1e-3)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        length = None if told is None else told * TASKS[name]
        scheduler = autowu.AutoWU(optimizers, length, model=task.model)
        for step in range(total):
            act(scheduler, step, total)
            scheduler.step(update(task, optimizers))
    switch, score = scheduler.switch, task.score()
    return {
        "kind": name,
        "plan": plan,
        "seed": seed,
        "score": score if math.isfinite(score) else None,
        "peak_lr": None if switch is None else switch.peak_lr,
        "switch_step": None if switch is None else switch.step,
        "last_lr": scheduler.learning_rate,
        "cuts": len(scheduler.cuts),
        "warnings": [str(each.message) for each in said],
        "seconds": round(time.perf_counter() - began, 1),
    }


def table(found: list[dict[str, Any]]) -> str:
    """Means over seeds, and the difference to the run that knew, in points or % of the loss."""
    lines = [
        "| | " + " | ".join(f"{n}, T = {t:,}" for n, t in TASKS.items()) + " |",
        "|---" * (len(TASKS) + 1) + "|",
    ]
    for plan, (_, made, _) in PLANS.items():
        cells = list[str]()
        for name in TASKS:
            scores = {r["seed"]: r["score"] for r in found if (r["kind"], r["plan"]) == (name, plan)}
            knew = {
                r["seed"]: r["score"]
                for r in found
                if (r["kind"], r["plan"]) == (name, "knew T" if made == 1 else "knew 2T")
            }
            seeds = sorted(scores.keys() & knew.keys())
            if not seeds:
                cells.append("–")
                continue
            mean = statistics.fmean(scores[s] for s in seeds)
            points = KINDS[name].unit == "%"
            gaps = [scores[s] - knew[s] if points else 100 * (1 - scores[s] / knew[s]) for s in seeds]
            gap = "" if plan.startswith("knew") and "," not in plan else f" ({statistics.fmean(gaps):+.2f})"
            cells.append(f"{mean:.2f}{gap}" if points else f"{mean:.4f}{gap}")
        lines.append(f"| {plan} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.kinds.horizons", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the full sets; without it, the table is printed")
    parser.add_argument("--results", type=Path, required=True, help="file of the records, appended to")
    parser.add_argument("--seeds", nargs="+", type=int, default=[100, 101, 102])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--plans", nargs="+", choices=PLANS, default=list(PLANS))
    options = parser.parse_args()
    found = list(records.lines(options.results)) if options.results.exists() else []
    done = {(each["kind"], each["plan"], each["seed"]) for each in found}
    if options.data is not None:
        for seed in options.seeds:
            for name in options.tasks:
                for plan in options.plans:
                    if (name, plan, seed) not in done:
                        record = run(name, plan, seed, options.data)
                        records.add(options.results, record)
                        print(json.dumps(record), flush=True)
                        found.append(record)
    print(table(found))


if __name__ == "__main__":
    main()
