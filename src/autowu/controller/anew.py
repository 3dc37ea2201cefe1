"""Growth anew at a lower LR, with the weights of before: after a rise, an explosion, a fall that was none."""

from __future__ import annotations

from typing import Final

import numpy as np

from autowu.config import Config
from autowu.controller import copies, ending
from autowu.controller.rate import cap, grown, grown_by
from autowu.controller.state import Grow, Growth, Phase, Reason, Search, State, Sweep, no_losses
from autowu.detector import noise, trend

# A rise shows only in medians, while the fast growth goes on. So the slow growth begins three decades below
# the LR that it was seen at: one for those updates in a short run, one for how late noise lets it be seen,
# and one for the LR that is looked for.
RETREAT: Final = 1000.0

LOWEST: Final = 1e-12
"""Share of η_min below which no sweep begins anew: a loss that explodes there does so at any LR."""


def slower(
    config: Config, state: State[Sweep | Search | Grow], lr: float, too_large: float | None
) -> State[Search]:
    """Growth went past whatever there was to see: from the initial weights at ``lr``, at the slow rate."""
    before = state.phase.growth
    growth = Growth(state.step, max(lr, ending.lowest(config, before)), config.growth_steps, before)
    return state.replace(
        phase=Search(growth, too_large=too_large),
        restores=state.restores + copies.older_snapshot(state),
        nonfinite_reads=0,
        losses=no_losses(),
    )


# --- a rise --------------------------------------------------------------------------------------------


def hidden(config: Config, state: State[Sweep | Search]) -> State[Phase]:
    """Noise, or the speed of the sweep, hid the fall of the loss, and the LR is far too large already.

    So it seems; or something else has raised the loss, and growth comes to this LR once more.
    Back to the initial weights, three decades lower, at the slow rate.
    """
    lr, known = grown(config, state.phase.growth, state.step), state.phase.too_large
    return slower(config, state, lr / RETREAT, lr if known is None else min(lr, known))


def late(config: Config, state: State[Sweep | Search]) -> State[Phase]:
    """The loss has fallen, but the LR is large by then. It would have at a smaller one, given time.

    As it is, the weights may be spoiled, be they of a network that has left a plateau, of one that was
    trained before, or of one whose answers are all the same now. Back to the initial ones, at the slow rate,
    two decades lower: noise lets a fall be seen sooner than a rise.
    """
    lr = grown(config, state.phase.growth, state.step)
    return slower(config, state, lr * ending.MARGIN / RETREAT, state.phase.too_large)


# --- an explosion from η_min on ------------------------------------------------------------------------


def exploded(config: Config, state: State[Sweep | Search]) -> bool:
    """Whether the loss has grown tenfold in the first decade of the sweep: that begins too high.

    The median of the second half of its finite losses is above ten times that of the first half, or above a
    hundred times the first loss, since the first update may be the one. Or none is finite from its end on.
    """
    growth = state.phase.growth
    if growth.lr < 1.01 * LOWEST * config.min_lr:
        return False
    decade = state.losses[: grown_by(config, growth, growth.start, ending.MARGIN) - growth.start]
    losses = noise.finite(decade)
    if not np.isfinite(state.losses[len(decade) - 1 :]).any():
        return len(losses) > 0  # else there is nothing that they have grown from
    if len(losses) < 2:
        return False
    first, second = (trend.median(half) for half in np.split(losses, [len(losses) // 2]))
    return 0 < noise.DECADE * min(abs(first), noise.DECADE * abs(float(losses[0]))) < second


def lowered(config: Config, state: State[Sweep | Search]) -> State[Sweep]:
    """The sweep once more, from three decades below where it began; at this LR the loss exploded."""
    before = state.phase.growth
    growth = Growth(state.step, before.lr / RETREAT, config.sweep_steps, before, open=True)
    return state.replace(
        phase=Sweep(growth, too_large=grown(config, before, state.step)),
        restores=state.restores + copies.older_snapshot(state),
        nonfinite_reads=0,
        losses=no_losses(),
        origin=None,
        least=None,
    )


# --- lift-off that was none ----------------------------------------------------------------------------


def hidden_fall(config: Config, state: State[Grow]) -> State[Phase]:
    """Noise was taken for lift-off: as after a rise, three decades below it.

    Where no time is left for growth to come back beyond a modest LR, the decay begins at that.
    """
    growth = state.phase.growth
    lr = grown(config, growth, state.step)
    lower = slower(config, state, growth.lr / RETREAT, lr)
    modest = ending.fallback(config, growth, good=ending.middle(config), too_large=lr)
    if grown(config, lower.phase.growth, ending.last_step(config, lower)) > modest:
        return lower
    capped = state.step >= cap(config, growth)
    return ending.switch(config, state, None, modest, Reason.RISE, rewind=True, capped=capped)


def before_collapse(config: Config, state: State[Grow]) -> State[Search] | None:
    """As after a rise at the LR that slow growth began at, with which the network has collapsed.

    None where that leaves no room below it, or no time to come to it again.
    """
    growth = state.phase.growth
    lr = growth.before.lr if growth.open and growth.before is not None else growth.lr
    lower = slower(config, state, lr / RETREAT, lr)
    again = grown(config, lower.phase.growth, ending.last_step(config, lower))
    return lower if ending.MARGIN * lower.phase.growth.lr <= lr < again else None
