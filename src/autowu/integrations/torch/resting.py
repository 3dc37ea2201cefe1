"""Weights that are frozen, and so are not copied: whether they rest indeed.

A teacher that follows its student, a target network, a base that adapters are merged into: these change
though no optimizer changes them. Copies would tell, but take memory. So a few sums of each are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias, cast

import torch
from torch import Tensor

Key: TypeAlias = tuple[Any, ...]

_CHUNK: Final = 1 << 22  # elements that are widened at a time
_SUMS: Final = 4  # each of every fourth element: what leaves one as it was changes another
_ROUNDED: Final = 2.0  # units in the last place: adapters that were merged and taken out again


class Resting:
    """Of frozen tensors, by their keys: the sums at the last look, and which changed between two looks."""

    def __init__(self) -> None:
        self._sums: dict[Key, list[float]] = {}
        self.moving: set[Key] = set()
        """Those that have been seen to change: a copy is to be kept of them from then on."""

    def look(self, tensors: Mapping[Key, Tensor]) -> None:
        """Note what these are now, and which of them are no longer what they were."""
        now = _sums_of(tensors)
        self.moving |= self._changed(now, tensors)
        self._sums = now

    def changed(self, tensors: Mapping[Key, Tensor]) -> set[Key]:
        """Those of ``tensors`` that were there at the last look, and have changed since."""
        known = {key: tensor for key, tensor in tensors.items() if key in self._sums}
        return self._changed(_sums_of(known), known)

    def _changed(self, now: Mapping[Key, list[float]], tensors: Mapping[Key, Tensor]) -> set[Key]:
        return {
            key
            for key, sums in now.items()
            if (before := self._sums.get(key)) is not None and _differ(before, sums, tensors[key].dtype)
        }


def _differ(before: Iterable[float], now: Iterable[float], dtype: torch.dtype) -> bool:
    """Whether two lots of sums are further apart than rounding each element would have them."""
    (*ours, squares), (*others, before_squares) = now, before
    if ours[_SUMS:] != others[_SUMS:]:
        return True  # others are not finite, or another number of them
    eps = torch.finfo(dtype).eps if dtype.is_floating_point or dtype.is_complex else 0.0
    within = _ROUNDED * eps * abs(squares) ** 0.5
    pairs = ((one, other, within) for one, other in zip(ours, others, strict=True))
    # Weights whose sum is near zero keep it when all of them shrink; their squares do not.
    of_squares = (squares, before_squares, 2 * _ROUNDED * eps * abs(squares))
    return not all(
        one == other or abs(one - other) <= most  # what overflows is equal
        for one, other, most in (*pairs, of_squares)
    )


def _sums_of(tensors: Mapping[Key, Tensor]) -> dict[Key, list[float]]:
    """In one transfer from each device; what has no sums, such as an odd subclass, is left out.

    Where some are not finite, as in a mask of -inf, the sums are those of the others, and their number.
    """
    found: dict[torch.device, dict[Key, Tensor]] = {}
    for key, tensor in tensors.items():
        if (
            type(tensor) is not Tensor
            or tensor.layout != torch.strided
            or tensor.is_meta
            or not tensor.numel()
        ):
            continue
        try:
            found.setdefault(tensor.device, {})[key] = _sums(tensor)
        except (RuntimeError, TypeError):  # quantised, or of a few bits
            continue
    sums = {
        key: sums
        for of_device in found.values()
        for key, sums in zip(of_device, _to_lists(list(of_device.values())), strict=True)
    }
    masks = [key for key, of in sums.items() if not all(map(math.isfinite, of))]
    return sums | {key: cast("Any", _sums(tensors[key], of_finite=True)).tolist() for key in masks}


def _to_lists(sums: list[Tensor]) -> list[list[float]]:
    return cast("Any", torch.stack(sums)).tolist()


def _sums(tensor: Tensor, *, of_finite: bool = False) -> Tensor:
    """Of each fourth element, and of all squares [5], in double precision where the device has that.

    With ``of_finite`` of those alone that are, and before the squares how many are not [6].
    """
    flat = (torch.view_as_real(tensor) if tensor.is_complex() else tensor).reshape(-1)
    wide = torch.float32 if tensor.device.type == "mps" else torch.float64
    sums = torch.zeros(_SUMS + 1 + of_finite, dtype=wide, device=tensor.device)
    for part in cast("tuple[Tensor, ...]", cast("Any", flat).split(_CHUNK)):
        values = part.to(wide)
        if of_finite:
            finite = values.isfinite()
            sums[_SUMS] += len(values) - finite.sum()
            values = values.where(finite, 0)
        whole = len(values) // _SUMS * _SUMS
        sums[:_SUMS] += values[:whole].view(-1, _SUMS).sum(0)
        sums[: len(values) - whole] += values[whole:]
        sums[-1] += values.dot(values)
    return sums
