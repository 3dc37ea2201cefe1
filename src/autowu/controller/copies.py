"""Which weights are kept to go back to, as far as the losses tell, and which are gone on with."""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np

from autowu.config import Config
from autowu.controller.state import Grow, Phase, State, WarmUp
from autowu.detector import noise, trend

SHORT: Final = 300
"""Updates; in a shorter run thirty losses after lift-off are most of warm-up."""

W = TypeVar("W", bound=WarmUp)


def with_snapshot(config: Config, state: State[W]) -> State[W]:
    """Each read of warm-up wants a snapshot to be kept, where weights are rewound."""
    if config.rewind and state.snapshot_step is None:
        return state.replace(snapshot_step=state.step)
    return state


def older_snapshot(state: State[WarmUp]) -> bool:
    """Whether there are weights of before to go back to; a snapshot of now is none."""
    return state.snapshot_step is not None and state.snapshot_step < state.step


def healthy(config: Config, state: State[WarmUp]) -> bool:
    """Whether the last losses are not rising, and the last one is finite: weights that may be kept.

    It is not above the first ones by ten times their size, either: a spike, or weights that are lost. A
    network that gives all inputs the same answer, or may do so as far as is known, is none to keep. (In a
    short run it is, until that is known.)
    """
    return not trend.rising(state.losses) and _sound(config, state)


def well(config: Config, state: State[Grow]) -> bool:
    """Whether the weights of now are to be gone on with: they may be :func:`healthy`, or have learned.

    Of a loss that neither falls nor rises, the last five are as often above those before as below.
    """
    return _sound(config, state) and (not trend.rising(state.losses) or below_first(config, state))


def _sound(config: Config, state: State[WarmUp]) -> bool:
    losses, same = state.losses, constant(state)
    if same is None:  # in a short run that is not waited for
        same = config.length >= SHORT
    if not np.isfinite(losses[-1]) or same:
        return False
    if state.origin is not None and losses[-1] > trend.far_above(state.origin):
        return False
    return config.spike is None or not (trend.tail_grows(losses) or worse(config, state))


def constant(state: State[Phase]) -> bool | None:
    """Whether the network may give all inputs the same answer, since lift-off; None: not known yet."""
    origin = state.phase.origin if isinstance(state.phase, Grow) else None
    return origin is not None and trend.constant(noise.finite(state.losses), origin)


def worse(config: Config, state: State[WarmUp]) -> bool:
    """Whether the loss, which had fallen, is on the mean above its first values, by a few large ones."""
    return trend.worse(state.losses, config.spike, state.origin, state.least)


def below_first(config: Config, state: State[Grow]) -> bool:
    """Whether the last losses are below the first ones by more than noise explains: lift-off was no noise.

    True where the first ones are not known.
    """
    losses, origin = noise.finite(state.losses), state.phase.origin
    return origin is None or trend.shift(losses, config.fall_threshold, origin, least=noise.ENDS) < 0
