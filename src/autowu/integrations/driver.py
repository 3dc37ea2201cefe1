"""AutoWU for a host without PyTorch: it takes losses as they come, and keeps the snapshot for rewinding."""

from __future__ import annotations

import json
import math
import numbers
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.integrations.kept import Kept
from autowu.integrations.logged import Folder, RunLog
from autowu.integrations.readable import Readable
from autowu.integrations.saved import check_keys, names_of, numbers_of, to_array
from autowu.integrations.session import Session, lacks_snapshot, not_rewound
from autowu.integrations.unread import Unread
from autowu.integrations.weights import Leaf, Weights

ABOUT: Final = {"host": "a loop of its own"}


class Driver(Readable):
    """Holds the controller's state, the losses since its last decision, and the snapshot for rewinding.

    ::

        driver = Driver(Config(total_steps=12_000))
        for batch in batches:
            loss = ...  # train with driver.learning_rate
            driver.observe(loss)
            if weights := driver.step(read_weights):
                ...  # put `weights` back, each array where its name says

    Args:
        config: the schedule's.
        log: the folder of the run log that `autowu report` reads; by default there is none.
        about: what :class:`autowu.integrations.logged.RunLog` is to say of the host.
    """

    def __init__(self, config: Config, log: Folder | None = None, about: Mapping[str, Any] = ABOUT) -> None:
        self._session = Session(config, log=None if log is None else RunLog(log, config, about))
        self._micro: list[Any] = []  # losses of the update that is not closed yet
        self._pending: list[list[Any]] = []  # those of each update since the last decision
        self._snapshot: Weights | None = None
        self._kept: Kept | None = None  # during a decision
        self._owed: Weights | None = None  # to be put back, and not given to the host yet
        self._warned: set[str] = set()
        self._unread = Unread(self._session, partial(_means, self._pending)).written_with(self)

    @property
    def session(self) -> Session:
        """What decides."""
        return self._session

    @property
    def step_count(self) -> int:
        """Updates done."""
        return self._session.step

    @property
    def snapshot(self) -> Weights | None:
        """What is kept for rewinding; None if nothing is."""
        return self._snapshot

    def add_to_snapshot(self, weights: Weights) -> None:
        """Put in what the snapshot left out as frozen, and what is now as it was then."""
        if (kept := self._snapshot) is not None:
            parameters, rest = (
                {name: leaf for name, leaf in leaves.items() if name in kept.frozen}
                for leaves in (weights.parameters, weights.rest)
            )
            self._snapshot = Weights(
                {**kept.parameters, **parameters},
                {**kept.rest, **rest},
                kept.frozen - parameters.keys() - rest.keys(),
            )

    def observe(self, loss: object) -> None:
        """Add the loss of a batch to the update that the next :meth:`step` closes.

        It counts, even if the update is then given up and tried again. To be free to do so, keep the losses
        until the update is made, and give their mean to :meth:`step`.

        Args:
            loss: a Python number, or an array with one element. An array is not read before the next
                decision, so that one on an accelerator does not hold up the training.

        Raises:
            TypeError, ValueError: ``loss`` is not one real number; nothing is changed.
        """
        dtype = getattr(loss, "dtype", None)
        if dtype is not None and not hasattr(dtype, "kind"):  # PyTorch's: it may carry a graph
            raise TypeError(
                f"loss must be a Python number or an array, such as float(loss), not {loss!r:.80}"
            )
        real = isinstance(loss, numbers.Real) if dtype is None else dtype.kind not in "bcOSUmM"
        if np.ma.is_masked(loss):  # pyright: ignore[reportUnknownMemberType]
            real = False
        if not real or isinstance(loss, bool):
            raise TypeError(f"loss must be a real number, not {loss!r:.80}")
        shape = tuple(getattr(loss, "shape", ()))
        if math.prod(shape) != 1:
            raise ValueError(f"loss must have one element, not shape {shape}")
        self._micro.append(loss)

    def begin(self, read: Callable[[], Weights]) -> None:
        """To be called before the first update, if the weights are at hand: that may be one too many.

        Without it the first copy for rewinding is of after that.

        Args:
            read: as for :meth:`step`.
        """
        session = self._session
        if session.step == 0 and session.state.snapshot_step is not None and self._snapshot is None:
            kept = Kept(None, session.state, read, lambda snapshot: None)
            kept.take()  # what cannot be copied is told at the first read
            self._snapshot = kept.snapshot

    def step(
        self, read: Callable[[], Weights], check: Callable[[Weights], None] = lambda snapshot: None
    ) -> Weights | None:
        """Close an update, whose loss is the mean of those observed, and set the LR of the next.

        Args:
            read: called where a snapshot for rewinding is needed; gives copies of the weights as they are. It
                raises a MisfitError if they cannot be copied: the run goes on, and a warning says so once.
            check: called with the snapshot before each decision while there is one. It raises a MisfitError
                if that cannot be put back as a whole: it is then given up, and a warning says so once.

        Returns:
            The weights that the host has to put back, or None, as nearly always. The driver keeps these
            arrays: copy them, and do not train in them. Where a step is interrupted, or raises an error, the
            next one returns them.

        Raises:
            TypeError: no loss has been observed since the last step; nothing is changed. Or ``read`` gives
                something else: the update counts, and is decided on at the next step.
        """
        if not self._micro:
            raise TypeError("a step needs the training loss of the update, and none has been observed")
        return self._given(lambda: self._advance(read, check))

    def _advance(self, read: Callable[[], Weights], check: Callable[[Weights], None]) -> list[str]:
        """Close an update, and decide if that is due. What to warn of."""
        session = self._session
        # A decision that was interrupted, or failed, at the update before.
        behind = session.due is not None and session.step >= session.due
        texts = self._decide(read, check) if behind else []
        losses, self._micro = self._micro, []
        session.step += 1
        if session.due is None:
            overrun = session.overrun()
            return texts if overrun is None else [*texts, overrun]
        self._pending.append(losses)
        if session.step != session.due or self._owed is not None:  # what is read now is to be put back first
            return texts
        return [*texts, *self._decide(read, check)]

    def owe(self, weights: Weights | None) -> None:
        """The host could not put back ``weights``, if it was given any: the next step gives them again."""
        self._owed = self._owed if weights is None else weights

    def _settle(self) -> None:
        """After Ctrl-C or an error: the update counts or it does not, and all that was decided fits."""
        session, kept = self._session, self._kept
        if kept is not None and session.state.step > kept.before.step:
            self._follow(kept)
        self._kept = None
        if session.due is not None:
            session.step = session.state.step + len(self._pending)
        if session.state.snapshot_step is None:
            self._snapshot = None

    # --- the end of the run ---------------------------------------------------------------------------

    def extend(self, total_steps: int) -> None:
        """The run ends after ``total_steps`` updates: more or fewer than was planned, or than were known.

        Raises:
            TypeError: ``total_steps`` is no integer.
            ValueError: it is not above the updates done, or the run is over; nothing is changed.
        """
        self._session.extend(total_steps)

    def cooldown(
        self,
        steps: int,
        read: Callable[[], Weights],
        check: Callable[[Weights], None] = lambda snapshot: None,
    ) -> Weights | None:
        """The LR falls to zero in the next ``steps`` updates; in warm-up from the best one known.

        Args:
            steps: ≥ 1.
            read: as for :meth:`step`.
            check: as for :meth:`step`.

        Returns:
            The weights that the host has to put back, or None.

        Raises:
            TypeError: ``steps`` is no integer.
            ValueError: it is below 1, or the run is over; nothing is changed.
        """
        session = self._session
        session.cooldown(steps, within_update=bool(self._micro))
        if session.deciding or session.step != session.due:  # by a signal's handler: the next step decides
            return None
        return self._given(lambda: self._decide(read, check))

    def _given(self, decide: Callable[[], list[str]]) -> Weights | None:
        """What the host has to put back after ``decide``, once what that returns has been warned of."""
        weights = None
        try:
            for text in decide():
                warnings.warn(text, stacklevel=4)
            weights, self._owed = self._owed, None
            return weights
        except BaseException:
            self._settle()
            self.owe(weights)
            raise

    def _decide(self, read: Callable[[], Weights], check: Callable[[Weights], None]) -> list[str]:
        """Let the session decide; where that is interrupted, the next step does. What to warn of."""
        losses, session = _means(self._pending), self._session
        kept = self._kept = Kept(self._snapshot, session.state, read, check)
        if not kept.fits():
            if session.state.read == 0:  # a copy of now takes its place, which knows what has moved
                kept.texts.clear()
            kept.drop()
            session.enter(session.state.replace(snapshot_step=None))
        texts = list(session.decide(losses, kept))
        self._follow(kept)
        texts += session.write_log(losses)
        texts += [text for kind, text in kept.texts.items() if kind not in self._warned]
        self._warned |= kept.texts.keys()
        return texts

    def _follow(self, kept: Kept) -> None:
        """Take over what a decision has made of the snapshot."""
        session = self._session
        self._pending.clear()  # the list that the log knows of
        if kept.refused:  # the controller has gone back, but the weights are those of now: its record says so
            session.enter(not_rewound(session.state.replace(restores=kept.before.restores)))
        owed = self._owed if kept.restored is None else kept.restored
        self._snapshot, self._owed, self._kept = kept.snapshot, owed, None

    # --- checkpoints ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Leaf]:
        """A flat dict of NumPy arrays, which any checkpointer can keep, and a run goes on from bit for bit.

        ``schedule`` is JSON in UTF-8; the snapshot for rewinding follows while there is one, an array
        an entry, called "parameter.<name>" or "rest.<name>".
        """
        owed = self._owed is not None
        kept = self._owed if owed else self._snapshot
        schedule: dict[str, Any] = {
            **self._session.to_dict(),
            "pending": _means(self._pending),
            "micro": np.array([_number(loss) for loss in self._micro]),
            "frozen": [] if kept is None else sorted(kept.frozen),
        }
        schedule |= {"owed": True} if owed else {}
        text = json.dumps(schedule, default=lambda array: {"array": array.tolist()})
        state: dict[str, Leaf] = {"schedule": np.frombuffer(text.encode(), np.uint8)}
        return state if kept is None else state | kept.to_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            ValueError: the state is none of AutoWU, damaged, from another version, or of a run with another
                configuration; the message names what differs, and nothing is changed.
        """
        try:
            check_keys(state_dict, "schedule")
            text = np.asarray(state_dict["schedule"]).tobytes().decode()
            schedule = json.loads(text, object_hook=to_array)
            check_keys(schedule, "version", "config")
            pending, micro = numbers_of(schedule, "pending"), numbers_of(schedule, "micro")
            session = self._session.loaded(schedule, len(pending))
            snapshot = Weights.from_dict(state_dict, names_of(schedule, "frozen"))
            keeps, owed = session.state.snapshot_step is not None, bool(schedule.get("owed"))
            if snapshot is None if owed else lacks_snapshot(session, snapshot is not None):
                raise ValueError(
                    "the snapshot for rewinding and the saved state do not fit together: entries are"
                    " missing, as where they were restored by a template with others, or there are too many"
                )
        except (LookupError, TypeError, AttributeError, json.JSONDecodeError, UnicodeError) as error:
            raise ValueError(f"the state of AutoWU is damaged: {type(error).__name__}: {error}") from error
        self._session = session
        self._pending, self._micro = [[loss] for loss in pending], micro
        self._unread.follow(session, partial(_means, self._pending))
        self._snapshot, self._owed = snapshot if keeps else None, snapshot if owed else None


def _means(updates: list[list[Any]]) -> Array:
    return np.array([sum(map(_number, update)) / len(update) for update in updates])


def _number(loss: Any) -> float:
    return float(np.asarray(loss).reshape(()))
