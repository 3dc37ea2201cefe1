"""What happens in a run, collected on the device and handed on as plain events, now and then."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, Final, cast

import torch
import torch.distributed as dist
from torch import Tensor

from autowu import Cut, Switch, Verdict
from autowu.controller.state import End
from autowu.integrations.torch.pending import mean_over_ranks
from autowu.runlog import writer

MOST_WAITING: Final = 1000  # updates whose losses wait on the device


class Events:
    """Events since the last :meth:`take`, in order.

    Losses stay on their device until then, and come over in one transfer: logging makes the host wait for the
    device once per ``take`` and not once per update. With several processes a loss is the mean over them, as
    AutoWU has it, and ``take`` is a collective call.
    """

    def __init__(self, processes: int) -> None:
        self._group = dist.group.WORLD if processes > 1 else None
        self._waiting: list[dict[str, Any]] = []
        self._losses: list[Tensor] = []
        self.since_evaluation: list[float] = []
        """Losses of the updates taken since the last evaluation."""

    @property
    def full(self) -> bool:
        """Whether it is time to take what is here."""
        return len(self._losses) >= MOST_WAITING

    def step(self, step: int, epoch: int | None, loss: Tensor, lr: float, phase: str) -> None:
        """One update: ``step`` counts it, ``loss``, ``lr`` and ``phase`` are what it saw."""
        self._losses.append(loss)
        self._waiting.append(writer.step_event(step, None, lr, phase, epoch=epoch))

    def test(self, verdict: Verdict) -> None:
        """One test for a minimum."""
        self._waiting.append(writer.verdict_event(verdict))

    def switch(self, switch: Switch) -> None:
        """The end of AutoWU's warm-up."""
        self._waiting.append(writer.switch_event(switch))

    def cut(self, cut: Cut) -> None:
        """A change of the LR in AutoWU's decay phase."""
        self._waiting.append(writer.cut_event(cut))

    def end(self, end: End) -> None:
        """An end of AutoWU's run that was set while it went on."""
        self._waiting.append(writer.end_event(end))

    def evaluation(self, values: Mapping[str, Any]) -> None:
        """What an evaluation found."""
        self._waiting.append({"event": "evaluation"} | dict(values))

    def mean_loss(self) -> float:
        """Of the updates taken since the last call; NaN if there are none."""
        losses, self.since_evaluation = self.since_evaluation, []
        return statistics.fmean(losses) if losses else float("nan")

    def take(self) -> list[dict[str, Any]]:
        """All events since the last call, with their losses."""
        losses = iter(self._read())
        events, self._waiting = self._waiting, []
        for event in events:
            if event["event"] == "step":
                event["loss"] = next(losses)
                self.since_evaluation.append(event["loss"])
        return events

    def _read(self) -> list[float]:
        if not self._losses:
            return []
        losses = torch.stack(self._losses).double()
        self._losses = []
        if self._group is None:
            return cast("list[float]", losses.tolist())
        return cast("list[float]", mean_over_ranks(losses, self._group).tolist())
