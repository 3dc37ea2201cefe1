"""MoMo (Schaipp et al., 2023): Polyak-like steps for Adam and for SGD with momentum. Package ``momo-opt``."""

# pyright: basic, reportMissingImports=false
# (The package is optional, and has no types.)

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import momo
from torch import Tensor
from torch.optim import Optimizer

from autowu.errors import UserError
from autowu.train.schedules.method import Method
from autowu.train.schedules.plan import Plan, Reduce
from autowu.train.schedules.shape import Shape


class MomoAdam(momo.MomoAdam):
    """MoMo-Adam that is told the loss before the step."""

    loss: Tensor

    def step(self, closure: None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """An update by the gradients and by :attr:`loss`."""
        return super().step(loss=self.loss)


class Momo(momo.Momo):
    """MoMo that is told the loss before the step."""

    loss: Tensor

    def step(self, closure: None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """An update by the gradients and by :attr:`loss`."""
        return super().step(loss=self.loss)


def build(plan: Plan) -> Momentum:
    """At the package's defaults: a cap on the LR of 0.01 (SGD: 1), a lower bound on the loss of 0.

    MoMo-Adam, or MoMo with ``--optimizer sgd``.

    Raises:
        UserError: only some of the parameters are to decay, or there is to be a warm-up.
    """
    name = plan.replaces("adamw", "sgd")
    plan.refuses_warmup()
    settings = plan.settings
    weight_decay = settings.weight_decay or 0.0
    if weight_decay and settings.weight_decay_on != "all":
        raise UserError("--schedule momo has one weight decay for all parameters: --weight-decay-on all")
    lr = settings.lr or (1.0 if name == "sgd" else 0.01)
    parameters = [parameter for parameter in plan.model.parameters() if parameter.requires_grad]
    optimizer = (Momo if name == "sgd" else MomoAdam)(parameters, lr=lr, weight_decay=weight_decay)
    optimizer.state.clear()  # of an empty list, where PyTorch's optimizers have states of parameters only
    return Momentum(
        optimizer,
        {
            "preset": "momo",
            "optimizer": name,
            "peak_lr": lr,
            "weight_decay": weight_decay,
            "lower_bound": 0,
            "decay": "none",
            "total_steps": plan.total_steps,
        },
        plan.reduce,
    )


class Momentum(Method):
    """Tells the optimizer the loss, and keeps what the package has outside of the optimizer's state.

    The LR that is logged is the cap: the package does not keep the step size that it takes.
    """

    def __init__(self, optimizer: Optimizer, settings: dict[str, Any], reduce: Reduce) -> None:
        super().__init__(optimizer, Shape(optimizer), settings)
        self._reduce = reduce

    def before_step(self, loss: Tensor, forward: Callable[[], Tensor]) -> None:
        """Tell the optimizer the loss over all processes."""
        self._momo.loss = self._reduce(loss)

    def state_dict(self) -> dict[str, Any]:
        """The number of updates, and the average of the losses once there is one."""
        loss_avg = getattr(self._momo, "loss_avg", 0.0)
        return {"number_steps": self._momo._number_steps, "loss_avg": loss_avg}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self._momo._number_steps = state_dict["number_steps"]
        self._momo.loss_avg = state_dict["loss_avg"]

    @property
    def _momo(self) -> Any:
        return self.optimizer
