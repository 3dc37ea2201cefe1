"""The phase machine: pure functions over a frozen state.

    start(config) -> state
    observe(config, state, losses) -> state
    learning_rate(config, state, step) -> η

    Sweep ──▶ Grow ──▶ (Stable ──▶) Decay
      ╰▶ Search ─╯╰──────▶

Warm-up grows the LR. In the paper preset it is tested at each epoch's end whether the minimum of the loss is
past (Algorithm 1). In the default preset growth is fast until lift-off, then slow, and a test comes each time
the LR has grown by a fixed factor. When the minimum has been detected ``patience`` times in a row, or at the
cap (⌊ρ_w T⌋ updates, or when the slow growth has had its time), the decay phase begins; in a run without a
known end the peak LR is held first. Both are watched: where the loss rises for good, the weights go back once
more, and the LR falls.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller.phases import decay, growth, stable, sweep
from autowu.controller.state import Decay, Grow, Growth, Horizon, Phase, Search, Stable, State, Sweep
from autowu.detector import noise, trend

__all__ = ["learning_rate", "lr_function", "next_read", "observe", "start"]


class _PhaseFile(Protocol):
    """What each file of :mod:`autowu.controller.phases` has."""

    def decide(self, config: Config, state: State[Any]) -> State[Phase]:
        """What a read at ``state.step`` decides; the one before was at ``state.read``."""
        ...

    def next_read(self, config: Config, state: State[Any]) -> int | None:
        """The step of the decision after the one at ``state.read``; None: never."""
        ...

    def law(self, config: Config, state: State[Any]) -> Callable[[int], float]:
        """η as a function of the step, good until the next decision."""
        ...


def _of(phase: Phase) -> _PhaseFile:
    match phase:
        case Sweep() | Search():
            return sweep
        case Grow():
            return growth
        case Stable():
            return stable
        case Decay():
            return decay


def start(config: Config) -> State[Phase]:
    """The state before the first update."""
    slow = Growth(0, config.min_lr, config.growth_steps)
    phase: Phase
    if config.growth == "two-speed":
        phase = Sweep(Growth(0, config.min_lr, config.sweep_steps, open=True))
    else:
        phase = Grow(slow, lift_off=0, origin=None) if config.lift_off is None else Search(slow)
    # The first copy is of before the first update, which may be one too many at η_min already.
    return State(phase, Horizon(config.total_steps), snapshot_step=0 if config.rewind else None)


def observe(config: Config, state: State[Phase], losses: Array) -> State[Phase]:
    """Take in the losses of the next updates [n], one each, and decide whatever falls due among them.

    The outcome does not depend on how the losses are cut into calls. A caller may hold them back until
    :func:`next_read`; until then :func:`learning_rate` needs none.

    Raises:
        ValueError: ``state`` is beyond the step of its next decision.
    """
    losses = np.asarray(losses, dtype=np.float64)
    if not (finite := np.isfinite(losses)).all():
        losses = np.where(finite, losses, np.nan)  # however a loss is not finite, it is missing
    while len(losses):
        due = next_read(config, state)
        if due is None:
            return state.replace(step=state.step + len(losses))
        if due < state.step:
            raise ValueError(f"the state is of step {state.step}, but its decision of step {due} is missing")
        new, losses = losses[: due - state.step], losses[due - state.step :]
        state = state.replace(step=state.step + len(new), losses=np.concatenate([state.losses, new]))
        if state.step == due:
            state = _of(state.phase).decide(config, _counted(config, state)).replace(read=due)
    return state


def next_read(config: Config, state: State[Phase]) -> int | None:
    """The step of the next decision, which needs all losses before it. None: never."""
    return _of(state.phase).next_read(config, state)


def _counted(config: Config, state: State[Phase]) -> State[Phase]:
    """With the levels that the watch compares with, and the reads in a row that found no finite loss."""
    if config.watch is not None:
        state = _with_levels(state, config.watch / math.sqrt(2))
    if not state.nonfinite_reads and math.isfinite(state.losses[-1]):
        return state
    # In a short run each update is read: three that overflowed in a row are no dead network.
    last = state.losses[-max(noise.ENDS, state.step - state.read) :]
    found = len(last) < noise.ENDS or np.isfinite(last).any()
    return state.replace(nonfinite_reads=0 if found else state.nonfinite_reads + 1)


def _with_levels(state: State[Phase], errors: float) -> State[Phase]:
    """With the level of the first losses, and the least one since."""
    if state.origin is None:
        first = state.losses[np.isfinite(state.losses)][: noise.ENDS]
        if len(first) == noise.ENDS:
            state = state.replace(origin=trend.stretch(trend.without_outlier(first), errors))
    last = state.losses[-2 * noise.ENDS :]
    if state.switch is None and len(last) == 2 * noise.ENDS:
        now = trend.stretch(last, errors)
        if now.high < (math.inf if state.least is None else state.least.high):
            return state.replace(least=now)
    return state


def learning_rate(config: Config, state: State[Phase], step: int) -> float:
    """η of update ``step`` (counted from 0), from ``state.step`` to the next read; a closed form.

    From the end of the run on the LR stays what it is there.
    """
    return lr_function(config, state)(step)


def lr_function(config: Config, state: State[Phase]) -> Callable[[int], float]:
    """:func:`learning_rate` as a function of the step alone: good until the next decision."""
    return _of(state.phase).law(config, state)
