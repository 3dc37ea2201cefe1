"""Muon for hidden matrices and AdamW for the rest, as one optimizer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autowu.errors import UserError

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Muon(Optimizer):
    """:class:`torch.optim.Muon` (Jordan et al., 2024) on some groups, :class:`torch.optim.AdamW` on others.

    A scheduler, a checkpoint and AutoWU's rewinding see one optimizer with ordinary groups and states.
    Muon's updates are scaled to the size of AdamW's (Liu et al., 2025: 0.2 √max(rows, columns)), so that one
    LR and one weight decay, those of AdamW, serve both.

    PyTorch's Muon takes matrices only. The kernels of a convolution, of shape (out, in, height, width), are
    one of shape (out, in · height · width), as in Muon's first implementation.

    Args:
        params: groups, with ``muon`` true in those for Muon.
        lr: of groups without their own.
    """

    def __init__(self, params: list[dict[str, Any]], lr: float) -> None:
        by_muon = [{**group, "params": [*map(matrix, group["params"])]} for group in params if group["muon"]]
        # They have groups and state within a step alone, this one's: there is nothing of theirs to drive.
        self._parts: Any = SimpleNamespace()
        self._parts.muon = torch.optim.Muon(by_muon, lr=lr, adjust_lr_fn="match_rms_adamw")
        by_adamw = [group for group in params if not group["muon"]]
        self._parts.adamw = (
            torch.optim.AdamW(by_adamw, lr=lr, betas=(0.9, 0.999), eps=1e-8) if by_adamw else None
        )
        muon, adamw = (
            iter(self._parts.muon.param_groups),
            iter(self._parts.adamw.param_groups if self._parts.adamw else ()),
        )
        # Each group with its optimizer's options, and with the parameters themselves.
        complete = [{**next(muon if group["muon"] else adamw), "params": group["params"]} for group in params]
        super().__init__(complete, {"lr": lr})
        self._rest()

    def _rest(self) -> None:
        for part in (self._parts.muon, self._parts.adamw):
            if part is not None:
                part.param_groups, part.state = [], defaultdict[Any, dict[str, Any]](dict)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update by both optimizers, which see this one's groups and state.

        The views of kernels are made anew each time: the parameters may have moved, and their state may have
        been loaded or put back.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        views = {
            parameter: matrix(parameter)
            for group in self.param_groups
            if group["muon"]
            for parameter in group["params"]
            if parameter.grad is not None
        }
        for parameter, view in views.items():
            view.grad = matrix(parameter.grad, like=parameter)  # pyright: ignore[reportArgumentType]
            self._parts.muon.state[view] = self.state[parameter]  # the same dict
        self._parts.muon.param_groups = [
            {**group, "params": [views[p] for p in group["params"] if p in views]}
            for group in self.param_groups
            if group["muon"]
        ]
        self._parts.muon.step()
        if self._parts.adamw is not None:
            self._parts.adamw.param_groups = [group for group in self.param_groups if not group["muon"]]
            self._parts.adamw.state = self.state
            self._parts.adamw.step()
        self._rest()
        return loss


def matrix(tensor: Tensor, like: Tensor | None = None) -> Tensor:
    """A view of ``tensor`` of shape (its first dimension, the product of the others).

    In memory the channels may come last; then the columns are in that order. Muon's update does not depend
    on it: to orthogonalise and to permute columns commute.

    Args:
        tensor: of 2 dimensions or more.
        like: the tensor whose order of columns it must have; by default its own.
    """
    plain = tensor.detach()
    if (tensor if like is None else like).is_contiguous():
        return plain.contiguous().view(len(plain), -1)
    last = plain.movedim(1, -1)
    return (last if like is None else last.contiguous()).view(len(plain), -1)


def split(groups: list[dict[str, Any]], model: nn.Module) -> list[dict[str, Any]]:
    """``groups``, each in a part for Muon and a part for AdamW.

    For Muon are the weights of linear layers and of convolutions, as its authors advise: hidden ones, so not
    those of the first and the last layer, nor embeddings; nor those of grouped convolutions, whose kernels
    are not one matrix. Where there is an embedding it is the first layer, and (in this package's GPT, which
    ties them) the last.

    Raises:
        UserError: there is nothing for Muon.
    """
    layers = [module for module in model.modules() if isinstance(module, (nn.Linear, *_CONVOLUTIONS))]
    if not any(isinstance(module, nn.Embedding) for module in model.modules()):
        layers = layers[1:-1]
    hidden = {layer.weight for layer in layers if not (isinstance(layer, _CONVOLUTIONS) and layer.groups > 1)}
    if not hidden:
        raise UserError("--optimizer muon is for models with hidden layers, and this one has none")
    parts: list[dict[str, Any]] = []
    for group in groups:
        for muon in (True, False):
            part = [parameter for parameter in group["params"] if (parameter in hidden) == muon]
            if part:
                parts.append({**group, "params": part, "muon": muon})
    return parts
