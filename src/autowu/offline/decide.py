"""What AutoWU would have decided on a log: the one way that `autowu replay` and `autowu report` share."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.errors import UserError
from autowu.offline import range_test, what_if
from autowu.offline.arguments import Asked
from autowu.offline.logs import Record, read
from autowu.offline.range_test import RangeTest
from autowu.offline.replay import Replay
from autowu.offline.strided import replay_record
from autowu.offline.text import count
from autowu.text import printable

LIKE: Final = 1.02  # LRs that differ by less are the same, as far as a log tells
BEGINNING: Final = 5  # updates whose LRs show that they grow by a factor
FEW: Final = 0.1  # of the LRs may be others, and the schedule the same


@dataclass(frozen=True, eq=False)
class Decided:
    """A log, and what is made of it."""

    path: str
    asked: Asked
    record: Record
    replay: Replay
    range_test: RangeTest | None = None
    """What a range test says, where the log is one."""

    @property
    def foreign(self) -> bool:
        """Whether the log's learning rates are others than those that AutoWU would have set."""
        lrs = self.record.lrs
        return self.range_test is None and lrs is not None and not _alike(lrs, self._own())

    @property
    def elsewhere(self) -> bool:
        """Whether they are another schedule's: AutoWU itself, which sees all losses, goes another way than a
        replay of some of them."""
        thinned = self.record.stride > 1 or self.record.epochs
        return self.foreign and not (self.record.own and thinned)

    @property
    def command(self) -> str:
        """The command line that decides the same."""
        return " ".join(["autowu replay", shlex.quote(printable(self.path)), *self.asked.flags()])

    def caveats(self) -> tuple[str, ...]:
        """Why the peak LR is not to be relied on, each a sentence; what has to be said first."""
        record, found = self.record, list[str]()
        if self.range_test is not None:
            return ()
        found += _sparse(record, self.replay.config)
        if self.elsewhere and record.lrs is not None and _grows(record.lrs):
            length = self.replay.config.total_steps
            run = "without a known end" if length is None else f"of {count(length, 'update')}"
            found.append(
                f"The learning rates grow as AutoWU's do, but not as in a run {run} with these settings: "
                "give those of the run, --total-steps first of all, or the peak is wrong"
            )
        elif self.elsewhere and record.lrs is not None:
            known = record.lrs[np.isfinite(record.lrs)]
            least, most = f"{known.min():.3g}", f"{known.max():.3g}"
            rates = f"from {least} to {most}" if least != most else f"of {least}"
            found.append(
                f"Recorded under another schedule (learning rates {rates}), so it cannot tell AutoWU's peak: "
                "the loss follows the learning rate"
            )
        if record.stride > 1:
            found.append(
                f"A loss for every {record.stride:,} updates only, and AutoWU reads them all: such a log "
                "tells the peak roughly at best"
            )
        return tuple(found)

    def assumed(self) -> str | None:
        """How long the run was taken to be, where nobody has said so; a sentence."""
        if self.asked.total_steps is not None or self.range_test is not None:
            return None
        if self.elsewhere and self.record.lrs is not None and _grows(self.record.lrs):
            return None  # the caveat has said it
        if self.record.planned is not None:
            length = self.replay.config.total_steps
            end = "had no known end" if length is None else f"is one of {count(length, 'update')}"
            sweep = "; --sweep if this is a range test" if _would_be_sweep(self.record) else ""
            return f"The run {end}, as its log says{sweep}"
        return (
            f"The record is taken for the whole run, of {count(self.record.updates, 'update')}; if that was "
            "to be longer, give --total-steps, or the peak is wrong"
        )

    def cases(self) -> list[what_if.Case]:
        """What other settings would have decided."""
        return what_if.cases(self.replay, self._again, **self.asked.settings, preset=self.asked.preset)

    def _again(self, **settings: Any) -> Replay:
        if self.range_test is not None:
            return range_test.decision(self.record.losses, self.range_test.lrs, **settings)
        return replay_record(self.record, self.asked.total_steps or self.record.planned, **settings)

    def _own(self) -> Array:
        """AutoWU's LRs beside the entries of the record, up to the switch: later ones follow from it."""
        k, switch = self.record.stride, self.replay.switch_step
        own = self.replay.learning_rates[::k]
        return own if switch is None else own[: max(2, switch // k)]


def _sparse(record: Record, config: Config) -> list[str]:
    """What is to be said of losses that are of epochs, mostly missing, or too few."""
    finite, n = int(np.isfinite(record.losses).sum()), len(record.losses)
    if record.epochs:
        return [
            f"A loss for each epoch, by its column {printable(record.epochs):.40}, and each is taken for "
            "that of an update: such a log cannot tell the peak"
        ]
    if 2 * record.absent > n:
        return [
            f"The log has no loss for {record.absent:,} of {count(n, 'update')}, and AutoWU takes stretches "
            "without one for the death of a run: such a log cannot tell the peak"
        ]
    if finite < config.min_losses:
        have = "loss is" if finite == 1 else "losses are"
        return [
            f"Only {finite:,} {have} finite, and a test needs {config.min_losses}: such a log cannot tell "
            "the peak"
        ]
    return []


def _grows(lrs: Array) -> bool:
    """Whether ``lrs`` begin with growth by the same factor from update to update."""
    start = lrs[:BEGINNING]
    if len(start) < BEGINNING or not (np.isfinite(start) & (start > 0)).all():
        return False
    growth = start[1:] / start[:-1]
    return bool(growth.min() > 1 and growth.max() <= LIKE * growth.min())


def _alike(lrs: Array, own: Array) -> bool:
    """Whether ``lrs`` [n] are ``own`` [m ≤ n] but for a factor: a group of parameters may have its own.

    An entry may also have the LR of the update before or after it: logs differ in which one they mean.
    """
    usable = np.isfinite(lrs[: len(own)]) & (lrs[: len(own)] > 0)
    if not usable.any():
        return True  # no LR speaks against it
    before, after = np.append(own[0], own[:-1]), np.append(own[1:], own[-1])
    low, high = np.minimum.reduce([before, own, after]), np.maximum.reduce([before, own, after])
    found = lrs[: len(own)][usable]
    found = found / np.median(found / own[usable])
    off = (found < low[usable] / LIKE) | (found > high[usable] * LIKE)
    return bool(off.mean() <= FEW)


def _goes_on(record: Record) -> bool:
    """Whether the log says that the run was to go on beyond its end."""
    return record.planned is not None and record.planned - record.updates >= record.stride


def _would_be_sweep(record: Record) -> bool:
    return _goes_on(record) and range_test.is_sweep(record.lrs)


def decide(path: str, asked: Asked | None = None) -> Decided:
    """Read the log at ``path`` and decide as ``asked``.

    Raises:
        UserError: the log cannot be read or used.
    """
    asked = asked or Asked()
    known = None if asked.total_steps in (None, math.inf) else int(asked.total_steps)
    record = read(path, known, asked.choice)
    settings: dict[str, Any] = {**asked.settings, "preset": asked.preset}
    of = _range_test(path, asked, record, settings)
    if of is not None:
        return Decided(path, asked, record, of.replay, of)
    return Decided(
        path, asked, record, replay_record(record, asked.total_steps or record.planned, **settings)
    )


def _range_test(path: str, asked: Asked, record: Record, settings: dict[str, Any]) -> RangeTest | None:
    """The record as a range test: where the user says so, or its LRs do and no longer run is spoken of."""
    if asked.sweep is False or (asked.sweep is None and (asked.total_steps or asked.preset != "default")):
        return None
    if asked.sweep is None and _goes_on(record):
        return None  # a warm-up, whose run goes on
    if record.lrs is not None and range_test.is_sweep(record.lrs):
        return range_test.sweep(record.losses, record.lrs, **settings)
    if asked.sweep:
        raise UserError(
            f"{path}: --sweep needs 20 or more rows with learning rates above 0 (a column lr) that "
            "grow by a factor of ten or more"
        )
    return None
