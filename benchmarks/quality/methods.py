"""What is compared: AutoWU's presets, peers at their authors' defaults, and variants of AutoWU."""

from __future__ import annotations

from typing import Any, Final, get_args

from autowu.train.options import Peer
from benchmarks.quality.workloads import Workload

AUTOWU: Final = "autowu"
PAPER_EPOCHS: Final = 20
"""The paper tests at epoch ends; a text has none, and gets one each so large a fraction of the run."""

# Methods that drive an optimizer of one's choice; the others are optimizers themselves.
DRIVERS: Final = ("gen", "greedy", "lr-finder", "mechanic")
# Optimizers themselves that come in an SGD version too.
WITH_SGD: Final = ("momo",)
ONLY_SGD: Final = ("salsa",)


def peers(workload: Workload) -> list[str]:
    """The peers that apply to a workload: SALSA is for SGD alone."""
    return [name for name in get_args(Peer) if name not in ONLY_SGD or workload.optimizer == "sgd"]


def settings(method: str, workload: Workload) -> dict[str, Any]:
    """Settings of the trainer for ``method`` on ``workload``: nothing tuned, each at its defaults.

    A peer that is an optimizer itself stands in place of the workload's.
    """
    chosen = {"schedule": method, **workload.settings}
    sgd = workload.optimizer == "sgd" and method in WITH_SGD + ONLY_SGD
    if method in get_args(Peer) and method not in DRIVERS and not sgd:
        del chosen["optimizer"]
    if method == "paper" and workload.is_text:
        chosen["set"] = {"steps_per_epoch": workload.settings["steps"] // PAPER_EPOCHS}
    return chosen


def variant(name: str, workload: Workload) -> dict[str, Any]:
    """Settings of the trainer for a variant of AutoWU's default preset."""
    changes = dict(VARIANTS[name])
    chosen = settings(AUTOWU, workload) | {k: changes.pop(k) for k in ("growth", "decay") if k in changes}
    return chosen | {"set": changes}


VARIANTS: Final[dict[str, dict[str, Any]]] = {
    # How fast warm-up goes, and from where.
    "growth exponential": {"growth": "exponential"},
    "sweep in 2% of the run": {"sweep_fraction": 0.02},
    "sweep in 10% of the run": {"sweep_fraction": 0.1},
    "slow growth twice as fast": {"warmup_fraction": 0.25},
    "start of growth 1e-4": {"min_lr": 1e-4},
    "start of growth 1e-6": {"min_lr": 1e-6},
    "end of growth 10": {"max_lr": 10.0},
    # Lift-off.
    "lift-off 2": {"lift_off": 2.0},
    "lift-off 8": {"lift_off": 8.0},
    # When to test, and on what.
    "test each growth of 1.05": {"test_growth": 1.05},
    "test each growth of 1.2": {"test_growth": 1.2},
    "test each growth of 1.4": {"test_growth": 1.4},
    "patience 1": {"patience": 1},
    "patience 2": {"patience": 2},
    "patience 5": {"patience": 5},
    "confidence 0.99": {"confidence": 0.99},
    "length-scale 0.1": {"length_scale": 0.1},
    "length-scale 0.3": {"length_scale": 0.3},
    "subsets of 200": {"subset_size": 200},
    "all losses": {"subset_size": None, "subsets": 1},
    "raw losses": {"standardize": False},
    "spikes kept": {"spike": None},
    # What follows.
    "no rewind": {"rewind": False},
    "decay cosine": {"decay": "cosine"},
    "decay constant, then cosine": {"decay": "constant-cosine"},
    "decay 1-sqrt": {"decay": "1-sqrt"},
}
"""One change at a time from the default preset."""
