"""Interleaved timings in one process, and the row of a table that they make."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Timing:
    """CPU seconds of one call, one number per repetition.

    CPU time, because it leaves out what other processes take of a shared machine; on one thread of an idle
    machine it is the time that passes.
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure that ratios are made of."""
        return median(self.seconds)

    def __str__(self) -> str:
        return f"{duration(self.median)} (min {duration(min(self.seconds))})"

    def to_json(self) -> dict[str, float | int]:
        """What the results keep of it."""
        return {
            "repetitions": len(self.seconds),
            "median_s": self.median,
            "min_s": min(self.seconds),
            "max_s": max(self.seconds),
        }


def interleaved(calls: Sequence[tuple[Callable[[], Any], int]], repetitions: int) -> list[Timing]:
    """Time ``calls``, pairs of a function and how often it is called in one repetition, in turn.

    A B A B …, so that whatever slows the machine down for a while slows all of them.
    """
    for call, _ in calls:
        call()  # caches, lazy imports, first allocations
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(repetitions):
        for (call, count), spent in zip(calls, seconds, strict=True):
            gc.collect()
            begin = time.process_time()
            for _ in range(count):
                call()
            spent.append((time.process_time() - begin) / count)
    return [Timing(tuple(spent)) for spent in seconds]


@dataclass(frozen=True)
class Row:
    """One measurement and its bar: a ratio, or where there is no peer, a time."""

    what: str
    ours: Timing
    peer: Timing | None = None
    faster: float | None = None
    """Bar: the peer takes at least this many times as long as we do."""
    slower: float | None = None
    """Bar: we take at most this many times as long as the peer."""
    limit: float | None = None
    """Bar: we take at most this many seconds."""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Peer over ours where we are to be faster, else ours over the peer's; of medians."""
        if self.peer is None:
            return None
        ratio = self.peer.median / self.ours.median
        return ratio if self.faster is not None else 1 / ratio

    @property
    def bar(self) -> str:
        """The bar as the table has it; empty where there is none."""
        if self.faster is not None:
            return f"≥ {self.faster:g}"
        if self.slower is not None:
            return f"≤ {self.slower:g}"
        return "" if self.limit is None else f"≤ {duration(self.limit)}"

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.limit is not None:
            return self.ours.median <= self.limit
        if self.ratio is None or not self.bar:
            return None
        return self.ratio >= self.faster if self.faster is not None else self.ratio <= (self.slower or 0)

    def cells(self) -> tuple[str, ...]:
        """The row as the printed table has it."""
        return (
            self.what,
            str(self.ours),
            "" if self.peer is None else str(self.peer),
            "" if self.ratio is None else f"{self.ratio:.3g}",
            self.bar,
            {True: "yes", False: "NO", None: ""}[self.met],
            self.note,
        )

    def to_json(self) -> dict[str, Any]:
        """The row as the results have it."""
        return {
            "what": self.what,
            "ours": self.ours.to_json(),
            "peer": self.peer and self.peer.to_json(),
            "ratio": self.ratio,
            "bar": self.bar or None,
            "met": self.met,
            "note": self.note or None,
        }


HEADER = ("what", "ours", "peer", "ratio", "bar", "met?", "note")


def table(rows: Sequence[Row]) -> str:
    """The rows as a table in Markdown, aligned."""
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
