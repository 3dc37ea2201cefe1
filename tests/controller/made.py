"""States made by hand, one update before a read, and the verdicts that they are to meet."""

from typing import Any

import numpy as np

from autowu import Verdict
from autowu.controller.state import Grow, Growth, State
from autowu.detector.trend import Level


def verdict(
    detected: bool, *, step: int = 100, start: int = 0, argmin: float = 0.5, least: float | None = None
) -> Verdict:
    """A test whose smoothed loss falls from 3 to ``least``, if that is given, in two steps and for sure."""
    p, flat = 0.99 if detected else 0.3, np.zeros(2)
    curve = {} if least is None else {"mean": np.array([3.0, least]), "sd": flat, "noise": 0.0}
    return Verdict(step, start, p_min=(p,) * 5, detected=detected, argmins=(argmin,) * 5, **curve)


def paper_state(detections: int = 0, step: int = 99) -> State[Grow]:
    """The paper's run, of 16 epochs of 25 updates, one update before the end of an epoch."""
    phase = Grow(Growth(0, 1e-5, 200), lift_off=0, origin=None, detections=detections)
    return State(phase, step=step, read=step + 1 - 25, losses=np.ones(step))


def default_state(detections: int = 0, **changes: Any) -> State[Grow]:
    """The default preset, of 1,000 updates, after lift-off at step 30 with an LR of 1e-3, before a test."""
    phase = Grow(Growth(30, 1e-3, 500), lift_off=30, origin=Level(2.0, 5), detections=detections)
    state = State(phase, step=99, read=95, losses=np.linspace(2, 1, 69), snapshot_step=95)
    return state.replace(**changes)
