"""Changes of AutoWU that are tried in training here and nowhere else: what would they do to the end of a run?

Each stands in for one or two functions of the library while a run is trained. One that earns its place goes
into the library, and leaves this file; what the others did is in docs/quality-ablations.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Final
from unittest import mock

import numpy as np
import torch

from autowu.config import SHORTEST_SWEEP, Config
from autowu.controller import ending, machine
from autowu.controller.phases import growth, sweep
from autowu.controller.state import Leg, State, no_losses
from autowu.detector import trend
from autowu.train.run import loop
from autowu.train.run.run import Run

AVERAGED: Final = 0.05  # of the run: the horizon of the average of the weights
REWARM: Final = 0.02  # of the run
WIDTH: Final = 5  # losses in a median of the fast sweep, as at lift-off
SPAN: Final = 200  # updates for the whole range of LRs, as the slow growth takes in a run of 400

_law, _switch, _detect, _update = machine.law, ending.switch, ending.detect, loop.update
_test, _before, _falling = ending.test, sweep.before, growth._falling


def peak_times(factor: float) -> Callable[..., State]:
    """The decay begins at ``factor`` η_t* in place of η_t*; not at a cap without a minimum."""

    def switch(config: Config, state: State, t_star: float | None, peak_lr: float, **how: Any) -> State:
        return _switch(config, state, t_star, peak_lr * (1.0 if t_star is None else factor), **how)

    return switch


def rewarmed(config: Config, state: State) -> Callable[[int], float]:
    """After the rewind the LR comes up to the decay linearly, in 2% of the run."""
    law, switch = _law(config, state), state.switch
    if switch is None:
        return law
    updates = max(1, round(REWARM * config.total_steps))
    return lambda step: law(step) * min(1.0, (step - switch.step + 1) / updates)


def constant(config: Config, state: State) -> Callable[[int], float]:
    """The peak LR to the end of the run."""
    switch = state.switch
    return _law(config, state) if switch is None else lambda step: switch.peak_lr


def averaging(state: Run, batches: Any) -> torch.Tensor:
    """An exponential average of the weights since the switch, in their place after the last update."""
    loss = _update(state, batches)
    if state.method.schedule.phase != "decay":
        return loss
    weights = {k: v for k, v in state.model.state_dict().items() if v.is_floating_point()}
    mean: dict[str, torch.Tensor] | None = getattr(state, "mean_weights", None)
    with torch.no_grad():
        if mean is None:
            mean = {name: tensor.clone() for name, tensor in weights.items()}
            state.mean_weights = mean  # type: ignore[attr-defined]
        for name, tensor in weights.items():
            mean[name].lerp_(tensor, 1 / (AVERAGED * state.total_steps))
            if state.step == state.total_steps - 1:
                tensor.copy_(mean[name])
    return loss


def steepest(config: Config, *of: Any) -> Any:
    """t* where the smoothed loss falls fastest, the signal of AdaLRS (arXiv 2506.13274)."""
    verdict, adam = _detect(config, *of)
    if verdict.detected and verdict.mean is not None:
        place = int(np.gradient(verdict.mean).argmin()) / (len(verdict.mean) - 1)
        verdict = replace(verdict, argmins=(place,) * len(verdict.argmins))
    return verdict, adam


def bending(config: Config, state: State) -> State:
    """The LR grows twice as fast while the smoothed loss falls to its end, and slowly where it does not."""
    state = _test(config, state)
    verdict = state.verdicts[-1]
    quick = verdict.falling and not verdict.detected
    span = config.warmup_steps // 2 if quick else config.warmup_steps
    if state.lifted is None or state.leg.span == span:
        return state
    return state.but(leg=Leg(state.step, machine.growth(config, state, state.step), span))


def at_fixed_rate(start: int, lr: float, span: int) -> Leg:
    """The slow growth takes as many updates for a decade in every run, however long that is."""
    return Leg(start, lr, SPAN)


def back_at_fixed_rate(config: Config, state: State) -> float:
    """When the LR is back at that of lift-off."""
    return state.leg.start + trend.ends(state.leg.start) * SPAN / config.sweep_steps


def fixed_sweep(config: Config) -> int:
    """The fast growth takes as many updates in every run, however long that is."""
    return min(SHORTEST_SWEEP, config.warmup_steps)


def first_copy(config: Config, state: State) -> State:
    """The copy to rewind to stays the one of lift-off, though the loss falls on."""
    return _test(config, state).but(copied=state.copied)


def first_copy_of_a_fall(config: Config, state: State) -> State:
    """The same where a fall is too plain to need a test."""
    return _falling(config, state).but(copied=state.copied)


def latest_copy(config: Config, state: State) -> State:
    """The copy to rewind to is renewed at each test that detects no minimum, whatever the loss does."""
    tested = _test(config, state)
    renew = state.copied is not None and not tested.verdicts[-1].detected and np.isfinite(state.losses[-1])
    return tested.but(copied=state.step) if renew else tested


def sweep_first(config: Config, state: State, ended: bool) -> State:
    """The fast sweep goes on until the loss has risen; then back to the start, to a tenth of its best LR.

    From there the growth is slow, and tests count at once. A sweep that ends otherwise goes on as ever.
    """
    losses = state.losses[np.isfinite(state.losses)]
    if not state.sweeping or len(losses) < 2 * WIDTH:
        return _before(config, state, ended) if not state.sweeping else state
    medians = np.median(np.lib.stride_tricks.sliding_window_view(losses, WIDTH), axis=1)
    best = int(medians.argmin())
    assert config.lift_off is not None
    fallen = trend.shift(losses[: best + WIDTH], config.lift_off) < 0
    if fallen and trend.shift(losses[best:], config.lift_off) > 0:
        lr = max(config.min_lr, machine.growth(config, state, best + WIDTH // 2) / 10)
        leg = Leg(state.step, lr, config.warmup_steps)
        restores = state.restores + (state.copied is not None)
        state = state.but(leg=leg, sweeping=False, restores=restores, lifted=state.step)
        return state.but(first=state.step, losses=no_losses(), copied=state.step if config.rewind else None)
    return _before(config, state, ended) if ended or state.dead else state


CHANGES: Final[dict[str, Mapping[str, Any]]] = {
    "peak × 0.5": {"autowu.controller.ending.switch": peak_times(0.5)},
    "peak × 0.7": {"autowu.controller.ending.switch": peak_times(0.7)},
    "peak × 1.4": {"autowu.controller.ending.switch": peak_times(math.sqrt(2))},
    "peak × 2": {"autowu.controller.ending.switch": peak_times(2.0)},
    "re-warm after the rewind": {"autowu.controller.machine.law": rewarmed},
    "average of the weights": {"autowu.train.run.loop.update": averaging},
    "average, constant LR": {
        "autowu.train.run.loop.update": averaging,
        "autowu.controller.machine.law": constant,
    },
    "steepest fall, not least loss": {"autowu.controller.ending.detect": steepest},
    "growth slows as the loss bends": {"autowu.controller.ending.test": bending},
    "slow rate fixed per update": {
        "autowu.controller.phases.sweep.Leg": at_fixed_rate,
        "autowu.controller.phases.growth._settled_at": back_at_fixed_rate,
    },
    "fast rate fixed per update": {"autowu.config.Config.sweep_steps": property(fixed_sweep)},
    "copy of lift-off": {
        "autowu.controller.ending.test": first_copy,
        "autowu.controller.phases.growth._falling": first_copy_of_a_fall,
    },
    "copy before the first detection": {"autowu.controller.ending.test": latest_copy},
    "sweep, back, short growth": {"autowu.controller.phases.sweep.before": sweep_first},
}


@contextmanager
def applied(change: str | None) -> Iterator[None]:
    """Within it the library works with the change of that name; None: as it is."""
    with ExitStack() as stack:
        for target, function in CHANGES[change].items() if change else ():
            stack.enter_context(mock.patch(target, function))
        yield
