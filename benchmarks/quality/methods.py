"""What is compared, as settings of the trainer: presets, peers at their defaults, ablations."""

from __future__ import annotations

from typing import Any, Final, get_args

from autowu.train.settings.options import Peer
from benchmarks.quality.ablations import OF_THE_DETECTOR, OF_TRAINING, TRIED
from benchmarks.quality.workloads import Workload

AUTOWU: Final = "autowu"
REFERENCE: Final = "tuned 20"  # the winner of 20 trials, or of as many as the search took
VARIANTS: Final = OF_THE_DETECTOR | OF_TRAINING | TRIED
PAPER_EPOCHS: Final = 20
"""The paper tests at epoch ends; a text has none, and gets one each so large a fraction of the run."""

RANGE_TEST: Final = 100
"""Updates of the LR finder before its run, by its defaults."""

# Methods that drive an optimizer of one's choice; the others are optimizers themselves.
DRIVERS: Final = ("gen", "greedy", "lr-finder", "mechanic")
# Optimizers themselves that come in an SGD version too.
WITH_SGD: Final = ("momo",)
ONLY_SGD: Final = ("salsa",)


ADVISED: Final = {
    "greedy, floor a tenth": "greedy",
    "schedule-free, algoperf": "schedule-free",
    "schedule-free+": "schedule-free",
    "prodigy, safeguarded": "prodigy",
    "lr-finder, minimum / 10": "lr-finder",
}
"""Peers as their authors advise -> the peer that each is."""


def peers(workload: Workload) -> list[str]:
    """The peers that apply to a workload: SALSA is for SGD alone."""
    return [name for name in get_args(Peer) if name not in ONLY_SGD or workload.optimizer == "sgd"]


def settings(method: str, workload: Workload) -> dict[str, Any]:
    """Settings of the trainer for ``method`` on ``workload``: nothing tuned, each at its defaults.

    Of :data:`ADVISED`, a peer as its authors advise, which :mod:`benchmarks.quality.advised` builds.

    A peer that is an optimizer itself stands in place of the workload's. The LR finder pays for its range
    test: its run is so many updates shorter.
    """
    if method in ADVISED:
        return settings(ADVISED[method], workload) | {"advised": method}
    chosen = {"schedule": method, **workload.settings}
    sgd = workload.optimizer == "sgd" and method in WITH_SGD + ONLY_SGD
    if method in get_args(Peer) and method not in DRIVERS and not sgd:
        del chosen["optimizer"]
    if method == "lr-finder":
        chosen |= {"epochs": None, "steps": workload.total_steps - RANGE_TEST}
    if method == "paper" and workload.is_text:
        chosen["set"] = {"steps_per_epoch": workload.settings["steps"] // PAPER_EPOCHS}
    return chosen


def variant(name: str, workload: Workload) -> dict[str, Any]:
    """Settings of the trainer for a variant of AutoWU's default preset."""
    changes = dict(VARIANTS[name])
    of_the_trainer = {k: changes.pop(k) for k in ("growth", "decay", "tried") if k in changes}
    chosen = settings(AUTOWU, workload) | of_the_trainer
    return chosen | {"set": changes}
