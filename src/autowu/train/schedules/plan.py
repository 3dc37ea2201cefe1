"""What a schedule is built from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from autowu.errors import UserError
from autowu.train.settings.options import OptimizerName, Settings

Reduce = Callable[[Tensor], Tensor]
"""The mean of a tensor over all processes."""


@dataclass(frozen=True)
class Plan:
    """A run as its schedule sees it."""

    settings: Settings
    model: nn.Module
    length: int | None
    """Updates of the whole run; None, for AutoWU alone, if that is not known."""
    steps_per_epoch: int | None
    """None where the data have no epochs."""
    reduce: Reduce

    @property
    def total_steps(self) -> int:
        """Updates of the whole run."""
        assert self.length is not None  # the settings ask AutoWU alone to go without
        return self.length

    @property
    def batch_scale(self) -> float:
        """√(B / 256): what an LR for batches of 256 is multiplied by for batches of B (Section 3)."""
        return math.sqrt(self.settings.batch_size / 256)

    def warmup_steps(self, *, epochs: int | None = None, fraction: float = 0.0) -> int:
        """``--warmup-steps``, or ``--warmup-epochs`` in updates, or else the schedule's own choice.

        Args:
            epochs: the schedule's own choice in epochs, where there are any.
            fraction: its choice as a fraction of ``total_steps``, where ``epochs`` does not apply.

        Raises:
            UserError: the warm-up would not end before the run does.
        """
        settings, per_epoch = self.settings, self.steps_per_epoch
        if settings.warmup_steps is not None:
            steps, told = settings.warmup_steps, f"--warmup-steps {settings.warmup_steps}"
        elif settings.warmup_epochs is not None and per_epoch is not None:
            steps, told = settings.warmup_epochs * per_epoch, f"--warmup-epochs {settings.warmup_epochs}"
        elif epochs is not None and per_epoch is not None:
            steps, told = (
                epochs * per_epoch,
                f"the default of --schedule {settings.schedule}, {epochs} epochs",
            )
        else:
            return math.floor(fraction * self.total_steps)
        if steps >= self.total_steps:
            raise UserError(
                f"warm-up must be shorter than the run, {self.total_steps:,} updates, not {steps:,} "
                f"({told}): set --warmup-epochs or --warmup-steps"
            )
        return steps

    def replaces(self, *optimizers: OptimizerName) -> OptimizerName:
        """Which of ``optimizers`` the schedule, an optimizer itself, stands for: by default the first.

        Raises:
            UserError: ``--optimizer`` asks for another.
        """
        asked = self.settings.optimizer
        if asked in optimizers:
            return asked
        if asked is not None:  # pyright: ignore[reportUnnecessaryComparison]
            raise UserError(
                f"--schedule {self.settings.schedule} is an optimizer itself, in place of "
                f"{' or '.join(optimizers)}: leave --optimizer {asked} out"
            )
        return optimizers[0]

    def refuses_warmup(self) -> None:
        """For schedules that have none.

        Raises:
            UserError: a warm-up was asked for.
        """
        if self.settings.warmup_steps is not None or self.settings.warmup_epochs is not None:
            raise UserError(
                f"--warmup-steps and --warmup-epochs are not for --schedule {self.settings.schedule}"
            )
