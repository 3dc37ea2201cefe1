"""One test of the default preset: all losses, fitted by the maximum of the marginal likelihood, and P_min."""

from __future__ import annotations

from functools import partial

from autowu.config import Config
from autowu.detector.detect import detect
from benchmarks.curves import past_its_minimum
from benchmarks.timing import Row, interleaved


def run(*, quick: bool) -> list[Row]:
    config = Config(total_steps=12_000)
    rows = []
    # More than 1,000 losses come to a test only with a larger ``warmup_limit``.
    for n in (400, 2000, 6000):
        losses = past_its_minimum(n)
        (ours,) = interleaved([(partial(detect, config, losses, 0), 20)], 10 if quick else 50)
        rows.append(Row(f"a test of the default preset, {n} losses", ours, limit=1e-3))
    return rows
