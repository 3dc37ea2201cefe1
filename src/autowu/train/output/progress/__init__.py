"""What is printed while a run goes on: plain lines, to which a terminal gets a live display.

silent  for the processes that print nothing
lines   a line for each evaluation, and a closing table
live    the same, with a bar and the latest numbers, drawn a few times a second
"""

from __future__ import annotations

import os
import sys

from autowu.train.data.task import Task
from autowu.train.output.progress.lines import NOTHING, Progress, epochs, places, updates
from autowu.train.output.progress.silent import Silent

__all__ = ["NOTHING", "Progress", "Silent", "build", "epochs", "places", "updates"]


def build(total_steps: int | None, task: Task) -> Progress:
    """The display that suits standard output: live on a terminal, plain lines elsewhere."""
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from autowu.train.output.progress.live import LiveProgress

        return LiveProgress(total_steps, task)
    return Progress(total_steps, task)
