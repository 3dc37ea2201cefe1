"""What a snapshot puts back in dicts and lists: which entries give way, and which come again."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from torch import Tensor

from autowu.integrations.torch.nested import arguments
from autowu.integrations.torch.own import ATOMS, HOLDERS
from autowu.integrations.torch.places import Key, Place, Training
from autowu.integrations.torch.storage import as_of, clone_of, local
from autowu.integrations.torch.stored import Stored, called
from autowu.integrations.torch.values import Values, as_held, never_changes


def replaceable(place: Place) -> bool:
    """Whether another tensor may stand there: not for a shard, nor where others may hold what is there."""
    inside = place.entry is not None and place.key[0] != "attribute"
    return inside and type(local(place.value)) is type(place.value.detach())


def newer(place: Place, joined: bool) -> bool:
    """Whether what there is no copy of has come since: state, counts, and what stands in lists and dicts.

    Args:
        place: where it is.
        joined: whether parameters have joined since: then it may be theirs, and only state is certain.
    """
    key, value = place.key, place.value
    if key[0] == "group":  # such as the updates of a group, counted from the first one on
        counts = isinstance(value, (int, Tensor)) and not isinstance(value, bool)
        return counts and key[3] != "new" and not joined
    return key[0] == "state" or (key[0] == "attribute" and len(key) > 3 and not joined)


def gives_way(holder: Any, field: Any) -> bool:
    """Whether what an attribute has there may be replaced: nothing of another kind that has come since."""
    if not isinstance(holder, dict):
        return field <= len(holder)
    now = cast("dict[Any, Any]", holder).get(field)
    return isinstance(now, (*ATOMS, Tensor, np.ndarray)) or (isinstance(now, HOLDERS) and not now)


def put_back(
    entry: tuple[Any, Any], stored: Stored, key: Key, values: Values, *, joined: bool = False
) -> None:
    """Put a copy of what ``stored`` has of ``key`` there; ``joined`` is as in :func:`newer`."""
    (holder, field), kept = entry, stored.tensors.get(key)
    held = _held(holder, field)
    if kept is None:
        value, _ = values.copied(stored.values[key])
        if joined and key[0] == "attribute":
            value = _with_new(value, held)
        holder[field] = as_held(value, held)
    elif isinstance(held, Tensor):
        holder[field] = as_of(clone_of(kept, held.device), held)
    else:
        holder[field] = clone_of(kept, None)


def _with_new(value: Any, held: Any) -> Any:
    """``value`` with what ``held`` has beyond it, which may be of parameters that have joined."""
    ours, its = value, held
    if isinstance(value, list) and isinstance(held, list):
        return [*ours, *its[len(ours) :]]
    misfit = isinstance(held, np.ndarray) and getattr(ours, "shape", None) != its.shape
    return its if misfit else ours


def _held(holder: Any, field: Any) -> Any:
    """What stands there, or None; a list gets room for one more at its end."""
    if isinstance(holder, dict):
        return cast("dict[Any, Any]", holder).get(field)
    if field == len(holder):
        holder.append(None)
    return holder[field]


def changed_settings(training: Training, stored: Stored) -> list[str]:
    """The names of settings, in groups or attributes, that are others than then, and go back."""
    settings = arguments(training.optimizers())
    changed = {
        place.key: ""
        for place in training.places(stored.anchors)
        if place.key[0] in ("group", "attribute")
        and place.key[-1] in settings
        and place.key in stored.values
        and never_changes(place.value)
        and stored.values[place.key] != place.value
    }
    return list(called(training, changed))
