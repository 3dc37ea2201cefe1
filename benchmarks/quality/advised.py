"""Peers as their authors advise, where their packages' defaults are something else.

Each is a function that builds the method, in the place of a peer's own ``build``; both suites run them by
name. What was chosen, why and where it is said stands in docs/quality-study.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from unittest import mock

import numpy as np
from prodigyopt import Prodigy
from schedulefree import AdamWScheduleFree
from torch.optim import Optimizer

from autowu.train.optimizers import table
from autowu.train.schedules.method import Method
from autowu.train.schedules.peers import greedy, lr_finder, prodigy, schedule_free
from autowu.train.schedules.peers.distance import adapted_by_distance
from autowu.train.schedules.plan import Plan
from autowu.train.schedules.shape import Shape
from benchmarks.quality import schedule_free_plus
from benchmarks.quality.methods import ADVISED

GREEDY: Final[dict[str, Any]] = {"smooth": True, "window_size": 50}
FLOOR: Final = 0.1
"""Of GreedyLR's first LR."""

# Schedule-Free's authors' one configuration for all of AlgoPerf's self-tuning workloads.
SCHEDULE_FREE: Final[dict[str, Any]] = {
    "lr": 0.0025,
    "betas": (0.9, 0.9955159689799007),
    "weight_decay": 0.08121616522670176,
    "r": 0.75,
}
WARMUP: Final = 0.02

PRODIGY: Final[dict[str, Any]] = {"safeguard_warmup": True, "use_bias_correction": True}
PRODIGY_WEIGHT_DECAY: Final = 0.01

DIVISOR: Final = 10.0
SKIPPED: Final = (10, 5)
"""Losses of a range test left out at its beginning and its end: torch-lr-finder's defaults."""


def floors(optimizer: Optimizer) -> dict[str, Any]:
    """GreedyLR's settings: a floor of a tenth of each group's first LR, losses averaged over 50 updates."""
    return GREEDY | {"min_lr": [FLOOR * group["lr"] for group in optimizer.param_groups]}


def greedy_above_a_tenth(plan: Plan) -> Method:
    """GreedyLR with :func:`floors`."""
    package = greedy.GreedyLR
    with mock.patch.object(greedy, "GreedyLR", lambda optimizer: package(optimizer, **floors(optimizer))):
        return _greedy(plan)


def schedule_free_of_algoperf(plan: Plan) -> Method:
    """Schedule-Free AdamW as its authors submitted it to AlgoPerf: 2% of warm-up, and weight decay."""
    plan.replaces("adamw")
    groups = table.groups(plan.model, SCHEDULE_FREE["weight_decay"], plan.settings.weight_decay_on)
    warmup = plan.warmup_steps(fraction=WARMUP)
    optimizer: Any = AdamWScheduleFree(groups, **SCHEDULE_FREE, warmup_steps=warmup)
    optimizer.train()
    settings = {"preset": "schedule-free, algoperf", "peak_lr": SCHEDULE_FREE["lr"], "warmup_steps": warmup}
    return schedule_free.ScheduleFree(optimizer, Shape(optimizer, warmup_steps=warmup), settings, plan.model)


def safeguarded(plan: Plan) -> Method:
    """Prodigy with its safeguard, bias correction, weight decay 0.01, and a cosine to 0."""
    settings = replace(plan.settings, weight_decay=PRODIGY_WEIGHT_DECAY)
    return adapted_by_distance(replace(plan, settings=settings), Prodigy, **PRODIGY)


def tenth_of_minimum(lrs: Any, losses: Any) -> float:
    """A tenth of the LR at which the range test's smoothed loss is least.

    Args:
        lrs: of the test's updates.
        losses: smoothed, as many.

    Raises:
        RuntimeError: too few are left once the first ten and the last five are left out.
    """
    first, last = SKIPPED
    kept = np.nan_to_num(np.asarray(losses, dtype=float)[first : len(losses) - last], nan=np.inf)
    if not len(kept):
        raise RuntimeError(f"the range test ended after {len(losses)} updates, too few to suggest an LR from")
    return float(lrs[first + int(kept.argmin())]) / DIVISOR


def finder_below_the_minimum(plan: Plan) -> Method:
    """The LR finder with :func:`tenth_of_minimum` for a peak."""

    class Finder(lr_finder.LRFinder):
        def plot(self, **how: Any) -> tuple[Any, float]:
            return how["ax"], tenth_of_minimum(self.history["lr"], self.history["loss"])

    class RangeTest(lr_finder.RangeTest):
        def prepare(self, *of: Any) -> dict[str, Any]:
            with mock.patch.object(lr_finder, "LRFinder", Finder):
                return super().prepare(*of)

    return RangeTest(plan)


BUILDS: Final[dict[str, Callable[[Plan], Method]]] = {
    "greedy, floor a tenth": greedy_above_a_tenth,
    "schedule-free, algoperf": schedule_free_of_algoperf,
    "schedule-free+": schedule_free_plus.build,
    "prodigy, safeguarded": safeguarded,
    "lr-finder, minimum / 10": finder_below_the_minimum,
}
"""How each of :data:`benchmarks.quality.methods.ADVISED` is built."""

MODULES: Final = {
    "greedy": greedy,
    "schedule-free": schedule_free,
    "prodigy": prodigy,
    "lr-finder": lr_finder,
}


_greedy = greedy.build  # which :func:`applied` replaces


@contextmanager
def applied(name: str | None) -> Iterator[None]:
    """While it lasts the trainer's peer is the advised one of that name; None: all are at their defaults."""
    if name is None:
        yield
        return
    with mock.patch.object(MODULES[ADVISED[name]], "build", BUILDS[name]):
        yield
