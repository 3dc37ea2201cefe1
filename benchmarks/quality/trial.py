"""One training run, with the trainer's own parts: settings in, a record out."""

from __future__ import annotations

import math
import resource
import tempfile
import time
from collections.abc import Mapping
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
from benchmarks.quality import tried
from benchmarks.quality.workloads import Workload

torchvision_shim.install()
import_module("timm.optim")  # once, in the process that those of the runs are forked from

TAIL = 0.05  # of the run: the updates over which the final training loss is averaged


def run(workload: Workload, settings: Mapping[str, Any], seed: int, data: Path) -> dict[str, Any]:
    """The record of :func:`trained`."""
    return trained(workload, settings, seed, data)[0]


def trained(
    workload: Workload, settings: Mapping[str, Any], seed: int, data: Path
) -> tuple[dict[str, Any], np.ndarray]:
    """Train in a single go, and measure at the end: the record, and the losses of all updates.

    ``settings`` may name one of the ``tried`` changes.
    """
    began = time.perf_counter()
    torch.set_num_threads(1)
    settings = dict(settings)
    with (
        tried.applied(settings.pop("tried", None)),
        tempfile.TemporaryDirectory() as out,
        redirect_stdout(StringIO()),
    ):
        chosen = Settings(**settings, data=str(data / "quality" / workload.file), seed=seed, out=out)
        state = engine.set_up(chosen, fabric_for(chosen), resume=False)
        losses, lrs, scheduling = _train(state)
        found = outcome(state, workload, losses, lrs)
        state.log.close()
    record = {
        **found,
        "seconds": round(time.perf_counter() - began, 3),
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


def _train(state: Run) -> tuple[np.ndarray, list[float], float]:
    """All updates; the loss and the LR of each, and the seconds that the schedule took."""
    prepared = time.perf_counter()
    schedule, losses, lrs = state.method.schedule, list[torch.Tensor](), list[float]()
    scheduling = 0.0
    state.model.train()
    state.method.train()
    for batches in state.task.updates(0, state.total_steps):
        lrs.append(float(schedule.get_last_lr()[0]))
        losses.append(loop.update(state, batches))
        begin = time.perf_counter()
        schedule.step(losses[-1])
        scheduling += time.perf_counter() - begin
        state.step += 1
    state.seconds = time.perf_counter() - prepared
    return torch.stack(losses).double().cpu().numpy(), lrs, scheduling


@torch.no_grad()
def _evaluate(state: Run, workload: Workload) -> dict[str, Any]:
    """Mean cross-entropy and accuracy over the validation part and the test part, which follows it."""
    state.model.eval()
    entropies, hits = list[torch.Tensor](), list[torch.Tensor]()
    for batch in state.task.evaluation():
        logits, targets = state.model(batch.inputs).flatten(0, -2).float(), batch.targets.flatten()
        entropies.append(functional.cross_entropy(logits, targets, reduction="none"))
        hits.append(logits.argmax(-1) == targets)
    entropy, hit = torch.cat(entropies).double(), torch.cat(hits).double()
    cut = round(len(hit) * workload.validation / (workload.validation + workload.test))
    parts = {"validation": slice(cut), "test": slice(cut, None)}
    losses = {f"{part}_loss": _finite(entropy[rows].mean()) for part, rows in parts.items()}
    return losses | {f"{part}_accuracy": float(hit[rows].mean()) for part, rows in parts.items()}


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
