"""ASHA (Li et al., 2020) and Hyperband (Li et al., 2018): trials that are behind are stopped early.

Optuna decides which; its package is asked for here alone. Trials of a study run one after the other, and each
is a record, so that a study goes on where it was stopped: what is done is told to a new pruner again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.quality.budgets import space
from benchmarks.quality.trial import CURVE
from benchmarks.quality.workloads import Workload

FIRST: Final = 2
"""Twentieths of a run until the first rung."""
KEPT: Final = 3
"""Of so many trials one goes on at each rung."""

METHODS: Final = ("asha", "hyperband")

Train = Callable[..., dict[str, Any]]


def pruner(method: str) -> Any:
    """Optuna's, with rungs at 2, 6 and 18 twentieths of a run; Hyperband's brackets begin at each of them.

    Raises:
        ImportError: Optuna is not installed.
    """
    from optuna import pruners

    if method == "asha":
        return pruners.SuccessiveHalvingPruner(min_resource=FIRST, reduction_factor=KEPT)
    return pruners.HyperbandPruner(min_resource=FIRST, max_resource=CURVE, reduction_factor=KEPT)


def study(
    workload: Workload,
    method: str,
    number: int,
    runs: float,
    data: Path,
    done: Sequence[dict[str, Any]],
    train: Train | None = None,
) -> Iterator[dict[str, Any]]:
    """The trials that are left of a study: one record each, as soon as it is there.

    Args:
        workload: the task.
        method: 'asha' or 'hyperband'.
        number: of the study; the seed of its trials' weights and data is as the random search's, 0.
        runs: compute, in updates of a whole run; the study ends with the trial that reaches it.
        data: the data folder.
        done: its records so far, in order.
        train: :func:`benchmarks.quality.trial.run`, or what stands for it.

    Raises:
        ImportError: Optuna is not installed.
    """
    import optuna

    if train is None:
        from benchmarks.quality import trial as trials

        train = trials.run
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = f"{method} {workload.name} {number}"  # Hyperband chooses brackets by it
    searched = optuna.create_study(direction="maximize", study_name=name, pruner=pruner(method))
    spent = 0
    for record in done:
        asked = searched.ask()
        pruned = False
        for place, (_, score) in enumerate(record["curve"], 1):
            asked.report(score, place)
            pruned = place < CURVE and asked.should_prune()
        searched.tell(asked, state=_state(pruned), values=None if pruned else record["curve"][-1][1])
        spent += record["steps"]
    while spent < runs * workload.total_steps:
        asked = searched.ask()
        drawn = space.drawn(workload, number, asked.number)

        def stop(place: int, score: float, asked: Any = asked) -> bool:
            asked.report(score, place)
            return bool(asked.should_prune())

        found = train(workload, drawn.settings(workload, workload.total_steps), 0, data, stop)
        whole = found["steps"] >= workload.total_steps
        if whole:
            asked.report(found["curve"][-1][1], CURVE)
        searched.tell(asked, state=_state(not whole), values=found["curve"][-1][1] if whole else None)
        spent += found["steps"]
        yield {
            "workload": workload.name,
            "method": method,
            "seed": number,
            "trial": asked.number,
            "lr": drawn.lr,
            "warmup": drawn.warmup,
            "weight_decay": drawn.weight_decay,
            **found,
        }


def _state(pruned: bool) -> Any:
    from optuna.trial import TrialState

    return TrialState.PRUNED if pruned else TrialState.COMPLETE
