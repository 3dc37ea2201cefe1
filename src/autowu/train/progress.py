"""What is printed while a run goes on: plain aligned lines, the same on a terminal and in a file."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from autowu import Switch, Verdict
from autowu.train.data import Data
from autowu.train.options import Settings

if TYPE_CHECKING:
    from autowu.train.loop import Epoch

LINES = 25
"""The most lines of epochs; a longer run shows every second epoch, or every third, …"""


class Progress:
    """Prints a line for each epoch, one for the switch, and a summary.

    Args:
        epochs: of the whole run.
        decay: shape of the decay phase.
    """

    def __init__(self, epochs: int, decay: str) -> None:
        self._epochs = epochs
        self._every = math.ceil(epochs / LINES)
        self._decay = decay

    def start(self, settings: Settings, data: Data, model: nn.Module, steps_per_epoch: int) -> None:
        """Say what is trained, and print the head of the table."""
        parameters = sum(parameter.numel() for parameter in model.parameters())
        _say(
            f"{data.name}: {len(data.train):,} training and {len(data.test):,} test images of "
            f"{' × '.join(map(str, data.image_shape))}, {data.classes} classes",
            f"{settings.model} with {parameters:,} parameters, {settings.optimizer}, "
            f"schedule {settings.schedule}",
            f"{settings.epochs} epochs of {steps_per_epoch} updates with batch size {settings.batch_size}: "
            f"{settings.epochs * steps_per_epoch:,} updates",
            "",
            "  epoch       step   train loss   test loss   accuracy         LR   phase    P_min",
        )

    def epoch(self, outcome: Epoch, verdicts: Sequence[Verdict]) -> None:
        """The line of an epoch, with the latest test for a minimum."""
        if outcome.epoch % self._every and outcome.epoch != self._epochs:
            return
        p_min = _p_min(verdicts[-1]) if verdicts and outcome.phase == "warmup" else "–"
        _say(
            f"{outcome.epoch:4} / {self._epochs:<4}{outcome.step:7}   {outcome.train_loss:10.4f}  "
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

    def finish(self, metrics: Mapping[str, Any], folder: Path) -> None:
        """The closing summary."""
        switch = "" if metrics["switch_step"] is None else f", from step {metrics['switch_step']} on"
        rate = metrics["steps"] / metrics["seconds"]
        _say(
            "",
            f"accuracy   {100 * metrics['test_accuracy']:.2f} % (test loss {metrics['test_loss']:.4f})",
            f"peak LR    {metrics['peak_lr']:.3g}{switch}",
            f"time       {metrics['seconds']:.1f} s ({rate:.0f} updates a second, evaluation included)",
            f"run        {folder}",
            f"picture    autowu report {shlex.quote(str(folder))} -o report.html",
        )


def _p_min(verdict: Verdict) -> str:
    # The median of the subsets exceeds the confidence exactly when most of them do (an odd number of them).
    return f"{statistics.median(verdict.p_min):.4f}" if verdict.p_min else "–"


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # at once, also where a pipe would hold it back
