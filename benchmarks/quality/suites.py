"""The studies: the small one for a CPU, its pilot, the probe, the longest runs and others of their tasks'
lengths, and larger models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.quality import methods, records, search
from benchmarks.quality.workloads import LARGE, LENGTHS, LONGEST, PILOT, SMALL, Workload


@dataclass(frozen=True)
class Suite:
    """Workloads, and how many runs each of them is worth."""

    workloads: Mapping[str, Workload]
    results: Path
    """Folder of the records."""
    trials: int = search.TRIALS
    """Of the random search, before it is widened."""
    peers: tuple[str, ...] | None = None
    """Those compared; None: all that apply to a workload."""
    advised: bool = True
    """Whether they are run as their authors advise, too; not where a GPU's minutes do for one run of each."""
    seeds: range = range(100, 105)
    """Of the comparison. Paired: the same data order and initial weights for every method."""
    peaks: int = 9
    """Fixed peak LRs of the sweep, a half decade apart, about the centre of the search; an odd number."""
    sweep_seeds: range = range(100, 102)

    def peers_of(self, workload: Workload) -> list[str]:
        """The peers that are run on a workload."""
        return [name for name in methods.peers(workload) if self.peers is None or name in self.peers]


LONG: Final = 1000  # updates, from which a run of the small suite is called long
ALL_LONG: Final = {name: workload for name, workload in SMALL.items() if workload.total_steps >= LONG}
LONG_LOOKED_AT: Final = {name: workload for name, workload in ALL_LONG.items() if not workload.held_out}


def _few(workloads: Mapping[str, Workload], name: str, peers: tuple[str, ...], peaks: int) -> Suite:
    """A study with fewer runs a workload, where each of them is minutes."""
    return Suite(
        workloads,
        records.RESULTS / name,
        trials=8,
        peers=peers,
        seeds=range(100, 103),
        peaks=peaks,
        sweep_seeds=range(100, 101),
    )


NEAREST: Final = ("nadamw", "schedule-free", "lr-finder")
"""Peers that are nearest to AutoWU, or ahead of it, in the small study."""

SUITES: Final = {
    "small": Suite(SMALL, records.RESULTS),
    "pilot": Suite(PILOT | LONG_LOOKED_AT, records.RESULTS / "pilot", peers=()),
    "probe": Suite(ALL_LONG, records.RESULTS / "probe", peers=()),
    "longest": replace(_few(LONGEST, "longest", NEAREST, peaks=9), seeds=range(100, 105), advised=False),
    "lengths": replace(_few(LENGTHS, "lengths", NEAREST, peaks=9), advised=False),
    "large": replace(_few(LARGE, "large", ("nadamw", "schedule-free", "prodigy"), peaks=5), advised=False),
}
