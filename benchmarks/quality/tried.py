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
from autowu.controller.phases import growth
from autowu.controller.rate import grown
from autowu.controller.state import Decay, Grow, Growth, Reason, State, WarmUp
from autowu.train.run import loop
from autowu.train.run.run import Run

AVERAGED: Final = 0.05  # of the run: the horizon of the average of the weights
REWARM: Final = 0.02  # of the run

_lr_function, _switch, _detect, _update = machine.lr_function, ending.switch, ending.detect, loop.update
_test, _falling = ending.test, growth._falling


def peak_times(factor: float) -> Callable[..., State[Decay]]:
    """The decay begins at ``factor`` η_t* in place of η_t*; not at a cap without a minimum."""

    def switch(
        config: Config,
        state: State[WarmUp],
        t_star: float | None,
        peak_lr: float,
        reason: Reason,
        **how: Any,
    ) -> State[Decay]:
        peak_lr *= 1.0 if t_star is None else factor
        return _switch(config, state, t_star, peak_lr, reason, **how)

    return switch


def rewarmed(config: Config, state: State[Any]) -> Callable[[int], float]:
    """After the rewind the LR comes up to the decay linearly, in 2% of the run."""
    law, switch = _lr_function(config, state), state.switch
    if switch is None:
        return law
    updates = max(1, round(REWARM * config.total_steps))
    return lambda step: law(step) * min(1.0, (step - switch.step + 1) / updates)


def constant(config: Config, state: State[Any]) -> Callable[[int], float]:
    """The peak LR to the end of the run."""
    switch = state.switch
    return _lr_function(config, state) if switch is None else lambda step: switch.peak_lr


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


def bending(config: Config, state: State[Grow]) -> State[Grow]:
    """The LR grows twice as fast while the smoothed loss falls to its end, and slowly where it does not."""
    state = _test(config, state)
    verdict, phase = state.verdicts[-1], state.phase
    quick = verdict.falling and not verdict.detected
    span = config.growth_steps // 2 if quick else config.growth_steps
    if phase.growth.span == span:
        return state
    lr = grown(config, phase.growth, state.step)
    return state.replace(phase=replace(phase, growth=Growth(state.step, lr, span)))


def fixed_sweep(config: Config) -> int:
    """The fast growth takes as many updates in every run, however long that is."""
    return min(SHORTEST_SWEEP, config.warmup_steps)


def first_copy(config: Config, state: State[Grow]) -> State[Grow]:
    """The copy to rewind to stays the one of lift-off, though the loss falls on."""
    return _test(config, state).replace(snapshot_step=state.snapshot_step)


def first_copy_of_a_fall(config: Config, state: State[Grow]) -> State[Grow]:
    """The same where a fall is too plain to need a test."""
    return _falling(config, state).replace(snapshot_step=state.snapshot_step)


def latest_copy(config: Config, state: State[Grow]) -> State[Grow]:
    """The copy to rewind to is renewed at each test that detects no minimum, whatever the loss does."""
    tested, finite = _test(config, state), math.isfinite(state.losses[-1])
    renew = state.snapshot_step is not None and not tested.verdicts[-1].detected and finite
    return tested.replace(snapshot_step=state.step) if renew else tested


CHANGES: Final[dict[str, Mapping[str, Any]]] = {
    "peak × 0.5": {"autowu.controller.ending.switch": peak_times(0.5)},
    "peak × 0.7": {"autowu.controller.ending.switch": peak_times(0.7)},
    "peak × 1.4": {"autowu.controller.ending.switch": peak_times(math.sqrt(2))},
    "peak × 2": {"autowu.controller.ending.switch": peak_times(2.0)},
    "re-warm after the rewind": {"autowu.controller.machine.lr_function": rewarmed},
    "average of the weights": {"autowu.train.run.loop.update": averaging},
    "average, constant LR": {
        "autowu.train.run.loop.update": averaging,
        "autowu.controller.machine.lr_function": constant,
    },
    "steepest fall, not least loss": {"autowu.controller.ending.detect": steepest},
    "growth slows as the loss bends": {"autowu.controller.ending.test": bending},
    "fast rate fixed per update": {"autowu.config.Config.sweep_steps": property(fixed_sweep)},
    "copy of lift-off": {
        "autowu.controller.ending.test": first_copy,
        "autowu.controller.phases.growth._falling": first_copy_of_a_fall,
    },
    "copy before the first detection": {"autowu.controller.ending.test": latest_copy},
}


@contextmanager
def applied(change: str | None) -> Iterator[None]:
    """Within it the library works with the change of that name; None: as it is."""
    with ExitStack() as stack:
        for target, function in CHANGES[change].items() if change else ():
            stack.enter_context(mock.patch(target, function))
        yield
