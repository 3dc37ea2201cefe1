"""The last lines of a run's log: what came after the last read, where a run ends between two of them.

They are written when the host's object dies, or at the latest when the interpreter exits. No step knows of
it, and no device is asked before. A process that is killed writes none.
"""

from __future__ import annotations

import atexit
import os
import warnings
import weakref
from collections.abc import Callable

from autowu.arrays import Array
from autowu.integrations.exits import NEWEST
from autowu.integrations.session import Session


class Unread:
    """What a run has not read yet, for its log.

    It knows the session and the losses, but not the host's object: that dies when nobody else holds it.
    """

    def __init__(self, session: Session, losses: Callable[[], Array]) -> None:
        self.follow(session, losses)
        self._process = os.getpid()

    def follow(self, session: Session, losses: Callable[[], Array]) -> None:
        """From now on, ``losses`` gives those of ``session`` that wait for the next read [n]."""
        self._session, self._losses = session, losses

    def written_with(self, owner: object) -> Unread:
        """This, to be written when ``owner`` dies, and at the latest at the end of the interpreter.

        Whether it ended with its LR still high is told then.
        A copy of ``owner`` is not followed: it has the same losses, and they would be written twice.
        """
        NEWEST.begins(owner, lambda: self._session)
        if self._session.log is None:
            return self
        end = weakref.finalize(owner, self._write)
        # Hooks run from the newest on: this one while the frameworks that the losses are of still work.
        end.atexit = False
        atexit.register(end)
        weakref.finalize(owner, atexit.unregister, end).atexit = False
        return self

    def _write(self) -> None:
        session = self._session
        if session.log is None or os.getpid() != self._process:  # a fork has its parent's objects
            return
        try:
            losses = self._losses()
        except Exception:  # of whatever framework: its device has failed, or is gone before us
            return
        if session.state.step + len(losses) == session.step:  # else it was interrupted within an update
            for text in session.log.end(session, losses):
                warnings.warn(text, stacklevel=2)
