"""Each process's own part of a model and its optimizer, as plain tensors, for its part of a checkpoint.

Under FSDP a parameter is a DTensor, of which a process holds one shard; its state in the optimizer likewise.
Elsewhere these functions copy whole tensors.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autowu.errors import UserError


def model_state(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, this process's shard of each."""
    return {name: _local(tensor) for name, tensor in cast("dict[str, Tensor]", model.state_dict()).items()}


@torch.no_grad()
def load_model_state(model: nn.Module, saved: dict[str, Tensor]) -> None:
    """Write what :func:`model_state` gave into the model, in place.

    Raises:
        UserError: the model has other parameters.
    """
    live = cast("dict[str, Tensor]", model.state_dict())
    if live.keys() != saved.keys():
        odd = sorted(live.keys() ^ saved.keys())
        raise UserError(f"the checkpoint is of another model: they differ in {', '.join(odd[:3])}")
    for name, tensor in live.items():
        here = _local(tensor)
        if here.shape != saved[name].shape:
            raise UserError(
                f"the checkpoint is of another model: {name} has shape {tuple(here.shape)} here, and "
                f"{tuple(saved[name].shape)} there"
            )
        here.copy_(saved[name])


def optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """The optimizer's state dict with this process's shards, and the names of those that are shards."""
    plain = optimizer.state_dict()
    state = cast("dict[int, dict[str, Any]]", plain["state"])
    sharded = [f"{i}.{key}" for i, held in state.items() for key, v in held.items() if _is_sharded(v)]
    local = {i: {key: _local(v) for key, v in held.items()} for i, held in state.items()}
    return {**plain, "state": local, "sharded": sharded}


def load_optimizer_state(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """The inverse of :func:`optimizer_state`."""
    plain = {key: value for key, value in saved.items() if key != "sharded"}
    if saved["sharded"]:
        from torch.distributed.tensor import DTensor

        state = {i: dict(held) for i, held in plain["state"].items()}
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for name in saved["sharded"]:
            index, key = name.split(".", 1)
            parameter = cast(DTensor, parameters[int(index)])
            state[int(index)][key] = DTensor.from_local(
                state[int(index)][key],
                parameter.device_mesh,
                parameter.placements,
                shape=parameter.shape,
                stride=parameter.stride(),
            )
        plain["state"] = state
    optimizer.load_state_dict(plain)


def _is_sharded(value: object) -> bool:
    return isinstance(value, Tensor) and hasattr(value, "to_local")


def _local(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    plain = value.detach()
    return cast("Any", plain).to_local() if hasattr(plain, "to_local") else plain
