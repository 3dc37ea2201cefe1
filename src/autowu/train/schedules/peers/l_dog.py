"""L-DoG, distance over gradients for each layer (Ivgi et al., 2023). Package ``dog-optimizer``."""

# pyright: basic, reportMissingImports=false
# (The package is optional, and has no types.)

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from dog import LDoG, PolynomialDecayAverager
from torch import Tensor, nn

from autowu.train.optimizers import table
from autowu.train.schedules.averaging import Averaging
from autowu.train.schedules.plan import Plan
from autowu.train.schedules.shape import Shape

if TYPE_CHECKING:
    from autowu.train.data.task import Batch


def build(plan: Plan) -> DistanceOverGradients:
    """At the package's defaults, with the averaging that its authors call crucial; no schedule, no warm-up.

    The first step's size, ``reps_rel``, is 1e-6, and 1e-4 for networks with BatchNorm, as they advise.
    """
    plan.replaces("sgd")
    plan.refuses_warmup()
    settings, model = plan.settings, plan.model
    batch_norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    reps_rel = 1e-4 if any(isinstance(module, batch_norms) for module in model.modules()) else 1e-6
    lr, weight_decay = settings.lr or 1.0, settings.weight_decay or 0.0
    groups = table.groups(model, weight_decay, settings.weight_decay_on)
    optimizer = Dog(groups, reps_rel=reps_rel, lr=lr)
    averager = PolynomialDecayAverager(model)
    return DistanceOverGradients(
        optimizer,
        Averaged(optimizer, averager),
        {
            "preset": "l-dog",
            "base_lr": lr,
            "weight_decay": weight_decay,
            "reps_rel": reps_rel,
            "decay": "none",
            "total_steps": plan.total_steps,
        },
        model,
    )


class Dog(LDoG):
    """L-DoG with a state dict like that of PyTorch's optimizers, whose states are dicts, one a parameter."""

    def state_dict(self) -> dict[str, Any]:
        """With ``first_step`` outside of the states."""
        plain = super().state_dict()
        return {**plain, "first_step": plain["state"].pop("_first_step")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        saved = {**state_dict["state"], "_first_step": state_dict["first_step"]}
        super().load_state_dict({**state_dict, "state": saved})
        states: Any = self.state
        states.pop("_first_step")
        # The package leaves the sums on the CPU, where it cannot use them beside a GPU's.
        for group in self.param_groups:
            for key in {"rbar", "G"} & group.keys():
                group[key] = group[key].to(group["params"][0].device)


class Averaged(Shape):
    """A constant factor of 1; each step also takes the weights into their average."""

    def __init__(self, optimizer: Dog, averager: PolynomialDecayAverager) -> None:
        super().__init__(optimizer, effective=_mean_step)
        self.averager = averager

    @torch.no_grad()
    def step(self, loss: Tensor) -> None:
        """Take the weights into the average; the loss plays no part."""
        super().step(loss)
        self.averager.step()

    def state_dict(self) -> dict[str, Any]:
        """With the average."""
        return {
            **super().state_dict(),
            "t": self.averager.t,
            "average": dict(self.averager.av_model.state_dict()),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        super().load_state_dict(state_dict)
        self.averager.t = state_dict["t"]
        self.averager.av_model.load_state_dict(state_dict["average"])


def _mean_step(group: dict[str, Any]) -> float | Tensor:
    """The mean of the layers' step sizes η = r / √G; 0 before the first update."""
    return torch.stack(group["eta"]).mean() if "eta" in group else 0.0


class DistanceOverGradients(Averaging):
    """Trains the weights, evaluates their average."""

    schedule: Averaged

    def place_average(self, batches: Iterator[Batch] | None) -> None:
        """The average of the weights, and of BatchNorm's statistics."""
        self.model.load_state_dict(self.schedule.averager.av_model.state_dict())
