"""What a read of the losses decides in warm-up: lift-off, a test, the switch to the decay phase.

Pure functions of configuration and state, in the order in which they apply.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from autowu import noise, reopen
from autowu.config import Config
from autowu.detector import detect
from autowu.rate import growth, growth_ends
from autowu.state import Leg, State, Switch, no_losses

# A run whose loss ended in NaN never showed its minimum: it goes on at half of the last LR known as good.
DEAD_FACTOR = 0.5

# A fall or rise shows only in the medians of five losses, while the fast growth goes on. So the slow growth
# begins at the LR of that many updates before lift-off; and, where the loss rose instead, two decades below
# the LR that it was seen at: one for those updates in a short run, and one for the LR to be found below it.
LAG = noise.ENDS
RETREAT = 100.0


def decide(config: Config, state: State) -> State:
    """All that is decided at a read during warm-up."""
    since = state.losses[max(state.read, state.first) - state.first :]
    alive = math.isfinite(state.losses[-1]) or bool(np.isfinite(since).any())
    state = state.but(dead=0 if alive else state.dead + 1)
    if config.rewind and state.copied is None:
        state = state.but(copied=state.step)
    ended = state.step >= growth_ends(config, state)
    if state.lifted is None:
        return _before_lift_off(config, state, ended)
    if not ended and _settling(config, state):
        renew = state.copied is not None and math.isfinite(state.losses[-1])
        copied = state.step if renew else state.copied
        return state.but(streak=0, copied=copied, first=state.step, losses=no_losses())
    if not ended and config.screen is not None and noise.falling(state.losses, config.screen):
        return _falling(config, state)
    if not ended or config.return_at_cap or state.step % (config.steps_per_epoch or 1) == 0:
        state = _test(config, state)
    if state.streak >= config.patience:
        return _back(config, state, capped=False)
    return _at_cap(config, state) if ended else state


def _before_lift_off(config: Config, state: State, ended: bool) -> State:
    """No minimum counts before the loss has fallen by more than noise explains."""
    assert config.lift_off is not None  # or else lift-off is at step 0
    losses = state.losses[np.isfinite(state.losses)]
    if noise.lifted_off(losses, config.lift_off):
        # Tests look at the slow growth alone: since now, or since a failed sweep, when it began.
        if state.sweeping or config.growth != "two-speed":
            state = state.but(first=state.step, losses=no_losses())
        if state.sweeping:
            leg = Leg(state.step, growth(config, state, state.step - LAG), config.warmup_steps)
            state = state.but(leg=leg, sweeping=False)
        state = state.but(lifted=state.step, copied=state.step if config.rewind else None)
        return _at_cap(config, state) if state.step == config.warmup_steps else state
    dead = state.dead >= config.patience
    risen = dead or (state.sweeping and noise.lifted_off(-losses, config.lift_off))
    if state.sweeping and (ended or risen) and state.step < config.warmup_steps:
        # The fast growth went past whatever there was to see: from the initial weights, at the slow rate.
        low = growth(config, state, state.step) / RETREAT if risen else config.min_lr
        leg = Leg(state.step, max(low, config.min_lr), config.warmup_steps)
        restores = state.restores + (state.copied is not None)
        state = state.but(leg=leg, sweeping=False, restores=restores, dead=0)
        return state.but(first=state.step, losses=no_losses())
    if dead:
        return _back(config, state, capped=False)
    return _at_cap(config, state) if ended else state


def _settling(config: Config, state: State) -> bool:
    """Whether the LR has yet to come back to that of lift-off.

    The loss has fallen at these LRs already. What it does there again is not looked at: it may rest, until
    the LR is larger, or pass a dip that the fast growth had left behind.
    """
    swept = config.growth == "two-speed" and state.leg.start == state.lifted and not state.reopenings
    if not swept or state.dead:
        return False
    return state.step < state.leg.start + LAG * config.warmup_steps / config.sweep_steps


def _falling(config: Config, state: State) -> State:
    """No test, since the loss is plainly falling: no minimum is past.

    The copy is renewed when the loss has since fallen through a whole stretch, as far as the fall is known.
    """
    stretch = len(state.losses) // noise.STRETCHES
    renew = state.copied is not None and state.copied <= state.step - stretch
    return state.but(streak=0, copied=state.step if renew else state.copied)


def _test(config: Config, state: State) -> State:
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


def _at_cap(config: Config, state: State) -> State:
    """The end of warm-up. `paper` decays from here; else the evidence decides, were it of one test only."""
    if not config.return_at_cap:
        return _switch(config, state, None, growth(config, state, state.step), capped=True, rewind=False)
    if state.lifted is None:
        state = _test(config, state)
    verdict = state.verdicts[-1] if state.verdicts else None
    if verdict is not None and verdict.detected:
        return _back(config, state, capped=True)
    if state.lifted is None:
        return _switch(config, state, None, _middle(config), capped=True, rewind=True)
    if verdict is None or verdict.no_evidence:
        # All that is known is that the loss has fallen by lift-off.
        lifted = float(state.lifted)
        return _switch(config, state, lifted, growth(config, state, lifted), capped=True, rewind=True)
    return _switch(config, state, None, growth(config, state, state.step), capped=True, rewind=False)


def _back(config: Config, state: State, *, capped: bool) -> State:
    """To the minimum: Eq. 5 and the LR there."""
    t_star = state.verdicts[-1].t_star if state.verdicts else None
    factor = 1.0
    if state.dead >= config.patience or t_star is None:
        finite = np.flatnonzero(np.isfinite(state.losses))
        known = [float(state.first + finite[-1]) if len(finite) else float(state.leg.start)]
        known += [t_star] if t_star is not None else []
        known += [float(state.copied)] if state.copied is not None and state.lifted is not None else []
        t_star, factor = min(known), DEAD_FACTOR if config.rewind else 1.0
    peak_lr = factor * growth(config, state, t_star)
    if state.lifted is None and peak_lr > _middle(config):
        # A loss that never fell has no minimum but by chance: it says no more than which LRs are too large.
        t_star, peak_lr = None, _middle(config)
    return _switch(config, state, t_star, peak_lr, capped=capped, rewind=True)


def _middle(config: Config) -> float:
    """√(η_min η_max), where no LR is known to be good."""
    return math.sqrt(config.min_lr) * math.sqrt(config.max_lr)


def _switch(
    config: Config, state: State, t_star: float | None, peak_lr: float, *, capped: bool, rewind: bool
) -> State:
    rewound_to = state.copied if rewind else None
    return state.but(
        switch=Switch(state.step, capped, t_star, peak_lr, rewound_to),
        doubt=_doubt(config, state, t_star),
        restores=state.restores + (rewound_to is not None),
        copied=None,
        first=state.step,
        losses=no_losses(),
    )


def _doubt(config: Config, state: State, t_star: float | None) -> reopen.Fall | None:
    """The fall of the loss up to t*, if it was a plain one and there is time for more growth; else None."""
    width = reopen.window(config)
    room = state.step + 2 * width < config.warmup_steps and config.growth != "linear"
    if config.reopen is None or t_star is None or state.dead or not room:
        return None
    end = math.ceil(t_star) - state.first
    before = reopen.fall(config, state.losses[max(0, end - width) : max(0, end)])
    return before if reopen.plain(before, config.reopen) else None
