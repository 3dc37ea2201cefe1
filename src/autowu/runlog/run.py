"""A run folder, of `autowu train` or a loop with `log=`: run.json and log.jsonl, as far as they go.

A log may stop in the middle of a line (a run that goes on, or was killed), and a resumed run may repeat
steps; neither keeps the rest from being read. What cannot be shown is told in :attr:`Run.notes`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from autowu.controller.state import Cut, End, Switch
from autowu.detector.detect import Verdict
from autowu.errors import UserError
from autowu.runlog.events import Array, Evaluation, Events, Record, read_events
from autowu.runlog.writer import ABOUT, LOG
from autowu.text import printable

__all__ = ["Evaluation", "Run", "printable", "read"]

UNFINISHED: Final = "the run has not finished; shown as far as it goes"
LARGEST_ABOUT: Final = 1 << 22  # bytes of run.json


@dataclass(frozen=True, eq=False)
class Run:
    """One run: its settings, its results, and its log."""

    name: str
    config: Mapping[str, Any]
    schedule: Mapping[str, Any]
    metrics: Mapping[str, Any]
    steps: NDArray[np.int64]
    losses: Array
    lrs: Array
    tests: tuple[Verdict, ...]
    switch: Switch | None
    evaluations: tuple[Evaluation, ...]
    notes: tuple[str, ...]
    versions: Mapping[str, Any] = field(default_factory=dict[str, Any])
    machine: Mapping[str, Any] = field(default_factory=dict[str, Any])
    samples: str = "images"
    """What the model learnt from: 'images' or 'tokens'."""
    replayed: bool = False
    """Whether the tests and the switch are what AutoWU would have done, not what it did."""
    host: str | None = None
    """The framework of a user's own loop; None: the reference trainer."""
    command: str | None = None
    """How to come by the record, where it was not `autowu train`."""
    cuts: tuple[Cut, ...] = ()
    """The changes of the LR after the switch."""
    ends: tuple[End, ...] = ()
    """The ends of the run that were set while it went on."""

    @property
    def adaptive(self) -> bool:
        """Whether AutoWU set the learning rate (a baseline makes no tests)."""
        return bool(self.tests) or self.switch is not None

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end, as far as is known."""
        return UNFINISHED not in self.notes

    @property
    def warmup_end(self) -> int:
        """The last step of warm-up so far; 0 where AutoWU did not set the learning rate."""
        if self.switch is not None:
            return self.switch.step
        return int(self.steps[-1]) if self.adaptive and len(self.steps) else 0

    @property
    def stable(self) -> tuple[int, int] | None:
        """The first and the last step at which the peak LR was held, for want of an end; None: it was not."""
        unknown = self.schedule.get("total_steps", 0) is None and self.schedule.get("decay") != "plateau"
        if self.switch is None or not unknown:
            return None
        set_at = self.ends[0].step if self.ends else int(self.steps[-1]) if len(self.steps) else 0
        return (self.switch.step, set_at) if set_at > self.switch.step else None

    @property
    def rewinds(self) -> list[int]:
        """The steps at which weights were put back, or the decay began: the loss may jump there."""
        return [self.warmup_end, *(cut.step for cut in self.cuts if cut.back_to is not None)]


def read(folder: Path, name: str | None = None) -> Run:
    """Read a run folder; ``name`` stands for it in the report (default: the folder's own name).

    A broken run.json beside a log that can be read costs the settings only.

    Raises:
        UserError: a file is missing or cannot be read, or was not written by autowu.
    """
    about, trouble = _read_about(folder / ABOUT)
    events = _read_log(folder / LOG)
    if trouble is not None and not events:
        raise trouble
    steps, losses, lrs = events.updates()
    switch = next(reversed(events.in_order("switches")), None)
    if switch is not None and switch.step <= max(events.reopened, default=-1):
        switch = None
    return Run(
        name=printable(name or folder.resolve().name),
        config=_mapping(about, "config"),
        schedule=_mapping(about, "schedule"),
        metrics=_mapping(about, "metrics"),
        steps=steps,
        losses=losses,
        lrs=lrs,
        tests=events.in_order("tests"),
        switch=switch,
        cuts=events.in_order("cuts"),
        ends=events.in_order("ends"),
        evaluations=events.in_order("evaluations"),
        notes=tuple(_notes(about, trouble, events, steps)),
        versions=_mapping(about, "versions"),
        machine=_mapping(about, "machine"),
        host=None if about.get("host") is None else printable(about["host"]),
        samples="tokens" if about.get("samples") == "tokens" else "images",
    )


def _notes(about: Record, trouble: UserError | None, events: Events, steps: NDArray[np.int64]) -> list[str]:
    notes = list[str]()
    if trouble is not None:
        notes.append("run.json cannot be used, so the settings are not shown")
    if events.cut_off:
        notes.append(f"{_lines(events.cut_off)} cut off and left out")
    if events.foreign:
        notes.append(f"{_lines(events.foreign)} not of an autowu log and left out")
    if events.full:
        notes.append("the log is longer than can be shown; its end is left out")
    missing = int(steps[-1] - steps[0]) + 1 - len(steps) if len(steps) else 0
    if missing > len(events.cut_off) + len(events.foreign):  # else those lines may have told of them
        are = "update is" if missing == 1 else "updates are"
        notes.append(f"{missing:,} {are} missing between the first and the last of the log")
    for step in sorted(events.reopened):
        notes.append(f"at step {step:,} warm-up went on after all, as it could in former versions")
    if trouble is None and about.get("status") != "finished":
        notes.append(UNFINISHED)
    if not events.steps:
        notes.append("no update is logged yet")
    return notes


def _lines(numbers: Sequence[int]) -> str:
    """'line 3 of the log is', 'lines 3, 5 and 12 more of the log are'."""
    if len(numbers) == 1:
        return f"line {numbers[0]:,} of the log is"
    more = f" and {len(numbers) - 3:,} more" if len(numbers) > 3 else ""
    return f"lines {', '.join(f'{number:,}' for number in numbers[:3])}{more} of the log are"


def _read_about(path: Path) -> tuple[Record, UserError | None]:
    """What run.json says, or nothing and why."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_ABOUT + 1)
        about = json.loads(text)
    except OSError as error:
        return {}, UserError(
            f"{path}: {_reason(error)}; is this a run of a loop with log=, or of `autowu train`?"
        )
    except (ValueError, RecursionError):
        return {}, UserError(f"{path}: not a JSON file")
    if not isinstance(about, dict) or "autowu" not in about:
        return {}, UserError(f"{path}: not written by `autowu train` or log= (it has no key 'autowu')")
    return cast(Record, about), None


def _read_log(path: Path) -> Events:
    try:
        with path.open("rb") as file:
            events = read_events(file)
    except OSError as error:
        if path.with_name(ABOUT).exists():
            raise UserError(
                f"{path}: {_reason(error)}; is this a run of a loop with log=, or of `autowu train`?"
            ) from error
        return Events()  # then run.json is missing too, and is what is named
    if not events and (wrong := [*events.cut_off, *events.foreign]):
        raise UserError(f"{path}, line {min(wrong)}: not a line of an autowu log")
    return events


def _mapping(about: Record, key: str) -> Record:
    value = about.get(key)
    return cast(Record, value) if isinstance(value, dict) else {}


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
