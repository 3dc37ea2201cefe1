"""Records -> tables: what the default preset gains by each rule, and what the faults cost it."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any, Final, NamedTuple

from benchmarks.quality import records
from benchmarks.quality.evidence.pairs import CHARACTERS
from benchmarks.quality.kinds.registry import KINDS
from benchmarks.quality.rent.rules import RULES
from benchmarks.quality.workloads import WORKLOADS

Record = dict[str, Any]

RESULTS: Final = Path(__file__).parent / "results.jsonl"

LARGE: Final = 2.0
"""Points from which a single run's difference is one to be shown."""

SHOWN: Final = 3
"""Runs of the largest differences, at most, that a row names."""


class Effect(NamedTuple):
    """What a rule does to a run."""

    points: float
    """The score with it minus the score without: points of accuracy, % of the loss, or dB."""
    run: str


def write(found: list[Record]) -> str:
    """Markdown: a row for each rule."""
    columns = {
        "kinds": [each for each in found if each["suite"] == "kinds" and each["fault"] is None],
        "first suite": [each for each in found if each["suite"] == "first"],
        "faults": [each for each in found if each["fault"] is not None],
    }
    heads = [f"{name}: runs that differ, mean" for name in columns]
    lines = [f"| rule | {' | '.join(heads)} | largest differences |", "|---" * (len(columns) + 2) + "|"]
    for rule in RULES:
        by = {name: effects(rule, column) for name, column in columns.items()}
        most = sorted((each for one in by.values() for each in one), key=lambda each: -abs(each.points))
        told = [f"{each.run} {each.points:+.1f}" for each in most[:SHOWN] if abs(each.points) >= LARGE]
        cells = [_cell(by[name], _count(rule, column)) for name, column in columns.items()]
        lines.append(f"| {rule} | {' | '.join(cells)} | {'; '.join(told)} |")
    return "\n".join(lines)


def spoiled(found: list[Record]) -> str:
    """Markdown: the default's score with each fault, by kind."""
    first = min(each["seed"] for each in found)
    mine = [each for each in found if each["suite"] == "kinds" and each["seed"] == first]
    default = {(each["task"], each["fault"]): each for each in mine if each["rule"] is None}
    faults = list(dict.fromkeys(each["fault"] for each in found if each["fault"] is not None))
    tasks = list(dict.fromkeys(task for task, fault in default if fault is not None))
    lines = [f"| fault | {' | '.join(f'{task} [{KINDS[task].unit}]' for task in tasks)} |"]
    lines.append("|---" * (len(tasks) + 1) + "|")
    for fault in (None, *faults):
        scores = [default.get((task, fault), {}).get("score") for task in tasks]
        cells = ["–" if score is None else f"{score:.4g}" for score in scores]
        lines.append(f"| {fault or '*none*'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _count(rule: str, column: list[Record]) -> int:
    return sum(each["rule"] == rule for each in column)


def _cell(found: list[Effect], of: int) -> str:
    if not of:
        return "–"
    return f"{len(found)} of {of}" + (f", {fmean(each.points for each in found):+.2f}" if found else "")


def effects(rule: str, column: list[Record]) -> list[Effect]:
    """One for each run that is another without the rule; the default's own stand beside."""
    default = {_key(each): each for each in column if each["rule"] is None}
    without = [each for each in column if each["rule"] == rule and not each["same"] and _key(each) in default]
    found = [
        Effect(_difference(default[_key(each)], each), f"{each['task']}" + _fault(each)) for each in without
    ]
    return [each for each in found if each.points]  # a rule may read more often and decide the same


def _key(record: Record) -> tuple[Any, ...]:
    return record["task"], record["seed"], record["fault"]


def _fault(record: Record) -> str:
    return "" if record["fault"] is None else f" ({record['fault']})"


def _difference(default: Record, without: Record) -> float:
    unit, constant = _scale(default)
    scores = (
        constant if each["score"] is None else max(each["score"], constant) for each in (default, without)
    )
    ours, theirs = scores
    return 100 * (ours - theirs) / abs(theirs) if unit == "loss" else ours - theirs


def _scale(record: Record) -> tuple[str, float]:
    """The unit of a score, and that of a constant answer, which a run that diverged counts as."""
    if record["suite"] == "kinds":
        return KINDS[record["task"]].unit, _constants()[record["task"]]
    workload = WORKLOADS[record["task"]]
    if workload.is_text:
        return "loss", -math.log(CHARACTERS)  # a constant answer
    return "%", 1.0 if "cifar100" in workload.source else 10.0


def _constants() -> dict[str, float]:
    """Of the kinds: the mean over seeds of what the second suite's records say."""
    known = defaultdict[str, list[float]](list)
    for each in records.lines(Path(__file__).parents[1] / "kinds" / "results.jsonl"):
        if "trivial" in each:
            known[each["kind"]].append(each["trivial"])
    return {kind: fmean(found) for kind, found in known.items()}
