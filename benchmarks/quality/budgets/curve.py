"""Score against compute of each search, and how many runs AutoWU is worth."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from benchmarks.quality import analysis, records
from benchmarks.quality.budgets import halving, plan
from benchmarks.quality.budgets.plan import BUDGETS, CHOSEN
from benchmarks.quality.evidence import pairs
from benchmarks.quality.evidence.pairs import Task
from benchmarks.quality.methods import AUTOWU
from benchmarks.quality.workloads import SMALL, Workload

SEARCHES: Final = ("random search", *halving.METHODS, "pbt")

Curve = dict[int, float]
"""Budget in runs -> test score."""


def incumbent(workload: Workload, trials: Sequence[dict[str, Any]], runs: float) -> float | None:
    """Test score of what a study has chosen once it has spent so much; None before its first trial's end.

    Chosen is the trial with the best validation score among those that went to the end of a run.

    Args:
        workload: the task.
        trials: of the study, in order.
        runs: compute, in updates of a whole run.
    """
    ends = np.cumsum([trial["steps"] for trial in trials])
    within = [trial for trial, end in zip(trials, ends, strict=True) if end <= runs * workload.total_steps]
    whole = [trial for trial in within if trial["steps"] >= workload.total_steps]
    if not whole:
        return None
    return _score(workload, max(whole, key=lambda trial: records.score(trial, "validation")))


def curves(
    workload: Workload, searched: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]
) -> dict[str, Curve]:
    """Of each search the mean over its studies at each budget; only what all its studies have reached.

    Args:
        workload: the task.
        searched: records of the random search; its curve is the expectation over all orders of its trials.
        found: records of the studies.
    """
    mine = [record for record in searched if record["workload"] == workload.name]
    known = {"random search": analysis.best_of(mine, BUDGETS)} if len(mine) >= max(BUDGETS) else {}
    for method in halving.METHODS:
        numbers = {each["seed"] for each in found if _is(each, workload, method)}
        studies = [plan.Study(workload.name, method, number, 0).done(found) for number in sorted(numbers)]
        known[method] = {}
        for budget in BUDGETS:
            # A study has reached a budget once a trial that ends beyond it, or at it, is there.
            spent = [sum(trial["steps"] for trial in study) for study in studies]
            scores = [incumbent(workload, study, budget) for study in studies]
            if studies and min(spent) >= budget * workload.total_steps and None not in scores:
                known[method][budget] = float(np.mean([score for score in scores if score is not None]))
    known["pbt"] = {}
    for budget in BUDGETS:
        ends = [_score(workload, each) for each in found if _is(each, workload, f"pbt {budget}")]
        if ends:
            known["pbt"][budget] = float(np.mean(ends))
    return known


def reached(differences: Mapping[int, float]) -> float | None:
    """The budget at which a difference reaches zero, linear in its logarithm; ∞ if beyond the last.

    None where there are none; the first budget where it is reached there.
    """
    if not differences:
        return None
    budgets = sorted(differences)
    if differences[budgets[0]] >= 0:
        return float(budgets[0])
    for low, high in pairwise(budgets):
        below, above = differences[low], differences[high]
        if above >= 0:
            return low * (high / low) ** (-below / (above - below))
    return math.inf


def overhead(results: Sequence[dict[str, Any]]) -> float:
    """Seconds in AutoWU's schedule over those of the rest of its runs; NaN without records."""
    mine = [each for each in results if each["method"] == AUTOWU and "scheduling" in each]
    spent = sum(each["scheduling"] for each in mine)
    return spent / (sum(each["seconds"] for each in mine) - spent) if mine else math.nan


def behind(tasks: Sequence[Task] | None = None) -> dict[str, dict[str, Curve]]:
    """Workload -> search -> budget -> how far the search is ahead of AutoWU, in points."""
    tasks = pairs.first_suite(records.read(records.RESULTS, "compare")) if tasks is None else tasks
    searched, found = records.read(records.RESULTS, "search"), plan.read()
    known: dict[str, dict[str, Curve]] = {}
    for task in tasks:
        if task.name in CHOSEN and AUTOWU in task.scores:
            own = float(np.mean([*task.scores[AUTOWU].values()]))
            known[task.name] = {
                search: {budget: task.better(score, own) for budget, score in curve.items()}
                for search, curve in curves(SMALL[task.name], searched, found).items()
            }
    return known


def pooled(known: Mapping[str, Mapping[str, Curve]]) -> dict[str, Curve]:
    """The means over workloads, of those budgets that all workloads have."""
    means: dict[str, Curve] = {}
    for search in SEARCHES:
        of = [curve.get(search, {}) for curve in known.values()]
        common = [budget for budget in BUDGETS if of and all(budget in each for each in of)]
        means[search] = {budget: float(np.mean([each[budget] for each in of])) for budget in common}
    return means


def table() -> str:
    """Each search against AutoWU: mean difference at each budget, and how many runs AutoWU is worth."""
    known = behind()
    cost = 1 + overhead(
        [each for each in records.read(records.RESULTS, "compare") if each["workload"] in known]
    )
    rows = []
    for search, curve in pooled(known).items():
        found = [of.get(search, {}) for of in known.values()]
        cells = [_cell([of[budget] for of in found if budget in of], len(known)) for budget in BUDGETS]
        each = [worth(mine.get(search, {}), cost) for mine in known.values()]
        rows.append([search, *cells, worth(curve, cost), ", ".join(each)])
    head = [
        "",
        *(f"{budget} run{'s' * (budget > 1)}" for budget in BUDGETS),
        "AutoWU is worth",
        "by workload",
    ]
    lines = [head, ["---"] * len(head), *rows]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    told = f"AutoWU's own cost: {cost:.3f} runs. Workloads: {', '.join(known)}."
    return f"{text}\n{textwrap.fill(told, 110, break_on_hyphens=False)}\n"


def _cell(points: Sequence[float], workloads: int) -> str:
    """The mean, and of how many workloads, if not of all."""
    if not points:
        return "–"
    return f"{np.mean(points):+.2f}" + (f" ({len(points)})" if len(points) < workloads else "")


def worth(differences: Mapping[int, float], cost: float) -> str:
    """Runs of a search for one of AutoWU's, its overhead charged."""
    budget = reached(differences)
    if budget is None:
        return "–"
    if math.isinf(budget):
        return f"> {max(differences) / cost:.0f}"
    return f"{'≤ ' * (budget == min(differences))}{budget / cost:.1f}"


def figure() -> Any:
    """Points ahead of AutoWU against compute, the mean over workloads."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(5, 3.2), layout="constrained")
    axis = drawn.subplots()
    for search, curve in pooled(behind()).items():
        if curve:
            axis.plot([*curve], [*curve.values()], "o-", markersize=4, label=search)
    axis.axhline(0, color="black", linewidth=0.8, label="AutoWU, one run")
    axis.set(xscale="log", xlabel="compute, runs", ylabel="points ahead of AutoWU")
    axis.set_xticks(BUDGETS, [str(budget) for budget in BUDGETS])
    axis.minorticks_off()
    axis.legend(fontsize="small")
    return drawn


def _is(record: dict[str, Any], workload: Workload, method: str) -> bool:
    return bool(record["workload"] == workload.name and record["method"] == method)


def _score(workload: Workload, record: dict[str, Any]) -> float:
    score = records.score(record, "test")
    return score if math.isfinite(score) else pairs.chance(workload)
