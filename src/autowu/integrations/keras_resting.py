"""Frozen variables of a Keras model, of which no copy is kept: whether they rest indeed.

A teacher that a callback moves after its student, a target network: these change though no optimizer changes
them. Copies would tell, but take memory. So a few sums of each are kept.
"""

# Keras has no type stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from weakref import ReferenceType, ref

import numpy as np
from keras import ops

_SUMS: Final = 4  # each of every fourth element: what leaves one as it was changes another
_EPS: Final = float(np.finfo(np.float32).eps)
_ROUNDED: Final = 2.0  # units in the last place: adapters that were merged and taken out again


class Resting:
    """Of frozen variables: their sums at the last look, and which have changed between two looks."""

    def __init__(self) -> None:
        self._sums: dict[int, tuple[ReferenceType[Any], list[float]]] = {}
        self._moving: dict[int, ReferenceType[Any]] = {}

    def look(self, variables: Iterable[Any]) -> None:
        """Note what these are now; those that are no longer what they were are moving from now on."""
        frozen = list(variables)
        for variable in self.changed(frozen):
            self.move(variable)
        self._sums = {
            id(variable): (ref(variable), sums)
            for variable in frozen
            if not self.moves(variable) and (sums := _sums_of(variable)) is not None
        }

    def changed(self, variables: Iterable[Any]) -> list[Any]:
        """Those that were there at the last look, and have changed since."""
        return [variable for variable in variables if self._has_changed(variable)]

    def moves(self, variable: Any) -> bool:
        """Whether it has been seen to change: a copy is to be kept of it from then on."""
        known = self._moving.get(id(variable))
        return known is not None and known() is variable

    def move(self, variable: Any) -> None:
        """It is known to change."""
        self._moving[id(variable)] = ref(variable)

    def _has_changed(self, variable: Any) -> bool:
        known = self._sums.get(id(variable))
        if known is None or known[0]() is not variable:
            return False
        now = _sums_of(variable)
        return now is None or _differ(known[1], now)


def _differ(before: list[float], now: list[float]) -> bool:
    """Whether two lots of sums are further apart than rounding each element would have them."""
    (*ours, squares, lost), (*others, before_squares, before_lost) = now, before
    if lost != before_lost:
        return True
    size = abs(before_squares) ** 0.5
    # A sum is of single precision, too, and rounded as a whole.
    pairs = [(one, other, max(size, abs(other))) for one, other in zip(ours, others, strict=True)]
    # Weights whose sum is near zero keep it when all of them shrink; their squares do not.
    pairs.append((squares, before_squares, 2 * abs(before_squares)))
    return not all(
        one == other or abs(one - other) <= _ROUNDED * _EPS * most  # what overflows is equal
        for one, other, most in pairs
    )


def _sums_of(variable: Any) -> list[float] | None:
    """Of each fourth element, and of all squares; None of what has none, such as a seed or a text.

    Elements that are not finite, as in a mask of -inf, are left out, and their number is the last.
    """
    try:
        flat = ops.reshape(ops.cast(variable.value, "float32"), (-1,))
        finite = ops.isfinite(flat)
        flat = ops.where(finite, flat, 0.0)
        sums = [ops.sum(flat[first::_SUMS]) for first in range(_SUMS)]
        lost = ops.sum(ops.cast(ops.logical_not(finite), "float32"))
        return np.asarray(ops.convert_to_numpy(ops.stack([*sums, ops.sum(flat * flat), lost]))).tolist()
    except (TypeError, ValueError, RuntimeError):
        return None
