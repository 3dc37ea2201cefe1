"""optax.MultiSteps makes an update of several micro-batches: a step() for each of these is told."""

# Pytrees have no types.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import warnings
from typing import Any, Final

import jax
import numpy as np

_CROWDED: Final = 25  # calls of step() with too few updates, until that is told


class MicroSteps:
    """Compares the calls of step() with the updates that MultiSteps has counted, and warns once."""

    def __init__(self) -> None:
        self._begin: tuple[int, int] | None = None  # calls and updates, at the first look
        self._told = False

    def forget(self) -> None:
        """A rewind has put the count of updates back."""
        self._begin = None

    def look(self, opt_state: Any, calls: int) -> None:
        """To be called now and then; reads a number from the device.

        Args:
            opt_state: the optimizer's state, in which there may be a MultiStepsState.
            calls: of step() so far.
        """
        made = None if self._told else _updates_made(opt_state)
        if made is None:
            return
        begin = self._begin
        if begin is None or calls < begin[0] or made < begin[1]:
            self._begin = calls, made
            return
        more_calls, more_made = calls - begin[0], made - begin[1]
        if more_calls >= max(_CROWDED, 2 * more_made):
            self._told = True
            warnings.warn(
                f"AutoWU: step() has been called {more_calls} times while MultiSteps has made {more_made}"
                " updates: the LR goes through its course too fast. Call it once an update; the losses of the"
                " micro-batches before go to observe(loss).",
                stacklevel=3,
            )


def _updates_made(opt_state: Any) -> int | None:
    for path, leaf in jax.tree_util.tree_flatten_with_path(opt_state)[0]:
        if path and getattr(path[-1], "name", None) == "gradient_step":
            return int(np.max(leaf))
    return None
