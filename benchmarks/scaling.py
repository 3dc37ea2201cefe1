"""A test that uses all losses rather than subsets, from 10⁴ to 10⁷ of them: time and memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from functools import partial
from itertools import pairwise

from autowu.arrays import Array
from autowu.config import Config
from autowu.detector.detect import detect
from benchmarks.curves import past_its_minimum
from benchmarks.timing import Row, Timing, interleaved

SIZES = {10_000: 40, 100_000: 8, 1_000_000: 1, 10_000_000: 1}  # and the calls in a repetition


def run(*, quick: bool) -> list[Row]:
    config = Config(total_steps=20_000_000, subsets=1, subset_size=None, fit_size=None)
    sizes = [n for n in SIZES if not quick or n <= 1_000_000]
    curves = {n: past_its_minimum(n) for n in sizes}
    calls = [(partial(detect, config, curves[n], 0), SIZES[n]) for n in sizes]
    timings = dict(zip(sizes, interleaved(calls, 3 if quick else 7), strict=True))
    rows = []
    for n in sizes:
        note = f"peak memory {_peak_memory(config, curves[n]) / curves[n].nbytes:.2g} × the losses' own"
        limit = 0.5 if n == 1_000_000 else None
        rows.append(Row(f"a test over all of {n:.0e} losses", timings[n], limit=limit, note=note))
    least, most = sizes[0], sizes[-1]
    rows += [_growth(timings, n, more) for n, more in pairwise(sizes)]
    rows.append(replace(_growth(timings, least, most), slower=1))
    return rows


def _growth(timings: dict[int, Timing], n: int, more: int) -> Row:
    """The time at ``more`` losses beside what it would be if it grew in proportion from that at ``n``."""
    linear = Timing(tuple(more / n * seconds for seconds in timings[n].seconds))
    return Row(f"{more:.0e} losses; peer: {more // n} × the time at {n:.0e}", timings[more], linear)


def _peak_memory(config: Config, losses: Array) -> int:
    """Bytes that a test allocates, at most at one time."""
    tracemalloc.start()
    detect(config, losses, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak
