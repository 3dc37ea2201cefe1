"""What a step is in epochs and in seconds, so that the reader may choose the axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from autowu.report.curves import numbers
from autowu.report.figures import Figure, kept_evaluations
from autowu.runlog.run import Run


def of(runs: Sequence[Run]) -> Figure:
    """For each unit that all runs know, a list with the curve of each: steps, and what they are."""
    found = {"epoch": [_epochs(run) for run in runs], "time": [_seconds(run) for run in runs]}
    return {unit: curves for unit, curves in found.items() if all(curves)}


def _epochs(run: Run) -> list[list[float | None]] | None:
    per = run.schedule.get("steps_per_epoch")
    last = next((each for each in reversed(run.evaluations) if each.epoch > 0), None)
    if not isinstance(per, int) or per < 1:
        if last is None or not math.isfinite(last.epoch):
            return None
        per = last.step / last.epoch
    return [[0, per], [0, 1]]


def _seconds(run: Run) -> list[list[float | None]] | None:
    """By the speed between evaluations; else as if all updates took the same time."""
    batch: Any = run.config.get("batch_size")
    kept = kept_evaluations(run, "samples_per_second", 10)
    speeds = [each.samples_per_second for each in kept]
    if run.samples == "images" and isinstance(batch, int) and kept and all(0 < v < math.inf for v in speeds):
        steps, seconds = [0, *(each.step for each in kept)], [0.0]
        for (before, after), speed in zip(pairwise(steps), speeds, strict=True):
            seconds.append(seconds[-1] + (after - before) * batch / speed)
        return [numbers(steps), numbers(seconds)]
    whole, steps = run.metrics.get("seconds"), len(run.steps)
    if isinstance(whole, int | float) and 0 < whole < math.inf and steps:
        return [[0, int(run.steps[-1])], [0, whole]]
    return None
