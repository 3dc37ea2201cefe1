"""The records of the mini scale -> the tables of docs/reproduction.md.

autowu reproduce table1 … --scale mini --data DIR --out OUT
cp OUT/mini/results.jsonl experiments/reproduction/mini/results.jsonl
python -m experiments.reproduction
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import marked

from autowu.reproduce import markdown, plan, results
from autowu.reproduce.paper import TARGETS, cells
from autowu.reproduce.plan import Job
from autowu.reproduce.results import Result
from autowu.reproduce.scales import CIFAR, MINI, RESNET50

RECORDS: Final = Path(__file__).parent / "reproduction" / "mini"
PAGE: Final = Path(__file__).parents[1] / "docs" / "reproduction.md"
WHOLE: Final = ("table1", "table2", "table4", "figure5", "figure6", "figure7")
"""The targets of the mini scale."""


def jobs(target: str) -> list[Job]:
    """The cells of a target at the mini scale."""
    seeds = {task: of.seeds for task, of in MINI.tasks.items() if task in TARGETS[target].tasks}
    return [plan.job(cell, MINI, {}) for cell in cells(TARGETS[target], seeds)]


def tables() -> dict[str, Callable[[], str]]:
    """What stands between ``<!-- table: NAME -->`` and ``<!-- end -->``."""
    lines = results.read(RECORDS, MINI.name, commit=None)
    return {
        "state": partial(_state, lines),
        "table1-cifar": partial(_of_task, "table1", CIFAR[0], lines),
        "table1-imagenet": partial(_of_task, "table1", RESNET50, lines),
        "table2": partial(_of_task, "table2", CIFAR[1], lines),
        "table4": partial(_of_task, "table4", RESNET50, lines),
        "figure5": partial(_grid, "figure5", lines),
        "figure6": partial(_grid, "figure6", lines),
    }


def _state(lines: list[Result]) -> str:
    every = {job.cell.name: job for target in WHOLE for job in jobs(target)}
    return markdown.state(list(every.values()), lines)


def _of_task(target: str, task: str, lines: list[Result]) -> str:
    return markdown.of_task(TARGETS[target], task, MINI, jobs(target), lines)


def _grid(target: str, lines: list[Result]) -> str:
    return markdown.of_grid(TARGETS[target], MINI, jobs(target), lines)


def filled(text: str) -> str:
    """The page's ``text`` with its tables."""
    return marked.filled(PAGE.name, text, tables())


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
