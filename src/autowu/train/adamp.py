"""AdamP that never waits for the device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, cast

import torch
from timm.optim.adamp import AdamP as TimmsAdamP
from timm.optim.adamp import projection  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

ASKED: Final = {"cpu"}
"""Types of devices whose numbers the host may read at any time."""


class AdamP(TimmsAdamP):
    """timm's AdamP (Heo et al., 2021), and the same weights bit for bit.

    An update that hardly turns the weights, as it does where a norm makes their size irrelevant, loses its
    radial part. timm asks each tensor of weights whether it does, so that the host waits for the device
    twice a tensor. Here both answers are computed, and the device chooses; but on the CPU, where to ask
    costs nothing and to compute does, it is timm's way.

    Nesterov's momentum and caution, which timm has besides, are left out.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in cast("list[Tensor]", group["params"]):
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        first, second = cast("Tensor", state["exp_avg"]), cast("Tensor", state["exp_avg_sq"])
        first.mul_(beta1).add_(gradient, alpha=1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = (second.sqrt() / math.sqrt(1 - beta2 ** state["step"])).add_(group["eps"])
        step_size = group["lr"] / (1 - beta1 ** state["step"])
        update = first / root

        shrink = 1.0 - group["lr"] * group["weight_decay"]
        if parameter.ndim > 1 and parameter.device.type in ASKED:
            update, ratio = cast(
                "tuple[Tensor, float]",
                projection(parameter, gradient, update, group["delta"], group["wd_ratio"], group["eps"]),
            )
            if group["weight_decay"] > 0:
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"] * ratio)
        elif parameter.ndim > 1:
            update, projected = project(parameter, gradient, update, group["delta"], group["eps"])
            if group["weight_decay"] > 0:
                shrunk = 1.0 - group["lr"] * group["weight_decay"] * group["wd_ratio"]
                ones = torch.ones((), dtype=parameter.dtype, device=parameter.device)
                parameter.mul_(torch.where(projected, ones * shrunk, ones * shrink))
        elif group["weight_decay"] > 0:
            parameter.mul_(shrink)
        parameter.add_(update, alpha=-step_size)


def project(
    parameter: Tensor, gradient: Tensor, update: Tensor, delta: float, eps: float
) -> tuple[Tensor, Tensor]:
    """``update`` without its part along the weights, if they and their gradient are all but orthogonal.

    Asked of each output's weights (rows) first, and of all of them together if it is not so there:

        max |cos(w, g)| < δ / √dim(w)

    Returns:
        The update, and whether anything was taken from it (a scalar).
    """
    found, projected = update, torch.zeros((), dtype=torch.bool, device=parameter.device)
    for rows in (1, parameter.shape[0]):  # so that the answer of the rows has the last word
        weights, gradients = parameter.reshape(rows, -1), gradient.reshape(rows, -1)
        cosine = torch.nn.functional.cosine_similarity(gradients, weights, dim=1, eps=eps).abs_()
        applies = cosine.max() < delta / math.sqrt(weights.shape[1])
        shape = (-1,) + (1,) * (parameter.ndim - 1)
        lengths = cast("Tensor", weights.norm(p=2, dim=1))
        unit = parameter / lengths.add_(eps).reshape(shape)
        radial = unit * (unit * update).reshape(rows, -1).sum(dim=1).reshape(shape)
        found, projected = torch.where(applies, update - radial, found), projected | applies
    return found, projected
