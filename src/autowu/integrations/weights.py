"""What a host without PyTorch keeps for rewinding: arrays by name, so that each goes back to where it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

Leaf: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Layout: TypeAlias = "tuple[tuple[int, ...], np.dtype[Any]]"  # shape and type

NAMED: Final = 4  # names in a message


class MisfitError(ValueError):
    """Weights that cannot be copied, or a snapshot that cannot be put back; the message names them."""


@dataclass(frozen=True, eq=False)
class Weights:
    """What training changes, in host memory: arrays that nobody else writes to.

    A name stands for the same thing throughout a run, and no two things have the same.
    """

    parameters: Mapping[str, Leaf]
    rest: Mapping[str, Leaf]
    """The optimizer's state, and statistics such as BatchNorm's."""
    frozen: frozenset[str] = field(default_factory=frozenset[str])
    """What was there and is left out, since training did not change it."""

    def broken(self) -> str | None:
        """The first parameter that is not finite."""
        return next((name for name, leaf in self.parameters.items() if not _finite(leaf)), None)

    def to_dict(self) -> dict[str, Leaf]:
        """A flat dict."""
        return {f"parameter.{name}": leaf for name, leaf in self.parameters.items()} | {
            f"rest.{name}": leaf for name, leaf in self.rest.items()
        }

    @staticmethod
    def from_dict(flat: Mapping[str, Any], frozen: Iterable[str]) -> Weights | None:
        """Those of :meth:`to_dict`, copied: the host's checkpoint may be closed after this."""

        def of_kind(kind: str) -> dict[str, Leaf]:
            return {key[len(kind) :]: np.array(flat[key]) for key in flat if key.startswith(kind)}

        parameters = of_kind("parameter.")
        return Weights(parameters, of_kind("rest."), frozenset(frozen)) if parameters else None


def misfits(kept: Mapping[str, Leaf], present: Mapping[str, Layout]) -> Iterator[str]:
    """Why ``kept`` cannot be put back in place of what is ``present``; nothing if it can.

    What is no longer there need not go back, and what is new stays as it is.
    """
    for name, leaf in kept.items():
        if name not in present:
            continue
        shape, dtype = present[name]
        if leaf.shape != shape:
            yield f"{name} has shape {shape}, and {leaf.shape} in the snapshot"
        elif leaf.dtype != dtype and not _nameless(leaf.dtype, dtype):
            yield f"{name} is of {dtype}, and of {leaf.dtype} in the snapshot"


def gone(kept: Mapping[str, Leaf], present: Iterable[str]) -> Iterator[str]:
    """The same of parameters: one of them at least must be there still."""
    if kept and kept.keys().isdisjoint(present):
        yield f"nothing is left of what is in the snapshot: {some(kept)}"


def typed(leaf: Leaf, dtype: np.dtype[Any]) -> Leaf:
    """A copy of ``leaf``, as :func:`misfits` has found it, that has its type again."""
    return np.array(leaf.view(dtype) if _nameless(leaf.dtype, dtype) else leaf)


def some(names: Iterable[str]) -> str:
    """The first of ``names``, for a message."""
    every = list(names)
    return "; ".join(every[:NAMED]) + (f"; and {len(every) - NAMED} more" if len(every) > NAMED else "")


def _nameless(saved: np.dtype[Any], dtype: np.dtype[Any]) -> bool:
    """Whether ``saved`` is ``dtype`` whose name was forgotten by np.savez, such as bfloat16's."""
    return saved.name == f"void{8 * dtype.itemsize}" != dtype.name


def _finite(leaf: Leaf) -> bool:
    try:
        return bool(np.isfinite(leaf).all())
    except TypeError:  # such as 4-bit integers, which have no NaN
        return True
