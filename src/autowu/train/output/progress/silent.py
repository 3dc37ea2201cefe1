"""What a display can be told, and the one that shows nothing of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autowu import Cut, Switch, Verdict
from autowu.train.run.evaluation import Evaluation
from autowu.train.schedules import Method
from autowu.train.settings.options import Settings

if TYPE_CHECKING:
    from torch import nn


class Silent:
    """For the processes that print nothing."""

    def start(self, settings: Settings, network: nn.Module, method: Method, eval_steps: int) -> None:
        """Say what is about to run, with an evaluation every ``eval_steps`` updates."""

    def resumed(self, step: int) -> None:
        """Say where the run goes on."""

    def step(self, step: int, lr: float, phase: str, verdicts: Sequence[Verdict]) -> None:
        """After each update ``step``, with what it saw. It takes microseconds, and never asks the device."""

    def transferred(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Take note of events, whose losses have come from the device for the log."""

    def evaluation(self, outcome: Evaluation, verdicts: Sequence[Verdict]) -> None:
        """Show an evaluation, with the latest test for a minimum."""

    def switch(self, switch: Switch, phase: str) -> None:
        """Announce the end of warm-up, and that ``phase`` follows: 'stable' or 'decay'."""

    def cut(self, cuts: Sequence[Cut]) -> None:
        """Announce the last of ``cuts``, a change of the LR in the decay phase."""

    def say(self, *lines: str, indent: int = 2) -> None:
        """Print lines."""

    def stopped(self, step: int) -> None:
        """Say that the run can be resumed."""

    def finish(self, metrics: Mapping[str, Any], folder: Path) -> None:
        """Sum up."""

    def close(self) -> None:
        """Leave the terminal as it was; may be called at any time."""
