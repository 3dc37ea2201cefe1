"""The tuned baseline: random search over peak LR × warm-up × weight decay, and widened at its edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from autowu.train.optimizers.table import BASE_LR, WEIGHT_DECAY
from benchmarks.quality.workloads import Workload

TRIALS: Final = 20
BUDGETS: Final = (1, 5)  # trials that a winner is chosen among, and all of them
WIDENING: Final = 5  # trials, in the half decade beyond the edge
DECADES: Final = 1.25  # to either side of the paper's scaled η_base
WARMUPS: Final = (0.01, 0.02, 0.05, 0.1, 0.2)  # fractions of the run
EDGE: Final = 0.1  # of the range of log LR: a best trial within it is on the edge


@dataclass(frozen=True)
class Trial:
    """One point of the search."""

    number: int
    lr: float
    """Peak LR."""
    warmup: float
    """A fraction of the run."""
    weight_decay: float

    def settings(self, workload: Workload, total_steps: int) -> dict[str, Any]:
        """Of the trainer: linear warm-up, then cosine. Its ``lr`` is for batches of 256."""
        return {
            "schedule": "baseline",
            **workload.settings,
            "lr": self.lr / math.sqrt(workload.settings["batch_size"] / 256),
            "warmup_steps": round(self.warmup * total_steps),
            "weight_decay": self.weight_decay,
        }


def center(workload: Workload) -> float:
    """The paper's peak LR for the optimizer: η_base √(batch size / 256)."""
    base: Any = BASE_LR
    return base[workload.optimizer] * math.sqrt(workload.settings["batch_size"] / 256)


def draw(workload: Workload, number: int, low: float, high: float) -> Trial:
    """Trial ``number``: LR log-uniform in [low, high]; weight decay too, about the usual."""
    random = np.random.default_rng([number, sum(workload.name.encode())])
    usual: Any = WEIGHT_DECAY
    return Trial(
        number,
        lr=low * (high / low) ** random.random(),
        warmup=float(random.choice(WARMUPS)),
        weight_decay=usual[workload.optimizer] * 10 ** random.uniform(-1, 1),
    )


def trials(workload: Workload, scores: Mapping[int, float], count: int = TRIALS) -> list[Trial]:
    """The trials that the search consists of, as far as the ``scores`` of those done say.

    So many as ``count`` at first; then, while the best lies within a tenth of an edge of the LR's range, five
    more in the half decade beyond that edge, and while it has the largest or smallest LR of all, five more in
    the half decade beyond that.

    Args:
        workload: the task.
        scores: validation score of each trial done, by number; higher is better.
        count: of trials, before the search is widened.
    """
    low, high = center(workload) * 10**-DECADES, center(workload) * 10**DECADES
    found = [draw(workload, number, low, high) for number in range(count)]
    while all(trial.number in scores for trial in found):
        best = max(found, key=lambda trial: scores[trial.number]).lr
        place = math.log(best / low) / math.log(high / low)
        tried = [trial.lr for trial in found]
        if not EDGE <= place <= 1 - EDGE:
            beyond = (high, high * 10**0.5) if place > 0.5 else (low * 10**-0.5, low)
        elif best == max(tried):
            beyond = (best, best * 10**0.5)
        elif best == min(tried):
            beyond = (best * 10**-0.5, best)
        else:
            break
        low, high = min(low, beyond[0]), max(high, beyond[1])
        found += [draw(workload, len(found) + extra, *beyond) for extra in range(WIDENING)]
    return found


def winners(found: Sequence[Trial], count: int, score: Callable[[Trial], float]) -> dict[int, Trial]:
    """The best of the first 1, the first 5 and all ``count`` trials, with these of the widening ones too."""
    chosen = {budget: max(found[:budget], key=score) for budget in BUDGETS if budget < count}
    return chosen | {count: max(found, key=score)}
