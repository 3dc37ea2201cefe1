"""What each process does in the tests of the run log."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from autowu.runlog.run import Run
from integrations.torch.training import drive, scheduler, v_curve


def killed(folder: str, at: int) -> None:
    """A run with a log that SIGKILL ends right after step ``at``."""
    made = scheduler(log=folder)
    for step, loss in enumerate(v_curve(), 1):
        made.step(loss)
        if step == at:
            os.kill(os.getpid(), signal.SIGKILL)


def on_rank(rank: int, folder: str, losses: list[list[float]], settings: dict[str, Any]) -> tuple[Any, ...]:
    """A run with a log that each rank is given under a name of its own: its LRs, its files."""
    own = Path(folder, str(rank))
    made = scheduler(log=own, **settings)
    lrs = drive(made, losses[rank])
    return lrs, sorted(path.name for path in own.iterdir()) if own.exists() else [], made.switch


def on_first_rank(rank: int, folder: str, losses: list[list[float]], settings: dict[str, Any]) -> list[float]:
    """A run that has a log on rank 0 alone: its LRs."""
    return drive(scheduler(log=folder if rank == 0 else None, **settings), losses[rank])


def assert_log_is_of(run: Run, made, lrs: list[float], losses: list[float]) -> None:
    assert run.steps.tolist() == list(range(1, len(losses) + 1))
    assert run.lrs.tolist() == lrs[: len(losses)]
    np.testing.assert_array_equal(run.losses, losses)
    assert (run.switch, run.cuts) == (made.switch, made.cuts)
    assert [test.step for test in run.tests] == [test.step for test in made.verdicts]
    for logged, own in zip(run.tests, made.verdicts, strict=True):
        assert (logged.p_min, logged.detected, logged.argmins) == (own.p_min, own.detected, own.argmins)
