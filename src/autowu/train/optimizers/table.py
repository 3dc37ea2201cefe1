"""The optimizers, with the settings of the paper's Appendix A where it gives them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from autowu.errors import UserError
from autowu.integrations import torchvision_shim
from autowu.train.optimizers.muon import Muon, split
from autowu.train.settings.options import OptimizerName, Settings, WeightDecayOn

BASE_LR: dict[OptimizerName, float] = {
    "adamp": 0.001,
    "lamb": 0.01,
    "adamw": 0.001,
    "sgd": 0.1,
    "muon": 0.001,
}
"""η_base, the LR at batch size 256: of the paper's Section 3 and Appendix B; AdamW's as AdamP's, and Muon's
as AdamW's (:mod:`autowu.train.optimizers.muon`); SGD's as in Goyal et al., 2017."""

WEIGHT_DECAY: dict[OptimizerName, float] = {"adamp": 0.1, "lamb": 0.1, "adamw": 0.1, "sgd": 5e-4, "muon": 0.1}
"""Appendix A; for SGD, whose LR is a hundred times as large, the usual 5e-4."""


def build(settings: Settings, model: nn.Module, *, lr: float | None = None) -> Optimizer:
    """The optimizer ``settings.optimizer`` over the parameters of ``model``, :func:`arguments`.

    Args:
        settings: the run's.
        model: its parameters that require gradients.
        lr: in place of ``settings.lr``.
    """
    optimizer, parameters, options = arguments(settings, model)
    if lr is not None:
        options["lr"] = lr
    return optimizer(parameters, **options)


def arguments(settings: Settings, model: nn.Module) -> tuple[Any, list[dict[str, Any]], dict[str, Any]]:
    """The optimizer's class, parameter groups and options.

    * 'adamp' (Heo et al., 2021), the default: betas 0.9 and 0.999, eps 1e-8, delta 0.1; timm's arithmetic
      (:mod:`autowu.train.optimizers.adamp`).
    * 'lamb' (You et al., 2020): betas 0.9 and 0.999, eps 1e-6; timm's. It clips the gradient's global norm at
      1, unless ``settings.lamb_clip`` is false: timm's default, after NVIDIA's FusedLAMB. Appendix A does not
      mention clipping.
    * 'adamw': betas 0.9 and 0.999, eps 1e-8; PyTorch's.
    * 'sgd': Nesterov momentum 0.9; PyTorch's.
    * 'muon': :class:`autowu.train.optimizers.muon.Muon`; PyTorch's.

    The LR is ``settings.lr``, :data:`BASE_LR` by default; AutoWU replaces it. The weight decay is
    ``settings.weight_decay``, :data:`WEIGHT_DECAY` by default, on the parameters that :func:`groups` says.

    Raises:
        UserError: Muon is asked for, and this PyTorch has none, or the model no matrices for it.
    """
    name: OptimizerName = settings.optimizer or "adamp"
    decay = WEIGHT_DECAY[name] if settings.weight_decay is None else settings.weight_decay
    parameters = groups(model, decay, settings.weight_decay_on)
    options: dict[str, Any] = {"lr": BASE_LR[name] if settings.lr is None else settings.lr}
    adam: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8}
    if name == "adamw":
        return torch.optim.AdamW, parameters, options | adam
    if name == "sgd":
        return torch.optim.SGD, parameters, options | {"momentum": 0.9, "nesterov": True}
    if name == "muon":
        if not hasattr(torch.optim, "Muon"):
            raise UserError(f"--optimizer muon needs PyTorch 2.9 or newer, not {torch.__version__}")
        return Muon, split(parameters, model), options
    torchvision_shim.install()  # both are timm's, which imports torchvision
    if name == "adamp":
        from autowu.train.optimizers.adamp import AdamP

        return AdamP, parameters, options | adam | {"delta": 0.1}
    from timm.optim.lamb import Lamb

    clip = 1.0 if settings.lamb_clip else None
    return Lamb, parameters, options | {"betas": (0.9, 0.999), "eps": 1e-6, "max_grad_norm": clip}


def groups(model: nn.Module, weight_decay: float, on: WeightDecayOn) -> list[dict[str, Any]]:
    """The parameters of ``model`` in groups by weight decay.

    'matrices' leaves biases and the gains of norms, the parameters of fewer than two dimensions, out of
    weight decay (and, as LAMB's authors have it, out of its layer-wise adaptation); 'all' leaves nothing out.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if on == "all":
        return [{"params": parameters, "weight_decay": weight_decay}]
    parts = (
        ([p for p in parameters if p.ndim >= 2], weight_decay),
        ([p for p in parameters if p.ndim < 2], 0.0),
    )
    return [{"params": part, "weight_decay": decay} for part, decay in parts if part]
