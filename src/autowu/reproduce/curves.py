"""Figures 2 to 4 and 6: the LR and the training loss against epochs, drawn from run folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from autowu.arrays import Array
from autowu.errors import UserError
from autowu.report import picture_style
from autowu.report.curves import smoothed, span
from autowu.report.figures import COLOURS
from autowu.report.picture_paper import DOTTED, mean_and_band
from autowu.report.picture_style import DARK, UNDOTTED, colour, plain, styled
from autowu.reproduce.cells import BASELINE, Cell, Schedule
from autowu.reproduce.markdown import size
from autowu.reproduce.paper import TITLES, Row, Target
from autowu.reproduce.plan import Job
from autowu.reproduce.scales import Scale
from autowu.runlog import run as runlog

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS: Final = 600
LEGENDS: Final = {"Baseline": "baseline", "AutoWU + cos": "wu-cos"}
"""Names as in the paper's legends."""

SIZES: Final = (*COLOURS, DARK)
"""Of the six batch sizes that Figure 2 has."""

Curve = tuple[Array, Array]
"""Epochs, and the values there."""


@dataclass(frozen=True)
class Traces:
    """What a run folder has of a cell, against epochs."""

    lr: Curve
    loss: Curve
    accuracy: Curve
    whole: bool
    """Whether the run has finished."""


Read = Mapping[Cell, Traces]


def read(jobs: Sequence[Job], scale: Scale, runs: Path) -> dict[Cell, Traces]:
    """The curves of those cells that have been begun.

    Raises:
        UserError: a run folder holds what no run has written.
    """
    found = dict[Cell, Traces]()
    for job in jobs:
        folder = runs / job.folder
        if not (folder / "run.json").exists():
            continue
        run = runlog.read(folder)
        if not len(run.steps):
            continue
        of = scale.tasks[job.cell.task]
        per_epoch = of.images // of.batch_size(job.cell.batch_size)
        at, loss = smoothed(run.steps, run.losses, POINTS)
        kept = np.unique(np.linspace(0, len(run.steps) - 1, 4 * POINTS).astype(int))
        evaluated = [(each.step / per_epoch, 100 * each.test_accuracy) for each in run.evaluations]
        found[job.cell] = Traces(
            (run.steps[kept] / per_epoch, run.lrs[kept]),
            (at / per_epoch, loss),
            cast("Curve", tuple(np.array(evaluated, float).reshape(-1, 2).T)),
            run.finished,
        )
    return found


@styled
def overlaid(target: Target, scale: Scale, of: Read) -> Figure:
    """Figures 2 to 4: LR above, training loss below, a column for each task, batch sizes in colours.

    Lines are means over seeds, bands one standard deviation. A run that has not finished is dotted, and in
    no mean. What has not been run is told below.
    """
    tasks = [task for task in target.tasks if task in scale.tasks]
    if not tasks:
        raise UserError(f"the scale {scale.name} has nothing that stands for the tasks of {target.title}")
    figure = picture_style.figure(2.7 * len(tasks) + 1.2, 4.6)
    axes = cast(Any, figure.subplots(2, len(tasks), squeeze=False, sharex="col"))
    sizes = sorted({column for task in tasks for row in target.of(task) for column in row.batch_sizes})
    handles: dict[tuple[int, str], Any] = {}
    missing = list[str]()
    for task, (top, bottom) in zip(tasks, axes.T, strict=True):
        for row in target.of(task):
            for column in row.batch_sizes:
                name = f"{LEGENDS[row.schedule.name]} {size(column)}"
                style = {"color": SIZES[sizes.index(column)]}
                style["linestyle"] = "--" if row.schedule == BASELINE else "-"
                seeds = _seeds(of, row, column)
                line = mean_and_band(
                    top, [each.lr for each in seeds], style, [each.whole for each in seeds], log=True
                )
                mean_and_band(bottom, [each.loss for each in seeds], style, [each.whole for each in seeds])
                if line is None:
                    missing.append(f"{TITLES[task]} {name}")
                else:
                    handles.setdefault((column, name), line)
        top.set_title(plain(TITLES[task]), fontsize=9)
        top.set_yscale("log")
        bottom.set_xlabel("epoch")
        _limits(top, bottom, [each for cell, each in of.items() if cell.task == task])
    axes[0, 0].set_ylabel("learning rate")
    axes[1, 0].set_ylabel("training loss")
    named = {name: handles[column, name] for column, name in sorted(handles)}
    _legend(figure, named, len({column for column, _ in handles}), _told(missing, of))
    return figure


@styled
def growths(target: Target, scale: Scale, of: Read) -> Figure:
    """Figure 6: LR, training loss and accuracy against epochs, a line for each growth."""
    figure = picture_style.figure(8.6, 3.1)
    axes: Any = figure.subplots(1, 3)
    handles: dict[str, Any] = {}
    missing = list[str]()
    for i, row in enumerate(target.rows):
        style = {"color": colour(i), "linestyle": UNDOTTED[i]}
        seeds = _seeds(of, row, row.batch_sizes[0])
        whole = [each.whole for each in seeds]
        name = _growth(row.schedule)
        line = mean_and_band(axes[0], [each.lr for each in seeds], style, whole, log=True)
        mean_and_band(axes[1], [each.loss for each in seeds], style, whole)
        mean_and_band(axes[2], [each.accuracy for each in seeds], style, whole)
        if line is None:
            missing.append(name)
        else:
            handles[name] = line
    axes[0].set_yscale("log")
    _limits(axes[0], axes[1], list(of.values()))
    for axis, name in zip(axes, ("learning rate", "training loss", "accuracy (%)"), strict=True):
        axis.set(ylabel=name, xlabel="epoch")
    _legend(figure, handles, 4, _told(missing, of))
    return figure


def _growth(schedule: Schedule) -> str:
    names = {"Baseline": "baseline", "AutoWU + cos": "exponential, η_max 1"}
    return names.get(schedule.name, schedule.name).replace("η_max", r"$\eta_{max}$")


def _seeds(of: Read, row: Row, column: int) -> list[Traces]:
    return [
        each
        for cell, each in of.items()
        if (cell.task, cell.batch_size, cell.schedule) == (row.task, column, row.schedule)
    ]


def _limits(lr: Any, loss: Any, drawn: Sequence[Traces]) -> None:
    """LRs end at zero, which a log axis does not have; a loss that explodes must not hide the others."""
    positive = [values[values > 0] for values in (each.lr[1] for each in drawn)]
    top = max((float(values.max()) for values in positive if len(values)), default=1.0)
    low = min((float(values[0]) for values in positive if len(values)), default=1e-5)
    lr.set_ylim(max(low, 1e-6 * top), 2 * top)
    if found := span(*(each.loss[1] for each in drawn), cut=0.5):
        margin = 0.08 * (found[1] - found[0]) or 0.5
        loss.set_ylim(found[0] - margin, found[1] + margin)


def _legend(figure: Figure, handles: Mapping[str, Any], columns: int, told: Sequence[str]) -> None:
    """Below the axes, column by column, under what is not there."""
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=max(1, columns),
        title="; ".join(told) or None,
    )


def _told(missing: Sequence[str], of: Read) -> list[str]:
    """What the picture does not show, or not to its end."""
    unfinished = [] if all(each.whole for each in of.values()) else [DOTTED]
    few = len(missing) < 4
    absent = [f"not run (–): {', '.join(missing) if few else f'{len(missing)} lines'}"] if missing else []
    return unfinished + absent


DRAWN: Final[dict[str, Callable[[Target, Scale, Read], Any]]] = {
    "figure2": overlaid,
    "figure3": overlaid,
    "figure4": overlaid,
    "figure6": growths,
}
