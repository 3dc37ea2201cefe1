"""AutoWU for a host without PyTorch: losses in host memory, and what to do with the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from autowu import controller
from autowu.config import Config
from autowu.state import State


class Action(NamedTuple):
    """What the host has to do with the weights after an update; mostly nothing."""

    restore: bool = False
    """Put back the copy that was taken last."""
    copy: bool = False
    """Keep a copy of the weights and the optimizer's state, instead of the one before."""
    free: bool = False
    """Warm-up is over: no copy will be needed again."""


class Driver:
    """Holds the controller's state and the losses since its last decision.

    Args:
        config: the hyperparameters.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.state = controller.start(config)
        self._pending: list[float] = []

    @property
    def step_count(self) -> int:
        """Updates done."""
        return self.state.step + len(self._pending)

    @property
    def learning_rate(self) -> float:
        """η of the next update."""
        return controller.learning_rate(self.config, self.state, self.step_count)

    def step(self, loss: float) -> Action:
        """Take in the loss of an update; ``learning_rate`` is then that of the next."""
        self._pending.append(float(loss))
        if self.state.read_at is not None and self.step_count < self.state.read_at:
            return Action()
        before = self.state
        self.state = controller.observe(self.config, before, np.array(self._pending))
        self._pending = []
        copied = self.state.copied
        return Action(
            restore=self.state.restores > before.restores and before.copied is not None,
            copy=copied is not None and copied == self.state.step and copied != before.copied,
            free=self.state.switch is not None and before.switch is None,
        )

    def keep_copy_of(self, step: int | None) -> None:
        """The host could not take the copy asked for: the one of ``step`` is still kept."""
        self.state = replace(self.state, copied=step)

    def state_dict(self) -> dict[str, Any]:
        """Plain values and NumPy arrays."""
        return {"controller": self.state.to_dict(), "pending": np.array(self._pending)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            ValueError: the state is damaged; nothing is changed.
        """
        state = State.from_dict(state_dict["controller"])
        self._pending = [float(loss) for loss in state_dict["pending"]]
        self.state = state
