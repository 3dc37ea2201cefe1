"""The phase machine: pure functions over a frozen state.

    start(config) -> state
    observe(config, state, losses) -> state
    learning_rate(config, state, step) -> η

Warm-up grows the LR. In the paper preset it is tested at each epoch's end whether the minimum of the loss is
past (Algorithm 1). In the default preset growth is fast until lift-off, then slow, and a test comes each time
the LR has grown by a fixed factor. When the minimum has been detected ``patience`` times in a row, or after
⌊ρ_w T⌋ updates, the cap, the decay phase begins. If the loss had been falling up to then, and goes on falling
no faster, the switch was a false alarm, and warm-up goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from autowu import noise, reopen, schedule
from autowu.config import Config
from autowu.detector import detect
from autowu.gp import Array
from autowu.state import Leg, Reopening, State, Switch, no_losses

# A run whose loss ended in NaN never showed its minimum: it goes on at half of the last LR known as good.
DEAD_FACTOR = 0.5

# A fall or rise shows only in the medians of five losses, while the fast growth goes on. So the slow growth
# begins at the LR of that many updates before lift-off; and, where the loss rose instead, two decades below
# the LR that it was seen at: one for those updates in a short run, and one for the LR to be found below it.
LAG = noise.ENDS
RETREAT = 100.0


def start(config: Config) -> State:
    """The state before the first update."""
    sweeping = config.growth == "two-speed"
    span = config.sweep_steps if sweeping else config.warmup_steps
    state = State(
        step=0,
        read_at=0,
        leg=Leg(0, config.min_lr, span),
        sweeping=sweeping,
        lifted=0 if config.lift_off is None else None,
    )
    return state.but(read_at=_next_read(config, state))


def learning_rate(config: Config, state: State, step: int) -> float:
    """η of update ``step`` (counted from 0), for ``state.step ≤ step ≤ state.read_at``; a closed form.

    From ``total_steps`` on the LR stays what it is there.
    """
    return law(config, state)(step)


def law(config: Config, state: State) -> Callable[[int], float]:
    """:func:`learning_rate` as a function of the step alone: good until the next decision."""
    switch = state.switch
    if switch is None:
        return _growth(config, state, config.max_lr)
    if config.decay == "plateau":
        return partial(_constant, switch.peak_lr * config.plateau_factor**state.drops)
    return partial(
        schedule.decay,
        config.decay,
        begin=switch.step,
        end=config.total_steps,
        peak=switch.peak_lr,
        cooldown_fraction=config.cooldown_fraction,
    )


def growth(config: Config, state: State, step: float) -> float:
    """η of warm-up at ``step``, which may be t* and so a real number; never above η_max."""
    return _growth(config, state, config.max_lr)(step)


def _growth(config: Config, state: State, most: float) -> Callable[[float], float]:
    low, high, leg = config.min_lr, config.max_lr, state.leg
    if config.growth == "linear":
        return partial(_linear, config.warmup_steps, low, high, most)
    return partial(schedule.growing, leg.start, leg.span, high / low, leg.lr, most)


def _linear(span: float, low: float, high: float, most: float, step: float) -> float:
    return min(schedule.linear(step, span, low, high), most)


def _constant(lr: float, step: float) -> float:
    return lr


def observe(config: Config, state: State, losses: Array) -> State:
    """Take in the losses of the next updates [n], one each, and decide whatever falls due among them.

    The outcome does not depend on how the losses are cut into calls. A caller may hold them back until
    ``state.read_at``; until then :func:`learning_rate` needs none.
    """
    losses = np.asarray(losses, dtype=np.float64)
    while len(losses):
        due = len(losses) if state.read_at is None else state.read_at - state.step
        state, losses = _take(state, losses[:due]), losses[due:]
        if state.step == state.read_at:
            state = _decide(config, state)
            state = state.but(read=state.step, read_at=_next_read(config, state))
    return state


def _take(state: State, losses: Array) -> State:
    kept = state.losses if state.read_at is None else np.concatenate([state.losses, losses])
    return state.but(step=state.step + len(losses), losses=kept)


def _decide(config: Config, state: State) -> State:
    if state.switch is None:
        return _warmup(config, state)
    return _plateau(config, state) if state.doubt is None else _settle(config, state)


# --- when ---------------------------------------------------------------------------------------------


def _next_read(config: Config, state: State) -> int | None:
    if state.switch is None:
        return min(_next_test(config, state), _end(config, state))
    if state.doubt is not None:
        return state.switch.step + 2 * reopen.window(config)
    if config.decay == "plateau":
        end = state.step + max(1, config.total_steps // config.plateau_intervals)
        return end if end < config.total_steps else None
    return None


def _next_test(config: Config, state: State) -> int:
    """The end of the epoch, or the step at which the LR will have grown by ``test_growth``.

    An LR that has come to η_max before the cap stays there; tests go on as if it grew.
    """
    if config.test_growth is None:
        assert config.steps_per_epoch is not None  # Config sees to it
        return (state.step // config.steps_per_epoch + 1) * config.steps_per_epoch
    target = _growth(config, state, math.inf)(state.step) * config.test_growth
    low, high, leg = config.min_lr, config.max_lr, state.leg
    if config.growth == "linear":
        at = schedule.linear_step(target, config.warmup_steps, low, high)
    else:
        at = leg.start + schedule.exponential_step(target, leg.span, low, high, leg.lr)
    return max(state.step + 1, math.ceil(at - 1e-9))


def _end(config: Config, state: State) -> int:
    """The end of the fast growth, if it is on; else the cap, ⌊ρ_w T⌋."""
    return config.sweep_steps if state.sweeping else config.warmup_steps


# --- warm-up ------------------------------------------------------------------------------------------


def _warmup(config: Config, state: State) -> State:
    """All that is decided at a read during warm-up."""
    since = state.losses[max(state.read, state.first) - state.first :]
    alive = math.isfinite(state.losses[-1]) or bool(np.isfinite(since).any())
    state = state.but(dead=0 if alive else state.dead + 1)
    if config.rewind and state.copied is None:
        state = state.but(copied=state.step)
    ended = state.step >= _end(config, state)
    if state.lifted is None:
        return _before_lift_off(config, state, ended)
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
        # Tests look at the slow growth alone: since now, or since the sweep failed and it began.
        again = not state.sweeping and state.leg.start > 0
        if state.sweeping:
            leg = Leg(state.step, growth(config, state, state.step - LAG), config.warmup_steps)
            state = state.but(leg=leg, sweeping=False)
        if not again:
            state = state.but(first=state.step, losses=no_losses())
        state = state.but(lifted=state.step, copied=state.step if config.rewind else None)
        return _at_cap(config, state) if state.step == config.warmup_steps else state
    dead = state.dead >= config.patience
    risen = dead or (state.sweeping and noise.lifted_off(-losses, config.lift_off))
    if state.sweeping and (ended or risen) and state.step < config.warmup_steps:
        # The fast growth went past whatever there was to see: once more from the start, at the slow rate.
        low = growth(config, state, state.step) / RETREAT if risen else config.min_lr
        leg = Leg(state.step, max(low, config.min_lr), config.warmup_steps)
        restores = state.restores + (state.copied is not None)
        state = state.but(leg=leg, sweeping=False, restores=restores, dead=0)
        return state.but(first=state.step, losses=no_losses())
    if dead:
        return _back(config, state, capped=False)
    return _at_cap(config, state) if ended else state


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
    middle = math.sqrt(config.min_lr) * math.sqrt(config.max_lr)
    if verdict is not None and verdict.detected:
        back = _back(config, state, capped=True)
        assert back.switch is not None
        # A loss that never fell has no minimum but by chance: it says no more than which LRs are too large.
        if state.lifted is not None or back.switch.peak_lr < middle:
            return back
    if state.lifted is None:
        # No LR is known to be good: the middle of the range.
        return _switch(config, state, None, middle, capped=True, rewind=True)
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
    return _switch(config, state, t_star, factor * growth(config, state, t_star), capped=capped, rewind=True)


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


# --- a switch that may be wrong -------------------------------------------------------------------------


def _doubt(config: Config, state: State, t_star: float | None) -> reopen.Fall | None:
    """The fall of the loss up to t*, if it was a plain one and there is time for more growth; else None."""
    width = reopen.window(config)
    room = state.step + 2 * width < config.warmup_steps and config.growth != "linear"
    if config.reopen is None or t_star is None or state.dead or not room:
        return None
    end = math.ceil(t_star) - state.first
    before = reopen.fall(config, state.losses[max(0, end - width) : max(0, end)])
    return before if reopen.plain(before, config.reopen) else None


def _settle(config: Config, state: State) -> State:
    """Back to warm-up, from the LR as it is, if the loss refutes the switch; else the switch is final."""
    assert state.switch is not None
    assert state.doubt is not None
    assert config.reopen is not None  # or else there is no doubt
    after = reopen.fall(config, state.losses)
    settled = state.but(doubt=None, first=state.step, losses=no_losses())
    if not reopen.refuted(state.doubt, after, config.reopen):
        return settled
    lr = learning_rate(config, state, state.step)
    return settled.but(
        switch=None,
        reopenings=(*state.reopenings, Reopening(state.step, lr, state.switch, state.leg)),
        leg=Leg(state.step, lr, config.warmup_steps),
        lifted=state.step,
        streak=0,
    )


# --- decay --------------------------------------------------------------------------------------------


def _plateau(config: Config, state: State) -> State:
    """Drop the LR if the mean loss of the interval is not below the last one's by two standard errors."""
    losses = state.losses[np.isfinite(state.losses)]
    state = state.but(first=state.step, losses=no_losses())
    if not len(losses):
        return state
    mean = float(losses.mean())
    variance = float(losses.var(ddof=1)) / len(losses) if len(losses) > 1 else 0.0
    if state.previous is not None:
        before, variance_before = state.previous
        if before - mean <= 2 * math.sqrt(variance + variance_before):
            return state.but(drops=state.drops + 1, previous=None)
    return state.but(previous=(mean, variance))
