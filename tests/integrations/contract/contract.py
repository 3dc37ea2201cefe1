"""What every host adapter must do: the same losses give the core's LR trace, whatever the host does.

A host is a small driver, one file each in this folder, that trains a one-parameter model for real in its
framework with losses that are prescribed by the data: loss = mean(batch) + 0 · w.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autowu.config import Config
from autowu.controller import machine
from autowu.controller.horizon import cooled, extended


class KilledError(Exception):
    """Ends a run of a host as a kill does: it comes to none of its ends."""


Ends = Mapping[int, tuple[str, int]]
"""After so many updates a call of 'extend' or 'cooldown', with its number."""


@dataclass(frozen=True)
class Job:
    """A run that a host is to make."""

    losses: Sequence[float]
    """The loss of each micro-batch of the whole run."""
    folder: Path
    """For the host's own checkpoints."""
    accumulation: int = 1
    """Micro-batches in one update, by the host's own means."""
    stop_after: int | None = None
    """Save by the host's own means after so many updates and stop, as if killed right after."""
    resume: bool = False
    """Go on from the host's own checkpoint in ``folder``."""
    ends: Ends = field(default_factory=dict)
    """What is asked of the end of the run on the way, by the host's own means."""
    endless: bool = False
    """Whether the run is begun without a length."""
    settings: dict[str, Any] = field(default_factory=dict)
    """``preset`` and fields of Config."""

    @property
    def updates(self) -> int:
        """Those that will be made in the whole run."""
        return len(self.losses) // self.accumulation

    @property
    def total_steps(self) -> int | None:
        """Updates in the whole run, as far as AutoWU is to know."""
        return None if self.endless else self.updates

    def ask(self, updates: int, of: Any, *state: Any) -> Any:
        """Call what ``ends`` has after so many updates, if anything; a cooldown with ``state``."""
        name, number = self.ends.get(updates, (None, 0))
        if name == "extend":
            of.extend(number)
        elif name == "cooldown":
            return of.cooldown(number, *state)
        return state


class Host(ABC):
    """One framework, driven through its adapter."""

    name: str
    exact: bool
    """Whether the host keeps LRs in float64; else they are compared to float32 rounding."""
    processes: bool
    """Whether the host can run as two processes with different losses (the torch hosts)."""
    endless: bool = True
    """Whether the host can run without a length."""

    @abstractmethod
    def make(self, job: Job) -> list[float]:
        """Train, and give the LR that each update was made with, of those that this run itself made."""

    def train(
        self,
        losses: Sequence[float],
        folder: Path,
        *,
        accumulation: int = 1,
        stop_after: int | None = None,
        resume: bool = False,
        ends: Ends | None = None,
        endless: bool = False,
        **settings: Any,
    ) -> list[float]:
        """:meth:`make` of a :class:`Job`."""
        return self.make(Job(losses, folder, accumulation, stop_after, resume, ends or {}, endless, settings))


def core_lrs(config: Config, losses: Iterable[float], ends: Ends | None = None) -> list[float]:
    """The LR of each update and of the one after, as the core has it."""
    state = machine.start(config)
    lrs = [machine.learning_rate(config, state, 0)]
    for step, loss in enumerate(losses, 1):
        state = machine.observe(config, state, np.array([loss]))
        name, number = (ends or {}).get(step, (None, 0))
        if name is not None:
            state = {"extend": extended, "cooldown": cooled}[name](config, state, step, number)
        lrs.append(machine.learning_rate(config, state, step))
    return lrs


def core_trace(
    losses: Sequence[float],
    preset: str = "default",
    *,
    ends: Ends | None = None,
    endless: bool = False,
    **settings: Any,
) -> list[float]:
    """The LR of each update by the core alone."""
    total_steps = None if endless else len(losses)
    return core_lrs(Config.preset(preset, total_steps=total_steps, **settings), losses, ends)[:-1]


def v_curve(steps: int, minimum: float = 0.25, seed: int = 0, noise: float = 0.02) -> np.ndarray:
    """Losses that fall to a minimum at a fraction of the run and rise after it; float32 values."""
    at = np.arange(steps) / steps
    curve = 2 - 1.5 * np.exp(-(((at - minimum) / 0.15) ** 2)) + at
    return np.float32(curve + np.random.default_rng(seed).normal(0, noise, steps)).astype(np.float64)
