"""SIGTERM and Ctrl-C: finish the update, save, and stop, all processes at the same update."""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import Any, Final

import torch
import torch.distributed as dist

ECHO: Final = 2.0
"""Seconds in which a signal may come again without meaning more: ``timeout`` sends it to the process and to
its group, and torchrun passes on to its processes what the group has had already."""


class StopRequest:
    """A context in which SIGTERM and SIGINT are requests, to be asked for after each update.

    With several processes a signal may reach one of them first, or only one. Each therefore puts what it has
    received into a sum over all of them, which is awaited one update later: all stop at the same update, and
    none waits for the others in between. (It goes through host memory, whatever the device.)

    A signal more than two seconds after the first ends the process as if there were no such context.
    """

    def __init__(self, processes: int) -> None:
        self._received = 0
        self._received_at = 0.0
        self._before: dict[int, Any] = {}
        self._group: Any = dist.new_group(backend="gloo") if processes > 1 else None
        self._pending: Any = None
        self._shared = torch.zeros((), dtype=torch.int64)

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pending is not None and kind is None:
            self._pending.wait()
            self._pending = None
        self._put_back()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self._received:
            self._received, self._received_at = number, time.monotonic()
        elif time.monotonic() - self._received_at > ECHO:
            self._put_back()
            signal.raise_signal(number)

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def received(self) -> int | None:
        """The signal to stop for, or None; the same answer in all processes, which all have to ask."""
        if self._group is None:
            return self._received or None
        answer = 0
        if self._pending is not None:
            self._pending.wait()
            answer = int(self._shared)
        if not answer:
            self._shared.fill_(self._received)
            self._pending = dist.all_reduce(self._shared, dist.ReduceOp.MAX, self._group, async_op=True)
        else:
            self._pending = None
        return answer or None
