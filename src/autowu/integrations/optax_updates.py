"""The optimizer's own updates, counted beside the calls of step(): too few or too many of these are told."""

# Pytrees have no types.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import warnings
from typing import Any, Final, NamedTuple

import jax
import numpy as np
from jax.tree_util import keystr

from autowu.integrations.optax_trees import states

_MISSED: Final = 25  # updates without a step(), until that is told
_CROWDED: Final = 25  # calls of step() with too few updates, until that is told

_LESS_OFTEN: Final = "grad_acc"  # a leaf of `apply_every`, which makes no update of some of its calls
_SKIPPING: Final = "skip_state"  # of MultiSteps: with leaves, where it leaves updates out
# Of transformations within which updates that are left out are not counted.
_LEAVING_OUT: Final = frozenset(
    {"ApplyIfFiniteState", "ConditionallyMaskState", "ConditionallyTransformState"}
)


class Updates:
    """Compares the calls of step() with the updates that the optimizer has counted, and warns once of each.

    Of several counts the one that rises least tells of too few calls: a critic may make more updates. That
    which rises most tells of too many.
    """

    def __init__(self) -> None:
        self._begin: _Made | None = None  # at the first look
        self._last: _Made | None = None
        self._told: set[str] = set()

    def forget(self) -> None:
        """A rewind has put the counts back, or another state has been loaded."""
        self._begin = self._last = None

    def look(self, opt_state: Any, calls: int) -> None:
        """To be called now and then; reads a few numbers from the device.

        Args:
            opt_state: the optimizer's state, in which there are counts of MultiSteps or inject_hyperparams.
            calls: of step() so far.
        """
        now, begin = _Made(calls, *_counts(opt_state)), self._begin
        last, self._last = self._last, now
        if begin is None or last is None or now.is_before(last):
            self._begin = now
            return
        steps = now.calls - begin.calls
        more = [here - there for here, there in zip(now.counts, begin.counts, strict=True)]
        if not more:
            return
        # Without MultiSteps: what makes its updates in another way than by `update` counts none at all.
        counted = (now.by_multi_steps or max(more) > 0) and not now.leaves_out
        if steps >= max(_CROWDED, 2 * max(more)) and counted:
            self._tell(
                "crowded",
                f"AutoWU: step() has been called {steps} times while {now.who} has made {max(more)} updates:"
                " the LR goes through its course too fast. Call it once an update; the losses of the"
                " micro-batches before go to observe(loss).",
            )
        if min(more) >= 2 * steps and min(more) - steps >= _MISSED:
            self._tell(
                "missed",
                f"AutoWU: {now.who} has made {min(more)} updates while step() has been called {steps} times."
                " Call it after each update, not at the end of an epoch: the LR changes with it alone, and"
                " total_steps counts its calls. (The updates of one lax.scan can only have one LR: give"
                " step() the mean of their losses, and in total_steps count them as one.)",
            )

    def _tell(self, kind: str, text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            warnings.warn(text, stacklevel=4)


class _Made(NamedTuple):
    calls: int
    by_multi_steps: bool
    leaves_out: bool
    """Whether some updates may not be counted."""
    counts: tuple[int, ...]

    @property
    def who(self) -> str:
        return "MultiSteps" if self.by_multi_steps else "the optimizer"

    def is_before(self, other: _Made) -> bool:
        """Whether it is no continuation of the other: the state has been replaced by one of before."""
        return (
            self.by_multi_steps != other.by_multi_steps
            or len(self.counts) != len(other.counts)
            or self.calls < other.calls
            or any(here < there for here, there in zip(self.counts, other.counts, strict=True))
        )


def _counts(opt_state: Any) -> tuple[bool, bool, tuple[int, ...]]:
    """Whether MultiSteps counts updates, whether some may be left out, and the counts.

    Without MultiSteps they are those beside injected hyperparameters.
    """
    leaves = {keystr(path): (path, leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(opt_state)[0]}
    last = {name: getattr(path[-1], "name", None) for name, (path, _) in leaves.items() if path}
    by_multi_steps = [leaves[name][1] for name, field in last.items() if field == "gradient_step"]
    if by_multi_steps:
        skips = any(getattr(key, "name", None) == _SKIPPING for path, _ in leaves.values() for key in path)
        return True, skips, _numbers(by_multi_steps)
    if _LESS_OFTEN in last.values():
        return False, False, ()
    injecting = {
        keystr(path[:depth])
        for path, _ in leaves.values()
        for depth, key in enumerate(path)
        if getattr(key, "name", None) == "hyperparams"
    }
    counts = [
        leaf
        for name, (path, leaf) in leaves.items()
        if last.get(name) == "count" and keystr(path[:-1]) in injecting
    ]
    return False, bool(states(opt_state, _LEAVING_OUT)), _numbers(counts)


def _numbers(leaves: list[Any]) -> tuple[int, ...]:
    """Of those that this process can read."""
    return tuple(
        int(np.max(leaf))
        for leaf in leaves
        if getattr(leaf, "is_fully_addressable", True) or leaf.is_fully_replicated
    )
