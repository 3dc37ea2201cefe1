"""One run of either suite without a rule, unless its losses say that it would be the same."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller import machine
from benchmarks.quality import records
from benchmarks.quality.rent import faults, hard, rules

KEPT: Final = (
    "trivial",
    "peak_lr",
    "switch_step",
    "t_star",
    "capped",
    "reason",
    "cuts",
    "train_loss",
    "seconds",
)
"""What of the suites' records goes into this one's."""

ONLY_OF_THE_TRAINER: Final = ("growth", "decay")
"""Settings that the trainer has as options of its own."""


class Job(NamedTuple):
    """A run to be done."""

    suite: str
    """'first', 'kinds' or 'hard'."""
    task: str
    seed: int
    fault: str | None
    rule: str | None
    """That is taken away; None: the default preset as it is."""

    @property
    def stem(self) -> str:
        """Of the file that the default's losses are kept in."""
        return "-".join(str(part).replace(" ", "_") for part in self[:4])


def run(job: Job, data: Path, work: Path) -> dict[str, Any]:
    """The record.

    Args:
        job: the run.
        data: the data folder.
        work: where the losses of the default's runs are, and go to.
    """
    kept = work / f"{job.stem}.npz"
    key = job._asdict()
    with rules.removed(job.rule) as settings, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if job.rule is not None:
            before = np.load(kept)
            same = decisions(Config(total_steps=len(before["losses"]), **settings), before["losses"])
            if np.array_equal(same, before["decisions"], equal_nan=True):
                return key | {"same": True}
        record, losses = _trained(job, data, settings)
        if job.rule is None:
            work.mkdir(parents=True, exist_ok=True)
            np.savez(kept, losses=losses, decisions=decisions(Config(total_steps=len(losses)), losses))
    return key | {"same": False, "score": record["score"]} | {k: record[k] for k in KEPT if k in record}


def decisions(config: Config, losses: Array) -> Array:
    """All that a run takes from AutoWU, at each read: step, LR of it and of half-way to the next, rewinds.

    A copy of the weights that never goes back changes no run.
    """
    state, rows = machine.start(config), list[tuple[float, ...]]()
    before = state
    while state.step < len(losses):
        due = machine.next_read(config, state)
        until = len(losses) if due is None else min(due, len(losses))
        law = machine.lr_function(config, state)
        back = state.restores > before.restores and before.snapshot_step is not None
        to = before.snapshot_step if back else np.nan
        rows.append((state.step, law(state.step), law((state.step + until) // 2), to, state.restores))
        before, state = state, machine.observe(config, state, losses[state.step : until])
    return np.array(rows)


def _trained(job: Job, data: Path, settings: Mapping[str, Any]) -> tuple[dict[str, Any], Array]:
    """By either suite; the score is higher if better, and none where the run diverged."""
    if job.suite in ("kinds", "hard"):
        from benchmarks.quality.kinds import train

        spoil = None if job.fault is None else faults.FAULTS[job.fault]
        return train.trained(hard.KINDS[job.task], "autowu", job.seed, data, settings, spoil)
    from benchmarks.quality import methods, trial
    from benchmarks.quality.workloads import WORKLOADS

    workload = WORKLOADS[job.task]
    changes = dict(settings)
    own = {name: changes.pop(name) for name in ONLY_OF_THE_TRAINER if name in changes}
    chosen = methods.settings(methods.AUTOWU, workload) | own | {"set": changes}
    record, losses = trial.trained(workload, chosen, job.seed, data)
    record["workload"] = workload.name
    score = records.score(record, "test")
    return record | {"score": score if np.isfinite(score) else None}, losses
