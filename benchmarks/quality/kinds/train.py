"""One run of a kind by a method -> one record, and the losses."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.quality.kinds.schedules import driven, update
from benchmarks.quality.kinds.task import Kind, Task

TAIL = 0.05
"""Of the run: the updates over which the final training loss is averaged."""
LOST = 100
"""So many losses in a row that are not finite end a run of a method that cannot go back."""


def run(
    kind: Kind, method: str, seed: int, data: Path, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The record of :func:`trained`."""
    return trained(kind, method, seed, data, settings)[0]


def trained(
    kind: Kind,
    method: str,
    seed: int,
    data: Path,
    settings: Mapping[str, Any] | None = None,
    spoil: Callable[[Task, int], None] | None = None,
) -> tuple[dict[str, Any], np.ndarray]:
    """Train and test: the record, and the losses of all updates [total_steps].

    Args:
        kind: of training.
        method: 'autowu', 'fixed PEAK', 'lr-finder', 'nadamw', 'schedule-free', 'prodigy' or one of
            :data:`benchmarks.quality.methods.ADVISED`.
        seed: of initial weights and batches.
        data: the data folder.
        settings: of AutoWU, in place of its preset's.
        spoil: puts a fault into the task, given it and the updates of the run.

    Raises:
        ValueError: there is no such method.
    """
    torch.set_num_threads(1)
    began = time.perf_counter()
    task = kind.make(seed, data)
    if spoil is not None:
        spoil(task, kind.total_steps)
    task.model.train()
    trivial, losses, decided, score = task.trivial(), np.empty(0), dict[str, Any](), math.nan
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            driver = driven(method, task, kind.total_steps, settings or {})
            losses = _train(task, driver, method == "autowu")
            driver.finish()
            decided, score = driver.record(), task.score()
        except RuntimeError as error:  # such as a range test without an end
            decided = {"error": f"{type(error).__name__}: {error}"}
    tail = losses[-max(1, round(TAIL * kind.total_steps)) :]
    record = {
        "kind": kind.name,
        "method": method,
        "seed": seed,
        "score": _finite(score),
        "trivial": trivial,
        "first_loss": _finite(losses[:1].mean()) if len(losses) else None,
        "train_loss": _finite(tail.mean()) if len(losses) else None,
        "finite": bool(len(losses) and np.isfinite(tail).all() and math.isfinite(score)),
        **decided,
        "warnings": list(dict.fromkeys(str(each.message) for each in told)),
        "seconds": round(time.perf_counter() - began, 2),
    }
    return record, losses


def _train(task: Any, driver: Any, can_go_back: bool) -> np.ndarray:
    losses = list[torch.Tensor]()
    for step in range(driver.steps):
        losses.append(update(task, driver.optimizers, driver.before))
        driver.step(losses[-1])
        if step % LOST == LOST - 1 and not can_go_back and not torch.stack(losses[-LOST:]).isfinite().any():
            break
    return torch.stack(losses).double().numpy()


def _finite(value: Any) -> float | None:
    """JSON has no NaN."""
    number = float(value)
    return number if math.isfinite(number) else None
