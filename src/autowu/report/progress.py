"""How far a run has come that goes on, and how long it will take."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from autowu.runlog.run import Run

WINDOW: Final = 30.0  # seconds over which the speed is measured
LEAST: Final = 2.0  # seconds before a speed is told


def total(run: Run) -> int | None:
    """Updates that the run is to have; None where its settings do not tell."""
    for settings, name in ((run.schedule, "total_steps"), (run.config, "steps")):
        value = settings.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def line(run: Run, speed: float | None = None) -> str | None:
    """'step 412 of 1,000, about 3 min left'; None where the run is over, or is no run but a record.

    ``speed`` is in updates a second, where it is known.
    """
    if run.finished or run.replayed:
        return None
    step, of = int(run.steps[-1]) if len(run.steps) else 0, total(run)
    if of is None or step > of:
        return f"step {step:,}"
    left = f", about {duration((of - step) / speed)} left" if speed and step < of else ""
    return f"step {step:,} of {of:,} ({100 * step // of}%){left}"


def duration(seconds: float) -> str:
    """A time that a person reads: two units at most."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes / 1440:.1f} days"


class Speeds:
    """The speed of each run, by when its steps have been seen."""

    def __init__(self) -> None:
        self._seen = dict[str, deque[tuple[float, int]]]()

    def see(self, runs: Sequence[Run], now: float) -> list[float | None]:
        """Take in what there is of ``runs`` at ``now`` (seconds); updates a second of each, if known."""
        return [self._of(run, now) for run in runs]

    def _of(self, run: Run, now: float) -> float | None:
        step = int(run.steps[-1]) if len(run.steps) else 0
        seen = self._seen.setdefault(run.name, deque())
        if seen and step < seen[-1][1]:
            seen.clear()  # another run in the same place
        seen.append((now, step))
        while len(seen) > 2 and now - seen[1][0] > WINDOW:
            seen.popleft()
        start, first = seen[0]
        return (step - first) / (now - start) if now - start >= LEAST and step > first else None
