"""A line for each evaluation, one for the switch, and a closing table."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from autowu import Cut, Switch, Verdict
from autowu.controller.cuts import taken_back
from autowu.controller.state import Reason
from autowu.text import columns, wrapped
from autowu.train.data.task import Task
from autowu.train.output.progress.silent import Silent
from autowu.train.run.evaluation import Evaluation
from autowu.train.schedules import Method
from autowu.train.settings.options import Settings

if TYPE_CHECKING:
    from torch import nn

LINES: Final = 25
"""The most lines of evaluations; a longer run shows every second one, or every third, …"""
NOTHING: Final = "–"

CAUSES: Final = {
    Reason.MINIMUM: "minimum detected",
    Reason.RISE: "the loss has risen, and had never fallen",
    Reason.NO_FALL: "warm-up has reached its cap without a fall of the loss",
    Reason.CAP: "warm-up has reached its cap",
    Reason.NONFINITE: "the loss has ceased to be finite",
    Reason.ASKED: "no minimum detected, and the run is to end",
}
"""Why warm-up has ended."""


class Progress(Silent):
    """Prints a line for each evaluation, one for the switch, and a closing table.

    Args:
        total_steps: updates of the whole run; None if that is not known.
        task: the data.
    """

    def __init__(self, total_steps: int | None, task: Task) -> None:
        self.total_steps = total_steps
        self.task = task
        self._decay = ""
        self._every = 1
        self._evaluations = 0
        self._about: list[tuple[str, str]] = []

    def start(self, settings: Settings, network: nn.Module, method: Method, eval_steps: int) -> None:
        """The data, the model, the length; and the head of the lines to come."""
        parameters = sum(parameter.numel() for parameter in network.parameters())
        per_epoch = self.task.steps_per_epoch
        model = f"{settings.model_name} with {parameters:,} parameters"
        how = f"{settings.optimizer or type(method.optimizer).__name__}, schedule {settings.schedule}"
        self._about = [("data", self.task.name), ("model", model), ("trained by", how)]
        length = f"batch size {settings.batch_size:,}, until the loss has stopped falling"
        self._decay = str(method.settings.get("decay", ""))
        if self.total_steps is not None:
            length = f"{updates(self.total_steps)} with batch size {settings.batch_size:,}"
            length += f": {epochs(self.total_steps, per_epoch)}" if per_epoch else ""
            self._every = math.ceil(self.total_steps / eval_steps / LINES)
        words = ("step", "train loss", "test loss", "accuracy", "LR", "phase", "P_min")
        self.say(
            self.task.description, f"{model}, {how}", length, "", self._row("epoch", *words, self._rate())
        )

    def resumed(self, step: int) -> None:
        """Say where the run goes on."""
        self.say(f"going on after update {step:,}")

    def evaluation(self, outcome: Evaluation, verdicts: Sequence[Verdict]) -> None:
        """The line of an evaluation."""
        self._evaluations += 1
        if self._evaluations % self._every and outcome.step != self.total_steps:
            return
        cells = (
            "" if outcome.epoch is None else str(outcome.epoch),
            f"{outcome.step:,}",
            f"{outcome.train_loss:.4f}",
            f"{outcome.test_loss:.4f}",
            f"{outcome.test_accuracy:.2%}",
            f"{outcome.lr:.2e}",
            outcome.phase,
            p_min(outcome.phase, verdicts),
            f"{outcome.samples_per_second:,.0f}",
        )
        self.say(self._row(*cells))

    def _row(self, *cells: str) -> str:
        widths = (">5", ">9", ">10", ">9", ">8", ">8", "<6", ">6", ">9")  # 79 columns in all: it fits into 80
        shown = [f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)]
        if self.task.steps_per_epoch is None:
            del shown[0]
        shown[-4] += " "  # between a number and a word
        return " ".join(shown)

    def _rate(self) -> str:
        return f"{self.task.samples}/s"

    def switch(self, switch: Switch, phase: str) -> None:
        """The line that announces what follows warm-up."""
        cause, rate = CAUSES[switch.reason], f"LR {switch.peak_lr:.3g}"
        if switch.reason is Reason.MINIMUM and switch.capped:
            cause += " (at the cap)"
        if switch.t_star is not None and switch.reason is not Reason.NONFINITE:  # whose LR is lower
            rate += f" (of step {switch.t_star:,.0f})"
        back = "" if switch.rewound_to is None else f"back to the weights of step {switch.rewound_to}, "
        then = "held" if phase == "stable" else f"{self._decay} decay"
        self.say(f"step {switch.step}: {cause}; {back}{rate}, {then}")

    def cut(self, cuts: Sequence[Cut]) -> None:
        """The line that announces the last of ``cuts``."""
        cut = cuts[-1]
        if taken_back(cuts):
            self.say(f"step {cut.step}: the loss is as high all the same; the LR is again what it was")
            return
        cause = "the loss has risen for good" if math.isfinite(cut.level) else "the loss is not finite"
        back = "" if cut.back_to is None else f"back to the weights of step {cut.back_to}, "
        self.say(f"step {cut.step}: {cause}; {back}a third of the LR")

    def stopped(self, step: int) -> None:
        """Say that the run can be resumed."""
        self.say(f"stopped after update {step:,}, which is saved; --resume goes on from there")

    def finish(self, metrics: Mapping[str, Any], folder: Path) -> None:
        """The closing table."""
        self.table([*self._about, *self._outcome(metrics), *places(folder)])

    def _outcome(self, metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
        steps, seconds = metrics["steps"], metrics["seconds"]
        peak = NOTHING if metrics["peak_lr"] is None else f"{metrics['peak_lr']:.3g}"
        if metrics["switch_step"] is not None:
            t_star = metrics["t_star"]
            found = "" if t_star is None else f", of step {t_star:,.0f}"
            peak += (
                f"{found}, from step {metrics['switch_step']:,} on{' (the cap)' if metrics['capped'] else ''}"
            )
        samples = steps * self.task.per_update / seconds
        loss = f"{metrics['test_loss']:.4f}"
        if self.task.kind == "text":
            loss += f" (perplexity {_perplexity(metrics['test_loss']):.4g})"
        return [
            ("accuracy", f"{metrics['test_accuracy']:.2%}"),
            ("test loss", loss),
            ("peak LR", peak),
            ("time", f"{updates(steps)} in {seconds:,.1f} s, without evaluations"),
            ("speed", f"{steps / seconds:,.1f} updates, {samples:,.0f} {self.task.samples} a second"),
        ]

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names and values, below each other."""
        width = max(len(name) for name, _ in rows)
        self.say("", *(f"{name:{width}}  {value}" for name, value in rows), indent=width + 2)

    def say(self, *lines: str, indent: int = 2) -> None:
        """Print lines at once, also where a pipe would hold them back; what is too wide goes on below."""
        width = columns()
        print(*(part for line in lines for part in wrapped(line, width, indent)), sep="\n", flush=True)


def p_min(phase: str, verdicts: Sequence[Verdict]) -> str:
    """P_min of the latest test in warm-up: the median of the subsets.

    It exceeds the confidence exactly when most subsets do (they are an odd number).
    """
    if phase != "warmup" or not verdicts or not verdicts[-1].p_min:
        return NOTHING
    return f"{statistics.median(verdicts[-1].p_min):.4f}"


def epochs(steps: int, per_epoch: int) -> str:
    """``3 epochs of 11``, or ``2 epochs of 11 and 3 updates more``: a part of an epoch has no number."""
    whole, rest = divmod(steps, per_epoch)
    if not whole:
        return f"less than an epoch of {per_epoch:,}"
    counted = f"{whole:,} epoch{'' if whole == 1 else 's'} of {per_epoch:,}"
    return counted if not rest else f"{counted} and {updates(rest)} more"


def updates(count: int) -> str:
    """``1 update``, ``2 updates``."""
    return f"{count:,} update{'' if count == 1 else 's'}"


def places(folder: Path) -> list[tuple[str, str]]:
    """Where the run is, and how to make a page of it."""
    return [("run", str(folder)), ("picture", f"autowu report {shlex.quote(str(folder))} -o report.html")]


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, 700.0))  # of a network that has gone to pieces, a number all the same
