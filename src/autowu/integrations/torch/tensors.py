"""The controller's arrays as tensors and back, for checkpoints that load with ``weights_only=True``."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor

_OF_RANK: Final = "snapshot-rank-"


def to_tensors(value: Any) -> Any:
    """``value``, a nest of dicts and lists, with a tensor for each NumPy array."""
    return _map_leaves(
        value, lambda leaf: torch.tensor(leaf, device="cpu") if isinstance(leaf, np.ndarray) else leaf
    )


def to_arrays(value: Any) -> Any:
    """The inverse of :func:`to_tensors`."""
    return _map_leaves(value, _to_array)


def _to_array(leaf: Any) -> Any:
    return leaf.cpu().numpy() if isinstance(leaf, Tensor) else leaf  # pyright: ignore[reportUnknownVariableType]


def _map_leaves(value: Any, function: Callable[[Any], Any]) -> Any:
    """``function`` of each leaf of nested dicts, lists and tuples (which become lists)."""
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return {key: _map_leaves(item, function) for key, item in items}
    if isinstance(value, (list, tuple)):
        return [_map_leaves(item, function) for item in cast("Sequence[Any]", value)]
    return function(value)


class StateDict(dict[str, Any]):
    """A state dict whose entry "run" is a tuple, of :attr:`PARTS`, which are read by name, too.

    `torch.distributed.checkpoint` asks a new scheduler for the entries that it loads: they have to be the
    same at all times, and a tuple is one entry for it. It is saved as a plain dict.
    """

    PARTS = ("controller", "pending", "snapshot", "unjudged")

    def __missing__(self, name: str) -> Any:
        if name not in self.PARTS:
            raise KeyError(name)
        return snapshot_of(self) if name == "snapshot" else self["run"][self.PARTS.index(name)]

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (list(self.items()),)  # which torch.load(weights_only=True) takes

    def __deepcopy__(self, memo: dict[int, Any]) -> StateDict:
        return StateDict(copy.deepcopy(dict(self), memo))


def with_snapshot(state: Mapping[str, Any], snapshot: Any) -> dict[str, Any]:
    """A scheduler's ``state`` with another snapshot, or none."""
    controller, pending, _, *unjudged = state["run"]
    rest = {name: value for name, value in state.items() if not name.startswith(_OF_RANK)}
    return {**rest, "run": (controller, pending, snapshot, *unjudged)}


def of_rank(state: StateDict, rank: int) -> StateDict:
    """``state`` with the rank in the name of its snapshot, which has the rank's shards.

    Of what has one name on all ranks `torch.distributed.checkpoint` saves one rank's.
    """
    return StateDict({**with_snapshot(state, None), f"{_OF_RANK}{rank}": (state["snapshot"],)})


def snapshot_of(state: Mapping[str, Any]) -> Any:
    """The snapshot in a scheduler's ``state``, or None."""
    named = (value[0] for name, value in state.items() if name.startswith(_OF_RANK))
    return next(named, state["run"][StateDict.PARTS.index("snapshot")])
