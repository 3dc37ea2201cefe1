"""Weights whose values are elsewhere: copies of what the optimizer trains, or offloaded ones.

DeepSpeed's ZeRO makes copies. It puts flat parameters of its own, a part of them on each rank, into the
optimizer's groups. After each step it copies them to the model, and so has to be done with what is put back
into them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autowu.integrations.torch.storage import local


def linked(served: Sequence[Tensor]) -> list[Tensor]:
    """Those that know where their values are in such flat parameters: in stages 1 and 2 of ZeRO.

    Args:
        served: what the model computes with.
    """
    return [each for each in served if hasattr(each, "get_full_hp_param")]


def obstacle(model: nn.Module | None, served: Sequence[Tensor], held: Sequence[Tensor]) -> str | None:
    """Why what is put into the parameters that the optimizers hold would not reach the model, or None."""
    if any(hasattr(each, "ds_id") for each in served):
        return "DeepSpeed's ZeRO stage 3 keeps the model's weights in parts that only it can write"
    known = {id(each) for each in held}
    trained = [] if model is None else [each for each in model.parameters() if each.requires_grad]
    if not trained or linked(trained) or any(id(each) in known for each in trained):
        return None
    return (
        "the optimizer holds none of the parameters of model=, but others, such as copies in a higher"
        " precision, and how these get into the model is not known"
    )


def emptied(optimizers: Sequence[Optimizer]) -> str | None:
    """Why there is nothing to copy, or None: a loop may keep the values elsewhere between two passes."""
    for optimizer in optimizers:
        for owner, held in cast("Mapping[Any, Any]", optimizer.state).items():
            if not isinstance(owner, Tensor) or local(owner).shape != (0,):
                continue
            state: list[Any] = list(held.values()) if hasattr(held, "values") else []
            if any(isinstance(each, Tensor) and local(each).numel() > 1 for each in state):
                return "a parameter has no elements at step(loss), but its state in the optimizer has"
    return None


@torch.no_grad()
def write_through(served: Sequence[Tensor]) -> None:
    """Copy to the model what its optimizer holds: a collective operation where there are several ranks."""
    for each in linked(served):
        whole: Tensor = cast("Any", each).get_full_hp_param()
        each.copy_(whole)
