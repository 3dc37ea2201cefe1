"""The ways to set the learning rate that one can choose with ``--schedule``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import Tensor, nn

from autowu.train.options import Settings
from autowu.train.schedules.autowu import autowu
from autowu.train.schedules.baseline import baseline
from autowu.train.schedules.method import Method, Reduce, Schedule

__all__ = ["Method", "Reduce", "Schedule", "build"]

_Builder = Callable[[Settings, nn.Module, int, int | None], Method]

OWN: Final[dict[str, _Builder]] = {"autowu": autowu, "paper": autowu, "baseline": baseline}


def one_process(value: Tensor) -> Tensor:
    """The mean over the processes where there is only one."""
    return value


def build(
    settings: Settings,
    model: nn.Module,
    *,
    total_steps: int,
    steps_per_epoch: int | None,
    reduce: Reduce = one_process,
) -> Method:
    """The optimizer over ``model``'s parameters and the schedule that ``settings`` ask for.

    Args:
        settings: the run's.
        model: on its device already.
        total_steps: updates of the whole run.
        steps_per_epoch: None where the data have no epochs.
        reduce: the mean over all processes, for schedules that decide by the loss at each update.

    Raises:
        UserError: the settings do not go with the schedule or with the run's length.
    """
    return OWN[settings.schedule](settings, model, total_steps, steps_per_epoch)
