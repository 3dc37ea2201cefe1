"""A run: everything that belongs to it, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from autowu import AutoWU
from autowu.train.data.task import Task
from autowu.train.output.log import RunLog
from autowu.train.output.loggers import Loggers
from autowu.train.output.progress.silent import Silent
from autowu.train.run.ending import Ending
from autowu.train.run.evaluation import Evaluation
from autowu.train.run.events import Events
from autowu.train.run.signals import StopRequest
from autowu.train.schedules import Method
from autowu.train.settings.options import Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass
class Run:
    """What the loop works on, in each process."""

    settings: Settings
    fabric: Fabric
    task: Task
    network: nn.Module
    """The model itself."""
    model: Any
    """The same, as Fabric wraps it: for forward passes."""
    method: Method
    optimizer: Any
    """The method's optimizer, as Fabric wraps it."""
    planned: int | None
    """Updates of the whole run, as the settings have it; None: they do not say."""
    eval_steps: int
    """Updates from one evaluation to the next."""
    events: Events
    log: RunLog
    loggers: Loggers
    progress: Silent
    stop: StopRequest
    ending: Ending
    about: dict[str, Any]
    """What a checkpoint has to have in common with the run that goes on from it."""
    step: int = 0
    """Updates done."""
    seconds: float = 0.0
    """Spent on updates."""
    last: Evaluation | None = None
    log_length: int = 0
    """Bytes of the log."""
    saved_at: float = 0.0
    """When the last checkpoint was written or read, by the process's own clock; 0: there is none."""

    @property
    def total_steps(self) -> int | None:
        """Updates of the whole run, as far as is known by now."""
        schedule = self.method.schedule
        return schedule.total_steps if isinstance(schedule, AutoWU) else self.planned

    @property
    def epoch(self) -> int | None:
        """The epoch of the last update, counted from 1; None where the data have none."""
        per_epoch = self.task.steps_per_epoch
        return None if per_epoch is None else (self.step - 1) // per_epoch + 1

    @property
    def sharded(self) -> bool:
        """Whether each process holds a part of the model."""
        return self.settings.strategy == "fsdp"

    def evaluates_at(self, step: int) -> bool:
        """Whether an evaluation follows update ``step``."""
        return step % self.eval_steps == 0 or step == self.total_steps

    def checkpoints_at(self, step: int) -> bool:
        """Whether ``--checkpoint-every`` asks for one after update ``step``."""
        every = self.settings.checkpoint_every
        return every is not None and step % every == 0

    def write_events(self) -> None:
        """Hand what has happened on to the log, the loggers and the display (a collective call)."""
        events = self.events.take()
        self.log_length = self.log.write(events)
        self.loggers.write(events)
        self.progress.transferred(events)
