"""The end of a run, set or moved while it goes on.

``config`` is the one that the run began with, ``state`` that of the last decision, ``now`` the updates done.
"""

from __future__ import annotations

import math
from typing import cast

from autowu.config import LONGEST, Config, as_integer
from autowu.controller import schedule
from autowu.controller.rate import line
from autowu.controller.state import AfterSwitch, Decay, End, Horizon, Phase, Stable, State, replace


def extended(config: Config, state: State[Phase], now: int, total_steps: int) -> State[Phase]:
    """The run ends after ``total_steps`` updates, more or fewer than was planned.

    Warm-up goes on as it began, up to ⌊ρ_w total_steps⌋ at most. A decay that has begun bends: what is left
    of its fall is stretched to the new end, so that the LR jumps nowhere. A stable phase becomes a decay.

    Raises:
        TypeError: ``total_steps`` is no integer.
        ValueError: it is not above ``now``, or the run is over.
    """
    end = _count("total_steps", total_steps, now + 1, f"of which {now} are done")
    if end == state.horizon.end:
        return state
    _check_goes_on(state, now, f"extend(total_steps={end})")
    phase = state.phase
    if isinstance(phase, AfterSwitch):
        return _to(config, state, now, end, at_once=False)
    ends = (*state.horizon.ends, End(now, end, cooldown=False))
    most = max(now + 1, math.floor(config.warmup_fraction * end))
    shorter = most if most < config.warmup_steps else None
    return state.replace(horizon=Horizon(end, shorter, ends=ends))


def cooled(
    config: Config, state: State[Phase], now: int, steps: int, *, within_update: bool = False
) -> State[Phase]:
    """The LR falls to zero in the next ``steps`` updates, by the shape of the decay.

    In warm-up the best LR known is gone back to first, as at the cap: a decision at ``now``, or after the
    next update, where that has begun (``within_update``) or none has come since the last decision.

    Raises:
        TypeError: ``steps`` is no integer.
        ValueError: it is below 1, or the run is over.
    """
    end = now + _count("steps", steps, 1, "the updates in which the LR falls to 0")
    _check_goes_on(state, now, f"cooldown({steps})")
    if isinstance(state.phase, AfterSwitch):
        return _to(config, state, now, end, at_once=True)
    ends = (*state.horizon.ends, End(now, end, cooldown=True))
    soonest = max(now + within_update, state.step + 1)
    return state.replace(horizon=Horizon(end, soonest, at_once=True, ends=ends))


def _to(config: Config, state: State[Phase], now: int, end: int, *, at_once: bool) -> State[Phase]:
    """After the switch: a fall of the LR to zero at ``end``."""
    phase = cast("Stable | Decay", state.phase)
    horizon = Horizon(end, ends=(*state.horizon.ends, End(now, end, cooldown=at_once)))
    if isinstance(phase, Stable):
        phase = Decay(**vars(phase))
    elif config.decay == "plateau" and not at_once and not phase.lines:
        return state.replace(horizon=horizon)
    share, last = 1.0, phase.lines[-1] if phase.lines else None
    if last is not None:
        share = schedule.left(last.share, last.falls_from, last.end, now)
    falls = line(config, now, end, share=share, at_once=at_once)
    return state.replace(phase=replace(phase, lines=(*phase.lines, falls)), horizon=horizon)


def _check_goes_on(state: State[Phase], now: int, asked: str) -> None:
    end = state.horizon.end
    if end is not None and now >= end:
        raise ValueError(
            f"{asked} after {now} updates of a run of {end}: it is over, and its LR has fallen. Go on from a"
            " checkpoint of before the decay, or plan a new run"
        )


def _count(name: str, value: object, low: int, what: str) -> int:
    number = as_integer(value)
    if number is None:
        raise TypeError(f"{name} must be an integer ≥ {low}, {what}, not {value!r:.80}")
    if not low <= number <= LONGEST:
        raise ValueError(f"{name} must be an integer in [{low}, {LONGEST}], {what}, not {value!r:.80}")
    return number
