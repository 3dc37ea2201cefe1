"""One training run, with the trainer's own parts: settings in, a record out."""

from __future__ import annotations

import math
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from autowu.integrations import torchvision_shim
from autowu.train.run import engine, loop
from autowu.train.run.processes import fabric_for
from autowu.train.run.run import Run
from autowu.train.settings.options import Settings
from benchmarks.quality import advised, tried
from benchmarks.quality.workloads import Workload

torchvision_shim.install()
import_module("timm.optim")  # once, in the process that those of the runs are forked from

TAIL = 0.05  # of the run: the updates over which the final training loss is averaged
CURVE = 20
"""Validation scores in a run, as many updates apart."""

Stop = Callable[[int, float], bool]
"""(number of the validation, from 1; its score) -> whether to end the run there."""


def run(
    workload: Workload, settings: Mapping[str, Any], seed: int, data: Path, stop: Stop | None = None
) -> dict[str, Any]:
    """The record of :func:`trained`."""
    return trained(workload, settings, seed, data, stop)[0]


def trained(
    workload: Workload, settings: Mapping[str, Any], seed: int, data: Path, stop: Stop | None = None
) -> tuple[dict[str, Any], np.ndarray]:
    """Train in a single go, and measure twenty times on validation data, and at the end.

    The record, and the losses of all updates [total_steps].

    Args:
        workload: the task.
        settings: of the trainer; they may name one of the ``tried`` changes or of the ``advised`` peers.
        seed: of weights and data.
        data: the data folder.
        stop: asked after each validation but the last; None: the run goes to its end.
    """
    began = time.perf_counter()
    torch.set_num_threads(1)
    settings = dict(settings)
    with (
        tried.applied(settings.pop("tried", None)),
        advised.applied(settings.pop("advised", None)),
        tempfile.TemporaryDirectory() as out,
        redirect_stdout(StringIO()),
    ):
        chosen = Settings(**settings, data=str(data / "quality" / workload.file), seed=seed, out=out)
        state = engine.set_up(chosen, fabric_for(chosen), resume=False)
        losses, lrs, curve, scheduling, validating = _train(state, workload, stop)
        found = outcome(state, workload, losses, lrs)
        state.log.close()
    record = {
        **found,
        "curve": curve,
        "seconds": round(time.perf_counter() - began - validating, 3),
        "scheduling": round(scheduling, 4),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    return record, losses


def outcome(state: Run, workload: Workload, losses: np.ndarray, lrs: list[float]) -> dict[str, Any]:
    """What came of a run, after its last update: the weights that the method says are to be evaluated.

    A run has diverged if a loss among its last updates is not finite, or if they are no lower than the first.

    Args:
        state: the run.
        workload: what it learnt.
        losses: of all updates.
        lrs: of all updates.
    """
    state.method.eval(loop.one_by_one(state, state.total_steps))
    tail = losses[-max(1, round(TAIL * len(losses))) :]
    return {
        **_evaluate(state, workload),
        "train_loss": _finite(tail.mean()),
        "diverged": not bool(np.isfinite(tail).all() and tail.mean() < losses[: len(tail)].mean()),
        "steps": len(losses),
        **_decision(state),
        "top_lr": max(lrs),
    }


def _train(
    state: Run, workload: Workload, stop: Stop | None
) -> tuple[np.ndarray, list[float], list[tuple[int, float]], float, float]:
    """The updates: losses, LRs, (updates, validation score)s; seconds of the schedule, and of validation."""
    schedule, losses, lrs = state.method.schedule, list[torch.Tensor](), list[float]()
    scheduling, validating, curve = 0.0, 0.0, list[tuple[int, float]]()
    marks = [state.total_steps * number // CURVE for number in range(1, CURVE + 1)]
    state.model.train()
    state.method.train()
    for batches in state.task.updates(0, state.total_steps):
        lrs.append(float(schedule.get_last_lr()[0]))
        losses.append(loop.update(state, batches))
        begin = time.perf_counter()
        schedule.step(losses[-1])
        scheduling += time.perf_counter() - begin
        state.step += 1
        if state.step in marks:
            begin = time.perf_counter()
            curve.append((state.step, validate(state, workload)))
            validating += time.perf_counter() - begin
            if stop is not None and state.step < state.total_steps and stop(len(curve), curve[-1][1]):
                break
    return torch.stack(losses).double().cpu().numpy(), lrs, curve, scheduling, validating


def validate(state: Run, workload: Workload) -> float:
    """Accuracy in %, or minus the loss, on validation data, which leaves no trace in training.

    A loss that is not finite counts as -1e9, for JSON has no infinity.
    """
    state.method.eval(loop.one_by_one(state, state.step))
    found = _evaluate(state, workload, parts=("validation",))
    state.method.train()
    state.model.train()
    if not workload.is_text:
        return 100 * found["validation_accuracy"]
    loss = found["validation_loss"]
    return -1e9 if loss is None else -loss


@torch.no_grad()
def _evaluate(
    state: Run, workload: Workload, parts: tuple[str, ...] = ("validation", "test")
) -> dict[str, Any]:
    """Mean cross-entropy and accuracy over the validation part and the test part, which follows it."""
    state.model.eval()
    entropies, hits = list[torch.Tensor](), list[torch.Tensor]()
    count = sum(len(batch.targets.flatten()) for batch in state.task.evaluation())
    cut = round(count * workload.validation / (workload.validation + workload.test))
    for batch in state.task.evaluation():
        if parts == ("validation",) and sum(map(len, hits)) >= cut:
            break
        logits, targets = state.model(batch.inputs).flatten(0, -2).float(), batch.targets.flatten()
        entropies.append(functional.cross_entropy(logits, targets, reduction="none"))
        hits.append(logits.argmax(-1) == targets)
    entropy, hit = torch.cat(entropies).double(), torch.cat(hits).double()
    rows = {"validation": slice(cut), "test": slice(cut, None)}
    losses = {f"{part}_loss": _finite(entropy[rows[part]].mean()) for part in parts}
    return losses | {f"{part}_accuracy": float(hit[rows[part]].mean()) for part in parts}


def _decision(state: Run) -> dict[str, Any]:
    schedule = state.method.schedule
    switch = schedule.switch
    if switch is None:
        return {"peak_lr": state.method.settings.get("peak_lr")}
    return {
        "peak_lr": switch.peak_lr,
        "switch_step": switch.step,
        "capped": switch.capped,
        "t_star": switch.t_star,
        "tests": len(schedule.verdicts),
    }


def _finite(value: Any) -> float | None:
    """JSON has no NaN."""
    number = float(value)
    return number if math.isfinite(number) else None
