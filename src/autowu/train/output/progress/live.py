"""The display on a terminal: the plain lines, and below them two lines that follow the run."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.box import ROUNDED
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autowu import Verdict
from autowu.text import wrapped
from autowu.train.data.task import Task
from autowu.train.output.progress.lines import NOTHING, Progress, p_min
from autowu.train.run.evaluation import Evaluation

SECONDS: Final = 0.2
"""From one drawing to the next, at least."""


class LiveProgress(Progress):
    """Adds a bar, and the step, loss, LR, phase, P_min, throughput and time left, drawn a few times a second.

    The loss is the last one that was transferred for the log: nothing here waits for the device. Nothing runs
    beside the training either; a drawing, some milliseconds, is made by :meth:`step` itself when it is due.

    Args:
        total_steps: updates of the whole run; None if that is not known.
        task: the data.
        console: where to draw; by default standard output.
    """

    def __init__(self, total_steps: int | None, task: Task, console: Console | None = None) -> None:
        super().__init__(total_steps, task)
        self._console = console or Console(highlight=False)
        self._live: Live | None = None
        self._due = 0.0
        self._loss = NOTHING
        self._run_began: tuple[int, float] | None = None
        self._stretch_began: tuple[int, float] | None = None  # since the last evaluation
        self._rate_seen: float | None = None

    def step(self, step: int, lr: float, phase: str, verdicts: Sequence[Verdict]) -> None:
        """Draw, if it is time to."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + SECONDS
        self._run_began = self._run_began or (step, now)
        self._stretch_began = self._stretch_began or (step, now)
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(self.status(step, now, lr, phase, verdicts), refresh=True)

    def transferred(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Keep the last loss."""
        for event in reversed(events):
            if event["event"] == "step":
                self._loss = f"{event['loss']:.4f}"
                return

    def evaluation(self, outcome: Evaluation, verdicts: Sequence[Verdict]) -> None:
        """The line of an evaluation, which is no part of the throughput."""
        super().evaluation(outcome, verdicts)
        self._stretch_began, self._rate_seen = None, outcome.samples_per_second

    def status(self, step: int, now: float, lr: float, phase: str, verdicts: Sequence[Verdict]) -> Group:
        """The two lines after update ``step``, at the time ``now``."""
        total, per_epoch = self.total_steps, self.task.steps_per_epoch
        pace = _pace(self._run_began, step, now)
        if speed := _pace(self._stretch_began, step, now):
            self._rate_seen = speed * self.task.per_update
        bar = Table.grid(expand=True, padding=(0, 2, 0, 0))
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, justify="right")
        if total is None:
            bar.add_row(f"step {step:,}", ProgressBar(None, pulse=True), "")
        else:
            left = NOTHING if pace is None else duration((total - step) / pace)
            bar.add_row(
                f"step {step:,} of {total:,}",
                ProgressBar(total, step),
                f"{step / total:.0%}, {left} left",
            )
        rate = NOTHING if self._rate_seen is None else f"{self._rate_seen:,.0f}"
        facts = [
            ("loss", self._loss),
            ("LR", f"{lr:.2e}"),
            ("P_min", p_min(phase, verdicts)),
            ("", f"{rate} {self.task.samples}/s"),
        ]
        line = Text(phase, style="yellow" if phase == "warmup" else "green")
        if per_epoch:
            of = "" if total is None else f" of {math.ceil(total / per_epoch)}"
            line = Text(f"epoch {(step - 1) // per_epoch + 1}{of}  ").append_text(line)
        for name, value in facts:
            line.append(f"  {name} " if name else "  ", style="dim").append(value, style="bold")
        return Group(bar, line)

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names and values in a frame."""
        self.close()
        table = Table(box=ROUNDED, show_header=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(name, Text(value))
        self._console.print(table)

    def say(self, *lines: str, indent: int = 2) -> None:
        """Print lines above the two that change."""
        for line in lines:
            for part in wrapped(line, self._console.width, indent):
                self._console.print(Text(part), soft_wrap=True)

    def close(self) -> None:
        """Take the two lines away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _pace(began: tuple[int, float] | None, step: int, now: float) -> float | None:
    """Updates a second since ``began``; None before there are any."""
    if began is None or step <= began[0] or now <= began[1]:
        return None
    return (step - began[0]) / (now - began[1])


def duration(seconds: float) -> str:
    """3:07, 2:03:07, or 5 d 2:03:07."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return f"{days:,} d {clock}" if days else clock
