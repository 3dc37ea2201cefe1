"""AutoWU for a host without PyTorch: it takes losses as they come, and keeps the snapshot for rewinding."""

from __future__ import annotations

import json
import math
import numbers
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from autowu.config import Config
from autowu.controller.state import Reopening, Switch
from autowu.detector.detect import Verdict
from autowu.integrations.saved import check_keys
from autowu.integrations.session import Session

Leaf: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


@dataclass(frozen=True, eq=False)
class Weights:
    """What training changes, in host memory: arrays that nobody else writes to, always in the same order."""

    parameters: Sequence[Leaf]
    rest: Sequence[Leaf]
    """The optimizer's state, and statistics such as BatchNorm's."""

    def healthy(self) -> bool:
        """Whether all parameters are finite."""
        return all(np.isfinite(leaf).all() for leaf in self.parameters)


class Driver:
    """Holds the controller's state, the losses since its last decision, and the snapshot for rewinding.

    ::

        driver = Driver(Config(total_steps=12_000))
        for batch in batches:
            loss = ...  # train with driver.learning_rate
            driver.observe(loss)
            if weights := driver.step(read_weights):
                ...  # put `weights` back
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._session = Session(config)
        self._micro: list[Any] = []  # losses of the update that is not closed yet
        self._pending: list[list[Any]] = []  # those of each update since the last decision
        self._snapshot: Weights | None = None

    @property
    def step_count(self) -> int:
        """Updates done."""
        return self._session.step

    @property
    def missing(self) -> int:
        """Of them, those up to the last decision whose loss was not finite."""
        return self._session.missing

    @property
    def learning_rate(self) -> float:
        """η of the next update."""
        return self._session.learning_rate

    @property
    def phase(self) -> Literal["warmup", "decay"]:
        """The current phase."""
        return self._session.phase

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The tests so far."""
        return self._session.verdicts

    @property
    def switch(self) -> Switch | None:
        """How warm-up ended; None before."""
        return self._session.switch

    @property
    def reopenings(self) -> tuple[Reopening, ...]:
        """The returns to warm-up after switches that proved wrong, and minima that were not the last."""
        return self._session.reopenings

    def observe(self, loss: object) -> None:
        """Add the loss of a batch to the update that the next :meth:`step` closes.

        Args:
            loss: a Python number, or an array with one element. An array is not read before the next
                decision, so that one on an accelerator does not hold up the training.

        Raises:
            TypeError, ValueError: ``loss`` is not one real number; nothing is changed.
        """
        dtype = getattr(loss, "dtype", None)
        real = isinstance(loss, numbers.Real) if dtype is None else dtype.kind not in "bcOSUmM"
        if not real or isinstance(loss, bool):
            raise TypeError(f"loss must be a real number, not {loss!r:.80}")
        shape = tuple(getattr(loss, "shape", ()))
        if math.prod(shape) != 1:
            raise ValueError(f"loss must have one element, not shape {shape}")
        self._micro.append(loss)

    def step(self, read: Callable[[], Weights]) -> Weights | None:
        """Close an update, whose loss is the mean of those observed, and set the LR of the next.

        Args:
            read: called where a snapshot for rewinding is needed; gives the weights as they are.

        Returns:
            The weights that the host has to put back, or None, as nearly always.

        Raises:
            TypeError: no loss has been observed since the last step; nothing is changed.
        """
        if not self._micro:
            raise TypeError("a step needs the training loss of the update, and none has been observed")
        losses, self._micro = self._micro, []
        session = self._session
        session.step += 1
        if text := session.overrun():
            warnings.warn(text, stacklevel=3)
        if session.due is None:
            return None
        self._pending.append(losses)
        return self._decide(read) if session.step == session.due else None

    def _decide(self, read: Callable[[], Weights]) -> Weights | None:
        losses, self._pending = self._read_losses(), []
        kept = _Kept(self._snapshot, read)
        for text in self._session.decide(losses, kept):
            warnings.warn(text, stacklevel=4)
        self._snapshot = kept.snapshot
        return kept.restored

    def _read_losses(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([sum(map(_number, update)) / len(update) for update in self._pending])

    # --- checkpoints ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Leaf]:
        """A flat dict of NumPy arrays, which any checkpointer can keep, and a run goes on from bit for bit.

        ``schedule`` is JSON in UTF-8; in warm-up, the snapshot for rewinding follows, an array an entry.
        """
        schedule: dict[str, Any] = {
            **self._session.to_dict(),
            "pending": self._read_losses(),
            "micro": np.array([_number(loss) for loss in self._micro]),
        }
        text = json.dumps(schedule, default=lambda array: {"array": array.tolist()})
        state: dict[str, Leaf] = {"schedule": np.frombuffer(text.encode(), np.uint8)}
        if self._snapshot is not None:
            state |= {f"parameter.{index}": leaf for index, leaf in enumerate(self._snapshot.parameters)}
            state |= {f"rest.{index}": leaf for index, leaf in enumerate(self._snapshot.rest)}
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            ValueError: the state is none of AutoWU, damaged, from another version, or of a run with another
                configuration; the message names what differs, and nothing is changed.
        """
        try:
            check_keys(state_dict, "schedule")
            text = np.asarray(state_dict["schedule"]).tobytes().decode()
            schedule = json.loads(text, object_hook=_to_array)
            check_keys(schedule, "version", "config")
            pending, micro = _numbers(schedule, "pending"), _numbers(schedule, "micro")
            session = self._session.loaded(schedule, len(pending))
            parameters, rest = _leaves(state_dict, "parameter"), _leaves(state_dict, "rest")
            if bool(parameters) != (session.state.snapshot_step is not None):
                raise ValueError("the snapshot for rewinding and the saved state do not fit together")
        except (LookupError, TypeError, AttributeError, json.JSONDecodeError, UnicodeError) as error:
            raise ValueError(f"the state of AutoWU is damaged: {type(error).__name__}: {error}") from error
        self._session = session
        self._pending, self._micro = [[loss] for loss in pending], micro
        self._snapshot = Weights(parameters, rest) if parameters else None


class _Kept:
    """The snapshot during a decision."""

    def __init__(self, snapshot: Weights | None, read: Callable[[], Weights]) -> None:
        self.snapshot, self._read = snapshot, read
        self.restored: Weights | None = None

    def take(self) -> bool:
        weights = self._read()
        healthy = weights.healthy()
        self.snapshot = weights if healthy else self.snapshot
        return healthy

    def restore(self) -> None:
        self.restored = self.snapshot

    def drop(self) -> None:
        self.snapshot = None


def _number(loss: Any) -> float:
    return float(np.asarray(loss).reshape(()))


def _numbers(schedule: Mapping[str, Any], name: str) -> list[float]:
    value = schedule[name]
    if not isinstance(value, np.ndarray) or value.ndim != 1:
        raise ValueError(f"{name!r} of the saved state must be an array, not {value!r:.80}")
    return cast("Leaf", value).tolist()


def _to_array(plain: dict[str, Any]) -> Any:
    return np.array(plain["array"], np.float64) if plain.keys() == {"array"} else plain


def _leaves(state_dict: Mapping[str, Any], kind: str) -> list[Leaf]:
    """The entries ``kind``.0, ``kind``.1, … [n], copied: the host's checkpoint may be closed after this."""
    leaves: list[Leaf] = []
    while (name := f"{kind}.{len(leaves)}") in state_dict:
        leaves.append(np.array(state_dict[name]))
    return leaves
