"""A range test (Smith, 2017) with the package ``torch-lr-finder``, then one cycle to what it suggests."""

# pyright: basic, reportMissingImports=false
# (The package is optional, and has no types.)

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch_lr_finder import LRFinder, TrainDataLoaderIter

from autowu.errors import UserError
from autowu.train.optimizers import table
from autowu.train.schedules.method import Method
from autowu.train.schedules.one_cycle import OneCycle, cycle
from autowu.train.schedules.plan import Plan

if TYPE_CHECKING:
    from autowu.train.data.task import Batch

START_LR: Final = 1e-7
END_LR: Final = 10.0
UPDATES: Final = 100
"""The package's defaults, and the LR that its documentation starts from."""


def build(plan: Plan) -> RangeTest:
    """One cycle with ``--optimizer``; its peak is found by :meth:`RangeTest.prepare`.

    Raises:
        UserError: an LR was given.
    """
    if plan.settings.lr is not None:
        raise UserError("--lr is not for --schedule lr-finder, which finds it")
    return RangeTest(plan)


class RangeTest(Method):
    """Before training, up to 100 updates with LRs from 1e-7 to 10, on top of the run's own."""

    schedule: OneCycle

    def __init__(self, plan: Plan) -> None:
        optimizer = table.build(plan.settings, plan.model)
        base_lr = optimizer.param_groups[0]["lr"]
        super().__init__(optimizer, *cycle(plan, optimizer, base_lr, base_lr))
        self._plan = plan

    def prepare(
        self, model: nn.Module, batches: Iterator[Batch], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> dict[str, Any]:
        """The range test with an optimizer of its own; then weights and buffers are put back, bit for bit.

        Raises:
            UserError: the loss grew fivefold before there was enough to suggest an LR from.
        """

        mean = self._plan.reduce

        def criterion(outputs: Tensor, targets: Tensor) -> Tensor:
            own = loss(outputs, targets)
            # The gradient of this process's loss, the value of all processes' mean: all stop at one LR.
            return own - own.detach() + mean(own.detach())

        def average_gradients(*_: Any) -> None:
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.grad.copy_(mean(parameter.grad))

        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        optimizer = table.build(self._plan.settings, model, lr=START_LR)
        optimizer.register_step_pre_hook(average_gradients)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            finder: Any = LRFinder(model, optimizer, criterion)
            finder.range_test(_Batches(batches), end_lr=END_LR, num_iter=UPDATES)
            try:
                # The package suggests only where it draws; this is a figure that no one sees.
                _, suggestion = finder.plot(ax=Figure().subplots())
            except RuntimeError as error:
                raise UserError(f"--schedule lr-finder: {error}") from error
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                tensor.copy_(before[name])
        for parameter in model.parameters():
            parameter.grad = None
        peak_lr = float(suggestion)
        self.schedule.start(peak_lr)
        return {
            "base_lr": peak_lr,
            "peak_lr": peak_lr,
            "range_test_updates": len(finder.history["lr"]),
            "range_test_best_loss": float(finder.best_loss),
        }

    def state_dict(self) -> dict[str, Any]:
        """The settings, for what :meth:`prepare` found is among them."""
        return {"settings": dict(self.settings)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.settings |= state_dict["settings"]


class _Batches(TrainDataLoaderIter):
    """The trainer's batches, where the package expects a loader."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches

    def __next__(self) -> tuple[Tensor, Tensor]:
        batch = next(self._batches)
        return batch.inputs, batch.targets
