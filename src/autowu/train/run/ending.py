"""When the run ends, where it is not said how long it is: `--until-plateau`, and `--max-time`."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from autowu import AutoWU
from autowu.train.output.progress import updates
from autowu.train.settings.options import Settings

if TYPE_CHECKING:
    from autowu.train.run.run import Run

EVERY: Final = 20
"""Updates from one look at the clock to the next."""
SAFE: Final = 0.95
"""Of the updates that the time left would do for at the pace so far: the end takes some time, too."""
TOLERANCE: Final = 0.02
"""Of the updates left: a smaller change of the end is none."""
COOLDOWN: Final = 0.2
"""Of the whole run, or of its time, at its end: where the LR falls to zero."""
FEWEST: Final = 3
"""Evaluations that are compared with as many before them, at least."""


class Ending:
    """Cools AutoWU down when the loss has stopped falling, or in time for a deadline.

    Args:
        settings: the run's.
        began: when the command began, by :func:`time.monotonic`.
    """

    def __init__(self, settings: Settings, began: float) -> None:
        self._until_plateau, self._minutes = settings.until_plateau, settings.max_time
        self._began = began
        self._deadline = None if self._minutes is None else began + 60 * self._minutes
        self._paced_from: tuple[int, float] | None = None
        self._plateau_end: int | None = None  # which no time left makes later
        self.means: list[float] = []
        """The mean training loss of each evaluation since the switch."""

    def evaluated(self, run: Run, train_loss: float) -> None:
        """Take note of an evaluation."""
        if self._until_plateau and run.method.schedule.phase == "stable":
            self.means.append(train_loss)

    def look(self, run: Run) -> None:
        """After each update: set the end, if it is time to; the same in all processes."""
        schedule = run.method.schedule
        if not isinstance(schedule, AutoWU):
            return
        if self.means and schedule.phase == "stable" and has_stopped(self.means):
            self.means = []
            steps = math.ceil(run.step * COOLDOWN / (1 - COOLDOWN))
            schedule.cooldown(steps)
            self._plateau_end = schedule.total_steps
            are = "is" if steps == 1 else "are"
            run.progress.say(f"step {run.step:,}: the loss has stopped falling; {updates(steps)} {are} left")
        if self._deadline is not None:
            self._keep(self._deadline, run, schedule)

    def _keep(self, deadline: float, run: Run, schedule: AutoWU) -> None:
        """See that the LR is at zero by then."""
        now = time.monotonic()
        if self._paced_from is None:
            self._paced_from = run.step, now
        first, since = self._paced_from
        if run.step == first or (run.step - first) % EVERY:
            return
        left = max(0.0, deadline - now)
        can = run.step + max(1, int(SAFE * left * (run.step - first) / max(now - since, 1e-9)))
        can, late = run.fabric.broadcast((can, left <= COOLDOWN * 60 * (self._minutes or 0)))
        total = schedule.total_steps
        if total is None:
            if late:
                schedule.cooldown(can - run.step)
                self._say(run, schedule)
            return
        planned = (
            self._plateau_end if run.planned is None else run.planned
        )  # not what an earlier deadline set
        end = can if planned is None else min(can, planned)
        if run.step < total and abs(end - total) > max(EVERY, TOLERANCE * (total - run.step)):
            schedule.extend(end)
            if end < total:
                self._say(run, schedule)

    def _say(self, run: Run, schedule: AutoWU) -> None:
        run.progress.say(
            f"step {run.step:,}: to be done within {self._minutes:g} min the run ends at step"
            f" {schedule.total_steps:,}"
        )

    def finish(self, run: Run) -> None:
        """When all is done: say so if that was too late."""
        if self._minutes is None:
            return
        took, limit = time.monotonic() - self._began, 60 * self._minutes
        if took > limit + 0.1:  # as it is shown
            run.progress.say("", f"took {took:,.1f} s, not {limit:,.1f} (--max-time {self._minutes:g})")

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"means": list(self.means), "plateau_end": self._plateau_end}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.means = [float(mean) for mean in state["means"]]
        self._plateau_end = state["plateau_end"]


def has_stopped(means: Sequence[float]) -> bool:
    """Whether a loss, by its means between evaluations, falls no more than noise explains.

    The last quarter of them, at least :data:`FEWEST`, are not below as many before by two standard errors.
    """
    k = max(FEWEST, len(means) // 4)
    if len(means) < 2 * k:
        return False
    before, last = means[-2 * k : -k], means[-k:]
    error = math.sqrt((statistics.variance(before) + statistics.variance(last)) / k)
    return not statistics.fmean(before) - statistics.fmean(last) > 2 * error
