"""Count the mistakes: every variant on the same training runs, a line of JSON for each chunk of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.reliability import faults

from autowu.config import Config
from autowu.offline.replay import replay
from benchmarks.quality import records
from benchmarks.quality.detection import recorded, remedies, simulated
from benchmarks.quality.detection.variants import Variant

RESULTS = Path(__file__).parent / "results.jsonl"
FALSE_ALARM, EARLY, LATE = 10.0, 4.0, 4.0  # factors from the best LR, down, down and up
SIMULATED, CHUNK = 350, 35  # runs of each simulated family
LENGTHS = (400, 800, 1_600, 3_200, 8_000, 20_000)  # updates of those whose loss has two minima


class Outcome(NamedTuple):
    """Where a run ended up."""

    ratio: float
    """log10 of the peak LR over the best."""
    capped: bool
    lost: float
    """The share of the loss's fall that this costs, in [0, 1]."""


def judge(ratio: float) -> str:
    """What log10 of the peak LR over the best means. A false alarm is early, too."""
    if ratio < -math.log10(FALSE_ALARM):
        return "false alarm"
    if ratio < -math.log10(EARLY):
        return "early"
    return "late" if ratio > math.log10(LATE) else "right"


def wilson(count: int, of: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95% interval of a rate of which ``count`` were seen in ``of`` (Wilson, 1927)."""
    if not of:
        return 0.0, 1.0
    rate, share = count / of, z * z / of
    centre = (rate + share / 2) / (1 + share)
    half = z / (1 + share) * math.sqrt(rate * (1 - rate) / of + share / (4 * of))
    return max(0.0, centre - half), min(1.0, centre + half)


# --- families: a variant and a seed -> an outcome -------------------------------------------------------


def _static(variant: Variant, seed: int) -> Outcome:
    """The loss is a function of the LR, and something is wrong with it (tests/reliability/faults.py)."""
    return _faulty(variant, seed, faults.KINDS[seed % len(faults.KINDS)], faults.STEPS)


def _faulty(variant: Variant, seed: int, kind: str, total_steps: int) -> Outcome:
    of = faults.task(seed)
    config = _config(variant, total_steps, faults.PER_EPOCH * total_steps // faults.STEPS, seed)
    switch = faults.run(config, of, kind).switch
    assert switch is not None
    lost = (of.loss(switch.peak_lr) - of.loss(of.best)) / of.depth
    return Outcome(math.log10(switch.peak_lr / of.best), switch.capped, lost)


def two_minima(steps: int) -> str:
    """The family of runs of so many updates whose loss has two minima, the first of them a false one."""
    return f"two minima, {steps:,} updates"


def _two_minima(total_steps: int) -> Callable[[Variant, int], Outcome]:
    return lambda variant, seed: _faulty(variant, seed, "double minimum", total_steps)


_task = lru_cache(CHUNK)(simulated.task)  # a task remembers its runs
_curves = cache(recorded.read)


def _dynamic(family: str) -> Callable[[Variant, int], Outcome]:
    def run(variant: Variant, seed: int) -> Outcome:
        of = _task(family, seed)
        switch = simulated.train(_config(variant, of.total_steps, of.steps_per_epoch, seed), of).switch
        assert switch is not None
        return Outcome(math.log10(switch.peak_lr / of.best), switch.capped, of.lost(switch.peak_lr))

    return run


def _recorded(fault: str) -> Callable[[Variant, int], Outcome]:
    def run(variant: Variant, seed: int) -> Outcome:
        curve = _curves()[seed]
        settings = variant.settings | curve.schedule | {"growth": "exponential", "seed": seed}
        found = replay(curve.with_fault(fault, seed), preset=variant.preset, **settings)
        assert found.peak_lr is not None  # the record goes on to the cap
        ratio = math.log10(found.peak_lr / curve.best)
        return Outcome(ratio, bool(found.capped), curve.lost(found.peak_lr))

    return run


def _config(variant: Variant, total_steps: int, steps_per_epoch: int, seed: int) -> Config:
    settings = {"total_steps": total_steps, "steps_per_epoch": steps_per_epoch, "seed": seed}
    return Config.preset(variant.preset, **settings, **variant.settings)


@dataclass(frozen=True)
class Family:
    """Training runs of one kind."""

    outcome: Callable[[Variant, int], Outcome]
    size: int
    recorded: bool = False
    only: tuple[str, ...] | None = None
    """The variants that are counted; None: all."""


@cache
def families() -> dict[str, Family]:
    """All of them: at least 1,000 simulated runs, and each recorded curve with each fault."""
    found = {"static": Family(_static, SIMULATED)}
    found |= {name: Family(_dynamic(name), SIMULATED) for name in ("quadratic", "valley")}
    for fault in recorded.FAULTS:
        name = "recorded" if fault == "none" else f"recorded, {fault}"
        found[name] = Family(_recorded(fault), len(_curves()), recorded=True)
    few = ("default", "paper")
    found |= {two_minima(steps): Family(_two_minima(steps), 2 * CHUNK, only=few) for steps in LENGTHS}
    return found


# --- results ------------------------------------------------------------------------------------------


def rows(path: Path = RESULTS) -> list[dict[str, Any]]:
    """The lines written so far."""
    return records.lines(path)


def todo(
    variants: Iterable[Variant], done: list[dict[str, Any]], end: int
) -> Iterator[tuple[str, int, Variant]]:
    """What is missing of the seeds below ``end``: all variants on some runs before any on the next."""
    have = {_key(row) for row in done}
    variants = list(variants)
    for first in range(0, end, CHUNK):
        for name, family in families().items():
            for variant in variants:
                counted = family.only is None or variant.name in family.only
                if counted and first < family.size and (variant.replays or not family.recorded):
                    about = {
                        "variant": variant.name,
                        "settings": variant.settings,
                        "family": name,
                        "first": first,
                    }
                    if _key(about) not in have:
                        yield name, first, variant


def _key(row: dict[str, Any]) -> str:
    return json.dumps([row[key] for key in ("variant", "settings", "family", "first")], sort_keys=True)


def chunk(name: str, first: int, variant: Variant) -> dict[str, Any]:
    """The line of one variant on the runs ``first`` to ``first + CHUNK`` of a family."""
    family = families()[name]
    with remedies.applied(variant.remedy):
        outcomes = [family.outcome(variant, seed) for seed in range(first, min(first + CHUNK, family.size))]
    return {
        "variant": variant.name,
        "settings": variant.settings,
        "family": name,
        "first": first,
        "ratio": [round(outcome.ratio, 3) for outcome in outcomes],
        "capped": [int(outcome.capped) for outcome in outcomes],
        "lost": [round(outcome.lost, 3) for outcome in outcomes],
    }


def run(variants: Iterable[Variant], end: int = SIMULATED, path: Path = RESULTS) -> None:
    """Append what is missing, a line at a time: it may be stopped at any of them and begun again."""
    for name, first, variant in todo(variants, rows(path), end):
        records.add(path, chunk(name, first, variant))
