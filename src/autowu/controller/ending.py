"""A test, and what may follow from it: the switch to the decay phase.

Pure functions of configuration and state.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np

from autowu.config import Config
from autowu.controller.phases import decay
from autowu.controller.rate import growth
from autowu.controller.state import State, Switch, no_losses
from autowu.detector import trend
from autowu.detector.detect import detect

# A run whose loss ended in NaN never showed its minimum: it goes on at half of the last LR known as good.
DEAD_FACTOR: Final = 0.5


def test(config: Config, state: State) -> State:
    """Ask the detector whether the minimum is past; while the loss falls to its end, renew the copy."""
    verdict, adam = detect(config, state.losses, state.first, state.adam, _doublings(config, state))
    if state.dead:
        # No finite loss since the last read: as far as can be known, the minimum is past.
        verdict = replace(verdict, p_min=(1.0,) * config.subsets, detected=True)
    verdict = replace(verdict, streak=state.streak + 1 if verdict.detected else 0)
    state = state.but(streak=verdict.streak, adam=adam, verdicts=(*state.verdicts, verdict))
    if config.rewind and verdict.falling and not verdict.detected and np.isfinite(state.losses[-1]):
        state = state.but(copied=state.step)
    return state


def _doublings(config: Config, state: State) -> float:
    """How often the LR has doubled over the window; 0 for a growth that takes longer and longer for it."""
    if config.growth == "linear":
        return 0.0
    return math.log2(growth(config, state, state.step) / growth(config, state, state.first))


def at_cap(config: Config, state: State) -> State:
    """The end of warm-up. `paper` decays from here; else the evidence decides, were it of one test only."""
    if not config.return_at_cap:
        return switch(config, state, None, growth(config, state, state.step), capped=True, rewind=False)
    verdict = state.verdicts[-1] if state.verdicts else None
    if verdict is not None and verdict.detected:
        return back(config, state, capped=True)
    if verdict is None or verdict.no_evidence:
        # All that is known is that the loss has fallen by lift-off.
        assert state.lifted is not None  # `liftoff` sees to a run without it
        lifted = float(state.lifted)
        return switch(config, state, lifted, growth(config, state, lifted), capped=True, rewind=True)
    return switch(config, state, None, growth(config, state, state.step), capped=True, rewind=False)


def back(config: Config, state: State, *, capped: bool) -> State:
    """To the minimum: Eq. 5 and the LR there."""
    t_star = state.verdicts[-1].t_star if state.verdicts else None
    factor = 1.0
    if state.dead >= config.patience or t_star is None:
        finite = np.flatnonzero(np.isfinite(state.losses))
        known = [float(state.first + finite[-1]) if len(finite) else float(state.leg.start)]
        known += [t_star] if t_star is not None else []
        known += [float(state.copied)] if state.copied is not None else []
        t_star, factor = min(known), DEAD_FACTOR if config.rewind else 1.0
    return switch(config, state, t_star, factor * growth(config, state, t_star), capped=capped, rewind=True)


def switch(
    config: Config, state: State, t_star: float | None, peak_lr: float, *, capped: bool, rewind: bool
) -> State:
    """The decay phase begins, at ``peak_lr``."""
    rewound_to = state.copied if rewind else None
    return state.but(
        switch=Switch(state.step, capped, t_star, peak_lr, rewound_to),
        doubt=_doubt(config, state, t_star),
        restores=state.restores + (rewound_to is not None),
        copied=None,
        first=state.step,
        losses=no_losses(),
    )


def _doubt(config: Config, state: State, t_star: float | None) -> trend.Fall | None:
    """The fall of the loss up to t*, if it was a plain one and there is time for more growth; else None."""
    if config.reopen is None or t_star is None or state.dead or not decay.in_time(config, state.step):
        return None
    width = decay.window(config)
    end = math.ceil(t_star) - state.first
    before = trend.fall(config, state.losses[max(0, end - width) : max(0, end)])
    return before if trend.plain(before, config.reopen) else None
