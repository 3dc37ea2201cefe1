"""Copies of what optimizers keep besides tensors: numbers, texts, lists, objects.

Some of it is no state, but names what there is: the module of a group (K-FAC), its named parameters, a class,
a function. A copy of that in its place would train other weights than the model's. So it is never copied.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autowu.integrations.torch.own import as_atom, is_flat
from autowu.integrations.torch.places import Training

# Types whose values never change.
_ATOMS: Final = frozenset({int, float, bool, str, type(None)})
_NAMES: Final = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, Optimizer)


class Values:
    """Copies values at one moment; what training consists of stays itself, however deep it is in them."""

    def __init__(self, training: Training) -> None:
        self._training = training

    @cached_property
    def _things(self) -> dict[int, object]:
        """Parameters, optimizers and what the model is made of, by their ids."""
        return {id(each): each for each in _things_of(self._training)}

    def copied(self, value: Any) -> tuple[Any, bool]:
        """A copy, and whether it is one of all: False where it refers to things that are not copied.

        Raises:
            Exception: of whatever kind, where there is no copy.
        """
        if never_changes(value):
            return value, True
        if isinstance(value, np.generic):  # PyTorch loads none by weights_only=True
            return as_atom(value), True
        if isinstance(value, _NAMES) or self._is_part(value):
            return value, False
        if is_flat(value):
            return copy.copy(value), True
        memo = _Memo(self._things)
        return copy.deepcopy(value, memo), not memo.met

    def _is_part(self, value: Any) -> bool:
        """Whether it is a module that trains here; without the model none is known by itself."""
        if not isinstance(value, nn.Module):
            return False
        return id(value) in self._things or any(id(each) in self._things for each in value.parameters())


def as_held(value: Any, held: Any) -> Any:
    """``value``, a copy or what :func:`as_plain` made of one, as the type that is ``held`` in its place.

    Arrays, lists, sets and dicts are written to, where they fit: others may hold them.
    """
    if type(value) in (bool, int, float, str):
        return _as_atom_of(value, held)
    if isinstance(held, tuple) and isinstance(value, tuple):
        return _as_tuple(_alike(value, held), type(cast("Any", held)))
    if isinstance(held, np.ndarray) and isinstance(value, (np.ndarray, Tensor)):
        return _written(np.asarray(cast("Any", value)), cast("Any", held))
    if isinstance(held, frozenset) and isinstance(value, set):
        return frozenset(cast("set[Any]", value))
    filled: Any
    if isinstance(held, (list, deque)) and isinstance(value, (list, deque)):
        filled = _alike(cast("Any", value), cast("Any", held))
    elif isinstance(held, dict) and isinstance(value, dict):
        its = cast("dict[Any, Any]", held)
        entries, fields = cast("dict[Any, Any]", value).items(), dict(zip(its, its, strict=True))
        filled = {fields.get(field, field): as_held(each, its.get(field)) for field, each in entries}
    elif isinstance(held, set) and isinstance(value, set):
        filled = cast("set[Any]", value)
    else:
        return value
    holder = cast("Any", held)
    holder.clear()
    (holder.extend if isinstance(held, (list, deque)) else holder.update)(filled)
    return holder


def _alike(values: Any, held: Any) -> list[Any]:
    if is_flat(values) and is_flat(held):
        return list(values)
    its = iter(held)
    return [as_held(each, next(its, None)) for each in values]


def _written(array: Any, held: Any) -> Any:
    if array.shape != held.shape or array.dtype != held.dtype or not held.flags.writeable:
        return array
    held[...] = array
    return held


def as_plain(value: Any) -> Any:
    """``value``, a copy, in types that PyTorch loads by ``weights_only=True``."""
    if type(value) is np.ndarray:
        with suppress(TypeError, ValueError):  # numbers of a type that PyTorch has not
            return torch.from_numpy(cast("Any", value))
    elif isinstance(value, (list, tuple, deque)):
        its = list(cast("Iterable[Any]", value))
        plain = its if is_flat(its) else [as_plain(each) for each in its]
        return tuple(plain) if isinstance(value, tuple) else plain
    elif isinstance(value, dict):
        entries = cast("dict[Any, Any]", value).items()
        return {as_plain(field): as_plain(each) for field, each in entries}
    elif isinstance(value, (set, frozenset)):
        return {as_plain(each) for each in cast("set[Any]", value)}
    return as_atom(value)


def _as_atom_of(value: Any, held: Any) -> Any:
    if type(as_atom(held)) is not type(held) and isinstance(held, str) == isinstance(value, str):
        with suppress(TypeError, ValueError):  # it is no member of the enumeration that is there now
            return type(held)(value)
    return value


def _as_tuple(values: list[Any], kind: Any) -> Any:
    """A tuple of this ``kind``, which may be one with names."""
    with suppress(TypeError, ValueError):
        return kind._make(values) if hasattr(kind, "_make") else kind(values)
    return tuple(values)


class _Memo(dict[int, Any]):
    """What deepcopy has copied already: to it the things are their own copies."""

    def __init__(self, things: Mapping[int, object]) -> None:
        super().__init__()
        self._things, self.met = things, False

    def get(self, key: int, default: Any = None, /) -> Any:
        if key in self._things:
            self.met = True
            return self._things[key]
        return super().get(key, default)


def _things_of(training: Training) -> Iterator[object]:
    yield from training.parameters()
    yield from training.optimizers()
    if training.model is not None:
        yield from training.model.modules()
        yield from training.model.parameters()
        yield from training.model.buffers()


def never_changes(value: Any) -> bool:
    """Whether ``value`` needs no copy: a number, a text, or a tuple of them, such as Adam's betas."""
    items = cast("Iterable[Any]", value) if type(value) is tuple else (value,)
    return all(type(item) in _ATOMS for item in items)
