"""What all searches draw from: peak LR, warm-up and weight decay as the random search has them."""

from __future__ import annotations

from typing import Final

from benchmarks.quality import search
from benchmarks.quality.search import Trial
from benchmarks.quality.workloads import Workload

STUDY: Final = 1000
"""Trials of study n are numbered from 1000 (n + 1): none is one of the random search's own."""


def drawn(workload: Workload, study: int, number: int) -> Trial:
    """Trial ``number`` of a study, before any widening of the range."""
    low, high = (search.center(workload) * 10**way for way in (-search.DECADES, search.DECADES))
    return search.draw(workload, STUDY * (study + 1) + number, low, high)
