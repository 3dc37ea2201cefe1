"""The end of a run: of a plain loop, which nobody tells of, it is looked at when the interpreter ends.

Hosts that see the end tell of it themselves. Nothing is told where an error or Ctrl-C ended the program, of
runs of a few updates, and of any run but the last that was begun.
"""

from __future__ import annotations

import atexit
import os
import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Final, Protocol

from autowu.integrations.ended import ended_early
from autowu.integrations.session import Session

FEW: Final = 100  # updates in this program: a run of fewer may be a rehearsal


class Scheduler(Protocol):
    """What a host's scheduler has of its session."""

    _session: Session


class Newest:
    """The run that was begun last; it is not kept from being freed."""

    def __init__(self) -> None:
        self._end: weakref.finalize[..., object] | None = None
        self._owner: weakref.ref[object] | None = None
        self._session: Callable[[], Session] | None = None
        self._text: str | None = None
        self._process = os.getpid()

    def begins(self, owner: object, session: Callable[[], Session]) -> None:
        """``owner``, a host's object, begins a run; ``session`` gives what it has by now."""
        self._forget()
        self._owner, self._session, self._process = weakref.ref(owner), session, os.getpid()
        self._end = weakref.finalize(owner, self._look)
        self._end.atexit = False

    def seen(self, owner: object) -> None:
        """Its host sees the end of this run, and tells of it."""
        if self._owner is not None and self._owner() is owner:
            self._forget()

    def _forget(self) -> None:
        if self._end is not None:
            self._end.detach()
        self._end = self._owner = self._session = self._text = None

    def _look(self) -> None:
        if self._session is not None:
            session, self._session = self._session(), None
            here = session.step - session.loaded_at  # of a checkpoint that is but looked at there are none
            self._text = session_ended_early(session) if here >= FEW else None

    def tell(self) -> None:
        """At the end of the interpreter."""
        if hasattr(sys, "last_type") or os.getpid() != self._process or os.environ.get("RANK", "0") != "0":
            return
        self._look()
        if self._text is not None:
            warnings.warn(
                f"{self._text} total_steps counts updates, not the batches that make one. (If the run goes on"
                " from a checkpoint, all is well.)",
                stacklevel=2,
            )


NEWEST: Final = Newest()
atexit.register(NEWEST.tell)


def session_ended_early(session: Session) -> str | None:
    """:func:`ended_early` of a run as it is at its end."""
    switch = session.state.switch
    peak_lr = None if switch is None else switch.peak_lr
    return ended_early(session.total_steps, session.step, session.learning_rate, peak_lr)


def scheduler_ended_early(scheduler: Scheduler) -> str | None:
    """The same of a scheduler whose host sees its end, so that nothing more is told of it."""
    NEWEST.seen(scheduler)
    return session_ended_early(scheduler._session)  # pyright: ignore[reportPrivateUsage]
