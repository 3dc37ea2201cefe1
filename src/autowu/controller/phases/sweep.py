"""Before lift-off: has the loss moved by more than noise explains? `Sweep` is fast growth, `Search` slow.

A fall is lift-off. A rise in the sweep sends growth back, since noise hid the fall; one in slow growth ends
warm-up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from autowu.config import Config
from autowu.controller import anew, ending
from autowu.controller.rate import cap, grown, growth_function, next_test
from autowu.controller.state import (
    Grow,
    Growth,
    Phase,
    Reason,
    Search,
    State,
    Sweep,
    TooLarge,
    WarmUp,
    no_losses,
    replace,
)
from autowu.detector import noise, trend
from autowu.detector.detect import Verdict
from autowu.detector.trend import Level

ROOM: Final = 100.0
"""Between η_min and an LR that is too large, at least, for a rise far below that to tell anything."""

MILD: Final = 0.1
"""Share of the loss by which it may move once growth is slow, and not have left a plateau.

It falls so, once, when the answers come to be of the right size, and rises before the plateau is left.
"""

SEEN_LATE: Final = 0.25
"""Share of its rise that the loss has at a tenth of the LR, from which on noise has hidden the rise."""

LATE: Final = 0.01
"""Share of η_max from which on lift-off is late: medians show a fall an order of magnitude beyond its LR."""

LOOKS: Final = 1.1
"""Growth of the LR, at most, between two reads of two-speed growth, however far tests are apart.

The fast growth may cross the whole range of LRs within an epoch.
"""


def law(config: Config, state: State[Sweep | Search]) -> Callable[[int], float]:
    """Eq. 1 of the paper."""
    return growth_function(config, state.phase.growth)


def next_read(config: Config, state: State[Sweep | Search]) -> int:
    """When the LR has grown by ``test_growth``, at most by :data:`LOOKS`, or growth ends."""
    spacing = config.test_growth
    if config.growth == "two-speed":
        spacing = min(LOOKS, spacing or LOOKS)
    return min(next_test(config, state.phase.growth, state.read, spacing), ending.last_step(config, state))


def _last(config: Config, state: State[Sweep | Search]) -> bool:
    """Whether no growth can follow: in a short run the fast one takes all of warm-up."""
    return isinstance(state.phase, Search) or state.step >= config.warmup_steps or ending.asked(state)


def decide(config: Config, state: State[Sweep | Search]) -> State[Phase]:
    """No minimum counts before the loss has fallen by more than noise explains."""
    state, phase = ending.with_snapshot(config, state), state.phase
    losses = noise.finite(state.losses)
    known = phase.too_large.level if isinstance(phase, Search) and phase.too_large else None
    mild = MILD if isinstance(phase, Search) and config.growth == "two-speed" else 0.0
    moved = trend.shift(losses, config.fall_threshold, known, mild=mild)
    dead, lr = state.nonfinite_reads >= config.patience, grown(config, phase.growth, state.step)
    beyond = isinstance(phase, Sweep) and lr > config.high_lr
    if moved < 0 and not beyond:
        early = noise.noise_level(losses[: max(noise.ENDS, len(losses) // 2)])
        return _lifted(config, state, replace(known or trend.beginning(losses), noise=early))
    ended = state.step >= ending.last_step(config, state)
    if config.growth != "two-speed" or (ended and _last(config, state)):
        return _never(config, state, risen=moved > 0 or dead) if ended or dead else state
    if isinstance(phase, Sweep):
        if (moved or dead) and not beyond:
            return anew.lowered(config, state) if anew.exploded(config, state) else anew.hidden(config, state)
        return _passed(config, state, lr if moved or dead else None) if ended or moved or dead else state
    phase = replace(phase, rises=phase.rises + 1 if moved > 0 else 0)
    state = state.replace(phase=phase)
    return _rise(config, state, phase.too_large) if dead or phase.rises >= config.patience else state


# --- a fall --------------------------------------------------------------------------------------------


def _lifted(config: Config, state: State[Sweep | Search], origin: Level) -> State[Phase]:
    phase = state.phase
    # Tests look at the slow growth alone: since now, or since a failed sweep, when it began.
    if isinstance(phase, Sweep) or config.growth != "two-speed":
        state = state.replace(losses=no_losses())
    growth, tests_from = phase.growth, 0
    if isinstance(phase, Sweep):
        growth, tests_from = slowed(config, growth, state.step)
    state = state.replace(phase=Grow(growth, state.step, origin, tests_from))
    if state.step >= ending.last_step(config, state):  # the weights of now are those to go on with
        return ending.at_cap(config, state.replace(snapshot_step=None))
    # What fell at so large an LR would have fallen at a smaller one, given time; as it is, the weights may be
    # spoiled, be they of a network that has left a plateau or of one that was trained before.
    late = grown(config, phase.growth, state.step) >= LATE * config.high_lr
    if isinstance(phase, Sweep) and late and ending.older_snapshot(state):
        state = state.replace(restores=state.restores + 1)
    return state  # lift-off may be noise: the snapshot stays, until the loss is below the first ones again


def slowed(config: Config, fast: Growth, step: int) -> tuple[Growth, int]:
    """The slow growth that follows on the ``fast`` one, and the step at which it is as far as that was.

    It begins at the LR from before the updates in whose losses the fall shows.
    """
    back = trend.end_width(step - fast.start)
    slow = Growth(step, grown(config, fast, step - back), config.growth_steps, fast)
    return slow, step + math.ceil(back * config.growth_steps / config.sweep_steps)


def _passed(config: Config, state: State[Sweep | Search], end: float | None) -> State[Search]:
    """The loss has not moved in the whole range: once more, slowly, in one that ends at ``end``, if known.

    That is the LR beyond η_max at which it moved. A fall there tells no more than a rise: it comes late.
    """
    lowest = ending.lowest(config, state.phase.growth)
    return anew.slower(config, state, lowest if end is None else end * config.min_lr / config.high_lr, None)


# --- a rise --------------------------------------------------------------------------------------------


def _broke(config: Config, state: State[WarmUp]) -> bool:
    """Whether one bad batch, or other data, may have raised the loss: it jumped, or ceased to be finite."""
    if state.nonfinite_reads:
        return True
    return config.spike is not None and trend.jumped(state.losses, 0, config.spike)


def _rise(config: Config, state: State[Sweep | Search], before: TooLarge | None) -> State[Phase]:
    """If the loss rises in slow growth, the LR is too large for it.

    If that is a much lower one than at the rise ``before``, that was seen late, or is none that the LR has
    made: back once more, and what the loss was before does not count. If it then rises at next to no LR, the
    data drift. (A loss that is not finite is neither late nor does it drift.)
    """
    if before is None and _broke(config, state):
        return anew.hidden(config, state)
    growth, finite, least = state.phase.growth, not state.nonfinite_reads, None
    lr = grown(config, growth, state.step)
    lowest = ending.lowest(config, growth)
    low = lr < ending.MARGIN * lowest
    if finite and before and (before.drifts or (before.level is None and low)):
        drifting = TooLarge(min(lr, before.lr), None, drifts=True)
        return state.replace(phase=Search(growth, too_large=drifting), losses=no_losses())
    at_most = max(before.lr if before else 0.0, ROOM * lowest)  # growth goes back to that at most
    if finite and lr < at_most / ending.MARGIN:
        return anew.slower(config, state, lr / anew.RETREAT, TooLarge(lr, None))
    if finite:  # or else it is known at what LR the loss ceased to be finite
        state, verdict = ending.with_verdict(config, state)
        least = anew.lr_of_least(config, state) if _seen_late(config, state, verdict) else None
    peak_lr = ending.fallback(config, state.phase.growth, too_large=lr, least=least)
    reason = Reason.NONFINITE if state.nonfinite_reads >= config.patience else Reason.RISE
    return ending.switch(config, state, None, peak_lr, reason, rewind=True)


def _seen_late(config: Config, state: State[WarmUp], verdict: Verdict) -> bool:
    """Whether noise has hidden the rise until the LR was more than ten times too large.

    On a plateau the loss is as good as flat at a tenth of that LR, and where it is least a matter of chance.
    """
    if verdict.mean is None:
        return False
    steps = np.linspace(verdict.start, verdict.step, len(verdict.mean)).tolist()
    lrs = np.array([grown(config, state.phase.growth, step) for step in steps])
    risen = verdict.mean - verdict.mean.min()
    at = int((lrs >= lrs[-1] / ending.MARGIN).argmax())
    return bool(risen[at] > SEEN_LATE * risen[-1])


# --- neither -------------------------------------------------------------------------------------------


def _never(config: Config, state: State[Sweep | Search], *, risen: bool) -> State[Phase]:
    """A loss that never fell shows no LR to be good: √(η_min η_max), where that is not known to be too large.

    If it has not risen either, the LR of the least loss, if a test at the cap says that it is past. Else the
    test is for the record alone: if the loss has a minimum, that is one by chance.
    """
    phase, asked = state.phase, ending.asked(state)
    capped = state.step >= cap(config, phase.growth) and not asked
    lr, dead = grown(config, phase.growth, state.step), state.nonfinite_reads >= config.patience
    unmoved = Reason.ASKED if asked else Reason.NO_FALL
    reason = Reason.NONFINITE if dead else Reason.RISE if risen else unmoved
    if capped and not config.return_at_cap and not dead:
        return ending.switch(config, state, None, lr, reason, capped=True)
    good = min(ending.middle(config), lr) if asked else ending.middle(config)
    too_large, least = [lr] if risen else list[float](), None
    before = phase.too_large if isinstance(phase, Search) else None
    if before is not None:
        # Growth may have come beyond the LR of the last rise, but not of one before.
        if lr > 1.01 * before.lr and not before.drifts:
            good = min(good, lr)
        else:
            too_large.append(before.lr)
    state, verdict = ending.with_verdict(config, state)
    # The fast growth alone would be too fast to tell.
    neither = reason is Reason.NO_FALL and before is None and isinstance(phase, Search)
    neither = neither and bool(np.isfinite(state.losses).all())
    if neither and verdict.detected:
        least = anew.lr_of_least(config, state)
    peak_lr = ending.fallback(
        config,
        phase.growth,
        good=None if neither else good,
        too_large=min(too_large, default=None),
        least=least,
    )
    # Weights of a loss that never rose are not known to be damaged: warm-up is not undone for nothing.
    # But they are where a test says that it had been lower.
    rewind = reason is not unmoved or before is not None or least is not None
    return ending.switch(config, state, None, peak_lr, reason, rewind=rewind, capped=capped)
