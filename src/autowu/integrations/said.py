"""What a session says of itself in one line, and in numbers for a logger; for every host."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from autowu.integrations.session import Session

PHASES: Final = {"warmup": 0.0, "stable": 0.5, "decay": 1.0}


def summary(name: str, session: Session) -> str:
    """Phase, step of how many, LR of the next update, and the peak once it is known."""
    total_steps = session.total_steps
    of = f" of {total_steps:,}" if total_steps else ""
    switch = session.state.switch
    peak = "" if switch is None else f", peak_lr={switch.peak_lr:.3g}"
    return f"{name}({session.state.stage}, step {session.step:,}{of}, lr={session.learning_rate:.3g}{peak})"


def metrics(session: Session) -> dict[str, float]:
    """Numbers for a logger; what is not known yet is left out.

    The LR of the next update; the phase (0 warm-up, 0.5 stable, 1 decay); of the last test the median of
    P_min; the peak; and what cuts have left of the LR.
    """
    found = {"autowu/learning_rate": session.learning_rate, "autowu/phase": PHASES[session.state.stage]}
    tests, switch = session.state.verdicts, session.state.switch
    if tests and tests[-1].p_min:
        found["autowu/p_min"] = statistics.median(tests[-1].p_min)
    if switch is not None:
        found["autowu/peak_lr"] = switch.peak_lr
        found["autowu/cut"] = session.state.cuts[-1].factor if session.state.cuts else 1.0
    return found
