"""Static figures for papers, by matplotlib: one function for each layout.

Figures are made without pyplot, and so without its global state and without a display.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from autowu.arrays import Array
from autowu.errors import UserError
from autowu.offline.range_test import RangeTest, lr_at
from autowu.offline.what_if import NAMES, Case
from autowu.report import picture_paper, picture_style
from autowu.report.curves import lr_ends, span, thinned
from autowu.report.decision import setting
from autowu.report.figures import FEW, found, smoothed_loss
from autowu.report.picture_style import DARK, GREY, ORANGE, colour, dash, plain, styled
from autowu.report.replayed import star as star_of
from autowu.report.replayed import star_words
from autowu.runlog.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RAW_POINTS: Final = 4_000
SMOOTH_POINTS: Final = 2_000
WIDTH: Final = 6.5  # inches
LETTER: Final = 0.066  # inches, of a legend
HANDLE: Final = 0.65  # inches, of a line in it and of what is around it


@styled
def main(runs: Sequence[Run]) -> Figure:
    """LR, loss and votes over one step axis; the minimum and the switch marked.

    Of many runs there are no votes: they would hide each other.
    """
    tested = [run for run in runs if run.tests]
    parts = 3 if 0 < len(tested) <= FEW else 2
    figure = picture_style.figure(WIDTH, 6.2 if parts == 3 else 4.4)
    axes: list[Any] = list(figure.subplots(parts, 1, sharex=True, height_ratios=[3, 3, 2][:parts]))
    for i, run in enumerate(runs):
        style = {"color": colour(i), "linestyle": dash(i)}
        kept = thinned(run.lrs, SMOOTH_POINTS)
        axes[0].plot(run.steps[kept], run.lrs[kept], label=plain(run.name), **style)
        if len(runs) <= FEW:
            kept = thinned(run.losses, RAW_POINTS // len(runs))
            axes[1].plot(run.steps[kept], run.losses[kept], color=colour(i), alpha=0.25, linewidth=0.6)
        axes[1].plot(*smoothed_loss(run, SMOOTH_POINTS), **style)
        if run.switch is not None:
            for axis in axes[:2] if len(tested) <= FEW else []:
                axis.axvspan(0, run.switch.step, color=colour(i), alpha=0.07, linewidth=0)
                axis.axvline(run.switch.step, linewidth=0.8, **style)
                for at in (*run.cuts, *run.ends):
                    axis.axvline(at.step, linewidth=0.5, **style)
            if (star := star_of(run)) is not None:
                axes[0].plot(*star, "*", color=colour(i), markersize=11)
                if len(tested) <= FEW:
                    axes[0].annotate(
                        star_words(run, star),
                        star,
                        xytext=(8, -12),
                        textcoords="offset points",
                        fontsize=8,
                        bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.8},
                    )
            if len(tested) == 1:
                failed = "" if found(run.switch) else " (no minimum found)"
                axes[1].text(
                    run.switch.step,
                    0.97,
                    f" switch at step {run.switch.step:,}{failed}",
                    transform=axes[1].get_xaxis_transform(),
                    va="top",
                    fontsize=8,
                )
    axes[0].set(ylabel="learning rate", yscale="log", **_lr_limits(runs))
    axes[1].set(ylabel="training loss", **_loss_limits(runs))
    title = "★ the peak LR, which training goes back to" if tested else None
    if len(tested) > FEW:
        title = f"{title}; P$_{{min}}$ is shown for up to {FEW} runs"
    above(axes[0], title, WIDTH)
    if parts == 3:
        _votes(axes[2], tested, runs)
    axes[-1].set(xlabel="step (updates done)", xlim=(0, None))
    return figure


def above(axis: Any, title: str | None = None, width: float = math.inf) -> None:
    """A legend above the picture, where it hides no curve; its columns are within ``width`` inches."""
    longest = max((len(label) for label in axis.get_legend_handles_labels()[1]), default=0)
    columns = max(1, int(min(3, width / (HANDLE + LETTER * longest))))
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=columns, title=title)


def _votes(axis: Any, tested: Sequence[Run], runs: Sequence[Run]) -> None:
    confidence = setting(tested[0], "confidence")
    for run in tested:
        i = list(runs).index(run)
        tests = [test for test in run.tests if test.p_min]
        steps = [test.step for test in tests]
        subsets = list(zip(*(test.p_min for test in tests), strict=False))
        for votes in subsets if len(subsets) > 1 else ():
            axis.plot(steps, votes, "o", color=GREY, markersize=3, fillstyle="none", markeredgewidth=0.6)
        medians = [float(np.median(test.p_min)) for test in tests]
        axis.plot(steps, medians, color=colour(i), linestyle=dash(i), marker=".", markersize=4)
    axis.axhline(confidence, color=ORANGE, linestyle="--", linewidth=1)
    axis.text(
        1, confidence, f" {confidence:g}", transform=axis.get_yaxis_transform(), va="center", fontsize=8
    )
    axis.set(ylabel="P$_{min}$", ylim=(-0.05, 1.1))


def _lr_limits(runs: Sequence[Run]) -> dict[str, Any]:
    ends = [known for run in runs if (known := lr_ends(run))]
    return {"ylim": (min(e[0] for e in ends) / 1.5, 2 * max(e[1] for e in ends))} if ends else {}


def _loss_limits(runs: Sequence[Run]) -> dict[str, Any]:
    if (ends := span(*(run.losses for run in runs))) is None:
        return {}
    low, high = ends
    log, margin = 0 < 3 * low < high, 0.05 * (high - low) or 0.5
    ends = (low / 1.1, high * 1.1) if log else (low - margin, high + margin)
    return {"ylim": ends} | ({"yscale": "log"} if log else {})


@styled
def sweep(of: RangeTest, losses: Array) -> Figure:
    """The losses over the LR, smoothed, with the peak LR and its interval."""
    figure = picture_style.figure(5, 3.2)
    axis: Any = figure.subplots()
    axis.plot(of.lrs, losses, ".", color=GREY, markersize=3, alpha=0.7, label="loss")
    test = of.replay.tests[-1] if of.replay.tests else None
    finite = losses[np.isfinite(losses)]
    top, low = float(finite[: max(5, len(finite) // 20)].max()), float(finite.min())
    if test is not None and test.mean is not None and test.sd is not None:
        x = lr_at(of.lrs, np.linspace(test.start, test.step, len(test.mean)))
        axis.fill_between(
            x, test.mean - 2 * test.sd, test.mean + 2 * test.sd, color=colour(0), alpha=0.3, label="± 2 sd"
        )
        axis.plot(x, test.mean, color=colour(0), label="smoothed loss")
        top = max(top, float(test.mean.max()))
    if of.peak_lr is not None:
        axis.axvline(of.peak_lr, color=ORANGE, linestyle="--", label=f"peak LR {of.peak_lr:.3g}")
    if of.low is not None and of.high is not None:
        axis.axvspan(of.low, of.high, color=ORANGE, alpha=0.2, linewidth=0, label="90% interval")
    margin = 0.15 * (top - low) or 0.5
    axis.set(xscale="log", xlabel="learning rate", ylabel="training loss", ylim=(low - margin, top + margin))
    above(axis)
    return figure


@styled
def what_if(cases: Sequence[Case]) -> Figure:
    """The peak LR of each case; filled points are the chosen values."""
    names = list(dict.fromkeys(case.setting for case in cases))
    figure = picture_style.figure(6, 0.19 * len(cases) + 0.9)
    axis: Any = figure.subplots()
    rows = range(len(cases), 0, -1)
    for case, row in zip(cases, rows, strict=True):
        i = names.index(case.setting)
        face = colour(i) if case.chosen else "white"
        marker = picture_style.MARKERS[i % len(picture_style.MARKERS)]
        if case.peak_lr is None:
            axis.text(0.5, row, "no switch", transform=axis.get_yaxis_transform(), ha="center", va="center")
        else:
            axis.plot(case.peak_lr, row, marker, color=colour(i), markerfacecolor=face, markersize=6)
    peaks = [case.peak_lr for case in cases if case.peak_lr]
    chosen = next(case for case in cases if case.chosen).peak_lr
    if chosen:
        axis.axvline(chosen, color=DARK, linestyle=":", linewidth=1)
    axis.set_yticks(rows, [f"{NAMES[case.setting]} = {case.value:g}" for case in cases], fontsize=7)
    if peaks:
        low, high = math.log10(min(peaks)), math.log10(max(peaks))
        margin = max(0.1, 0.5 * (math.log10(4) - (high - low)))
        axis.set_xlim(10 ** (low - margin), 10 ** (high + margin))
    axis.set(xscale="log", xlabel="peak learning rate", ylim=(0.3, len(cases) + 0.7))
    axis.grid(axis="y", linewidth=0.3)
    return figure


LAYOUTS: Final[dict[str, Callable[[Sequence[Run]], Any]]] = {
    "main": main,
    "figure1": picture_paper.figure1,
    "figure2": picture_paper.figure2,
}


def left_out(layout: str, runs: Sequence[Run]) -> list[str]:
    """The names of the runs that a layout does not show."""
    if layout == "figure1":
        shown = picture_paper.of_figure1(runs)
        return [run.name for run in runs if run is not shown]
    return [run.name for run in runs if not len(run.steps)]


def draw(layout: str, runs: Sequence[Run]) -> Figure:
    """The layout called ``layout`` of ``runs``.

    Raises:
        UserError: the runs have nothing to show in it.
    """
    if not any(len(run.steps) for run in runs):
        raise UserError("no update is logged yet, so there is nothing to draw")
    return LAYOUTS[layout](runs)
