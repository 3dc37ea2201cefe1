"""The optimizers, with the settings of the paper's Appendix A where it gives them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from autowu.train import torchvision_shim
from autowu.train.options import OptimizerName, WeightDecayOn

BASE_LR: dict[OptimizerName, float] = {"adamp": 0.001, "lamb": 0.01, "adamw": 0.001, "sgd": 0.1}
"""η_base, the LR at batch size 256: of the paper's Section 3 and Appendix B; AdamW's as AdamP's; SGD's as in
Goyal et al., 2017."""

WEIGHT_DECAY: dict[OptimizerName, float] = {"adamp": 0.1, "lamb": 0.1, "adamw": 0.1, "sgd": 5e-4}
"""Appendix A; for SGD, whose LR is a hundred times as large, the usual 5e-4."""


def build(
    name: OptimizerName,
    model: nn.Module,
    *,
    lr: float | None = None,
    weight_decay: float | None = None,
    weight_decay_on: WeightDecayOn = "matrices",
) -> Optimizer:
    """The optimizer ``name`` over the parameters of ``model``.

    Args:
        name: 'adamp' (Heo et al., 2021: betas 0.9 and 0.999, eps 1e-8, delta 0.1), 'lamb' (You et al., 2020:
            betas 0.9 and 0.999, eps 1e-6), both timm's; 'adamw' (betas 0.9 and 0.999, eps 1e-8) or 'sgd'
            (Nesterov momentum 0.9), both PyTorch's.
        lr: the initial LR, :data:`BASE_LR` by default. AutoWU replaces it.
        weight_decay: :data:`WEIGHT_DECAY` by default.
        weight_decay_on: 'matrices' leaves biases and the gains of norms out of weight decay (and, as LAMB's
            authors have it, out of its layer-wise adaptation); 'all' leaves nothing out.

    LAMB clips the gradient's global norm at 1: timm's default, after NVIDIA's FusedLAMB. Appendix A does not
    mention clipping.
    """
    settings: dict[str, Any] = {"lr": BASE_LR[name] if lr is None else lr}
    groups = _groups(model, WEIGHT_DECAY[name] if weight_decay is None else weight_decay, weight_decay_on)
    if name == "adamw":
        return torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, **settings)
    if name == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, nesterov=True, **settings)

    torchvision_shim.install()
    from timm.optim.adamp import AdamP
    from timm.optim.lamb import Lamb

    if name == "adamp":
        return AdamP(groups, betas=(0.9, 0.999), eps=1e-8, delta=0.1, **settings)
    return Lamb(groups, betas=(0.9, 0.999), eps=1e-6, max_grad_norm=1.0, **settings)


def _groups(model: nn.Module, weight_decay: float, on: WeightDecayOn) -> list[dict[str, Any]]:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if on == "all":
        return [{"params": parameters, "weight_decay": weight_decay}]
    # Biases and the gains of norms are the parameters with fewer than two dimensions.
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
