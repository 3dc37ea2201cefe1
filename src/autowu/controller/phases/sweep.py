"""Before lift-off: has the loss moved by more than noise explains? `Sweep` is fast growth, `Search` slow.

A fall is lift-off. A rise in the sweep sends growth back, since noise hid the fall. One in slow growth ends
warm-up where it lasts for a decade of LRs: a plateau may be left beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from autowu.config import Config
from autowu.controller import anew, copies, ending
from autowu.controller.rate import cap, grown, growth_function, next_test
from autowu.controller.state import (
    Grow,
    Growth,
    Phase,
    Reason,
    Search,
    State,
    Sweep,
    no_losses,
    replace,
)
from autowu.detector import noise, trend
from autowu.detector.trend import Level

MILD: Final = 0.1
"""Share of the loss by which it may move once growth is slow, and not have left a plateau.

It falls so, once, when the answers come to be of the right size, and rises before the plateau is left.
"""

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
    state, phase = copies.with_snapshot(config, state), state.phase
    losses = noise.finite(state.losses)
    mild = MILD if isinstance(phase, Search) and config.growth == "two-speed" else 0.0
    moved = trend.shift(losses, config.fall_threshold, mild=mild)
    dead, lr = state.nonfinite_reads >= config.patience, grown(config, phase.growth, state.step)
    beyond = isinstance(phase, Sweep) and lr > config.high_lr
    if moved < 0 and not beyond:
        early = noise.noise_level(losses[: max(noise.ENDS, len(losses) // 2)])
        return _lifted(config, state, replace(trend.beginning(losses), noise=early))
    ended = state.step >= ending.last_step(config, state)
    if config.growth != "two-speed" or (ended and _last(config, state)):
        return _never(config, state, risen=moved > 0 or dead) if ended or dead else state
    if isinstance(phase, Sweep):
        if (moved or dead) and not beyond:
            return anew.lowered(config, state) if anew.exploded(config, state) else anew.hidden(config, state)
        return _passed(config, state, lr if moved or dead else None) if ended or moved or dead else state
    if dead:
        return _dead(config, state, phase.too_large)
    return _risen(config, state, phase, lr) if moved > 0 else state.replace(phase=replace(phase, rises=0))


# --- a fall --------------------------------------------------------------------------------------------


def _lifted(config: Config, state: State[Sweep | Search], origin: Level) -> State[Phase]:
    phase = state.phase
    # Tests look at the slow growth alone: since now, or since a failed sweep, when it began.
    if isinstance(phase, Sweep) or config.growth != "two-speed":
        state = state.replace(losses=no_losses())
    growth, tests_from = phase.growth, 0
    if isinstance(phase, Sweep):
        growth, tests_from = slowed(config, growth, state.step)
    after: State[Grow] = state.replace(phase=Grow(growth, state.step, origin, tests_from))
    if after.step >= ending.last_step(config, after):  # the weights of now are those to go on with
        return ending.at_cap(config, after.replace(snapshot_step=None))
    late = isinstance(phase, Sweep) and grown(config, phase.growth, state.step) >= LATE * config.high_lr
    if late and copies.older_snapshot(state):
        return anew.late(config, state)
    return after  # lift-off may be noise: the snapshot stays, until the loss is below the first ones again


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
    growth, too_large = state.phase.growth, state.phase.too_large
    lowest = ending.lowest(config, growth)
    if too_large is not None and grown(config, growth, state.step) > too_large:  # it was not the LR's doing
        lowest, too_large = config.min_lr, None
    begin = lowest if end is None else end * config.min_lr / config.high_lr
    return anew.slower(config, state, begin, too_large)


# --- a rise in slow growth ------------------------------------------------------------------------------


def _risen(config: Config, state: State[Sweep | Search], phase: Search, lr: float) -> State[Phase]:
    """The LR of a rise is too large. But a plateau may be left beyond it, so that growth goes on for a while.

    It ends at ten times the least such LR, if the loss is still above its first values there. A rise that the
    data make says nothing, nor does the one in the sweep then.
    """
    phase = replace(phase, rises=phase.rises + 1)
    if phase.rises >= config.patience:
        least = min(lr, _too_large(config, phase, lr))
        phase = replace(phase, too_large=None if _drifts(config, state) else least)
    state = state.replace(phase=phase)
    ends = phase.rises >= config.patience and lr >= ending.MARGIN * (phase.too_large or math.inf)
    return _never(config, state, risen=True) if ends else state


def _too_large(config: Config, phase: Sweep | Search, lr: float) -> float:
    """The least LR at which the loss is known to rise; ∞: none is.

    That of a growth before was chance, where this one has passed it tenfold and sees a rise only now.
    """
    growth, known = phase.growth, phase.too_large
    if known is None or isinstance(phase, Sweep):
        return known or math.inf
    of_before = growth.before is not None and math.isclose(known, grown(config, growth.before, growth.start))
    only_now = phase.rises <= config.patience and lr > ending.MARGIN * known
    return math.inf if of_before and only_now else known


def _drifts(config: Config, state: State[Sweep | Search]) -> bool:
    """Whether the loss began above its first values with the weights of then: the data raise it."""
    if not config.rewind or state.origin is None:
        return False
    return state.origin.below(trend.stretch(state.losses[: 2 * noise.ENDS], math.inf))


# --- no fall -------------------------------------------------------------------------------------------


def _dead(config: Config, state: State[Sweep | Search], too_large: float | None) -> State[Phase]:
    """Losses have ceased to be finite in slow growth. The first time it may have been one bad batch."""
    if too_large is None:
        return anew.hidden(config, state)
    growth = state.phase.growth
    lr = grown(config, growth, state.step)
    least = min(lr, _too_large(config, state.phase, lr))
    peak_lr = ending.fallback(config, growth, good=ending.middle(config), too_large=least)
    return ending.switch(config, state, None, peak_lr, Reason.NONFINITE, rewind=True)


def _never(config: Config, state: State[Sweep | Search], *, risen: bool) -> State[Phase]:
    """A loss that never fell shows no LR to be good: √(η_min η_max), where that is not known to be too large.

    If it has not risen either, nor a test at the cap says that it has been lower, an order of magnitude below
    η_max. Where a minimum was says nothing: that is a matter of chance.
    """
    phase, asked = state.phase, ending.asked(state)
    capped = state.step >= cap(config, phase.growth) and not asked
    lr, dead = grown(config, phase.growth, state.step), state.nonfinite_reads >= config.patience
    unmoved = Reason.ASKED if asked else Reason.NO_FALL
    reason = Reason.NONFINITE if dead else Reason.RISE if risen else unmoved
    if capped and not config.return_at_cap and not dead:
        return ending.switch(config, state, None, lr, reason, capped=True)
    good: float | None = min(ending.middle(config), lr) if asked else ending.middle(config)
    before = phase.too_large
    too_large = before
    if risen:
        too_large = min(lr, _too_large(config, phase, lr))
    elif before is not None and lr > 1.01 * before:  # it has not risen there again
        good, too_large = min(ending.middle(config), lr), None
    state, verdict = ending.with_verdict(config, state)
    # The fast growth alone would be too fast to tell.
    neither = reason is Reason.NO_FALL and before is None and isinstance(phase, Search)
    neither = neither and bool(np.isfinite(state.losses).all())
    lower = neither and verdict.detected  # the loss has been, as no five losses show
    if neither and not lower:
        good = None
    peak_lr = ending.fallback(config, phase.growth, good=good, too_large=too_large)
    # Weights of a loss that never rose are not known to be damaged: warm-up is not undone for nothing.
    rewind = reason is not unmoved or before is not None or lower
    return ending.switch(config, state, None, peak_lr, reason, rewind=rewind, capped=capped)
