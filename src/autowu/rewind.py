"""Rewind: one copy of what the optimizer changes, and the way back to it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

# Entries of a parameter group that the scheduler sets, and so does not put back.
_NOT_COPIED: Final = frozenset({"params", "lr", "initial_lr"})


class Snapshot:
    """Parameters, optimizer state and, given the model, its buffers, as they were at one step.

    Memory: that of the parameters and the optimizer's state (AdamW in float32: 12 bytes a parameter), on the
    parameters' devices or on ``device``. Of a sharded tensor (DTensor) each rank copies its own shard.
    """

    def __init__(self, optimizer: Optimizer, model: nn.Module | None, device: torch.device | None) -> None:
        self._optimizer = optimizer
        self._model = model
        self._device = device
        self._tensors: dict[str, Tensor] = {}
        self._values: dict[str, Any] = {}

    def take(self) -> None:
        """Copy what is there now, into the memory of the copy before where it fits."""
        tensors: dict[str, Tensor] = {}
        for name, tensor in self._live_tensors():
            kept = self._tensors.get(name)
            if kept is not None and kept.shape == tensor.shape and kept.dtype == tensor.dtype:
                tensors[name] = kept.copy_(tensor)
            else:
                tensors[name] = tensor.detach().to(self._device or tensor.device, copy=True)
        self._tensors = tensors
        self._values = copy.deepcopy(dict(self._live_values()))

    @torch.no_grad()
    def restore(self) -> None:
        """Put the copy back, in place; optimizer state that has come into being since is removed."""
        for index, parameter in enumerate(_parameters(self._optimizer)):
            state = self._optimizer.state.get(parameter, {})
            for key in [key for key in state if not self._holds(f"state.{index}.{key}")]:
                del state[key]
        for name, tensor in self._live_tensors():
            if name in self._tensors:
                tensor.copy_(self._tensors[name])
        values = copy.deepcopy(self._values)
        for index, parameter in enumerate(_parameters(self._optimizer)):
            state = self._optimizer.state.get(parameter, {})
            for key in [key for key in state if f"state.{index}.{key}" in values]:
                state[key] = values[f"state.{index}.{key}"]
        for index, group in enumerate(self._optimizer.param_groups):
            for key in [key for key in group if f"group.{index}.{key}" in values]:
                group[key] = values[f"group.{index}.{key}"]

    def healthy(self) -> bool:
        """Whether all parameters are finite now (reads from the device)."""
        checks = [_local(p).isfinite().all() for p in _parameters(self._optimizer) if p.is_floating_point()]
        return all(bool(check) for check in checks)

    def to_dict(self) -> dict[str, Any]:
        """The copy, as plain values and tensors (not copied again)."""
        return {"tensors": dict(self._tensors), "values": copy.deepcopy(self._values)}

    def check(self, plain: dict[str, Any]) -> None:
        """Raise ValueError, naming the entry, unless ``plain`` is a copy of this optimizer's parameters."""
        for name, tensor in self._live_tensors():
            if not name.startswith("parameter."):
                continue
            kept = plain["tensors"].get(name)
            if kept is None or kept.shape != tensor.shape:
                shape = None if kept is None else tuple(kept.shape)
                raise ValueError(f"{name} of the copy has shape {shape}, the parameter {tuple(tensor.shape)}")

    def load(self, plain: dict[str, Any]) -> None:
        """Take over a copy from :meth:`to_dict`."""
        devices = {name: tensor.device for name, tensor in self._live_tensors()}
        first = next(iter(devices.values()), torch.device("cpu"))
        self._tensors = {
            name: tensor.detach().to(self._device or devices.get(name, first), copy=True)
            for name, tensor in plain["tensors"].items()
        }
        self._values = copy.deepcopy(plain["values"])

    def _holds(self, name: str) -> bool:
        return name in self._tensors or name in self._values

    def _live_tensors(self) -> Iterator[tuple[str, Tensor]]:
        for index, parameter in enumerate(_parameters(self._optimizer)):
            yield f"parameter.{index}", _local(parameter)
            for key, value in self._optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    yield f"state.{index}.{key}", _local(value)
        for index, group in enumerate(self._optimizer.param_groups):
            for key, value in group.items():
                if key not in _NOT_COPIED and isinstance(value, Tensor):
                    yield f"group.{index}.{key}", _local(value)
        if self._model is not None:
            for name, buffer in self._model.named_buffers():
                yield f"buffer.{name}", _local(buffer)

    def _live_values(self) -> Iterator[tuple[str, Any]]:
        for index, parameter in enumerate(_parameters(self._optimizer)):
            for key, value in self._optimizer.state.get(parameter, {}).items():
                if not isinstance(value, Tensor):
                    yield f"state.{index}.{key}", value
        for index, group in enumerate(self._optimizer.param_groups):
            for key, value in group.items():
                if key not in _NOT_COPIED and not isinstance(value, Tensor):
                    yield f"group.{index}.{key}", value


def _parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    """Each parameter once, in the optimizer's order; tied ones are one tensor, and so one entry."""
    for group in optimizer.param_groups:
        yield from group["params"]


def _local(tensor: Tensor) -> Tensor:
    """The storage itself, without its graph; of a DTensor this rank's shard."""
    plain = tensor.detach()
    return plain.to_local() if isinstance(plain, DTensor) else plain
