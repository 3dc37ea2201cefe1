"""How often the 90% interval of a range test holds the peak: the table of docs/report.md.

    python -m experiments.sweep_intervals

Simulated sweeps over eight decades, thirty of each. The peak is the one that the curve without its noise has:
the middle, on a log scale, of where it is within 5% of its fall.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.offline.range_test import sweep

LOW, HIGH = -7.0, 1.0  # decades of the LR
MINIMUM: Final = math.log10(0.022)
SEEDS: Final = 30


def smooth(x: Array) -> Array:
    """A fall by a sigmoid, and an exponential rise, of the LR's decimal logarithm ``x``."""
    return 2.3 - 1.5 / (1 + np.exp(-1.5 * (x + 3.5))) + 0.08 * np.exp(2.3 * (x + 1.5))


def kinked(x: Array) -> Array:
    """Straight lines: down by 0.5 a decade, and up by 3."""
    return 1.0 + np.where(x < MINIMUM, 0.5 * (MINIMUM - x), 3.0 * (x - MINIMUM))


def diverging(x: Array) -> Array:
    """The smooth one, which diverges from 0.05 on, by eight decades a decade."""
    return smooth(x) * 10 ** (8 * np.maximum(0.0, x - math.log10(0.05)))


CURVES: Final[dict[str, Callable[[Array], Array]]] = {
    "smooth": smooth,
    "straight lines with a kink": kinked,
    "the smooth one, which diverges": diverging,
}


def peak_of(curve: Callable[[Array], Array]) -> float:
    """The LR in the middle of the flat part that ends in the minimum."""
    x = np.linspace(LOW, HIGH, 80_001)
    losses = curve(x)
    least = int(losses.argmin())
    most, basin = losses[: least + 1].max(), Config.basin or 0.0
    first = int((losses <= losses[least] + basin * (most - losses[least])).argmax())
    return float(10 ** (0.5 * (x[first] + x[least])))


def held(curve: Callable[[Array], Array], noise: float, n: int) -> str:
    """In how many of the sweeps the interval holds the peak, and how far off theirs is, in decades."""
    x, peak, count, off = np.linspace(LOW, HIGH, n), peak_of(curve), 0, list[float]()
    for seed in range(SEEDS):
        of = sweep(curve(x) + noise * np.random.default_rng(seed).standard_normal(n), 10**x)
        count += of.low is not None and of.high is not None and of.low <= peak <= of.high
        off += [] if of.peak_lr is None else [math.log10(of.peak_lr / peak)]
    return f"{count} ({np.median(off):+.2f})"


def main() -> None:
    """Print the table."""
    print("| curve | noise (sd) | 100 losses | 400 losses |\n|---|---|---|---|")
    for name, curve in CURVES.items():
        for noise in (0.02, 0.1):
            few, many = held(curve, noise, 100), held(curve, noise, 400)
            print(f"| {name} | {noise:g} | {few} | {many} |", flush=True)
        print(f"peak of {name}: {peak_of(curve):.3g}")


if __name__ == "__main__":
    main()
