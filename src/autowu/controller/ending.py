"""A test, the switch to the decay phase that may follow from it, and the LR where no minimum was seen."""

from __future__ import annotations

import math
from typing import Final, TypeVar

import numpy as np

from autowu.config import Config
from autowu.controller import copies
from autowu.controller.rate import cap, grown, line
from autowu.controller.state import (
    Decay,
    Grow,
    Growth,
    Reason,
    Stable,
    State,
    Sweep,
    Switch,
    WarmUp,
    no_losses,
    replace,
)
from autowu.detector import noise, trend
from autowu.detector.detect import Verdict, detect
from autowu.detector.trend import Stretch

# As in LR range tests: the loss explodes at some ten times a good LR (docs/algorithm.md, "Two speeds").
MARGIN: Final = 10.0

# Of the time for the whole range, in which a sweep that has seen nothing goes on: three decades beyond η_max.
FURTHER: Final = 1.6

# A run whose loss ended in NaN never showed its minimum: it goes on at half of the last LR known as good.
DEAD_FACTOR: Final = 0.5

W = TypeVar("W", bound=WarmUp)


def last_step(config: Config, state: State[WarmUp]) -> int:
    """The last step of this growth: its cap, or when warm-up was asked to end."""
    growth, asked = state.phase.growth, state.horizon.warmup_to
    last = sweep_end(config, growth) if isinstance(state.phase, Sweep) else cap(config, growth)
    return last if asked is None else min(last, asked)


def sweep_end(config: Config, growth: Growth) -> int:
    """The last step of the fast growth, where the loss moves in none of it."""
    if config.max_lr is not None:
        return cap(config, growth)
    return min(growth.start + math.ceil(FURTHER * growth.span), config.warmup_steps)


def asked(state: State[WarmUp]) -> bool:
    """Whether warm-up has come to where it was asked to end."""
    return state.horizon.warmup_to is not None and state.step >= state.horizon.warmup_to


# --- a test --------------------------------------------------------------------------------------------


def test(config: Config, state: State[Grow]) -> State[Grow]:
    """Ask the detector whether the minimum is past; while the loss falls to its end, renew the snapshot."""
    grow = state.phase
    state, verdict = with_verdict(config, state, grow.detections, past=copies.worse(config, state))
    state = state.replace(phase=replace(grow, detections=verdict.streak))
    if verdict.no_evidence:  # of too few losses a test says nothing; their median, that lift-off was no noise
        before = (state.snapshot_step or 0) < grow.lift_off
        falling = before and grow.origin is not None and copies.below_first(config, state)
    else:
        falling = verdict.falling and (grow.origin is None or verdict.below(grow.origin))
    if config.rewind and falling and not verdict.streak and copies.healthy(config, state):
        return state.replace(snapshot_step=state.step)
    return state


def with_verdict(
    config: Config, state: State[W], detections: int = 0, *, past: bool = False
) -> tuple[State[W], Verdict]:
    """With one more verdict, after so many ``detections`` in a row; those before lift-off are for the record.

    Where no loss was finite since the last read, or the minimum is known to be ``past``, it counts as such.
    """
    verdict, adam = detect(config, state.losses, state.first, state.adam)
    past = past or verdict.detected or state.nonfinite_reads > 0
    verdict = replace(verdict, streak=detections + 1 if past else 0)
    return state.replace(adam=adam, verdicts=(*state.verdicts, verdict)), verdict


def verdict_of_now(state: State[WarmUp]) -> Verdict | None:
    """The test at this read, if there was one."""
    verdict = state.verdicts[-1] if state.verdicts else None
    return verdict if verdict is not None and verdict.step == state.step else None


# --- the LR where no minimum was seen ------------------------------------------------------------------


def fallback(
    config: Config,
    growth: Growth,
    *,
    good: float | None = None,
    too_large: float | None = None,
) -> float:
    """The first LR of the decay phase where the loss has shown no minimum.

    ======================  ======================================================================
    known                   LR
    ======================  ======================================================================
    a good one              that
    one that is too large   an order of magnitude below
    both                    the lower of the two
    neither                 an order of magnitude below η_max, since it takes that, at least, to make
                            the loss explode
    ======================  ======================================================================

    Args:
        config: the run's.
        growth: the last one; the LR is not below both η_min and where that began.
        good: the largest LR at which the loss is known, or at the cap taken, to be well.
        too_large: the smallest LR at which it rose, or ceased to be finite.
    """
    if too_large is None and good is not None:
        return good
    lr = max((config.high_lr if too_large is None else too_large) / MARGIN, lowest(config, growth))
    return lr if good is None else min(good, lr)


def middle(config: Config) -> float:
    """√(η_min η_max), whose product may be too small or too large for floating point."""
    return math.sqrt(config.min_lr) * math.sqrt(config.high_lr)


def lowest(config: Config, growth: Growth) -> float:
    """η_min, or where the ``growth`` began, if that is below it."""
    return min(config.min_lr, growth.lr)


# --- the switch ----------------------------------------------------------------------------------------


def at_cap(config: Config, state: State[Grow]) -> State[Stable | Decay]:
    """The end of warm-up. `paper` decays from here; else the evidence decides, were it of one test only."""
    grow, verdict = state.phase, verdict_of_now(state)
    t_star, capped = None, not asked(state)
    if config.return_at_cap or not capped:
        if verdict is not None and (verdict.detected or state.nonfinite_reads):
            return back(config, state, capped=capped)
        # Without a test all that is known is that the loss had fallen by lift-off, or before growth anew.
        since = max(grow.lift_off, grow.growth.start)
        t_star = float(since) if verdict is None or verdict.no_evidence else verdict.peak_at(config.basin)
        if t_star is not None and copies.constant(state):
            t_star = min(t_star, _well_at(state))
        if (state.snapshot_step or 0) < since and len(state.losses) and copies.well(config, state):
            state = state.replace(snapshot_step=None)  # nothing is wrong with the weights of now
    peak_lr = grown(config, grow.growth, state.step if t_star is None else t_star)
    rewind, reason = t_star is not None, Reason.CAP if capped else Reason.ASKED
    return switch(config, state, t_star, peak_lr, reason, rewind=rewind, capped=capped)


def _well_at(state: State[Grow]) -> float:
    """The last step that is known to be well: that of the copy, which may be of a growth before. None: ∞."""
    kept = state.snapshot_step
    return math.inf if kept is None else float(max(kept, state.phase.growth.start))


def back(config: Config, state: State[Grow], *, capped: bool) -> State[Stable | Decay]:
    """To the minimum: Eq. 5 and the LR there."""
    growth, verdict, well = state.phase.growth, state.verdicts[-1], _well_at(state)
    t_star = verdict.peak_at(config.basin)
    if t_star is not None and (copies.worse(config, state) or copies.constant(state)):
        t_star = min(t_star, well)
    seen = verdict.detected or not state.nonfinite_reads  # and no argmin among losses that are not finite
    if t_star is not None and state.nonfinite_reads < config.patience and seen:
        lr = grown(config, growth, t_star)
        return switch(config, state, t_star, lr, Reason.MINIMUM, rewind=True, capped=capped)
    finite = np.flatnonzero(np.isfinite(state.losses))
    last = state.first + finite[-1] if len(finite) else growth.start
    good_at = min(float(last), well, math.inf if t_star is None else t_star)
    peak_lr = (DEAD_FACTOR if config.rewind else 1.0) * grown(config, growth, good_at)
    return switch(config, state, good_at, peak_lr, Reason.NONFINITE, rewind=True, capped=capped)


def switch(
    config: Config,
    state: State[WarmUp],
    t_star: float | None,
    peak_lr: float,
    reason: Reason,
    *,
    rewind: bool = False,
    capped: bool = False,
) -> State[Stable | Decay]:
    """The decay phase begins, at ``peak_lr``; without a known end that is held."""
    phase = state.phase
    reads = phase.detections if isinstance(phase, Grow) else 0
    decided = Switch(
        step=state.step,
        capped=capped,
        t_star=t_star,
        peak_lr=peak_lr,
        rewound_to=state.snapshot_step if rewind and state.snapshot_step != state.step else None,
        reason=reason,
        reads=state.nonfinite_reads if reason is Reason.NONFINITE else reads,
    )
    rewound = decided.rewound_to is not None
    kept = _at_snapshot(state)
    least = None if t_star is None else least_level(_before(config, state, t_star), state.least, kept)
    if decided.rewound_to == 0 and least is not None:  # the first weights have to fall anew, from their level
        least = kept
    end = state.horizon.end
    if config.decay == "plateau" and not state.horizon.at_once:
        after: Stable | Decay = Decay(decided, phase.growth, least, kept)
    elif end is None:
        after = Stable(decided, phase.growth, least, kept)
    else:
        falls = line(config, state.step, end, at_once=state.horizon.at_once)
        after = Decay(decided, phase.growth, least, kept, lines=(falls,))
    watched = config.watch is not None and config.rewind and not state.ended
    return state.replace(
        phase=after,
        restores=state.restores + rewound,
        # The copy stays, for the watch; where none goes back, the weights of now are to be kept.
        snapshot_step=(state.snapshot_step if rewound else state.step) if watched else None,
        nonfinite_reads=0,
        losses=no_losses(),
    )


def least_level(before: Stretch | None, seen: Stretch | None, kept: Stretch | None) -> Stretch | None:
    """The level that the decay is not to rise above: that before t*, or the least one ``seen`` in warm-up.

    Weights that had not come down to that when they were ``kept`` have to fall to it anew.
    """
    if seen is None or seen.below(kept):
        return before
    return seen if before is None or seen.high < before.high else before


def _at_snapshot(state: State[WarmUp]) -> Stretch | None:
    """The span of the losses up to the snapshot or, where they are not known, of the first after it."""
    if state.snapshot_step == 0:
        return state.origin
    at = (state.step if state.snapshot_step is None else state.snapshot_step) - state.first
    if at < 0:
        return None
    for losses in (state.losses[max(0, at - 2 * noise.ENDS) : at], state.losses[at : at + noise.ENDS]):
        if len(finite := noise.finite(losses)) >= noise.ENDS:
            return trend.stretch(finite, math.inf)
    return None


def _before(config: Config, state: State[WarmUp], t_star: float) -> Stretch | None:
    """The losses up to t*, which the decay is not to rise above."""
    end = math.floor(t_star) - state.first
    last = state.losses[max(0, end - 2 * trend.end_width(len(state.losses))) : max(0, end)]
    found = trend.stretch(last, (config.watch or 0.0) / math.sqrt(2)) if len(last) else None
    return found if found is not None and math.isfinite(found.median) else None
