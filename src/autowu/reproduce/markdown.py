"""The tables as Markdown: the paper's value, ours, the difference; what has not been run is "–"."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from autowu.reproduce import results
from autowu.reproduce.cells import BASELINE, Cell
from autowu.reproduce.paper import TITLES, Number, Row, Target
from autowu.reproduce.plan import Job
from autowu.reproduce.results import Result
from autowu.reproduce.scales import Scale

NOTHING: Final = "–"
THOUSAND: Final = 1024

Found = Mapping[Cell, Result]
"""The results of cells."""


def found(jobs: Sequence[Job], lines: Sequence[Result]) -> dict[Cell, Result]:
    """The results of ``jobs``, found by name and settings."""
    known = {(line.cell, line.key): line for line in lines}
    return {job.cell: known[job.cell.name, job.key] for job in jobs if (job.cell.name, job.key) in known}


def page(target: Target, scale: Scale, jobs: Sequence[Job], lines: Sequence[Result]) -> str:
    """A table for each task, and how much of it there is."""
    parts = [f"## {target.title}, scale {scale.name}", scale.about, state(jobs, lines)]
    for task in target.tasks:
        parts.append(f"### {TITLES[task]}")
        parts.append(
            of_task(target, task, scale, jobs, lines)
            if task in scale.tasks
            else f"The scale {scale.name} has nothing that stands for this task."
        )
    return "\n\n".join(parts) + "\n"


def of_task(target: Target, task: str, scale: Scale, jobs: Sequence[Job], lines: Sequence[Result]) -> str:
    """The tables of one task: accuracy, what is ahead of the baseline, peak LRs."""
    of, rows = found(jobs, lines), target.of(task)
    seeds = sorted({job.cell.seed for job in jobs if job.cell.task == task})
    parts = [_table(rows, of, seeds, scale), _margins(rows, of, seeds), _peaks(rows, of, seeds, scale)]
    return "\n\n".join(part for part in parts if part)


def state(jobs: Sequence[Job], lines: Sequence[Result]) -> str:
    """How many cells have been run, of which commits, on what, and how long that took."""
    of = found(jobs, lines)
    told = [f"{len(of)} of {len(jobs)} cells have been run; “{NOTHING}” has not."]
    names = {job.cell.name for job in jobs}
    others = sum(1 for line in lines if line.cell in names) - len(of)
    if others:
        told.append(f"{others} more were trained with other settings (`--train`) and are not shown.")
    if of:
        devices = dict.fromkeys(str(line.machine.get("device", "?")) for line in of.values())
        torch = dict.fromkeys(str(line.versions.get("torch", "?")) for line in of.values())
        hours = sum(line.seconds for line in of.values()) / 3600
        told.append(
            f"Commit {', '.join(results.commits(list(of.values())))}; PyTorch {', '.join(torch)}; "
            f"{', '.join(devices)}; {hours:.2f} hours of updates."
        )
    return " ".join(told)


def _table(rows: Sequence[Row], of: Found, seeds: Sequence[int], scale: Scale) -> str:
    """Three lines for each schedule. Only at the paper's scale is a difference to its numbers one."""
    compared = scale.name == "paper"
    lines = [["schedule", "", *map(size, rows[0].batch_sizes)]]
    for row in rows:
        ours = [_values(row, column, of, seeds) for column in row.batch_sizes]
        paper = [row.number(column) for column in row.batch_sizes]
        if row.numbers:
            lines.append([row.schedule.name, "paper", *map(_paper, paper)])
        name = "" if row.numbers else row.schedule.name
        lines.append([name, "ours", *(_ours(values, len(seeds)) for values in ours)])
        if row.numbers and compared:
            pairs = zip(ours, paper, strict=True)
            lines.append(["", "difference", *(_difference(mine, theirs) for mine, theirs in pairs)])
    return table(lines)


def _margins(rows: Sequence[Row], of: Found, seeds: Sequence[int]) -> str:
    """What each schedule is ahead of the baseline, in the paper and here: the pattern, at any scale."""
    base = next((row for row in rows if row.schedule == BASELINE), None)
    if base is None or len(base.batch_sizes) == 1:
        return ""
    lines = [["ahead of the baseline by", "", *map(size, base.batch_sizes)]]
    for row in rows:
        if row is base:
            continue
        paper, ours = list[str](), list[str]()
        for column in row.batch_sizes:
            theirs, reference = row.number(column), base.number(column)
            paper.append(f"{theirs.mean - reference.mean:+.2f}" if theirs and reference else NOTHING)
            mine, others = _values(row, column, of, seeds), _values(base, column, of, seeds)
            ours.append(f"{_mean(mine) - _mean(others):+.2f}" if mine and others else NOTHING)
        if row.numbers:
            lines.append([row.schedule.name, "paper", *paper])
        lines.append(["" if row.numbers else row.schedule.name, "ours", *ours])
    return table(lines)


def _peaks(rows: Sequence[Row], of: Found, seeds: Sequence[int], scale: Scale) -> str:
    """The peak LRs, which are what AutoWU is about."""
    if len(rows[0].batch_sizes) == 1:
        return ""
    lines = [["peak LR", *map(size, rows[0].batch_sizes)]]
    task = rows[0].task
    planned = [f"{scale.peak(Cell(task, column, BASELINE)):.3g}" for column in rows[0].batch_sizes]
    lines.append(["Baseline (chosen)", *planned])
    for row in rows:
        if row.schedule != BASELINE:
            lines.append([row.schedule.name, *(_peak(row, column, of, seeds) for column in row.batch_sizes)])
    return table(lines)


def grid(target: Target, scale: Scale, jobs: Sequence[Job], lines: Sequence[Result]) -> str:
    """Figures 5 and 6 in numbers: a line for each schedule, at one batch size."""
    parts = [f"## {target.title}, scale {scale.name}", scale.about, state(jobs, lines)]
    if target.tasks[0] in scale.tasks:
        parts.append(of_grid(target, scale, jobs, lines))
    else:
        parts.append(f"The scale {scale.name} has nothing that stands for this task.")
    return "\n\n".join(parts) + "\n"


def of_grid(target: Target, scale: Scale, jobs: Sequence[Job], lines: Sequence[Result]) -> str:
    """The table of such a figure."""
    of, seeds = found(jobs, lines), sorted({job.cell.seed for job in jobs})
    rows = [["schedule", "paper", "ours", *(["difference"] if scale.name == "paper" else []), "peak LR"]]
    for row in target.rows:
        (column,) = row.batch_sizes
        mine, theirs = _values(row, column, of, seeds), row.number(column)
        difference = [_difference(mine, theirs)] if scale.name == "paper" else []
        peak = _peak(row, column, of, seeds)
        rows.append([row.schedule.name, _paper(theirs), _ours(mine, len(seeds)), *difference, peak])
    return table(rows)


def _values(row: Row, column: int, of: Found, seeds: Sequence[int]) -> list[float]:
    cells = [Cell(row.task, column, row.schedule, seed) for seed in seeds]
    return [of[cell].accuracy for cell in cells if cell in of]


def peaks(row: Row, column: int, of: Found, seeds: Sequence[int]) -> list[float]:
    """The peak LRs of a row's cells that have one."""
    cells = [Cell(row.task, column, row.schedule, seed) for seed in seeds]
    return [peak for cell in cells if cell in of and (peak := of[cell].peak_lr) is not None]


def _peak(row: Row, column: int, of: Found, seeds: Sequence[int]) -> str:
    """The peak LRs of all seeds; that of a warm-up which found no minimum is the cap's."""
    cells = [cell for seed in seeds if (cell := Cell(row.task, column, row.schedule, seed)) in of]
    known = [(of[cell].peak_lr, of[cell].metrics.get("capped")) for cell in cells]
    told = [f"{peak:.3g}{' (cap)' if capped else ''}" for peak, capped in known if peak is not None]
    return " ".join(told) or NOTHING


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)


def _paper(number: Number | None) -> str:
    if number is None:
        return NOTHING
    return f"{number.mean:.2f}" + ("" if number.sd is None else f" ({number.sd:.2f})")


def _ours(values: Sequence[float], seeds: int) -> str:
    """'94.80 (0.17)', the standard deviation as the paper has it; and of how many, where some are missing."""
    if not values:
        return NOTHING
    sd = f" ({statistics.stdev(values):.2f})" if len(values) > 1 else ""
    return f"{_mean(values):.2f}{sd}" + (f", n = {len(values)} of {seeds}" if len(values) < seeds else "")


def _difference(ours: Sequence[float], paper: Number | None) -> str:
    return NOTHING if not ours or paper is None else f"{_mean(ours) - paper.mean:+.2f}"


def size(batch_size: int) -> str:
    """256, 1K, 16K, as the paper has them."""
    return f"{batch_size // THOUSAND}K" if batch_size >= THOUSAND else str(batch_size)


def table(lines: Sequence[Sequence[str]]) -> str:
    """Markdown of a head and its rows."""
    head, *body = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *body))
