"""Figure 5, accuracy by peak LR and warm-up of the baseline; and Figure 7, the peak LR by batch size."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from autowu.report import picture_style
from autowu.report.picture_style import GREY, MARKERS, ORANGE, colour, styled
from autowu.reproduce.cells import BASELINE, CONST_COS, COS, DEFAULT, Cell, Schedule
from autowu.reproduce.markdown import NOTHING, Found, peaks, size
from autowu.reproduce.paper import LARGE, PEAKS, WARMUPS, Target
from autowu.reproduce.paper import grid as schedule_at
from autowu.reproduce.scales import RESNET50, Scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RED: Final = "#c00000"
MARKS: Final = {CONST_COS: "const-cos", COS: "cos", DEFAULT: "default"}
"""AutoWU's accuracies beside the colours of Figure 5; the default preset is not in the paper."""


@styled
def heat_map(target: Target, scale: Scale, of: Found) -> Figure:
    """Figure 5: accuracies as colours, the baseline outlined in red, AutoWU's marks at the colour bar."""
    values = np.array([[_accuracy(of, schedule_at(peak, n)) for peak in PEAKS] for n in WARMUPS])
    marks = {schedule: _accuracy(of, schedule) for schedule in MARKS}
    known = [value for value in [*values.ravel(), *marks.values()] if np.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 100.0)
    low, high = (low, high) if high > low else (low - 1, high + 1)
    figure = picture_style.figure(5.6, 3.4)
    axis: Any = figure.subplots()
    image = axis.imshow(values, cmap="viridis", vmin=low, vmax=high, aspect="auto", origin="lower")
    for i, j in np.ndindex(values.shape):
        value = values[i, j]
        text = f"{value:.2f}" if np.isfinite(value) else NOTHING
        dark = np.isfinite(value) and value < (low + high) / 2
        axis.text(j, i, text, ha="center", va="center", color="white" if dark else "black", fontsize=8)
    x, y = PEAKS.index(0.008), WARMUPS.index(5)
    axis.plot(
        [x - 0.48, x + 0.48, x + 0.48, x - 0.48, x - 0.48],
        [y - 0.48, y - 0.48, y + 0.48, y + 0.48, y - 0.48],
        color=RED,
        linewidth=2,
    )
    axis.grid(visible=False)
    axis.set_xticks(range(len(PEAKS)), [f"{peak:g}" for peak in PEAKS])
    axis.set_yticks(range(len(WARMUPS)), [str(n) for n in WARMUPS])
    axis.set(xlabel=r"$\eta_{peak}$", ylabel=r"$n_{warmup}$ (of the paper's 120 epochs)")
    bar = figure.colorbar(image, ax=axis)
    bar.set_label("accuracy (%)")
    _mark(bar.ax, {MARKS[schedule]: value for schedule, value in marks.items()}, high - low)
    return figure


def _mark(axis: Any, marks: dict[str, float], reach: float) -> None:
    """A line at each accuracy, its name to the left of the colour bar; neighbours move apart."""
    last = -np.inf
    for name, value in sorted(marks.items(), key=lambda mark: mark[1]):
        if np.isfinite(value):
            last = max(value, last + 0.07 * reach)
            axis.axhline(value, color=ORANGE, linewidth=2)
            axis.annotate(
                name,
                (0, value),
                xytext=(-0.3, last),
                xycoords=("axes fraction", "data"),
                textcoords=("axes fraction", "data"),
                ha="right",
                va="center",
                fontsize=7,
                color=ORANGE,
                arrowprops={"arrowstyle": "-", "color": ORANGE, "linewidth": 0.6},
            )
    absent = [name for name, value in marks.items() if not np.isfinite(value)]
    if absent:
        axis.set_xlabel("not run:\n" + "\n".join(absent), fontsize=6, color=GREY)


def _accuracy(of: Found, schedule: Schedule) -> float:
    """The mean over seeds; NaN where there is none."""
    values = [
        result.accuracy
        for cell, result in of.items()
        if (cell.task, cell.batch_size, cell.schedule) == (RESNET50, LARGE, schedule)
    ]
    return statistics.fmean(values) if values else float("nan")


@styled
def peak_lrs(target: Target, scale: Scale, of: Found) -> Figure:
    """Figure 7: the first LR of the decay phase for each ρ_w, and the baseline's peak."""
    figure = picture_style.figure(4.6, 3.4)
    axis: Any = figure.subplots()
    columns = target.rows[0].batch_sizes
    seeds = sorted({cell.seed for cell in of})
    absent = list[str]()
    for i, row in enumerate(target.rows):
        known = [peaks(row, column, of, seeds) for column in columns]
        absent += [
            f"{_name(row.schedule)} {size(n)}" for n, each in zip(columns, known, strict=True) if not each
        ]
        drawn = [(n, statistics.geometric_mean(each)) for n, each in zip(columns, known, strict=True) if each]
        style: dict[str, Any] = {"color": colour(i), "marker": MARKERS[i], "markersize": 5}
        axis.plot([n for n, _ in drawn], [peak for _, peak in drawn], label=_name(row.schedule), **style)
        for n, each in zip(columns, known, strict=True):
            if len(each) > 1:
                axis.plot([n] * len(each), each, ".", color=colour(i), markersize=3, alpha=0.6)
    planned = [scale.peak(Cell(RESNET50, column, BASELINE)) for column in columns]
    axis.plot(
        columns, planned, color=GREY, linestyle="--", marker="x", markersize=5, label="baseline (chosen)"
    )
    axis.set(xscale="log", yscale="log", ylabel=r"starting LR $\eta_{t^*}$ of the decay")
    axis.set_xticks(columns, list(map(size, columns)))
    axis.set_xticks([], minor=True)
    told = "batch size"
    if absent:
        told += f"\nnot run (–): {'; '.join(absent) if len(absent) < 4 else len(absent)}"
    axis.set_xlabel(told)
    axis.legend()
    return figure


def _name(schedule: Schedule) -> str:
    if schedule == DEFAULT:
        return "default preset"
    rho = dict(schedule.flags).get("set.warmup_fraction", 0.5)
    return rf"$\rho_w$ = {rho:g}"
