"""Real training-loss curves, and where their minimum is.

They were recorded by experiments/record_curves.py under an LR that grows by Eq. 1 through the minimum and on
to η_max at the cap; a replay answers to them with the same growth, so that AutoWU's LR is the record's until
it decides. What it would have got after that, a record cannot tell.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.detection.dynamics import Array

ROOT = Path(__file__).parents[3]
FOLDERS = (ROOT / "tests" / "data" / "curves", Path(__file__).parent / "curves")
SCHEDULE = ("total_steps", "steps_per_epoch", "min_lr", "max_lr", "warmup_fraction")
FAULTS = ("none", "label noise", "jumps", "a burst")


@dataclass(frozen=True, eq=False)
class Curve:
    """One record."""

    name: str
    losses: Array
    """The loss of each update [n]; NaN where it was not finite."""
    schedule: dict[str, Any]
    """The fields of Config that the record was made with."""

    @cached_property
    def smooth(self) -> Array:
        """Running medians of a twentieth of the record, then means of as many, weighted by tricube.

        Means rather than local polynomials, which dip below the curve before it leaps up. What is higher than
        the first tenth's median is lost in any case and counts as that; after the last finite loss, infinity.
        """
        at = np.flatnonzero(np.isfinite(self.losses))
        n, half = int(at[-1]) + 1, max(2, len(self.losses) // 40)
        filled = np.interp(np.arange(n), at, self.losses[at])
        filled = np.minimum(filled, np.median(filled[: max(1, n // 10)]))
        medians = np.median(_windows(filled, half), axis=-1)
        weights = (1 - np.abs(np.arange(-half, half + 1) / (half + 1)) ** 3) ** 3
        curve = np.full(len(self.losses), np.inf)
        curve[:n] = _windows(medians, half) @ weights / weights.sum()
        return curve

    @property
    def best(self) -> float:
        """The LR of the least smoothed loss."""
        return self.lr(int(self.smooth.argmin()))

    def lr(self, step: float) -> float:
        """The record's LR, Eq. 1."""
        low, high = self.schedule["min_lr"], self.schedule["max_lr"]
        return low * (high / low) ** (step / len(self.losses))

    def lost(self, peak: float) -> float:
        """The share of the smoothed loss's fall that is not there yet, or no more, at the LR ``peak``."""
        low, high = self.schedule["min_lr"], self.schedule["max_lr"]
        step = len(self.losses) * np.log(peak / low) / np.log(high / low)
        there, least = self.smooth[min(round(step), len(self.losses) - 1)], self.smooth.min()
        return float(min((there - least) / (self.smooth[0] - least), 1))

    def with_fault(self, fault: str, seed: int) -> Array:
        """The losses with one of FAULTS, in proportion to the fall of the smoothed loss.

        Not to the range of the losses: where a record ends in divergence, that is up to 300 times the fall.
        """
        random, n = np.random.default_rng(seed), len(self.losses)
        depth = float(self.smooth[0] - self.smooth.min())
        added = np.zeros(n)
        if fault == "label noise":
            added = 0.2 * random.standard_normal(n)
        elif fault == "jumps":
            added = 0.2 * (np.arange(n) >= random.integers(n))
        elif fault == "a burst":
            first = int(random.integers(n))
            added[first : first + 5] = 1 + random.pareto(1.5, len(added[first : first + 5]))
        return self.losses + depth * added


def _windows(values: Array, half: int) -> Array:
    """Each value with as many on both sides [n, 2 half + 1], mirrored at the ends."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, half, mode="reflect"), 2 * half + 1)


def read() -> list[Curve]:
    """All that there are, those of the tests first."""
    found = []
    for folder in FOLDERS:
        for name, about in json.loads((folder / "curves.json").read_text(encoding="utf-8")).items():
            with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
                losses = np.array([float(row["loss"] or "nan") for row in csv.DictReader(file)])
            found.append(Curve(name, losses, {key: about[key] for key in SCHEDULE}))
    return found
