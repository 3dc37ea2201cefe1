"""The page's pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.quality import analysis, methods, records
from benchmarks.quality.analysis import Scores
from benchmarks.quality.budgets import curve
from benchmarks.quality.evidence import figure as evidence
from benchmarks.quality.suites import SUITES
from benchmarks.quality.workloads import WORKLOADS

BLUE, ORANGE, GREY, GREEN = "#0b62a4", "#d1570a", "#777777", "#2a7f3f"
COLUMNS: Final = 3


def write(folder: Path) -> None:
    """All pictures of which there are records, as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "autowu", "font.size": 9, "axes.spines.top": False}
    mpl.rcParams |= {"axes.spines.right": False, "legend.frameon": False}
    folder.mkdir(exist_ok=True)
    figures = {"compare": comparison(), "search": trials(), "sweep": sweep(), "ablations": ablations()}
    figures |= {"profile": evidence.profile(), "budgets": curve.figure()}
    figures |= {f"{name}-sweep": sweep(SUITES[name].results) for name in ("longest", "large")}
    for name, figure in figures.items():
        if figure is not None:
            figure.savefig(folder / f"quality-{name}.svg", bbox_inches="tight", metadata={"Date": None})


def trials() -> Any:
    """Each workload: the expected score of the best of k trials, and AutoWU's."""
    searched = analysis.by_name(records.read(records.RESULTS, "search"))
    scores = analysis.by_workload(records.read(records.RESULTS, "compare"))
    names = [name for name in WORKLOADS if name in searched and methods.AUTOWU in scores.get(name, {})]
    if not names:
        return None
    figure, axes = _grid(len(names))
    for name, axis in zip(names, axes, strict=False):
        sign = -1 if WORKLOADS[name].is_text else 1
        expected = analysis.best_of(searched[name], range(1, len(searched[name]) + 1))
        axis.plot(
            list(expected), [sign * value for value in expected.values()], color=GREY, label="random search"
        )
        own = [sign * score for score in scores[name][methods.AUTOWU].values()]
        axis.axhline(float(np.mean(own)), color=BLUE, label="AutoWU; its seeds")
        axis.axhspan(min(own), max(own), color=BLUE, alpha=0.15, linewidth=0)
        axis.set(xlabel="trials", ylabel=_measure(name))
        axis.set_title(_title(name), fontsize="medium")
    axes[0].legend(fontsize="small")
    return figure


def sweep(folder: Path = records.RESULTS) -> Any:
    """Each workload: the score against a fixed peak LR, and where AutoWU's runs went."""
    swept = records.read(folder, "sweep")
    compared = records.read(folder, "compare")
    names = [name for name in WORKLOADS if any(record["workload"] == name for record in swept)]
    if not names:
        return None
    figure, axes = _grid(len(names))
    for name, axis in zip(names, axes, strict=False):
        sign = -1 if WORKLOADS[name].is_text else 1
        mine = [record for record in swept if record["workload"] == name]
        by_lr: dict[float, list[float]] = {}
        for record in mine:
            by_lr.setdefault(float(record["method"]), []).append(sign * records.score(record, "test"))
        lrs = sorted(by_lr)
        finite = [[value for value in by_lr[lr] if math.isfinite(value)] for lr in lrs]
        axis.plot(
            lrs,
            [np.mean(values) if values else math.nan for values in finite],
            color=GREY,
            marker="o",
            markersize=3,
            label="fixed peak LR",
        )
        shown = sorted(value for values in finite for value in values)
        low, high = map(float, np.quantile(shown, [0.25, 1] if sign > 0 else [0, 0.75]))
        for method, colour in ((methods.AUTOWU, BLUE), ("paper", ORANGE)):
            runs = [
                r for r in compared if r["workload"] == name and r["method"] == method and "error" not in r
            ]
            scores = [sign * records.score(record, "test") for record in runs]
            if method == methods.AUTOWU:  # in sight, however low
                finite_scores = [score for score in scores if math.isfinite(score)]
                low, high = min([low, *finite_scores]), max([high, *finite_scores])
            axis.plot(
                [record["peak_lr"] for record in runs],
                scores,
                "*" if method == methods.AUTOWU else "x",
                color=colour,
                label="AutoWU" if method == methods.AUTOWU else "paper",
            )
        room = 0.25 * (high - low)
        axis.set(xscale="log", xlabel="peak LR", ylabel=_measure(name))
        axis.set_title(_title(name), fontsize="medium")
        axis.set_ylim(low - room, high + room)
    # Below all of them: within the first it hides a curve or a run.
    figure.legend(*axes[0].get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3)
    return figure


def comparison() -> Any:
    """Each method's difference to the tuned baseline, workload by workload, with their mean beside it."""
    scores = analysis.by_workload(records.read(records.RESULTS, "compare"))
    names = analysis.everywhere(scores)
    if methods.REFERENCE not in names:
        return None
    names = [name for name in analysis.ordered(scores) if name in names]
    figure, axis = _strips(dict.fromkeys(names, scores), methods.REFERENCE, low=-10, high=3)
    for place, name in enumerate(names):
        mean = analysis.over_workloads(scores, name, methods.REFERENCE).mean
        axis.text(1.01, place, f"{mean:+.2f}", transform=axis.get_yaxis_transform(), va="center")
    axis.text(1.01, -1, "mean", transform=axis.get_yaxis_transform(), va="center")
    axis.get_yticklabels()[names.index(methods.AUTOWU)].set_fontweight("bold")
    axis.set_xlabel(
        "difference to the best of 20 and more trials of random search, " + _STRIPS.format("-10 and +3")
    )
    return figure


def ablations() -> Any:
    """Each variant's mean difference to the default preset, over the workloads."""
    ablated = analysis.ablated()
    if not ablated:
        return None
    found = {name: analysis.by_workload(results) for name, (_, results) in ablated.items()}
    figure, axis = _strips(found, methods.AUTOWU, low=-3, high=3)
    axis.set_xlabel("difference to the default preset, " + _STRIPS.format("-3 and +3"))
    return figure


_STRIPS: Final = (
    "in points of accuracy,\n5% of a text's loss count as one; grey: each workload, green: held out,\n"
    "blue: their mean with its 95% interval; cut off at {}"
)


def _strips(found: Mapping[str, Scores], against: str, low: float, high: float) -> tuple[Any, Any]:
    """A row for each method: a stroke for each workload, and the mean of them with its interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.28 * len(found) + 0.8))
    axis = figure.subplots()
    for place, (name, scores) in enumerate(found.items()):
        for workload, mine in scores.items():
            if name in mine:
                points = analysis.differences(workload, mine[name], mine[against])
                colour = GREEN if WORKLOADS[workload].held_out else GREY
                axis.plot(np.clip(np.mean(points), low, high), place, "|", color=colour, markersize=7)
        mean = analysis.over_workloads(scores, name, against)
        axis.plot([mean.low, mean.high], [place, place], color=BLUE, linewidth=1)
        axis.plot(mean.mean, place, "o", color=BLUE, markersize=4)
    axis.axvline(0, color="black", linewidth=0.7)
    axis.set_yticks(range(len(found)), list(found))
    axis.set_ylim(len(found) - 0.5, -0.5)
    axis.set_xlim(low, high)
    return figure, axis


def _grid(count: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    rows = -(-count // COLUMNS)
    figure = Figure(figsize=(3.2 * COLUMNS, 2.5 * rows), layout="constrained")
    axes = list(np.ravel(figure.subplots(rows, COLUMNS)))
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes


def _title(workload: str) -> str:
    return workload + (" (held out)" if WORKLOADS[workload].held_out else "")


def _measure(workload: str) -> str:
    return "test loss" if WORKLOADS[workload].is_text else "test accuracy, %"
