"""From lift-off on: slow growth, and a test each time the LR has grown by a factor, or at epoch ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from autowu.config import Config
from autowu.controller import anew, copies, ending
from autowu.controller.rate import grown, grown_by, growth_function, next_test
from autowu.controller.state import Broke, Decay, Grow, Growth, Phase, Stable, State, no_losses, replace
from autowu.detector import noise, trend

STEEP: Final = 0.3
"""Share of η_max beyond which the middle of the flat part lies, where the loss still falls there."""

SPREAD: Final = 3.0
"""Growth of the LR without a fall of the loss, from which on that is taken for the same answer's."""

SAME: Final = 2.0
"""LRs are the same, to the loss, up to this factor."""


def law(config: Config, state: State[Grow]) -> Callable[[int], float]:
    """Eq. 1 of the paper."""
    return growth_function(config, state.phase.growth)


def next_read(config: Config, state: State[Grow]) -> int:
    """The next test, or the end of warm-up."""
    growth = state.phase.growth
    return min(next_test(config, growth, state.read, config.test_growth), ending.last_step(config, state))


def decide(config: Config, state: State[Grow]) -> State[Phase]:
    """A test, unless the loss is plainly falling, and what follows from it."""
    state, grow = copies.with_snapshot(config, state), state.phase
    ended = state.step >= ending.last_step(config, state)
    if not ended and state.read < grow.tests_from:
        state = _resting(config, state)
        if state.step < grow.tests_from and not state.nonfinite_reads:
            return state
    if _collapsed(config, state) and (lower := anew.before_collapse(config, state)) is not None:
        return lower
    plain = not ended and config.screen is not None and trend.falling(state.losses, config.screen)
    if plain and not copies.worse(config, state):
        return _falling(config, _further(config, state))
    epoch_ends = state.step % (config.steps_per_epoch or 1) == 0
    if not ended or config.return_at_cap or ending.asked(state) or epoch_ends:
        state = ending.test(config, state)
    state, found = _looked_for_the_fall(config, state), state.phase.detections >= config.patience
    at_most = not grow.growth.open and grown(config, grow.growth, state.step) >= config.high_lr
    if (found or ended or at_most or state.phase.rises >= config.patience) and _never_fallen(config, state):
        return anew.hidden_fall(config, state)
    return _ends(config, state, found, ended) if found or ended else _further(config, state)


def _ends(config: Config, state: State[Grow], found: bool, ended: bool) -> State[Phase]:
    """Warm-up ends, unless one bad batch may have done it."""
    if found and not ended and _broke(config, state):
        return _once_more(config, state)
    after = ending.back(config, state, capped=False) if found else ending.at_cap(config, state)
    return _after_break(config, state, after, found)


def _further(config: Config, state: State[Grow]) -> State[Grow]:
    """Growth goes on beyond η_max, if none was given and the loss still falls as it comes to that.

    A loss that is flat for half a decade before does not: a larger LR would gain nothing, and take time.
    """
    growth, verdict = state.phase.growth, ending.verdict_of_now(state)
    comes = grown(config, growth, state.read) < config.high_lr <= grown(config, growth, state.step)
    if not comes or growth.open or config.max_lr is not None:
        return state
    if verdict is not None:  # else it falls too plainly for a test
        flat = verdict.peak_at(config.basin)
        if verdict.streak or flat is None or grown(config, growth, flat) < STEEP * config.high_lr:
            return state
    lr = growth_function(config, growth, math.inf)(state.step)
    beyond = Growth(state.step, lr, growth.span, growth, open=True)
    return state.replace(phase=replace(state.phase, growth=beyond))


def _looked_for_the_fall(config: Config, state: State[Grow]) -> State[Grow]:
    """With the reads in a row that saw the loss above the first ones."""
    if state.phase.origin is None:
        return state
    risen = trend.shift(noise.finite(state.losses), config.fall_threshold, state.phase.origin) > 0
    return state.replace(phase=replace(state.phase, rises=state.phase.rises + 1 if risen else 0))


def _never_fallen(config: Config, state: State[Grow]) -> bool:
    """Whether lift-off was noise: by the last test the loss is nowhere below the first ones for sure.

    A copy of after lift-off would not have been taken then.
    """
    origin, verdict = state.phase.origin, state.verdicts[-1] if state.verdicts else None
    if (state.snapshot_step or 0) > state.phase.lift_off:
        return False
    if config.growth != "two-speed" or origin is None or verdict is None or verdict.mean is None:
        return False
    if state.nonfinite_reads or ending.asked(state):
        return False
    return not verdict.below(origin)


def _collapsed(config: Config, state: State[Grow]) -> bool:
    """Whether it was no learning that made the loss fall: the network gives all inputs the same answer.

    It may do so on its way, too. But then the loss falls again before the LR is three times as large, or at
    η_max. And there have to be weights of before lift-off to go back to.
    """
    growth, kept = state.phase.growth, state.snapshot_step
    if config.growth != "two-speed" or kept is None or kept >= state.phase.lift_off:
        return False
    spread = grown_by(config, growth, growth.start, SPREAD) - growth.start
    if len(state.losses) < spread and grown(config, growth, state.step) < config.high_lr:
        return False
    if copies.constant(state) is not True:
        return False
    # What it has lost since it died: the window may have begun before.
    return trend.shift(noise.finite(state.losses[-spread:]), config.fall_threshold) >= 0


def _broke(config: Config, state: State[Grow]) -> bool:
    """Whether it may have been no LR that ended the fall: losses not finite, or higher from one to the next.

    One bad batch, or other data, do that. An LR that grows by little from update to update seldom does.
    """
    if state.phase.broke is not None or not copies.older_snapshot(state):
        return False
    if state.nonfinite_reads >= config.patience:
        return True
    t_star = state.verdicts[-1].t_star
    if t_star is None or config.spike is None:
        return False
    return trend.jumped(state.losses, math.floor(t_star) - state.first, config.spike)


def _once_more(config: Config, state: State[Grow]) -> State[Grow]:
    """Back to the snapshot, and to an LR from before it. Where it was the LR, it will happen again.

    From as far before that a test has losses to tell it by.
    """
    grow, dead = state.phase, state.nonfinite_reads > 0
    at = max(state.snapshot_step or 0, grow.growth.start)  # the snapshot may be of a growth before
    start = max(ending.lowest(config, grow.growth), grown(config, grow.growth, at - 2 * config.min_losses))
    growth = Growth(state.step, start, config.growth_steps, grow.growth, open=grow.growth.open)
    would = ending.back(config, state, capped=False).phase
    broke = Broke(grown(config, grow.growth, state.step), would.switch, would.kept)
    # Other data may have another level, of which the first losses say nothing.
    origin = grow.origin if dead else None
    return state.replace(
        phase=Grow(growth, grow.lift_off, origin, broke=broke),
        restores=state.restores + 1,
        nonfinite_reads=0,
        losses=no_losses(),
        least=None,
    )


def _after_break(
    config: Config, state: State[Grow], after: State[Stable | Decay], found: bool
) -> State[Stable | Decay]:
    """The switch. Where growth has broken off at such an LR before, that is believed now."""
    broke, switch = state.phase.broke, after.phase.switch
    if broke is None:
        return after
    first = trend.stretch(state.losses[: noise.ENDS], math.inf)
    if broke.kept is not None and broke.kept.below(first) and first.low < math.inf:
        return after.replace(origin=first)  # higher with the same weights: other data
    again = found and switch.reason is broke.switch.reason
    if again and grown(config, state.phase.growth, state.step) <= SAME * broke.lr:
        believed = replace(broke.switch, step=switch.step, rewound_to=switch.rewound_to)
        least = ending.least_level(after.phase.least, broke.kept, None)  # of those weights, before it broke
        return after.replace(phase=replace(after.phase, switch=believed, least=least))
    return after


def _resting(config: Config, state: State[Grow]) -> State[Grow]:
    """The loss has fallen at these LRs already; what it does there again is no evidence, unless it rises.

    It may rest, until the LR is larger, or pass a dip that the fast growth had left behind.
    """
    risen = trend.shift(noise.finite(state.losses), config.fall_threshold) > 0
    if state.step >= state.phase.tests_from:
        return state if risen else state.replace(losses=state.since(state.read))
    if state.nonfinite_reads:
        return state
    return _untested(config, state, renew=state.snapshot_step is not None and not risen)


def _falling(config: Config, state: State[Grow]) -> State[Grow]:
    """No test, since the loss is plainly falling: no minimum is past.

    The snapshot is renewed when the loss has since fallen through a whole stretch, as far as that is known.
    """
    stretch = len(state.losses) // trend.STRETCHES
    due = state.snapshot_step is not None and state.snapshot_step <= state.step - stretch
    return _untested(config, state, renew=due)


def _untested(config: Config, state: State[Grow], *, renew: bool) -> State[Grow]:
    """A read without a test, which may ``renew`` the snapshot, unless the weights of now are none to keep."""
    state = state.replace(phase=replace(state.phase, detections=0))
    # A fall may have turned into an explosion by now.
    well = renew and copies.healthy(config, state) and copies.below_first(config, state)
    return state.replace(snapshot_step=state.step) if well else state
