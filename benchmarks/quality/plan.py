"""Which runs each part of the study consists of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from benchmarks.quality import methods, records, search
from benchmarks.quality.ablations import SETTLED
from benchmarks.quality.records import Record
from benchmarks.quality.suites import Suite
from benchmarks.quality.workloads import LONGEST, Workload

ABLATION_SEEDS: Final = range(100, 103)


@dataclass(frozen=True)
class Job:
    """One training run that is to be done."""

    part: str
    workload: str
    method: str
    seed: int
    settings: dict[str, Any]

    @property
    def key(self) -> tuple[str, str, int]:
        """By which its record is found in the part's file."""
        return self.workload, self.method, self.seed

    @property
    def folder(self) -> str:
        """Name of the run folder while it is unfinished."""
        return "-".join((self.part, self.workload, self.method.replace(" ", "-"), str(self.seed)))


def searching(suite: Suite, workloads: Iterable[Workload], done: list[Record]) -> Iterator[Job]:
    """The trials of random search, all with seed 0; the widening ones once those before are known."""
    for workload in (each for each in workloads if each.tuned_as is None):
        for trial in search.trials(workload, trial_scores(workload, done), suite.trials):
            settings = trial.settings(workload, workload.total_steps)
            yield Job("search", workload.name, f"trial {trial.number}", 0, settings)


def comparing(suite: Suite, workloads: Iterable[Workload], searched: list[Record]) -> Iterator[Job]:
    """AutoWU, the paper's preset, the peers, also as advised, and the search's winners with fresh seeds."""
    for workload in workloads:
        peers = suite.peers_of(workload)
        advised = [name for name, peer in methods.ADVISED.items() if suite.advised and peer in peers]
        names = [methods.AUTOWU, "paper", *peers, *advised]
        chosen = {name: methods.settings(name, workload) for name in names}
        chosen |= {
            f"tuned {budget}": trial.settings(workload, workload.total_steps)
            for budget, trial in _winners_for(workload, searched, suite.trials).items()
        }
        for seed in suite.seeds:  # one of all methods before the next, so that half a study compares them too
            for name, settings in chosen.items():
                yield Job("compare", workload.name, name, seed, settings)


def ablating(_: Suite, workloads: Iterable[Workload], __: list[Record]) -> Iterator[Job]:
    """AutoWU's default preset with one change; one seed of all before the next, as in :func:`comparing`."""
    names = (methods.AUTOWU, *(name for name in methods.VARIANTS if name not in SETTLED))
    for seed, workload, name in product(ABLATION_SEEDS, list(workloads), names):
        varied = name in methods.VARIANTS
        settings = methods.variant(name, workload) if varied else methods.settings(name, workload)
        yield Job("ablations", workload.name, name, seed, settings)


def sweeping(suite: Suite, workloads: Iterable[Workload], _: list[Record]) -> Iterator[Job]:
    """A fixed peak LR, 5% of linear warm-up and a cosine: how the end depends on the peak."""
    for workload in workloads:
        middle = search.center(workload)
        for number in range(suite.peaks):
            lr = middle * 10 ** (0.5 * (number - suite.peaks // 2))
            settings = {
                "schedule": "baseline",
                **workload.settings,
                "lr": lr / math.sqrt(workload.settings["batch_size"] / 256),
                "warmup_steps": round(0.05 * workload.total_steps),
            }
            for seed in suite.sweep_seeds:
                yield Job("sweep", workload.name, f"{lr:.3g}", seed, settings)


def exchanging(suite: Suite, workloads: Iterable[Workload], searched: list[Record]) -> Iterator[Job]:
    """AutoWU and the winner of the search, each with the other's weight decay: what of a gap is the LR's?"""
    for workload in workloads:
        best = winners(workload, searched, suite.trials).get(suite.trials)
        if best is None:
            continue
        tuned = best.settings(workload, workload.total_steps)
        usual = tuned | {"weight_decay": workload.settings.get("weight_decay")}  # None: the optimizer's
        autowu = methods.settings(methods.AUTOWU, workload) | {"weight_decay": best.weight_decay}
        for seed in suite.seeds:
            yield Job("exchange", workload.name, methods.AUTOWU, seed, autowu)
            yield Job("exchange", workload.name, f"tuned {suite.trials}", seed, usual)


PARTS: Final[dict[str, Callable[[Suite, Iterable[Workload], list[Record]], Iterator[Job]]]] = {
    "search": searching,
    "compare": comparing,
    "ablations": ablating,
    "sweep": sweeping,
    "exchange": exchanging,
}


def jobs(part: str, suite: Suite, workloads: Iterable[Workload], results: Path) -> list[Job]:
    """The runs of ``part`` that can be named by now; those done are among them."""
    return list(PARTS[part](suite, workloads, records.read(results, "search")))


def trial_scores(workload: Workload, searched: Iterable[Record]) -> dict[int, float]:
    """Validation score of each trial done, by number; higher is better, and a diverged one is worst."""
    mine = (record for record in searched if record["workload"] == workload.name)
    return {int(record["method"].split()[1]): records.score(record, "validation") for record in mine}


def _winners_for(workload: Workload, searched: list[Record], trials: int) -> dict[int, search.Trial]:
    """Those of its own search, or of the one that it takes over."""
    if workload.tuned_as is None:
        return winners(workload, searched, trials)
    return winners(LONGEST[workload.tuned_as], records.read(records.RESULTS / "longest", "search"), trials)


def winners(
    workload: Workload, searched: Iterable[Record], trials: int = search.TRIALS
) -> dict[int, search.Trial]:
    """The best trial by validation score, by the budget of trials; nothing before the search is done."""
    scores = trial_scores(workload, searched)
    found = search.trials(workload, scores, trials)
    if any(trial.number not in scores for trial in found):
        return {}
    return search.winners(found, trials, lambda trial: scores[trial.number])
