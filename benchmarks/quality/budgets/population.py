"""Population-based training (Jaderberg et al., 2017): the best go on, with their settings perturbed.

As many members as the budget has runs, in one process, all for a whole run. Nine times, after each tenth of
it, each member of the worst fifth by validation takes weights, optimizer state, LR and weight decay of a
random one of the best fifth. LR and weight decay are then multiplied by 0.8 or 1.2 each: the truncation and
the perturbation of the paper. The LR keeps the random search's shape, linear warm-up and cosine.
"""

from __future__ import annotations

import copy
import tempfile
import time
from contextlib import ExitStack, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from autowu.train.run import engine, loop
from autowu.train.run.processes import fabric_for
from autowu.train.run.run import Run
from autowu.train.settings.options import Settings
from benchmarks.quality import trial
from benchmarks.quality.budgets import space
from benchmarks.quality.workloads import Workload

EVERY: Final = 0.1
TRUNCATED: Final = 0.2
FACTORS: Final = (0.8, 1.2)


def study(workload: Workload, members: int, number: int, data: Path) -> dict[str, Any]:
    """One study: a record, of the member that is best on validation data at the end.

    Args:
        workload: the task.
        members: of the population; one is a random trial.
        number: of the study.
        data: the data folder.
    """
    began = time.perf_counter()
    torch.set_num_threads(1)
    random = np.random.default_rng([number, members])
    with ExitStack() as stack, redirect_stdout(StringIO()):
        runs = [_set_up(workload, number, place, data, stack) for place in range(members)]
        total = workload.total_steps
        losses: list[list[float]] = [[] for _ in runs]
        for end in sorted({round(total * EVERY * part) for part in range(1, 11)}):
            for run, mine in zip(runs, losses, strict=True):
                _advance(run, end, mine)
            scores = [trial.validate(run, workload) for run in runs]
            if end < total:
                for loser, winner in exchanged(scores, random):
                    copy_into(runs[loser], runs[winner], random)
        best = int(np.argmax(scores))
        found = trial.outcome(runs[best], workload, np.array(losses[best]), [0.0])
        for run in runs:
            run.log.close()
    for of_one_member in ("peak_lr", "top_lr"):
        del found[of_one_member]
    return {
        "workload": workload.name,
        "method": f"pbt {members}",
        "seed": number,
        **found,
        "steps": members * total,
        "seconds": round(time.perf_counter() - began, 3),
    }


def exchanged(scores: list[float], random: np.random.Generator) -> list[tuple[int, int]]:
    """(loser, winner) pairs: each of the worst fifth with a random one of the best fifth.

    Both are of at least one member, and of none where there is but one.

    Args:
        scores: of the members, higher is better.
        random: which winner.
    """
    count = min(max(1, round(TRUNCATED * len(scores))), len(scores) // 2)
    order = np.argsort(scores, kind="stable")
    return [(int(loser), int(random.choice(order[-count:]))) for loser in order[:count]]


@torch.no_grad()
def copy_into(loser: Run, winner: Run, random: np.random.Generator) -> None:
    """``loser`` goes on from where ``winner`` is, with LR and weight decay perturbed."""
    loser.model.load_state_dict(winner.model.state_dict())
    loser.optimizer.load_state_dict(copy.deepcopy(winner.optimizer.state_dict()))
    schedule: Any = loser.method.schedule
    schedule.load_state_dict(winner.method.schedule.state_dict())
    of_winner: Any = winner.method.schedule
    schedule.factor = of_winner.factor
    faster, heavier = random.choice(FACTORS, 2)
    schedule.base_lrs = [faster * lr for lr in schedule.base_lrs]
    for group, base_lr in zip(loser.optimizer.param_groups, schedule.base_lrs, strict=True):
        group["lr"] = base_lr * schedule.factor(schedule.done)
        group["weight_decay"] *= heavier


def _set_up(workload: Workload, number: int, place: int, data: Path, stack: ExitStack) -> Run:
    settings = space.drawn(workload, number, place).settings(workload, workload.total_steps)
    out = stack.enter_context(tempfile.TemporaryDirectory())
    file = str(data / "quality" / workload.file)
    chosen = Settings(**settings, data=file, seed=0, out=out)
    return engine.set_up(chosen, fabric_for(chosen), resume=False)


def _advance(run: Run, end: int, losses: list[float]) -> None:
    run.model.train()
    run.method.train()
    for batches in run.task.updates(run.step, end):
        loss = loop.update(run, batches)
        run.method.schedule.step(loss)
        losses.append(float(loss))
        run.step += 1
