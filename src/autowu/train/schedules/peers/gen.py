"""GeN, generalized Newton's method (Bu and Xu, 2025): a parabola through losses. Package ``gen-optim``."""

# pyright: basic, reportMissingImports=false
# (The package is optional, and has no types.)

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any, Final

from GeN import lr_parabola
from torch import Tensor, nn
from torch.optim import Optimizer

from autowu.errors import UserError
from autowu.train.optimizers import table
from autowu.train.schedules.adapted import Adapted
from autowu.train.schedules.method import Method
from autowu.train.schedules.plan import Plan

EVERY: Final = 4
"""Updates from one parabola to the next: the default of the authors' training script."""


def build(plan: Plan) -> GeN:
    """``--optimizer`` from an LR of 1e-4, as the authors start it, with their decay of 1 - n / T.

    Raises:
        UserError: there is to be a warm-up, or gradients are scaled, which would scale the parabola's steps.
    """
    plan.refuses_warmup()
    settings = plan.settings
    if settings.precision == "16-mixed":
        raise UserError("--schedule gen is for --precision 32-true or bf16-mixed, not 16-mixed")
    optimizer = table.build(settings, plan.model, lr=settings.lr or 1e-4)
    return GeN(plan, optimizer)


class GeN(Method):
    """Before every fourth update, fits a parabola to the loss at -1, 0 and 1 times the update.

    The package moves the LR by a tenth of the way to the parabola's minimum, or to the LR's half or double if
    that is nearer, and leaves it if the parabola does not fit. It takes the update to see where it leads, and
    takes it back: the optimizer's averages then have the gradient twice. The losses are those of the update's
    own batch; the authors take another.
    """

    schedule: Adapted

    def __init__(self, plan: Plan, optimizer: Optimizer) -> None:
        super().__init__(
            optimizer,
            Adapted(optimizer),
            {
                "preset": "gen",
                "base_lr": optimizer.param_groups[0]["lr"],
                "every": EVERY,
                "decay": "linear",
                "total_steps": plan.total_steps,
            },
        )
        self._plan = plan

    def before_step(self, loss: Tensor, forward: Callable[[], Tensor]) -> None:
        """Fit a parabola, if it is time."""
        done = self.schedule.done
        if (done + 1) % EVERY:
            return
        batches = repeat((_Anywhere(), _Anywhere()))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SciPy's on a parabola that fits exactly
            fit: Any = lr_parabola
            fit(
                _Network(self._plan.model),
                self.optimizer,
                criterion=lambda *_: self._plan.reduce(forward()),
                tr_iter=batches,
                task="image_cls",  # only says how a batch is taken apart
                scale=1 - done / self._plan.total_steps,
            )


class _Network:
    """Stands for the network where the package calls it: the loss comes from the trainer."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def parameters(self) -> Iterator[nn.Parameter]:
        return self._model.parameters()

    def __call__(self, inputs: Any) -> None:
        return None


class _Anywhere:
    """Stands for a batch: it can be moved to a device."""

    def to(self, device: Any) -> _Anywhere:
        return self
