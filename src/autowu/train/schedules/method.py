"""What the training loop asks of a way to set the LR, whether it is a scheduler, an optimizer or both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from autowu import Cut, Switch, Verdict
from autowu.controller.state import End

if TYPE_CHECKING:
    from autowu.train.data.task import Batch


class Schedule(Protocol):
    """Sets the LR, once an update; :class:`autowu.AutoWU` is one."""

    @property
    def phase(self) -> str:
        """'warmup', 'stable' or 'decay'."""
        ...

    @property
    def verdicts(self) -> Sequence[Verdict]:
        """The tests for a minimum so far."""
        ...

    @property
    def switch(self) -> Switch | None:
        """How AutoWU's warm-up ended; None before, and for other schedules."""
        ...

    @property
    def cuts(self) -> Sequence[Cut]:
        """AutoWU's changes of the LR in the decay phase so far."""
        ...

    @property
    def ends(self) -> Sequence[End]:
        """The ends of AutoWU's run that were set while it went on."""
        ...

    def step(self, loss: Tensor) -> None:
        """Set the LR of the next update, given the loss of this one."""
        ...

    def get_last_lr(self) -> Sequence[float | Tensor]:
        """The LR of the next update, one per parameter group."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors, from which a run goes on bit for bit."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        ...


class WithoutTests:
    """What a :class:`Schedule` has to say that tests nothing and decides nothing."""

    verdicts: Sequence[Verdict] = ()
    switch: Switch | None = None
    cuts: Sequence[Cut] = ()
    ends: Sequence[End] = ()


class Method:
    """An optimizer and the schedule that drives it, with what some published methods need beside.

    The loop, for each update: forward, :meth:`before_step`, ``optimizer.step()``, ``schedule.step(loss)``.

    Args:
        optimizer: takes the updates.
        schedule: sets its LR.
        settings: the method's own, all resolved, as plain values for ``run.json``.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule, settings: dict[str, Any]) -> None:
        self.optimizer = optimizer
        self.schedule = schedule
        self.settings = settings

    def prepare(
        self, model: nn.Module, batches: Iterator[Batch], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> dict[str, Any]:
        """What is done before the first update, and is not repeated on a resume; returns what it found.

        Args:
            model: its weights and buffers are left as they are.
            batches: this process's training batches, as many as one asks for.
            loss: (outputs, targets) -> a scalar.
        """
        return {}

    def before_step(self, loss: Tensor, forward: Callable[[], Tensor]) -> None:
        """Called with the gradients in place, just before ``optimizer.step()``.

        Args:
            loss: of the update, detached.
            forward: the loss of the update's batch at the current weights, without gradients.
        """

    def eval(self, batches: Iterator[Batch] | None = None) -> None:
        """Called before an evaluation: put the weights to be evaluated in place.

        Args:
            batches: training batches, as many as one asks for; some methods measure BatchNorm's statistics
                again.
        """

    def train(self) -> None:
        """Called before training goes on: the weights and buffers are as before :meth:`eval`, bit for bit."""

    def state_dict(self) -> dict[str, Any]:
        """What is neither in the optimizer's state nor in the schedule's."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
