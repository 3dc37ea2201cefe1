"""Intervals and p-values of a mean over workloads, each of which has its own seeds.

The two-level bootstrap draws as many workloads as there are, with replacement, and within each of them as
many of its seeds. Its variance of the mean over W workloads, of seed means m_w and variances s_w² (both of
the plug-in kind) from n_w seeds, is

    (1 / W) [ mean over w of (m_w - m)²  +  mean over w of s_w² / n_w ].

The first term holds the noise of the seed means already, so that the second counts it twice: intervals are
a little too wide rather than too narrow. For few workloads percentiles alone would make them too narrow, so
they are taken further out, as Student's t is (Hesterberg's expanded percentile interval, 2015): at

    α' = Φ(-√(W / (W - 1)) t),   t the quantile of Student's distribution with W - 1 degrees of freedom.

p is that of the interval which ends at zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

REPLICATES: Final = 20_000
PRECISE: Final = 200_000
"""For p-values: of nine workloads none can be below 0.003 with so many, or 0.006 with a tenth."""
FEWEST: Final = 5
"""Workloads below which resampling them says nothing."""


@dataclass(frozen=True)
class Difference:
    """A mean difference over workloads."""

    mean: float
    low: float
    high: float
    """Of the 95% interval."""
    p: float
    """Two-sided, of no difference."""
    workloads: int


def replicates(groups: Sequence[np.ndarray], count: int = REPLICATES, seed: int = 0) -> np.ndarray:
    """Bootstrap means, shape (count,).

    Args:
        groups: of each workload the differences of its seeds, none empty.
        count: of replicates.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    sizes = np.array([len(group) for group in groups])
    padded = np.zeros((len(groups), sizes.max()))
    for row, group in zip(padded, groups, strict=True):
        row[: len(group)] = group
    workloads = random.integers(len(groups), size=(count, len(groups)))
    total = np.zeros(workloads.shape)
    for column in range(padded.shape[1]):
        drawn = (random.random(workloads.shape) * sizes[workloads]).astype(int)
        total += np.where(column < sizes[workloads], padded[workloads, drawn], 0.0)
    return (total / sizes[workloads]).mean(1)


def difference(groups: Sequence[np.ndarray], count: int = REPLICATES) -> Difference | None:
    """The mean of the workloads' means, each counting once; None where there is none.

    With fewer than five workloads the interval is infinite and p is 1.

    Args:
        groups: as for :func:`replicates`; empty ones are left out.
        count: of replicates.
    """
    groups = [group for group in groups if len(group)]
    if not groups:
        return None
    mean = float(np.mean([group.mean() for group in groups]))
    if len(groups) < FEWEST:
        return Difference(mean, -np.inf, np.inf, 1.0, len(groups))
    drawn, w = replicates(groups, count), len(groups)
    wider = np.sqrt(w / (w - 1))
    outside = stats.norm.cdf(-wider * stats.t.ppf(0.975, w - 1))
    low, high = np.quantile(drawn, [outside, 1 - outside])
    beyond = (min((drawn <= 0).sum(), (drawn >= 0).sum()) + 1) / (count + 1)
    p = min(1.0, 2 * stats.t.sf(-stats.norm.ppf(beyond) / wider, w - 1))
    return Difference(mean, float(low), float(high), float(p), w)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values: the i-th least of m, from 0, times m - i, none below one before it.

    Args:
        ps: of the family, in any order.
    """
    adjusted, most = [0.0] * len(ps), 0.0
    for place, index in enumerate(np.argsort(ps, kind="stable")):
        most = max(most, min(1.0, (len(ps) - place) * ps[index]))
        adjusted[index] = most
    return adjusted
