"""Worker processes that go on when SIGTERM or Ctrl-C reaches the whole process group.

``timeout``, job schedulers and terminals signal a group, not a process. The training then finishes its
update, for which it needs its workers and the server that forks them; it ends them itself. Both are born with
these signals blocked: to ignore them from a worker's first line on would leave the time before it.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any, Final

from torch.utils.data import DataLoader

START: Final = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""How they are started; not forked: this process's threads would be missing, their locks remain locked."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def begin(loader: DataLoader[Any], started: list[BaseProcess]) -> Iterator[Any]:
    """The batches of ``loader``, whose workers never see SIGTERM or SIGINT.

    A signal that reaches this process meanwhile is delivered at the end.

    Args:
        loader: with :func:`ignore_signals` to initialise its workers.
        started: gets the workers that this has started.
    """
    if not loader.num_workers:
        return iter(loader)
    before = set(multiprocessing.active_children())
    blocks = hasattr(signal, "pthread_sigmask")  # not on Windows
    mask = set[int]()
    if blocks:
        resource_tracker.ensure_running()  # else it starts when the first worker does, and unblocks them
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        return iter(loader)
    finally:
        if blocks:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        started += set(multiprocessing.active_children()) - before


def ignore_signals(worker: int) -> None:
    """In a worker: for where nothing can be blocked, or another program has started the server."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def end(started: list[BaseProcess]) -> None:
    """Kill those that were told to end and have not: Python, when it exits, waits for all of them."""
    for worker in started:
        if worker.is_alive():
            worker.kill()
    started.clear()
