"""What every host adapter must do: the same losses give the core's LR trace, whatever the host does.

A host is a small driver, one file each in this folder, that trains a one-parameter model for real in its
framework with losses that are prescribed by the data: loss = mean(batch) + 0 · w.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from autowu.config import Config
from autowu.controller import machine


class KilledError(Exception):
    """Ends a run of a host as a kill does: it comes to none of its ends."""


class Host(Protocol):
    """One framework, driven through its adapter."""

    name: str
    exact: bool
    """Whether the host keeps LRs in float64; else they are compared to float32 rounding."""
    processes: bool
    """Whether the host can run as two processes with different losses (the torch hosts)."""

    def train(
        self,
        losses: Sequence[float],
        folder: Path,
        *,
        accumulation: int = 1,
        stop_after: int | None = None,
        resume: bool = False,
        **settings: Any,
    ) -> list[float]:
        """Train, and give the LR that each update was made with.

        Args:
            losses: the loss of each micro-batch of the whole run (``accumulation`` of them make one update).
            folder: for the host's own checkpoints.
            accumulation: micro-batches in one update, by the host's own means.
            stop_after: save by the host's own means after so many updates and stop, as if killed right after.
            resume: go on from the host's own checkpoint in ``folder``; the LRs returned are those of the
                updates made since.
            settings: ``preset`` and fields of Config; total_steps is len(losses) / accumulation.
        """
        ...


def core_trace(losses: Sequence[float], preset: str = "default", **settings: Any) -> list[float]:
    """The LR of each update by the core alone."""
    config = Config.preset(preset, total_steps=len(losses), **settings)
    state, lrs = machine.start(config), []
    for step, loss in enumerate(losses):
        lrs.append(machine.learning_rate(config, state, step))
        state = machine.observe(config, state, np.array([loss]))
    return lrs


def v_curve(steps: int, minimum: float = 0.25, seed: int = 0, noise: float = 0.02) -> np.ndarray:
    """Losses that fall to a minimum at a fraction of the run and rise after it; float32 values."""
    at = np.arange(steps) / steps
    curve = 2 - 1.5 * np.exp(-(((at - minimum) / 0.15) ** 2)) + at
    return np.float32(curve + np.random.default_rng(seed).normal(0, noise, steps)).astype(np.float64)
