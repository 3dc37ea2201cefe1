"""The watch after the switch: where the loss rises for good, back to the snapshot, and on with less.

The losses are read in stretches of a fiftieth of the run. If the median of one is above the least so far by
more than noise explains, and by a tenth of what the loss has fallen, the LR was too large after all: the
weights go back to the snapshot, and the LR falls to a third. So it is where a few large losses bring the mean
above the first ones. If the loss is higher right after that than when the snapshot was taken, it was the data
that changed, and the LR goes back to what it was. A smaller rise that lasts for a tenth of the run is told,
and nothing is changed.
"""

from __future__ import annotations

import math
from typing import Final, TypeVar

import numpy as np

from autowu.config import Config
from autowu.controller.cuts import factor, taken_back
from autowu.controller.state import Cut, Decay, Phase, Stable, State, replace
from autowu.detector import noise, trend
from autowu.detector.trend import Stretch

STRETCHES: Final = 50
"""Of the run, each of which is read as one."""

SHORTEST: Final = 10
"""Updates of a stretch, at least: medians of fewer are too noisy."""

LOST: Final = 0.1
"""Share of the fall since the first losses that has to be lost again."""

HIGHER: Final = 0.02
"""The same, where all that follows is that it is told: it may be the data, which are no reason to go back."""

LASTS: Final = 5
"""Stretches in a row, a tenth of the run, after which it is."""

DECADES: Final = 0.3
"""The same of a loss that has fallen tenfold and more, in terms of its logarithm."""

CUT: Final = 1 / 3
"""By which a cut multiplies the LR: half of the decade between a good LR and one that explodes."""

FIRST: Final = 3
"""Losses right after the weights went back: they tell data that have changed from an LR that is too large."""

MOST: Final = 9
"""Cuts, at most: after so many the LR is a 20,000th of the peak, and it is not the LR's fault."""

RENEWED: Final = 0.2
"""Share of the run after which the snapshot is taken anew."""

P = TypeVar("P", bound=Stable | Decay)


def stretch(config: Config, state: State[Phase], of: int = STRETCHES) -> int:
    """Updates from one look to the next: one part ``of`` the run, or of what it has come to by now."""
    return max(SHORTEST, max(config.length, state.read) // of)


def watched(config: Config, state: State[P]) -> State[P]:
    """What follows from the losses since the last look, if anybody looks."""
    if config.watch is None:
        return state
    state = _with_level_of_snapshot(state)
    now, phase, ended = trend.stretch(state.losses, config.watch / math.sqrt(2)), state.phase, state.ended
    enough = len(state.losses) >= SHORTEST  # one NaN in a few is no lost network
    dead, judged = enough and not math.isfinite(now.median), enough and not ended
    changed = any(taken_back(phase.cuts, at) for at in range(len(phase.cuts)))
    blamed = judged and not changed  # once the data have changed, a rise says nothing
    exploded = judged and state.origin is not None and now.low > trend.far_above(state.origin)
    if worse := judged and _worse(config, state):  # by its mean, which is what is told then
        with np.errstate(over="ignore"):
            now = replace(now, median=float(noise.finite(state.losses).mean()))
    if dead or (blamed and (worse or exploded or _risen(state, now))):
        state = _cut_or_not(state, now, dead=dead)
    elif not (worse or exploded):
        state = _well(config, state, now, judged=judged)
    if blamed and len(phase.higher) < LASTS:
        higher = (*phase.higher, now.median) if _risen(state, now, HIGHER) else ()
        state = state.replace(phase=replace(state.phase, higher=higher))
    if ended:  # and what might be told helps nobody
        return state.replace(snapshot_step=None)
    if 2 * state.step >= config.length and state.origin is not None and not _fallen(state):
        return state.replace(phase=replace(state.phase, no_fall=True))
    return state


def _well(config: Config, state: State[P], now: Stretch, *, judged: bool) -> State[P]:
    """Without a rise: ``now`` may be the least level, and the snapshot due to be taken anew."""
    phase, kept = state.phase, state.snapshot_step
    if judged and (phase.least is None or now.high < phase.least.high):
        state = state.replace(phase=replace(phase, least=now))
    due = kept is not None and state.step - kept >= RENEWED * max(config.length, state.read)
    if due and not _doubtful(state):
        return state.replace(snapshot_step=state.step, phase=replace(state.phase, kept=now))
    return state


def _with_level_of_snapshot(state: State[P]) -> State[P]:
    """With the span of the first losses after the switch, where warm-up does not know the snapshot's level.

    They are of its weights, which the LR has not had the time to change much.
    """
    phase = state.phase
    if phase.kept is not None or state.snapshot_step is None or state.read != phase.switch.step:
        return state
    return state.replace(phase=replace(phase, kept=trend.stretch(state.losses[:SHORTEST], math.inf)))


def _doubtful(state: State[P]) -> bool:
    """Whether the last losses have risen, though not yet most of the stretch: no weights to go back to."""
    return _risen(state, trend.stretch(state.losses[-noise.ENDS :], 0.0))


def _cut_or_not(state: State[P], now: Stretch, *, dead: bool) -> State[P]:
    """A cut, unless the loss was higher as soon as the weights had gone back: then it is the data."""
    cuts = state.phase.cuts
    if cuts and cuts[-1].step == state.read and cuts[-1].back_to is not None:
        first = noise.finite(state.losses[:FIRST])  # of weights that the LR has not had the time to spoil
        if dead and not len(first):
            return state
        kept = state.phase.kept or state.phase.least
        if not dead and kept is not None and len(first) and first.min() > kept.high:
            return _undone(state, now)
    return _cut(state, now) if len(cuts) < MOST else state


def _worse(config: Config, state: State[P]) -> bool:
    """Whether the loss is on the mean above its first values, as in warm-up.

    Not once more since the weights went back to this snapshot: it may be no better.
    """
    phase = state.phase
    if phase.cuts and phase.cuts[-1].back_to == state.snapshot_step:
        return False
    return trend.worse(state.losses, config.spike, state.origin, phase.least)


def _risen(state: State[P], now: Stretch, share: float = LOST) -> bool:
    """Whether ``now`` is above the least level for good. Of a loss that never fell that says nothing."""
    least = state.phase.least
    return least is not None and least.below(now) and _lost(state, now, share)


def _lost(state: State[P], now: Stretch, share: float) -> bool:
    """Whether ``now`` is above the median of the least level by so much of the fall.

    Of a loss that has fallen through decades a rise by a decade is next to nothing of that: there, its share
    of the fall's logarithm counts, too.
    """
    if state.phase.least is None or state.origin is None or not _fallen(state):
        return False
    least, first = state.phase.least.median, state.origin.median
    if not now.low > least:
        return False
    if now.median - least > share * (first - least):
        return True
    if not 0 < noise.DECADE * least < first:
        return False
    return math.log(now.median / least) > max(share, DECADES) * math.log(first / least)


def _fallen(state: State[P]) -> bool:
    """Whether the least level is below the first losses by more than noise explains."""
    return state.phase.least is not None and state.phase.least.below(state.origin)


def _cut(state: State[P], now: Stretch) -> State[P]:
    """Back to the snapshot, if there is one, and on with a third of the LR."""
    back_to = state.snapshot_step
    phase = _with_cut(state, now, CUT * factor(state.phase.cuts), back_to)
    if back_to is not None:  # from where those weights are, the loss has to fall anew
        phase = replace(phase, least=phase.kept)
    return state.replace(phase=phase, restores=state.restores + (back_to is not None), nonfinite_reads=0)


def _undone(state: State[P], now: Stretch) -> State[P]:
    """The data have changed: the LR is that of before the cut, and rises say nothing any more."""
    return state.replace(phase=_with_cut(state, now, factor(state.phase.cuts[:-1]), None))


def _with_cut(state: State[P], now: Stretch, share: float, back_to: int | None) -> P:
    """The phase once the LR is a ``share`` of the line that the switch began."""
    phase = state.phase
    least = math.nan if phase.least is None else phase.least.median
    cut = Cut(state.step, share, back_to, now.median, least)
    return replace(phase, cuts=(*phase.cuts, cut))
