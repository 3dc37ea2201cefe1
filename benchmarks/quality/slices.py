"""A training run that stops at a checkpoint when its time is up, and later goes on from there, bit for bit.

It is trained by the trainer's own loop, and what came of each update is read from its log.
"""

from __future__ import annotations

import math
import resource
import signal
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from autowu.errors import UserError
from autowu.train.output.log import machine
from autowu.train.run import engine, loop
from autowu.train.run.processes import fabric_for
from autowu.train.run.signals import StopRequest
from autowu.train.settings.options import Settings
from benchmarks.quality import advised, records, trial
from benchmarks.quality.workloads import Workload

PASSING: Final = (UserError, OSError, torch.cuda.OutOfMemoryError)
"""Errors that are the machine's or the work folder's: no result, and the run can go on when they are gone."""


@dataclass(frozen=True)
class Slice:
    """A stretch of time to train in."""

    work: Path
    """Folder of unfinished runs."""
    end: float = math.inf
    """When it is over, by the clock of ``time.time()``."""

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.time() >= self.end


class Deadline(StopRequest):
    """Asks a run to stop, as SIGTERM does, when ``until`` is over; signals it heeds as well."""

    def __init__(self, until: Slice) -> None:
        super().__init__(processes=1)
        self._until = until

    def received(self) -> int | None:
        """The signal to stop for, or None."""
        return super().received() or (signal.SIGTERM if self._until.over else None)


def run(
    workload: Workload, settings: Mapping[str, Any], seed: int, data: Path, folder: Path, until: Slice
) -> dict[str, Any] | None:
    """The record of :func:`trial.run`, or None if the run was stopped before its end.

    A run that has begun makes one update at least, and so comes to its end in any slices. ``seconds`` are
    those of the updates of all of them, the time within the schedule is not taken apart, there is no
    ``curve``, and on a GPU
    ``memory`` is the most that PyTorch's tensors took there, in MiB.

    Args:
        workload: the task.
        settings: of the trainer.
        seed: of weights and data.
        data: the data folder.
        folder: the run folder, at its beginning empty; it holds the checkpoint to go on from.
        until: when to stop.

    Raises:
        UserError: the checkpoint is of a run with other settings or data, or none can be written.
    """
    torch.set_num_threads(1)
    settings = dict(settings)
    with advised.applied(settings.pop("advised", None)):
        return _run(workload, settings, seed, data, folder, until)


def _run(
    workload: Workload, settings: Mapping[str, Any], seed: int, data: Path, folder: Path, until: Slice
) -> dict[str, Any] | None:
    chosen = Settings(**settings, data=str(data / "quality" / workload.file), seed=seed, out=str(folder))
    with redirect_stdout(StringIO()):
        state = engine.set_up(chosen, fabric_for(chosen), resume=True)
        state.stop = Deadline(until)
        try:
            with state.stop:
                if loop.fit(state) is not None:
                    return None
            steps = [line for line in records.lines(folder / "log.jsonl") if line["event"] == "step"]
            losses = np.array([line["loss"] for line in steps], dtype=float)  # null, of JSON, is NaN
            outcome = trial.outcome(state, workload, losses, [line["lr"] for line in steps])
        finally:
            state.log.close()
    device = state.fabric.device
    return {
        **outcome,
        "seconds": round(state.seconds, 3),
        "memory": torch.cuda.max_memory_allocated(device) >> 20
        if device.type == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "device": machine(device)["device"],
    }
