"""SALSA (Zhang et al., 2020): SGD by line search, then by tests for stationarity. Package ``statopt``."""

# pyright: basic, reportMissingImports=false
# (The package is optional, and has no types.)

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Callable
from typing import Any, Final

import statopt
from statopt.bucket import LeakyBucket
from torch import Tensor
from torch.optim import Optimizer

from autowu.train.optimizers import table
from autowu.train.schedules.adapted import Adapted
from autowu.train.schedules.method import Method
from autowu.train.schedules.plan import Plan

BUCKETS: Final = ("bucket", "ls_bucket")
STATE: Final = "salsa"


class Salsa(statopt.SALSA):
    """SALSA that is told how to evaluate the loss before the step."""

    evaluate: Callable[[bool], Tensor]

    def step(self, closure: None = None) -> None:
        """An update, with a line search until SALSA switches to SASA."""
        # The package prints its switch, and uses add_() with the arguments in an old order.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This overload of add_ is deprecated", UserWarning)
            super().step(self.evaluate)


def build(plan: Plan) -> LineSearch:
    """As the authors' documentation has it: from an LR of 0.001, momentum 0.9, weight decay 5e-4.

    With n updates in an epoch, γ = 1 / √n and a test each min(1000, n) updates; for data without epochs, the
    package's defaults, γ = 0.1 and 100 updates.
    """
    plan.replaces("sgd")
    plan.refuses_warmup()
    settings = plan.settings
    lr = settings.lr or 1e-3
    weight_decay = 5e-4 if settings.weight_decay is None else settings.weight_decay
    groups = table.groups(plan.model, weight_decay, settings.weight_decay_on)
    per_epoch = plan.steps_per_epoch
    gamma = 0.1 if per_epoch is None else math.sqrt(1 / per_epoch)
    every = 100 if per_epoch is None else min(1000, per_epoch)
    options: dict[str, Any] = {"lr": lr, "momentum": 0.9, "gamma": gamma, "testfreq": every}
    optimizer = Salsa(groups, **options)
    optimizer.register_state_dict_post_hook(_to_plain)
    optimizer.register_load_state_dict_post_hook(_from_plain)
    return LineSearch(
        plan,
        optimizer,
        {
            "preset": "salsa",
            "base_lr": lr,
            "weight_decay": weight_decay,
            "gamma": gamma,
            "test_every": every,
            "decay": "sasa",
            "total_steps": plan.total_steps,
        },
    )


class LineSearch(Method):
    """Lets the optimizer evaluate the loss of the update's batch, in evaluation mode, as its authors do."""

    def __init__(self, plan: Plan, optimizer: Salsa, settings: dict[str, Any]) -> None:
        super().__init__(optimizer, Adapted(optimizer), settings)
        self._salsa = optimizer
        self._plan = plan

    def before_step(self, loss: Tensor, forward: Callable[[], Tensor]) -> None:
        """Tell the optimizer how to evaluate the loss, over all processes."""
        model, reduce = self._plan.model, self._plan.reduce

        def evaluate(evaluation_mode: bool) -> Tensor:
            model.train(not evaluation_mode)
            value = reduce(forward())
            model.train()
            return value

        self._salsa.evaluate = evaluate


# The package keeps statistics in objects of its own, which a checkpoint cannot hold, and plain values beside
# the states of the parameters, where PyTorch's optimizers have nothing else. Here all that is one more state.


def _to_plain(optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
    states: dict[Any, Any] = state_dict["state"]
    own = {key: value for key, value in states.items() if isinstance(key, str)}
    own |= {name: dict(vars(own[name])) for name in BUCKETS}
    state_dict["state"] = {key: value for key, value in states.items() if key not in own} | {STATE: own}


def _from_plain(optimizer: Optimizer) -> None:
    states: Any = optimizer.state
    own = dict(states.pop(STATE))
    for name in BUCKETS:
        plain = dict(own[name])
        bucket = LeakyBucket(plain["size"], plain["ratio"], plain["buffer"].dtype, plain["buffer"].device)
        vars(bucket).update(plain, buffer=plain["buffer"].clone())
        own[name] = bucket
    states.update(own)
