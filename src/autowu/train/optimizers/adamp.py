"""AdamP that never waits for the device."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
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

    A sharded tensor of weights (DTensor) is asked as timm's are, its dot products summed over the shards.

    Raises:
        ValueError: Nesterov's momentum or caution, which timm has besides, is asked for.
    """

    def __init__(self, params: Any, *arguments: Any, **settings: Any) -> None:
        super().__init__(params, *arguments, **settings)
        for name in ("nesterov", "caution"):
            if any(group.get(name) for group in self.param_groups):
                raise ValueError(f"{name} must be False, not True: it is timm's own AdamP that has it")

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

        ratio: float | Tensor = 1.0
        of = parameter, gradient, update, group["delta"], group["eps"]
        if parameter.ndim > 1 and hasattr(parameter, "full_tensor"):
            update, projected = project_shards(*of)
            ratio = group["wd_ratio"] if projected else 1.0
        elif parameter.ndim > 1 and parameter.device.type in ASKED:
            ask = cast("Callable[..., tuple[Tensor, float]]", projection)
            update, ratio = ask(parameter, gradient, update, group["delta"], group["wd_ratio"], group["eps"])
        elif parameter.ndim > 1:
            update, where = project(*of)
            # In float64, as Python's numbers are: the format of the weights may round it otherwise.
            number = partial(torch.full, (), dtype=torch.float64, device=parameter.device)
            ratio = torch.where(where, number(group["wd_ratio"]), number(1.0))
        if group["weight_decay"] > 0:
            parameter.mul_(1.0 - group["lr"] * group["weight_decay"] * ratio)
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


def project_shards(
    parameter: Tensor, gradient: Tensor, update: Tensor, delta: float, eps: float
) -> tuple[Tensor, bool]:
    """:func:`project` for tensors that are sharded along their first dimension; asks each time."""
    for dims in (tuple(range(1, parameter.ndim)), tuple(range(parameter.ndim))):

        def dot(a: Tensor, b: Tensor, dims: tuple[int, ...] = dims) -> Tensor:
            return (a * b).sum(dims, keepdim=True)

        size, steepness = dot(parameter, parameter).sqrt(), dot(gradient, gradient).sqrt()
        cosine: Any = (dot(parameter, gradient).abs() / (size * steepness).clamp(min=eps)).max()
        if float(cosine.full_tensor()) < delta / math.sqrt(math.prod(parameter.shape[i] for i in dims)):
            unit = parameter / (size + eps)
            return update - unit * dot(unit, update), True
    return update, False
