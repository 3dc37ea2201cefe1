"""What is printed while a run goes on: plain aligned lines, the same on a terminal and in a file."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autowu import Switch, Verdict
from autowu.train.data.task import Task

if TYPE_CHECKING:
    from autowu.train.run import Evaluation, Run

LINES = 25
"""The most lines of evaluations; a longer run shows every second one, or every third, …"""


class Silent:
    """For the processes that print nothing."""

    def start(self, run: Run) -> None:
        """See :class:`Progress`."""

    def resumed(self, step: int) -> None:
        """See :class:`Progress`."""

    def step(self, step: int, lr: float, phase: str, verdicts: Sequence[Verdict]) -> None:
        """See :class:`Progress`."""

    def evaluation(self, outcome: Evaluation, verdicts: Sequence[Verdict]) -> None:
        """See :class:`Progress`."""

    def switch(self, switch: Switch, verdicts: Sequence[Verdict]) -> None:
        """See :class:`Progress`."""

    def stopped(self, step: int) -> None:
        """See :class:`Progress`."""

    def finish(self, metrics: Mapping[str, Any], folder: Path) -> None:
        """See :class:`Progress`."""


class Progress(Silent):
    """Prints a line for each evaluation, one for the switch, and a summary.

    Args:
        total_steps: updates of the whole run.
        task: the data.
    """

    def __init__(self, total_steps: int, task: Task) -> None:
        self._total = total_steps
        self._task = task
        self._decay = ""
        self._every = 1
        self._evaluations = 0

    def start(self, run: Run) -> None:
        """Say what is trained, and print the head of the table."""
        parameters = sum(parameter.numel() for parameter in run.network.parameters())
        settings, per_epoch = run.settings, self._task.steps_per_epoch
        length = f"{self._total:,} updates with batch size {settings.batch_size}"
        if per_epoch:
            length = f"{self._total / per_epoch:g} epochs of {per_epoch} updates: {length}"
        self._decay = str(run.method.settings.get("decay", ""))
        self._every = math.ceil(self._total / run.eval_steps / LINES)
        _say(
            self._task.description,
            f"{settings.model_name} with {parameters:,} parameters, {settings.optimizer}, "
            f"schedule {settings.schedule}",
            length,
            "",
            "  epoch       step   train loss   test loss   accuracy         LR   phase    P_min",
        )

    def resumed(self, step: int) -> None:
        """Say where the run goes on."""
        _say(f"going on after update {step:,}")

    def evaluation(self, outcome: Evaluation, verdicts: Sequence[Verdict]) -> None:
        """The line of an evaluation, with the latest test for a minimum."""
        self._evaluations += 1
        if self._evaluations % self._every and outcome.step != self._total:
            return
        p_min = _p_min(verdicts[-1]) if verdicts and outcome.phase == "warmup" else "–"
        epoch = "" if outcome.epoch is None else str(outcome.epoch)
        _say(
            f"{epoch:>7}{outcome.step:11,}   {outcome.train_loss:10.4f}  "
            f"{outcome.test_loss:10.4f}   {100 * outcome.test_accuracy:6.2f} %  {outcome.lr:9.2e}   "
            f"{outcome.phase:<6}  {p_min:>6}"
        )

    def switch(self, switch: Switch, verdicts: Sequence[Verdict]) -> None:
        """The line that announces the decay phase."""
        if verdicts and verdicts[-1].detected and switch.t_star is not None:
            cause = f"minimum detected at t* = {switch.t_star:.1f}{' (at the cap)' if switch.capped else ''}"
        else:
            cause = "warm-up has reached its cap" if switch.capped else "the loss has ceased to be finite"
        back = "" if switch.rewound_to is None else f"back to the weights of step {switch.rewound_to}, "
        _say(f"step {switch.step}: {cause}; {back}LR {switch.peak_lr:.3g}, {self._decay} decay")

    def stopped(self, step: int) -> None:
        """Say that the run can be resumed."""
        _say(f"stopped after update {step:,}, which is saved; --resume goes on from there")

    def finish(self, metrics: Mapping[str, Any], folder: Path) -> None:
        """The closing summary."""
        switch = "" if metrics["switch_step"] is None else f", from step {metrics['switch_step']} on"
        peak = "–" if metrics["peak_lr"] is None else f"{metrics['peak_lr']:.3g}"
        rate = metrics["steps"] / metrics["seconds"]
        _say(
            "",
            f"accuracy   {100 * metrics['test_accuracy']:.2f} % (test loss {metrics['test_loss']:.4f})",
            f"peak LR    {peak}{switch}",
            f"time       {metrics['seconds']:.1f} s of training ({rate:.0f} updates a second)",
            f"run        {folder}",
            f"picture    autowu report {shlex.quote(str(folder))} -o report.html",
        )


def _p_min(verdict: Verdict) -> str:
    # The median of the subsets exceeds the confidence exactly when most of them do (an odd number of them).
    return f"{statistics.median(verdict.p_min):.4f}" if verdict.p_min else "–"


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # at once, also where a pipe would hold it back
