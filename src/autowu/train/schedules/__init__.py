"""The ways to set the learning rate that one can choose with ``--schedule``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Final

from torch import Tensor, nn

from autowu.train.schedules.autowu import autowu
from autowu.train.schedules.baseline import baseline, constant, wsd
from autowu.train.schedules.method import Method, Schedule
from autowu.train.schedules.one_cycle import one_cycle
from autowu.train.schedules.plan import Plan, Reduce
from autowu.train.settings.options import Settings

__all__ = ["Method", "Reduce", "Schedule", "build"]

OWN: Final[dict[str, Callable[[Plan], Method]]] = {
    "autowu": autowu,
    "paper": autowu,
    "baseline": baseline,
    "one-cycle": one_cycle,
    "constant": constant,
    "wsd": wsd,
}


def one_process(value: Tensor) -> Tensor:
    """The mean over the processes where there is only one."""
    return value


def build(
    settings: Settings,
    model: nn.Module,
    *,
    total_steps: int | None,
    steps_per_epoch: int | None,
    reduce: Reduce = one_process,
) -> Method:
    """The optimizer over ``model``'s parameters and the schedule that ``settings`` ask for.

    Each published method that is not this package's own has a module in :mod:`autowu.train.schedules.peers`,
    which imports the package that the method comes from.

    Args:
        settings: the run's.
        model: on its device already.
        total_steps: updates of the whole run; None, for AutoWU alone, if that is not known.
        steps_per_epoch: None where the data have no epochs.
        reduce: the mean over all processes, for schedules that decide by the loss at each update.

    Raises:
        UserError: the settings do not go with the schedule or with the run's length.
        ImportError: the method's package is not installed.
    """
    plan = Plan(settings, model, total_steps, steps_per_epoch, reduce)
    if settings.schedule in OWN:
        return OWN[settings.schedule](plan)
    module = import_module(f"autowu.train.schedules.peers.{settings.schedule.replace('-', '_')}")
    return module.build(plan)
