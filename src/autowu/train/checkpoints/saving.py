"""From a run to a checkpoint and back."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Final

import torch.distributed as dist

from autowu.errors import UserError
from autowu.train.checkpoints import checkpoint, shards
from autowu.train.checkpoints.checkpoint import Manifest
from autowu.train.run.evaluation import Evaluation
from autowu.train.run.run import Run

SECONDS_BETWEEN: Final = 30.0  # checkpoints, where --checkpoint-every does not say


def is_due(run: Run) -> bool:
    """Whether to save after an evaluation: at the end, and else not more often than every 30 seconds.

    The same answer in all processes, which all have to ask.
    """
    if run.step == run.total_steps:
        return True
    if run.settings.checkpoint_every is not None:
        return False
    return bool(run.fabric.broadcast(time.monotonic() - run.saved_at >= SECONDS_BETWEEN))


def save(run: Run) -> None:
    """Write a checkpoint (a collective call).

    Raises:
        UserError: it cannot be written; the one before, if any, is as it was.
    """
    run.write_events()
    share_losses = getattr(run.method.schedule, "share_losses", None)
    if share_losses is not None and not run.sharded:
        share_losses()  # so that the first process's state serves all
    fabric, folder = run.fabric, run.log.folder
    part: tuple[str, str] | None = None
    problem: str | None = None
    if run.sharded or fabric.is_global_zero:
        try:
            run.log.sync()
            part = checkpoint.write_part(folder, run.step, fabric.global_rank, _state(run))
        except OSError as error:
            problem = f"{error.strerror or error}"
    parts, problems = _gathered(run, part), _gathered(run, problem)
    problem = next((text for text in problems if text), None)
    if problem is None and fabric.is_global_zero:
        files = dict(part for part in parts if part)
        try:
            checkpoint.publish(folder, Manifest(run.step, run.log_length, files, run.about))
        except OSError as error:
            problem = f"{error.strerror or error}"
    problem = fabric.broadcast(problem)
    if problem is not None:
        checkpoint.discard(folder, run.step)
        before = "what was saved before is as it was, and --resume goes on from there"
        if not run.saved_at:
            before = "nothing has been saved before, so --resume begins anew"
        raise UserError(
            f"cannot write the checkpoint of update {run.step:,} to {folder}: {problem}; {before}"
        )
    run.saved_at = time.monotonic()


def restore(run: Run, step: int) -> None:
    """Put the run back to the checkpoint after update ``step``.

    Raises:
        UserError: it is of another model, or cannot be read.
    """
    rank = run.fabric.global_rank if run.sharded else 0
    saved = checkpoint.read_part(run.log.folder, step, rank, run.fabric.device)
    try:
        shards.load_model_state(run.network, saved["model"])
        shards.load_optimizer_state(run.method.optimizer, saved["optimizer"])
        run.method.schedule.load_state_dict(saved["schedule"])
        run.method.load_state_dict(saved["method"])
        run.fabric.strategy.precision.load_state_dict(saved["precision"])
        run.events.since_evaluation = list(saved["losses"])
        run.ending.load_state_dict(saved["ending"])
        run.step, run.seconds = saved["step"], saved["seconds"]
        run.last = None if saved["last"] is None else Evaluation(**saved["last"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"the checkpoint of update {step:,} does not fit this run: {error}") from error
    run.saved_at = time.monotonic()


def _state(run: Run) -> dict[str, Any]:
    return {
        "step": run.step,
        "seconds": run.seconds,
        "losses": run.events.since_evaluation,
        "ending": run.ending.state_dict(),
        "last": None if run.last is None else asdict(run.last),
        "model": shards.model_state(run.network),
        "optimizer": shards.optimizer_state(run.method.optimizer),
        "schedule": run.method.schedule.state_dict(),
        "method": run.method.state_dict(),
        "precision": run.fabric.strategy.precision.state_dict(),
    }


def _gathered(run: Run, value: Any) -> list[Any]:
    """``value`` of each process, in all of them."""
    if run.fabric.world_size == 1:
        return [value]
    values: list[Any] = [None] * run.fabric.world_size
    dist.all_gather_object(values, value)
    return values
