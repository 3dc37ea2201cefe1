"""A folder written by `autowu train`: run.json and log.jsonl, read as far as they go.

A log may stop in the middle of a line (a run that goes on, or was killed), and a resumed run may repeat
steps; neither keeps the rest from being read. What cannot be shown is told in :attr:`Run.notes`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from autowu.detector import Verdict
from autowu.errors import UserError
from autowu.state import Switch

Array: TypeAlias = NDArray[np.float64]
Record: TypeAlias = dict[str, Any]
T = TypeVar("T")

HUGE: Final = 1e100


class Update(NamedTuple):
    """One optimizer update; a run has up to millions of them."""

    step: int  # updates done, this one included
    loss: float  # NaN where it was not finite
    lr: float  # the LR that the update used


@dataclass(frozen=True)
class Epoch:
    """What was measured at the end of an epoch."""

    epoch: float
    step: int
    train_loss: float
    test_accuracy: float


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
    epochs: tuple[Epoch, ...]
    notes: tuple[str, ...]

    @property
    def adaptive(self) -> bool:
        """Whether AutoWU set the learning rate (a baseline makes no tests)."""
        return bool(self.tests) or self.switch is not None

    @property
    def warmup_end(self) -> int:
        """The last step of warm-up so far; 0 where AutoWU did not set the learning rate."""
        if self.switch is not None:
            return self.switch.step
        return int(self.steps[-1]) if self.adaptive and len(self.steps) else 0


def read(folder: Path, name: str | None = None) -> Run:
    """Read a run folder; ``name`` stands for it in the report (default: the folder's own name).

    Raises:
        UserError: a file is missing, cannot be read, or was not written by `autowu train`.
    """
    about = _read_about(folder / "run.json")
    events, notes = _read_log(folder / "log.jsonl")
    updates = list(events.updates.values())
    if about.get("status") != "finished":
        notes.append("the run has not finished; shown as far as it goes")
    if not updates:
        notes.append("no update is logged yet")
    return Run(
        name=printable(name or folder.resolve().name),
        config=_mapping(about, "config"),
        schedule=_mapping(about, "schedule"),
        metrics=_mapping(about, "metrics"),
        steps=np.array([update.step for update in updates], dtype=np.int64),
        losses=np.array([update.loss for update in updates], dtype=np.float64),
        lrs=np.array([update.lr for update in updates], dtype=np.float64),
        tests=tuple(events.tests.values()),
        switch=next(reversed(events.switches.values()), None),
        epochs=tuple(events.epochs.values()),
        notes=tuple(notes),
    )


def printable(text: object) -> str:
    """``text`` on one line, without what would steer a terminal or not encode."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text))


# --- run.json -----------------------------------------------------------------------------------------


def _read_about(path: Path) -> Record:
    try:
        about = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {_reason(error)}; is this a folder written by `autowu train`?") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON file") from error
    if not isinstance(about, dict) or "autowu" not in about:
        raise UserError(f"{path}: not written by `autowu train` (it has no key 'autowu')")
    return cast(Record, about)


def _mapping(about: Record, key: str) -> Record:
    value = about.get(key)
    return cast(Record, value) if isinstance(value, dict) else {}


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


# --- log.jsonl ----------------------------------------------------------------------------------------


class _Events(NamedTuple):
    """The events of a log by step, so that a resumed run's second account of a step replaces the first."""

    updates: dict[int, Update]
    tests: dict[int, Verdict]
    switches: dict[int, Switch]
    epochs: dict[int, Epoch]


def _read_log(path: Path) -> tuple[_Events, list[str]]:
    events, broken = _Events({}, {}, {}, {}), list[int]()
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    broken.append(number)
                    continue
                try:
                    _take(events, record)
                except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
                    raise UserError(f"{path}, line {number}: not a line of an autowu log") from error
    except OSError as error:
        raise UserError(f"{path}: {_reason(error)}; is this a folder written by `autowu train`?") from error
    if broken and not any(events):
        raise UserError(f"{path}, line {broken[0]}: not a line of an autowu log")
    return _Events(*map(_in_order, events)), [
        f"line {number} of the log is cut off and left out" for number in broken
    ]


def _take(events: _Events, record: Record) -> None:
    """Put one line of the log where it belongs; kinds that are not known here are passed over."""
    kind = record["event"]
    if kind == "step":
        step = _step(record["step"])
        events.updates[step] = Update(step, _number(record["loss"]), _number(record["lr"]))
    elif kind == "test":
        events.tests[_step(record["step"])] = _test(record)
    elif kind == "switch":
        events.switches[_step(record["step"])] = _switch(record)
    elif kind == "epoch":
        events.epochs[_step(record["step"])] = _epoch(record)


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
    peak_lr = _finite(record["peak_lr"])
    if peak_lr <= 0:
        raise ValueError("a peak LR is above zero")
    return Switch(
        step=_step(record["step"]),
        capped=bool(record["capped"]),
        t_star=_optional(_finite, record["t_star"]),
        peak_lr=peak_lr,
        rewound_to=_optional(_step, record["rewound_to"]),
    )


def _epoch(record: Record) -> Epoch:
    return Epoch(
        epoch=_finite(record["epoch"]),
        step=_step(record["step"]),
        train_loss=_number(record.get("train_loss")),
        test_accuracy=_number(record.get("test_accuracy")),
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


def _in_order(events: dict[int, Any]) -> dict[int, Any]:
    return dict(sorted(events.items()))
