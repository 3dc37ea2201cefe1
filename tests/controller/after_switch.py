"""Losses after a switch, and what the watch makes of them."""

from typing import Any

import numpy as np

from autowu import Config
from autowu.controller import machine
from autowu.controller.state import Cut, Decay, State
from autowu.detector.trend import Stretch

from .helpers import decaying

T, BEGIN, STRETCH = 1000, 300, 20


CONFIG = Config(total_steps=T)


AT_ONE = Stretch(0.98, 1.0, 1.02)


def fallen(
    config: Config = CONFIG, *, least: Stretch = AT_ONE, kept: Stretch | None = None, **changes: Any
) -> State[Decay]:
    """The state at a switch, after a loss that fell from 2 to 1, with a snapshot."""
    state = decaying(config, BEGIN, least=least, kept=kept)
    return state.replace(**({"origin": Stretch(1.98, 2.0, 2.02), "snapshot_step": BEGIN - 20} | changes))


def quiet(sd: float = 0.01, seed: int = 0) -> np.ndarray:
    """Losses from the switch to the end that stay where they are."""
    return 1 + sd * np.random.default_rng(seed).standard_normal(T - BEGIN)


def reads(losses: np.ndarray, begin: State[Decay] | None = None, config: Config = CONFIG) -> list[State]:
    """The state at the switch, and after each read."""
    states: list[State] = [fallen(config) if begin is None else begin]
    state = states[0]
    for loss in losses:
        before, state = state, machine.observe(config, state, np.array([loss]))
        if state.read != before.read:
            states.append(state)
    return states


def cuts(losses: np.ndarray, *more: Any) -> tuple[Cut, ...]:
    return reads(losses, *more)[-1].phase.cuts
