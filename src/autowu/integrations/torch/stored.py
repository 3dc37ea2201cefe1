"""What a snapshot keeps, and its plain form for checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from autowu.integrations.torch.nested import class_names
from autowu.integrations.torch.places import Key, Numbers, Training
from autowu.integrations.torch.storage import as_of, clone_of, local, written_part
from autowu.integrations.torch.values import as_plain


class Stored:
    """Copies of tensors and values, by the keys of their places."""

    def __init__(self, training: Training) -> None:
        self.tensors: dict[Key, Tensor] = {}
        self.values: dict[Key, Any] = {}
        self.left: set[Key] = set()
        """Entries that were there, and that a checkpoint has no copy of: without one they stay."""
        self.anchors = training.anchors()
        # The parameters of then: kept alive, so that no id is used twice.
        self._parameters = {id(each): each for each in training.parameters()}
        self._named = dict(zip(self._parameters, training.names(), strict=True))

    def with_state(self) -> set[Key]:
        """The parameters for which an optimizer had state."""
        keys = [key for key in (*self.tensors, *self.values) if key[0] == "state"]
        return {part for key in keys for part in key[2:] if isinstance(part, tuple)}

    def gone(self, training: Training) -> list[str]:
        """The parameters of then that are trained no longer."""
        now = {id(each) for each in training.parameters()}
        return [
            self._named[of] or f"parameter {number}"
            for number, of in enumerate(self._parameters)
            if of not in now and ("parameter", of) in self.tensors
        ]


def called(training: Training, keys: Mapping[Key, str]) -> dict[str, str]:
    """The same by names: those of the model, where it is given."""
    if not keys:
        return {}
    numbers, names = Numbers(training), training.names()
    return {_name(at, names): text for key, text in keys.items() if (at := numbers.of(key)) is not None}


def _name(numbers: list[Any], names: Sequence[str | None]) -> str:
    """Of a place, for people."""
    kind, *rest = numbers

    def part(of: Any) -> str:
        if not isinstance(of, list):
            return str(of)
        number: int = cast("list[Any]", of)[1]
        return names[number] or f"parameter {number}"

    match kind:
        case "parameter":
            return part(numbers)
        case "buffer":
            return f"buffer {rest[0]}"
        case "frozen":
            return str(rest[0])
        case "group":
            return f"{rest[2]} of parameter group {rest[1]}"
        case _:
            return f"{' / '.join(map(part, rest[1:]))} of the optimizer"


def _label(numbers: Sequence[Any]) -> str:
    """Of a place, for a checkpoint."""
    return ".".join(
        ".".join(map(str, cast("list[Any]", part))) if isinstance(part, list) else str(part)
        for part in numbers
    )


def to_plain(training: Training, stored: Stored) -> dict[str, Any]:
    """``stored`` as plain values and tensors (not copied again), without what is trained no longer."""
    numbers = Numbers(training)
    now = {key[1:]: group for group, key, _ in training.groups(stored.anchors)}
    places: dict[str, list[Any]] = {}
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for key in (*stored.tensors, *stored.values):
        at = None if key in stored.left else numbers.of(key)
        if at is not None and key[0] == "group":
            group = now.get(key[1:3])
            at = None if group is None else ["group", *group, *at[3:]]
        if at is None:
            continue
        label = _label(at)
        places[label] = at
        if key in stored.tensors:
            tensors[label] = stored.tensors[key]
        else:
            values[label] = as_plain(copy.deepcopy(stored.values[key]))
    left = [at for key in stored.left if key[0] == "state" and (at := numbers.of(key)) is not None]
    plain = {
        "optimizers": class_names(training.given),
        "parameters": training.names(),
        "shard": training.shard(),
        "places": places,
        "tensors": tensors,
        "values": values,
    }
    return {**plain, "left": sorted(left, key=_label)} if left else plain


def from_plain(training: Training, device: torch.device | None, plain: Mapping[str, Any]) -> Stored:
    """The inverse of :func:`to_plain`; the tensors are copied, to ``device`` or to where their places are.

    Raises:
        ValueError: ``plain`` is not whole, or of other optimizers or parameters; the message names the entry.
        LookupError, TypeError, AttributeError: it is not what it should be.
    """
    mine, its = class_names(training.given), plain["optimizers"]
    if its != mine:
        here, there = (", ".join(map(repr, names)) for names in (mine, its))
        raise ValueError(f"the optimizer is {here} here, but {there:.80} in the snapshot for rewinding")
    tensors, values, places = plain["tensors"], plain["values"], plain["places"]
    odd = set(places) ^ (set(tensors) | set(values)) | (set(tensors) & set(values))
    if odd:
        raise ValueError(f"the snapshot for rewinding is not whole: {', '.join(sorted(map(str, odd)))}")
    if (shard := training.shard()) != plain["shard"]:
        raise ValueError(
            f"the snapshot for rewinding is of rank {plain['shard']}, and this is rank {shard}, which has"
            " other shards: save and load each rank's state for itself"
        )
    order = _order(training.names(), plain["parameters"])
    numbers, stored = Numbers(training), Stored(training)
    here = list(training.places())
    live = {place.key: local(place.value) for place in here if isinstance(place.value, Tensor)}
    first = next(iter(live.values())).device if live else torch.device("cpu")
    for label, at in places.items():
        if label != _label(at):
            raise ValueError(f"{label} of the snapshot for rewinding does not stand at {at!r:.80}")
        key = numbers.key(at, order)
        if label in values:
            stored.values[key] = copy.deepcopy(values[label])
            continue
        kept, tensor = tensors[label], live.get(key)
        if not isinstance(kept, Tensor):
            raise ValueError(f"{label} of the snapshot for rewinding must be a tensor, not {kept!r:.80}")
        if key[0] in ("parameter", "frozen", "buffer") and tensor is not None:
            part = written_part(tensor)
            if part.shape != kept.shape:
                raise ValueError(
                    f"{label} has shape {tuple(part.shape)} here, but {tuple(kept.shape)} in the snapshot for"
                    " rewinding"
                )
        where = device or (first if tensor is None else tensor.device)
        copied = clone_of(kept.detach(), where)
        stored.tensors[key] = copied if tensor is None else as_of(copied, tensor)
    stored.left = {numbers.key(at, order) for at in plain.get("left", ())}
    known = stored.tensors.keys() | stored.values.keys()
    for place in here:  # what no checkpoint has, and what one of before had not
        if numbers.of(place.key) is None or (place.key[0] == "attribute" and place.key not in known):
            stored.left.add(place.key)
    return stored


def _order(mine: Sequence[str | None], its: Sequence[str | None]) -> list[int]:
    """The number here of each parameter there: by the model's names, where both have them, else in order."""
    if len(mine) != len(its):
        raise ValueError(
            f"there are {len(mine)} parameters here, but {len(its)} in the snapshot for rewinding"
        )
    if None not in its and set(its) == set(mine):
        return [mine.index(name) for name in its]
    return list(range(len(its)))
