"""Optimizers of all kinds, and what a rewind of a run with one of them has to put back."""

import copy
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RMSprop

from autowu.train.optimizers.table import build
from autowu.train.settings.options import Settings
from integrations.torch.training import (
    Training,
    assert_equal,
)


class Odd(Optimizer):
    """Keeps state of every kind: numbers, text, lists of tensors, tensors in groups, what comes and goes."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "distance": torch.tensor(1e-3), "count": 0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Descend, and note things down."""
        for group in self.param_groups:
            group["count"] += 1
            group["distance"] *= 1.01
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p not in self.state:
                    self.state[p] = {
                        "t": 0,
                        "norm": 0.0,
                        "kind": "first",
                        "past": [],
                        "slow": p.detach().clone(),
                    }
                state = self.state[p]
                state["t"] += 1
                state["norm"] += float(p.grad.norm())
                state["kind"] = f"after {state['t']}"
                state["past"] = [*state["past"][-1:], p.grad.clone()]
                state["slow"].lerp_(p, 0.1)
                if state["t"] % 2:
                    state["odd"] = p.detach().clone()
                else:
                    state.pop("odd", None)
                p.sub_(p.grad, alpha=group["lr"] * float(group["distance"]))


def timm(name: str) -> Any:
    """AdamP or LAMB, by way of a model since they treat matrices otherwise."""
    return lambda params: build(Settings(optimizer=name), nn.ParameterList(params))  # type: ignore[arg-type]


OPTIMIZERS = {
    "AdamW": AdamW,
    "AdamW amsgrad foreach": partial(AdamW, amsgrad=True, foreach=True),
    "AdamW fused": partial(AdamW, fused=True),
    "Adam tensor lr": lambda params: Adam(params, lr=torch.tensor(1e-3)),
    "SGD": partial(SGD, lr=0.1),
    "SGD momentum": partial(SGD, lr=0.1, momentum=0.9, nesterov=True),
    "RMSprop": partial(RMSprop, momentum=0.5, centered=True),
    "Adagrad": Adagrad,
    "NAdam": NAdam,
    "AdamP": timm("adamp"),
    "LAMB": timm("lamb"),
    "odd": Odd,
}


if hasattr(torch.optim, "Adafactor"):  # since torch 2.5
    OPTIMIZERS["Adafactor"] = torch.optim.Adafactor


def seen(optimizer: Optimizer, model: nn.Module) -> dict[str, Any]:
    """A copy of everything that the rewind is to put back."""
    groups = [
        {key: value for key, value in group.items() if key not in ("params", "lr", "initial_lr")}
        for group in optimizer.param_groups
    ]
    states = [
        dict(optimizer.state[p]) if p in optimizer.state else None
        for group in optimizer.param_groups
        for p in group["params"]
    ]
    return copy.deepcopy({"model": dict(model.state_dict()), "states": states, "groups": groups})


def statistics(tensors: dict[str, Any]) -> dict[str, Any]:
    """Those that BatchNorm keeps, of all ``tensors`` of a model."""
    return {name: each for name, each in tensors.items() if "running_" in name or "num_batches" in name}


def run_recorded(training: Training, losses: Iterable[float | None]) -> dict[int, dict[str, Any]]:
    """Train to the switch, the scheduler being told ``losses`` (None: the true ones). What each step left.

    Warm-up changes nothing, unless lift-off is late: then the first weights go back.
    """
    record, rewinds = {training.scheduler.last_epoch: seen(training.optimizer, training.model)}, 0
    for loss in losses:
        true = training.update()
        step = training.scheduler.last_epoch + 1
        record[step] = seen(training.optimizer, training.model)
        training.scheduler.step(true if loss is None else loss)
        if training.scheduler.switch is not None:
            break
        if training.scheduler.rewinds == rewinds:
            assert_equal(seen(training.optimizer, training.model), record[step])
        else:
            rewinds += 1
            # The first batch had passed through the model before the first update: its statistics are in it.
            first = {**record[0], "model": {**record[0]["model"], **statistics(record[1]["model"])}}
            assert_equal(seen(training.optimizer, training.model), first)
    return record


def assert_rewound(training: Training, record: dict[int, dict[str, Any]]) -> None:
    switch = training.scheduler.switch
    assert switch is not None
    assert switch.rewound_to is not None
    assert switch.rewound_to < switch.step
    now = seen(training.optimizer, training.model)
    assert_equal(now, record[switch.rewound_to])
    with pytest.raises(AssertionError):  # it was not so before
        assert_equal(now["model"], record[switch.step]["model"])
