"""Random search on a kind: peak LR, warm-up and weight decay, and the best of it with other seeds."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.quality import records
from benchmarks.quality.kinds import runner
from benchmarks.quality.kinds.runner import Job
from benchmarks.quality.kinds.table import floored
from benchmarks.quality.kinds.task import Kind

TRIALS: Final = 10
TUNED: Final = f"tuned {TRIALS}"
WARMUPS: Final = (0.02, 0.05, 0.1, 0.2)
"""Shares of the run."""
TRIED, CHECKED = 0, (1, 2)
"""The seed of the trials, and those of the best one: its own would favour it."""


def trial(kind: Kind, number: int) -> str:
    """A trial's name: 'trial PEAK WARMUP DECAY', the last a factor of the task's own weight decay.

    The peak is log-uniform over the five fixed peaks and a quarter decade on either side, the weight decay
    within half a decade of the task's.
    """
    random = np.random.default_rng([zlib.crc32(kind.name.encode()), number])
    peak = 10 ** random.uniform(np.log10(kind.centre) - 1.25, np.log10(kind.centre) + 1.25)
    return f"trial {peak:.3g} {random.choice(WARMUPS):g} {10 ** random.uniform(-0.5, 0.5):.3g}"


def run(kinds: Iterable[Kind], data: Path, results: Path, trials: Path, processes: int) -> None:
    """The trials that are not done yet, and then the best of each kind as :data:`TUNED`."""
    kinds = tuple(kinds)
    names = {kind.name: [trial(kind, number) for number in range(TRIALS)] for kind in kinds}
    wanted = [Job(kind, name, name, TRIED, {}) for kind in kinds for name in names[kind.name]]
    runner.run(wanted, data, trials, processes)
    scores = {(each["kind"], each["method"]): floored(each) for each in records.lines(trials)}
    best = {kind: max(of, key=lambda name, kind=kind: scores[kind, name]) for kind, of in names.items()}
    wanted = [Job(kind, best[kind.name], TUNED, seed, {}) for seed in CHECKED for kind in kinds]
    runner.run(wanted, data, results, processes)
