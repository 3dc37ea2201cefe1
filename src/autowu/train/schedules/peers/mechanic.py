"""Mechanic (Cutkosky et al., 2023): a learnt factor of any optimizer's updates. ``mechanic-pytorch``."""

# pyright: basic, reportMissingImports=false
# (The package is optional, and has no types.)

from __future__ import annotations

import copy
from typing import Any, Final

from mechanic_pytorch import mechanize
from torch import Tensor
from torch.optim import Optimizer

from autowu.train.optimizers import table
from autowu.train.schedules.baseline import warmup_cosine
from autowu.train.schedules.method import Method
from autowu.train.schedules.plan import Plan
from autowu.train.schedules.shape import Shape

STATE: Final = "_mechanic"


def build(plan: Plan) -> Method:
    """``--optimizer`` mechanized, with an LR of 1, as the authors have it, and a cosine to 0, no warm-up."""
    settings = plan.settings
    optimizer_class, groups, options = table.arguments(settings, plan.model)
    options["lr"] = settings.lr or 1.0
    optimizer: Optimizer = mechanize(optimizer_class)(groups, **options)
    optimizer.register_state_dict_post_hook(_by_index)
    optimizer.register_load_state_dict_post_hook(_by_parameter)
    warmup = plan.warmup_steps()

    def effective(group: dict[str, Any]) -> float | Tensor:
        state = optimizer.state.get(STATE)
        return group["lr"] * state["s"].sum() if state else 0.0

    return Method(
        optimizer,
        Shape(optimizer, lambda step: warmup_cosine(step, warmup, plan.total_steps), warmup, effective),
        {
            "preset": "mechanic",
            "base_lr": options["lr"],
            "decay": "cosine",
            "warmup_steps": warmup,
            "total_steps": plan.total_steps,
        },
    )


# The package keeps the weights at the start by the parameters themselves, which a checkpoint cannot hold.


def _by_index(optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
    if STATE in state_dict["state"]:
        index = {parameter: i for i, parameter in enumerate(_parameters(optimizer))}
        kept = state_dict["state"][STATE]
        state_dict["state"][STATE] = {index.get(key, key): value for key, value in kept.items()}


def _by_parameter(optimizer: Optimizer) -> None:
    if STATE in optimizer.state:
        parameters = _parameters(optimizer)
        kept: dict[Any, Any] = copy.deepcopy(dict(optimizer.state[STATE]))  # pyright: ignore[reportArgumentType]
        optimizer.state[STATE] = {  # pyright: ignore[reportArgumentType]
            parameters[key] if isinstance(key, int) else key: value for key, value in kept.items()
        }


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
