"""Rewind: one copy of what the optimizer changes, and the way back to it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Set
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# Entries of a parameter group that the scheduler sets, and so does not put back.
_NOT_COPIED: Final = frozenset({"params", "lr", "initial_lr"})
# Types whose values never change.
_ATOMS: Final = frozenset({int, float, bool, str, type(None)})


def _never_changes(value: Any) -> bool:
    """Whether ``value`` needs no copy: a number, a text, or a tuple of them, such as Adam's betas."""
    items = cast("tuple[Any, ...]", value) if type(value) is tuple else (value,)
    return all(type(item) in _ATOMS for item in items)


def check_snapshot(model: object, device: object) -> torch.device | None:
    """The arguments of a copy, seen to be usable before there is one; nothing is allocated.

    Args:
        model: the module whose buffers are copied, or None.
        device: where the copy is to be, or None.

    Raises:
        TypeError: they are something else.
        ValueError: there is no such device.
    """
    if model is not None and not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module or None, not {model!r:.80}")
    if device is None:
        return None
    try:
        place = torch.device(cast("Any", device))
    except (RuntimeError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"snapshot_device must be a device such as 'cpu' or 'cuda:0', or None, not {device!r:.80}"
        ) from error
    backend: Any = getattr(torch, place.type, None)  # such as torch.cuda; XLA's is not a part of torch
    count = backend.device_count() if hasattr(backend, "device_count") else math.inf
    if place.type == "meta" or (place.index or 0) >= count:
        raise ValueError(f"snapshot_device must be a device that is here, such as 'cpu', not {str(place)!r}")
    return place


class Snapshot:
    """Parameters, optimizer state and, given the model, its buffers, as they were at one step.

    Memory: that of the parameters and the optimizer's state (AdamW in float32: 12 bytes a parameter), on the
    parameters' devices or on ``device``. Of a sharded tensor (DTensor) each rank copies its own shard.
    """

    def __init__(self, optimizer: Optimizer, model: nn.Module | None, device: torch.device | None) -> None:
        self._optimizer = optimizer
        self._model = model
        self._device = device
        self._kept = False
        self._tensors: dict[str, Tensor] = {}
        self._values: dict[str, Any] = {}

    def drop(self) -> None:
        """Forget what is kept, if anything is."""
        self._kept, self._tensors, self._values = False, {}, {}

    def take(self) -> None:
        """Copy what is there now, into the memory of the copy before where it fits."""
        live = dict(self._live_tensors())
        kept = self._tensors
        if not (list(kept) == list(live) and all(map(_fits, kept.values(), live.values()))):
            kept = {name: kept.get(name) for name in live}
            self._tensors = {
                name: place
                if (place := kept[name]) is not None and _fits(place, tensor)
                else torch.empty_like(tensor, device=self._device)
                for name, tensor in live.items()
            }
        if live:  # all in one call, as the optimizers do it: one launch, not one a tensor
            torch._foreach_copy_([*self._tensors.values()], [*live.values()])  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        self._values = {
            name: value if type(value) in _ATOMS or _never_changes(value) else copy.deepcopy(value)
            for name, value in self._live_values()
        }
        self._kept = True

    @torch.no_grad()
    def restore(self) -> None:
        """Put the copy back, in place; optimizer state that has come into being since is removed."""
        if not self._kept:
            return
        self._drop_newer_state()
        for name, tensor in self._live_tensors():
            if name in self._tensors:
                tensor.copy_(self._tensors[name])
        values = copy.deepcopy(self._values)
        for prefix, holder in self._holders():
            for key in [key for key in holder if f"{prefix}.{key}" in values]:
                holder[key] = values[f"{prefix}.{key}"]

    def _drop_newer_state(self) -> None:
        state = self._optimizer.state
        for index, parameter in enumerate(_parameters(self._optimizer)):
            held = state.get(parameter, {})
            for key in [key for key in held if not self._holds(f"state.{index}.{key}")]:
                del held[key]
            if parameter in state and not held:
                del state[parameter]  # by its absence some optimizers know that they have to start

    def healthy(self) -> bool:
        """Whether all parameters are finite now (reads from the device, once)."""
        tensors = [
            local
            for parameter in _parameters(self._optimizer)
            if (parameter.is_floating_point() or parameter.is_complex())
            and (local := _local(parameter)).numel()  # a rank's shard may be empty, and has no largest size
        ]
        if not tensors:
            return True
        # In one pass: the largest size is finite if all are.
        largest = torch._foreach_norm(tensors, math.inf)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        first = largest[0].device
        together = torch.stack([norm if norm.device == first else norm.to(first) for norm in largest])
        return math.isfinite(together.max().item())

    def to_dict(self) -> dict[str, Any] | None:
        """What is kept, as plain values and tensors (not copied again); None if nothing is."""
        if not self._kept:
            return None
        return {
            "optimizer": _class_name(self._optimizer),
            "names": [*self._tensors, *self._values],
            "tensors": dict(self._tensors),
            "values": copy.deepcopy(self._values),
        }

    def loaded(self, plain: dict[str, Any] | None) -> Snapshot:
        """A snapshot of the same that keeps what :meth:`to_dict` gave; ``self`` stays as it is.

        Raises:
            ValueError: ``plain`` is not a whole copy, or not one of these parameters and such an optimizer;
                the message names the entry.
        """
        loaded = Snapshot(self._optimizer, self._model, self._device)
        if plain is None:
            return loaded
        mine = _class_name(self._optimizer)
        its = plain.get("optimizer", mine)  # the first states had none
        if type(its) is not str or its != mine:
            raise ValueError(f"the optimizer is {mine!r} here, but {its!r:.80} in the snapshot for rewinding")
        tensors, values = dict(plain["tensors"]), dict(plain["values"])
        odd = set(plain["names"]) ^ (tensors.keys() | values.keys())
        if odd:
            raise ValueError(f"the snapshot for rewinding is not whole: {', '.join(sorted(map(str, odd)))}")
        for name, kept in tensors.items():
            if not isinstance(kept, Tensor):
                raise ValueError(f"{name} of the snapshot for rewinding must be a tensor, not {kept!r:.80}")
        live = dict(self._live_tensors())
        added = self._added_since(tensors.keys() | values.keys())
        for name, tensor in live.items():
            kept = tensors.get(name)
            if kept is None and name.startswith(("parameter.", "buffer.")) and name not in added:
                raise ValueError(f"the snapshot for rewinding lacks {name}")
            # (State that is missing from the copy has come into being since.)
            if kept is not None and kept.shape != tensor.shape:
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)} here, but {tuple(kept.shape)} in the copy for"
                    " rewinding"
                )
        first = next((tensor.device for tensor in live.values()), torch.device("cpu"))
        devices = {name: tensor.device for name, tensor in live.items()}
        loaded._tensors = {
            name: kept.detach().to(self._device or devices.get(name, first), copy=True)
            for name, kept in tensors.items()
        }
        loaded._values = copy.deepcopy(values)
        loaded._kept = True
        return loaded

    def _added_since(self, names: Set[str]) -> set[str]:
        """The parameters of groups that a copy with these ``names`` knows nothing of."""
        added, index = set[str](), 0
        for place, group in enumerate(self._optimizer.param_groups):
            copied = any(key not in _NOT_COPIED for key in group)
            known = any(name.startswith(f"group.{place}.") for name in names)
            for _ in group["params"]:
                if copied and not known:
                    added.add(f"parameter.{index}")
                index += 1
        return added

    def _holds(self, name: str) -> bool:
        return name in self._tensors or name in self._values

    def _holders(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The dicts in which the optimizer keeps what it changes: by parameter, and by group."""
        for index, parameter in enumerate(_parameters(self._optimizer)):
            yield f"state.{index}", self._optimizer.state.get(parameter, {})
        for index, group in enumerate(self._optimizer.param_groups):
            yield f"group.{index}", group

    def _live_tensors(self) -> Iterator[tuple[str, Tensor]]:
        for index, parameter in enumerate(_parameters(self._optimizer)):
            yield f"parameter.{index}", _local(parameter)
        for prefix, holder in self._holders():
            for key, value in holder.items():
                if key not in _NOT_COPIED and isinstance(value, Tensor):
                    yield f"{prefix}.{key}", _local(value)
        if self._model is not None:
            for name, buffer in self._model.named_buffers():
                yield f"buffer.{name}", _local(buffer)

    def _live_values(self) -> Iterator[tuple[str, Any]]:
        for prefix, holder in self._holders():
            for key, value in holder.items():
                if key not in _NOT_COPIED and not isinstance(value, Tensor):
                    yield f"{prefix}.{key}", value


def _class_name(optimizer: Optimizer) -> str:
    """Of the optimizer itself, where a host has put its own around it: Accelerate and Lightning do."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    return type(optimizer).__name__


def _parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    """Each parameter once, in the optimizer's order; tied ones are one tensor, and so one entry."""
    for group in optimizer.param_groups:
        yield from group["params"]


def _fits(place: Tensor, tensor: Tensor) -> bool:
    """Whether a copy of ``tensor`` can be kept in ``place``."""
    return place.shape == tensor.shape and place.dtype == tensor.dtype


def _local(tensor: Tensor) -> Tensor:
    """The storage itself, without its graph; of a DTensor this rank's shard."""
    if type(tensor) is Tensor and not tensor.requires_grad:
        return tensor
    plain = tensor.detach()
    if type(plain) is not Tensor and hasattr(plain, "to_local"):  # a DTensor, whose import takes a second
        plain: Tensor = cast("Any", plain).to_local()
    return plain
