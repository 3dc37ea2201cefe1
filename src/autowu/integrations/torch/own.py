"""What an optimizer keeps in attributes of its own: tensors, numbers, flags, arrays, and what holds such.

What is made of numbers alone, such as a history, is kept as a whole. Of a dict each entry is, and so it is of
a list in which there are tensors: these are written to in place, since others may hold them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias, cast

import numpy as np
from torch import Tensor, nn

Found: TypeAlias = tuple[tuple[Any, ...], Any, "tuple[Any, Any] | None"]
"""A key, the value, and where that stands: a dict or list with a field, or None."""

_FLAGS: Final = (bool, str)
ATOMS: Final = (*_FLAGS, type(None), int, float, complex, np.generic)
HOLDERS: Final = (dict, list, tuple, deque, set, frozenset)
_PLAIN: Final = frozenset({int, float, bool, str, complex, type(None)})


def is_flat(value: Any) -> bool:
    """Whether it is a list or set of numbers, texts and flags alone: told quickly of a long history, too."""
    return _is(value, (list, tuple, deque, set, frozenset)) and _PLAIN.issuperset(map(type, value))


def as_atom(value: Any) -> Any:
    """A number or a text of a class of its own, such as an enumeration's, as the plain one that it equals."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, np.generic):
        return cast("Any", value).item()
    if isinstance(value, str):
        return str.__str__(value)
    kind = next((kind for kind in (int, float) if isinstance(value, kind)), None)
    return value if kind is None else kind(value)


def as_part(field: Any) -> Any:
    """A field of a dict, as a part of a key: parameters and modules by their identity."""
    if isinstance(field, Tensor):
        return "parameter", id(field)
    return ("module", id(field)) if isinstance(field, nn.Module) else as_atom(field)


class Own:
    """Goes through what optimizers have; of what several of them hold only the first one's is found.

    Args:
        parameters: the ids of what is trained.
    """

    def __init__(self, parameters: Iterable[int]) -> None:
        self._parameters = frozenset(parameters)
        self._seen = set(self._parameters)

    def new(self, value: object) -> bool:
        """Whether it has not been asked of before."""
        known = id(value) in self._seen
        self._seen.add(id(value))
        return not known

    def of(self, key: tuple[Any, ...], holder: dict[str, Any], names: Iterable[str]) -> Iterator[Found]:
        """What is found in these attributes."""
        for name in names:
            value = holder[name]
            if not (name.startswith("_") and _is_flags(value)):  # of PyTorch and of hosts
                entry = None if isinstance(value, Tensor) else (holder, name)
                yield from self._in((*key, name), value, entry)

    def _in(self, key: tuple[Any, ...], value: Any, entry: tuple[Any, Any] | None) -> Iterator[Found]:
        if _is(value, ATOMS):
            if entry is not None and not self._is_name(value):
                yield key, value, entry
        elif (_is(value, (Tensor, *HOLDERS)) or _is_array(value)) and self.new(value):
            fields = self._fields(value) if _is(value, HOLDERS) else None
            if fields is None:
                yield key, value, entry
                return
            for field, each in fields:
                where = (value, field) if _is(value, (dict, list, deque)) else None
                yield from self._in((*key, self._part(field)), each, where)

    def _part(self, field: Any) -> Any:
        return ("id", field) if self._is_name(field) else as_part(field)

    def _fields(self, holder: Any) -> list[tuple[Any, Any]] | None:
        """What is looked at one by one; None of what is kept as a whole."""
        if _is(holder, dict):
            fields = (str, int, Tensor, nn.Module)
            if any(not isinstance(field, fields) for field in holder) and self._is_data(holder):
                return None
            return [(field, each) for field, each in holder.items() if isinstance(field, (*fields, tuple))]
        if self._is_data(holder):
            return None
        return [] if _is(holder, (set, frozenset)) else [*zip(range(len(holder)), holder, strict=True)]

    def _is_data(self, holder: Any) -> bool:
        """Whether all in it are numbers, arrays, texts and flags, and not texts alone."""
        if is_flat(holder):
            kinds = set(map(type, holder))
            return kinds != {str} and (int not in kinds or self._parameters.isdisjoint(holder))
        leaves = list(_leaves(holder, frozenset()))
        if leaves and all(isinstance(leaf, str) for leaf in leaves):
            return False  # names
        return all((_is(leaf, ATOMS) and not self._is_name(leaf)) or _is_array(leaf) for leaf in leaves)

    def _is_name(self, value: object) -> bool:
        """Whether a number is the id of a parameter."""
        return type(value) is int and value in self._parameters


def _is_flags(value: Any) -> bool:
    """Whether it is a flag or a text, or a queue of flags: Opacus' of what the next calls of step() skip."""
    queued = _is(value, (list, deque)) and {bool}.issuperset(map(type, value))
    return queued or isinstance(value, _FLAGS)


def _is(value: Any, kinds: Any) -> bool:
    return isinstance(value, kinds)


def _is_array(value: Any) -> bool:
    return _is(value, np.ndarray) and value.dtype.kind in "biufc"


def _leaves(holder: Any, above: frozenset[int]) -> Iterator[Any]:
    if not _is(holder, HOLDERS):
        yield holder
    elif id(holder) in above:
        yield ...  # it holds itself
    else:
        for each in (*holder, *holder.values()) if _is(holder, dict) else holder:
            yield from _leaves(each, above | {id(holder)})
