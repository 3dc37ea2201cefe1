"""The end of a run, set or moved by whoever holds the PyTorch scheduler."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterable

import torch.distributed as dist

from autowu.integrations.session import Session
from autowu.integrations.torch.groups import Groups
from autowu.integrations.torch.pending import PendingLosses
from autowu.integrations.torch.ranks import agree


class Ends:
    """``extend`` and ``cooldown`` of the scheduler, and that its ranks know of one end."""

    _session: Session
    _pending: PendingLosses
    _groups: Groups
    _compared: bool  # whether the ranks have the same run in hand

    @abstractmethod
    def _decide(self) -> Iterable[str]: ...

    @abstractmethod
    def _expect(self) -> None: ...

    @abstractmethod
    def _settle(self) -> None: ...

    @abstractmethod
    def _group(self) -> dist.ProcessGroup | None: ...

    def extend(self, total_steps: int) -> None:
        """The run ends after ``total_steps`` updates: more or fewer than was planned, or than were known.

        Warm-up goes on as it began. A decay that has begun bends towards the new end, and the LR jumps
        nowhere; a stable phase becomes a decay. With several processes all have to call it.

        Raises:
            TypeError: ``total_steps`` is no integer.
            ValueError: it is not above the updates done, the run is over, or the ranks differ; nothing is
                changed.
        """
        agree({"extend(total_steps)": total_steps}, self._group())
        self._session.extend(total_steps)
        self._ends_elsewhere()

    def cooldown(self, steps: int) -> None:
        """The LR falls to zero in the next ``steps`` updates, by the shape of the decay.

        It may be called at any time; in warm-up the LR, and the weights, first go back to the best one known.
        With several processes all have to call it.

        Raises:
            TypeError: ``steps`` is no integer.
            ValueError: it is below 1, the run is over, or the ranks differ; nothing is changed.
        """
        agree({"cooldown(steps)": steps}, self._group())
        self._session.cooldown(steps, within_update=self._pending.open)
        self._ends_elsewhere()

    def _compare(self) -> None:
        """Before the first update after construction or loading: the ranks must have the same run in hand.

        Where they differ their reads would come at different updates, and each would wait for the others.

        Raises:
            ValueError: they differ; nothing is changed.
        """
        session = self._session
        mine = {
            "total_steps": session.total_steps,
            "the total_steps that the run began with": session.config.total_steps,
            "the number of updates done": session.step,
        }
        agree(mine, self._group())
        self._compared = True

    def _ends_elsewhere(self) -> None:
        session = self._session
        if session.deciding:  # by a signal's handler: it comes right after
            return
        try:
            texts = self._decide() if session.step == session.due else ()
            self._expect()
            self._groups.write(session.learning_rate)
        except BaseException:
            self._settle()
            raise
        for text in texts:
            warnings.warn(text, stacklevel=3)
