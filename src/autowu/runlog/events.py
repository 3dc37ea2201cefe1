"""The lines of log.jsonl: checked one by one and put in order; what is broken is counted, not fatal."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from autowu.controller.state import Cut, End, Reason, Switch
from autowu.detector.detect import Verdict
from autowu.text import printable

Array: TypeAlias = NDArray[np.float64]
Record: TypeAlias = dict[str, Any]
T = TypeVar("T")

HUGE: Final = 1e100
LONGEST_LINE: Final = 1 << 20  # bytes; a test's curve takes a few thousand
MOST_UPDATES: Final = 10**7
MOST_TESTS: Final = 20_000
EVALUATION: Final = ("evaluation", "epoch")
"""What an evaluation is called, by this version and by 0.1."""
STALL: Final = "stall"
"""A reason for a switch in the logs of some versions: the fall of the loss was at its end."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; NaN where it did not."""

    step: int
    epoch: float
    """Epochs done; NaN where the data, a text, have none."""
    train_loss: float
    test_accuracy: float
    samples_per_second: float = math.nan
    """Training images or tokens; :attr:`autowu.runlog.run.Run.samples` says which."""


@dataclass
class Events:
    """The events of a log. A resumed run's second account of a step replaces the first."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    losses: array[float] = field(default_factory=lambda: array("d"))
    lrs: array[float] = field(default_factory=lambda: array("d"))
    tests: dict[int, Verdict] = field(default_factory=dict[int, Verdict])
    switches: dict[int, Switch] = field(default_factory=dict[int, Switch])
    cuts: dict[int, Cut] = field(default_factory=dict[int, Cut])
    ends: dict[int, End] = field(default_factory=dict[int, End])
    reopened: set[int] = field(default_factory=set[int])
    """Steps at which warm-up went on after a switch, in logs of versions that took it back."""
    evaluations: dict[int, Evaluation] = field(default_factory=dict[int, Evaluation])
    cut_off: list[int] = field(default_factory=list[int])
    """Numbers of the lines that are not JSON."""
    foreign: list[int] = field(default_factory=list[int])
    """Numbers of the lines that are JSON, but no event of a log."""
    full: bool = False
    """Whether there was more than is read."""

    def __bool__(self) -> bool:
        return bool(self.steps or self.tests or self.switches or self.evaluations)

    def updates(self) -> tuple[NDArray[np.int64], Array, Array]:
        """Step, loss and LR of each update, in order: [n] each."""
        steps = np.frombuffer(self.steps, dtype=np.int64) if self.steps else np.zeros(0, np.int64)
        unique, from_end = np.unique(steps[::-1], return_index=True)
        last = len(steps) - 1 - from_end
        return unique, np.array(self.losses)[last], np.array(self.lrs)[last]

    def in_order(self, kind: str) -> tuple[Any, ...]:
        """The events of a kind ('tests', 'switches', 'cuts', 'ends', 'evaluations') by step."""
        events: dict[int, Any] = getattr(self, kind)
        return tuple(events[step] for step in sorted(events))


def read_events(file: BinaryIO) -> Events:
    """All events of a log that can be read."""
    events, number = Events(), 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            _skip_line(file)  # no log has such a line, and memory is not for whatever this is
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            events.cut_off.append(number)
            continue
        try:
            _take(events, record)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            events.foreign.append(number)
        if len(events.steps) >= MOST_UPDATES or len(events.tests) >= MOST_TESTS:
            events.full = True
            break
    return events


def _skip_line(file: BinaryIO) -> None:
    while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
        pass


def _take(events: Events, record: Record) -> None:
    """Put one line of the log where it belongs; kinds that are not known here are passed over."""
    kind = record["event"]
    if kind == "step":
        step, loss, lr = _step(record["step"]), _number(record["loss"]), _number(record["lr"])
        events.steps.append(step)
        events.losses.append(loss)
        events.lrs.append(lr)
    elif kind == "test":
        events.tests[_step(record["step"])] = _test(record)
    elif kind == "switch":
        events.switches[_step(record["step"])] = _switch(record)
    elif kind == "cut":
        events.cuts[_step(record["step"])] = _cut(record)
    elif kind == "end":
        events.ends[_step(record["step"])] = _end(record)
    elif kind == "reopening":
        events.reopened.add(_step(record["step"]))
    elif kind in EVALUATION:
        events.evaluations[_step(record["step"])] = _evaluation(record)


def _test(record: Record) -> Verdict:
    mean, sd = _curve(record["mean"]), _curve(record["sd"])
    if (0 if mean is None else len(mean)) != (0 if sd is None else len(sd)):
        raise ValueError("mean and sd differ in length")
    return Verdict(
        step=_step(record["step"]),
        start=_step(record["start"]),
        p_min=tuple(map(_fraction, record["p_min"])),
        detected=bool(record["detected"]),
        argmins=tuple(map(_fraction, record["argmins"])),
        streak=_step(record["streak"]),
        no_evidence=_optional(printable, record["no_evidence"]),
        mean=mean,
        sd=sd,
        noise=_optional(_finite, record["noise"]),
    )


def _switch(record: Record) -> Switch:
    return Switch(
        step=_step(record["step"]),
        capped=bool(record["capped"]),
        t_star=_optional(_finite, record["t_star"]),
        peak_lr=_positive(record["peak_lr"]),
        rewound_to=_optional(_step, record["rewound_to"]),
        reason=_reason(record),
        reads=_step(record.get("reads", 0)),
    )


def _reason(record: Record) -> Reason:
    if "reason" not in record:  # a log of 0.1
        return Reason.CAP if record["capped"] else Reason.MINIMUM
    # Versions that also asked whether the fall was at its end went back to the least loss just the same.
    return Reason.MINIMUM if record["reason"] == STALL else Reason(record["reason"])


def _cut(record: Record) -> Cut:
    return Cut(
        step=_step(record["step"]),
        factor=_positive(record["factor"]),
        back_to=_optional(_step, record["back_to"]),
        level=_number(record["level"]),
        least=_number(record["least"]),
    )


def _end(record: Record) -> End:
    return End(_step(record["step"]), _step(record["total_steps"]), bool(record["cooldown"]))


def _evaluation(record: Record) -> Evaluation:
    speed = record.get("samples_per_second", record.get("images_per_second"))
    return Evaluation(
        step=_step(record["step"]),
        epoch=_number(record["epoch"]),
        train_loss=_number(record.get("train_loss")),
        test_accuracy=_number(record.get("test_accuracy")),
        samples_per_second=_number(speed),
    )


# --- values: a log may come from anywhere -------------------------------------------------------------


def _number(value: Any) -> float:
    """A number that may be missing; beyond HUGE it is as good as infinite, and arithmetic would overflow."""
    number = math.nan if value is None else float(value)
    return number if abs(number) < HUGE else math.nan


def _finite(value: Any) -> float:
    number = _number(value)
    if math.isnan(number):
        raise ValueError("a number is missing")
    return number


def _positive(value: Any) -> float:
    number = _finite(value)
    if number <= 0:
        raise ValueError("an LR is above zero")
    return number


def _fraction(value: Any) -> float:
    number = _finite(value)
    if not 0 <= number <= 1:
        raise ValueError("a fraction is in [0, 1]")
    return number


def _step(value: Any) -> int:
    step = int(value)
    if not 0 <= step < 2**53:
        raise ValueError("a count of steps is in [0, 2^53)")
    return step


def _optional(kind: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else kind(value)


def _curve(values: Iterable[Any] | None) -> Array | None:
    return np.array([_number(value) for value in values], dtype=np.float64) if values else None
