"""Figures 1 and 2 of the paper, drawn from runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from autowu.arrays import Array
from autowu.errors import UserError
from autowu.report import picture_style
from autowu.report.curves import smoothed, span, thinned
from autowu.report.picture_style import DARK, GREY, ORANGE, UNDOTTED, colour, plain, styled
from autowu.report.settings import shown
from autowu.runlog.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS: Final = 1_000
TASK: Final = ("data", "model", "norm", "optimizer", "batch_size", "epochs")
"""Settings that make a column of Figure 2."""
UNSEEN: Final = frozenset({"seed", "out", "data_dir", "workers", "checkpoint_every", "logger", "eval_every"})
"""Settings that make no line: runs that differ in these only are one, with a band."""
OF_TASK: Final = frozenset(
    {"total_steps", "steps_per_epoch", "warmup_steps", "cooldown_steps", "peak_lr", "base_lr", "lr"}
)
"""What a schedule has from its task; the rest of it tells lines apart."""
MOST_COLUMNS: Final = 8
DOTTED: Final = "dotted, × at the end: not finished"


def of_figure1(runs: Sequence[Run]) -> Run | None:
    """The run that Figure 1 shows: the first that went back to a minimum."""
    return next((run for run in runs if run.switch is not None and run.switch.t_star is not None), None)


@styled
def figure1(runs: Sequence[Run]) -> Figure:
    """The LR with t* and t (left); the losses of warm-up, smoothed, with their variance (right).

    Drawn from the first run in which a minimum was found.

    Raises:
        UserError: there is none.
    """
    run = of_figure1(runs)
    if run is None or run.switch is None or run.switch.t_star is None:
        raise UserError("--layout figure1 needs a run in which AutoWU has found a minimum")
    figure = picture_style.figure(6.8, 2.8)
    left, right = figure.subplots(1, 2)
    t, t_star, peak = run.switch.step, run.switch.t_star, run.switch.peak_lr
    warmup = run.steps <= t
    left.plot(run.steps[warmup], run.lrs[warmup], color=colour(0), label="warm-up")
    kept = thinned(run.lrs[~warmup], POINTS)
    left.plot(
        run.steps[~warmup][kept], run.lrs[~warmup][kept], color=colour(0), dashes=(4, 1.5), label="decay"
    )
    left.plot([t_star, t], [peak, peak], color=GREY, linestyle=":", linewidth=1)
    left.plot(t_star, peak, "*", color=ORANGE, markersize=11)
    left.annotate(
        r"$\eta_{t^*}$", (t_star, peak), xytext=(-6, 3), textcoords="offset points", ha="right", va="bottom"
    )
    left.plot([0, t_star], [peak, peak], color=GREY, linestyle=":", linewidth=1)
    left.set(ylabel="learning rate", ylim=(0, None), xlim=(0, None), yticks=[])

    right.fill_between(
        *_band(run, t), color=colour(0), alpha=0.25, linewidth=0, label="variance of the losses"
    )
    test = next((test for test in reversed(run.tests) if test.mean is not None), None)
    if test is not None and test.mean is not None:
        x = np.linspace(test.start, test.step, len(test.mean))
        right.plot(x, test.mean, color=colour(0), linewidth=2.4, label="smoothed loss")
    right.set(ylabel="training loss", yticks=[], xlim=(0, 1.12 * t))
    for axis in (left, right):
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)  # above: it hides no curve
        axis.grid(False)
        near = t - t_star < 0.05 * axis.get_xlim()[1]  # their names would cover each other
        for at, name, side in ((t_star, "$t^*$", "right"), (t, "$t$", "left")):
            axis.axvline(at, color=DARK, linestyle="--", linewidth=0.8)
            axis.annotate(
                name,
                (at, 0),
                xycoords=("data", "axes fraction"),
                xytext=(0, -4),
                textcoords="offset points",
                ha=side if near else "center",
                va="top",
            )
        axis.set_xticks([])
        axis.set_xlabel("step", labelpad=14)
    return figure


def _band(run: Run, end: int) -> tuple[Array, Array, Array]:
    """Steps, and the mean loss of a stretch about each, minus and plus its standard deviation."""
    within = (run.steps <= end) & np.isfinite(run.losses)
    steps, losses = run.steps[within].astype(float), run.losses[within]
    parts = [
        part for part in np.array_split(np.arange(len(steps)), min(24, len(steps) // 3 or 1)) if len(part)
    ]
    at = np.array([steps[part].mean() for part in parts])
    mean = np.array([losses[part].mean() for part in parts])
    sd = np.array([losses[part].std() for part in parts])
    return at, mean - sd, mean + sd


@styled
def figure2(runs: Sequence[Run]) -> Figure:
    """LR schedules (top) and training losses (bottom), a column for each task.

    Runs that differ in nothing but the seed are one line, with a band of one standard deviation. A run that
    has not finished is dotted as far as it goes, and part of no mean.

    Raises:
        UserError: the runs are of too many tasks.
    """
    columns = dict[tuple[str, ...], list[Run]]()
    for run in runs:
        columns.setdefault(tuple(shown(run.config.get(name)) for name in TASK), []).append(run)
    if len(columns) > MOST_COLUMNS:
        raise UserError(
            f"--layout figure2 has room for {MOST_COLUMNS} tasks, and these runs are of {len(columns)}"
        )
    named = {task: _lines(members) for task, members in columns.items()}
    names = list(dict.fromkeys(name for lines in named.values() for name in lines))
    figure = picture_style.figure(max(3.4, 2.3 * len(columns) + 0.6), 4.2)
    axes = cast(Any, figure.subplots(2, len(columns), squeeze=False, sharex="col", sharey="row"))
    handles: dict[str, Any] = {}
    for (task, lines), (top, bottom) in zip(named.items(), axes.T, strict=True):
        for name, members in lines.items():
            i, whole = names.index(name), [run.finished for run in members]
            style = {"color": colour(i), "linestyle": UNDOTTED[i % len(UNDOTTED)]}
            lrs = [(run.steps.astype(float), run.lrs) for run in members]
            line = mean_and_band(top, lrs, style, whole, log=True)
            smooth = [smoothed(run.steps, run.losses, POINTS) for run in members]
            mean_and_band(bottom, smooth, style, whole)
            if line is not None:
                handles.setdefault(name, line)
        top.set_title(plain(_title(task, list(columns))), fontsize=9)
        top.set_yscale("log")
        bottom.set_xlabel("step")
    peaks = [float(run.lrs[np.isfinite(run.lrs)].max(initial=0)) for run in runs]
    if max(peaks) > 0:  # LRs end too near zero to be shown
        starts = [float(run.lrs[run.lrs > 0][0]) for run in runs if (run.lrs > 0).any()]
        axes[0, 0].set_ylim(max(min(starts), max(peaks) * 1e-5), 2 * max(peaks))
    if found := span(*(smoothed(run.steps, run.losses, POINTS)[1] for run in runs), cut=0.2):
        margin = 0.08 * (found[1] - found[0]) or 0.5
        axes[1, 0].set_ylim(found[0] - margin, found[1] + margin)
    axes[0, 0].set_ylabel("learning rate")
    axes[1, 0].set_ylabel("training loss")
    unfinished = None if all(run.finished for run in runs) else DOTTED
    figure.legend(
        list(handles.values()),
        [plain(name, most=80) for name in handles],
        loc="outside lower center",
        ncols=min(4, max(1, int(figure.get_figwidth() // 2))),
        title=unfinished,
    )
    return figure


def mean_and_band(
    axis: Any,
    curves: Sequence[tuple[Array, Array]],
    style: Mapping[str, Any],
    whole: Sequence[bool],
    *,
    log: bool = False,
) -> Any:
    """The mean of the finished curves and one standard deviation about it; the others dotted, each by itself.

    Args:
        axis: to draw on.
        curves: x and y of each.
        style: of the lines.
        whole: whether each curve is of a run that has finished.
        log: whether the axis has nothing below zero.

    Returns:
        A line for the legend, or None if there is nothing to draw.
    """
    line, finished = None, list[tuple[Array, Array]]()
    for (x, y), ended in zip(curves, whole, strict=True):
        there = np.isfinite(y)
        if ended and there.any():
            finished.append((x[there], y[there]))
        elif there.any():
            (line,) = axis.plot(x[there], y[there], **{**style, "linestyle": ":"}, linewidth=1.2)
            axis.plot(x[there][-1], y[there][-1], "x", color=style["color"], markersize=5)
    if finished:
        start, end = max(x[0] for x, _ in finished), min(x[-1] for x, _ in finished)
        at: Array = np.linspace(start, end, POINTS, dtype=np.float64)
        values: Array = np.array([np.interp(at, x, y) for x, y in finished])
        mean = values.mean(0)
        (line,) = axis.plot(at, mean, **style, linewidth=1.3)
        if len(values) > 1:
            sd = values.std(0, ddof=1)
            low = np.maximum(mean - sd, values.min(0)) if log else mean - sd
            axis.fill_between(at, low, mean + sd, color=style["color"], alpha=0.2, linewidth=0)
    return line


def _lines(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of a column by line: its schedule, and in what it differs from others of that schedule."""
    kinds = dict[str, dict[str, tuple[dict[str, str], list[Run]]]]()
    for run in runs:
        if not len(run.steps):
            continue
        apart = _apart(run)
        of = kinds.setdefault(_line(run), {})
        of.setdefault(repr(sorted(apart.items())), (apart, []))[1].append(run)
    found = dict[str, list[Run]]()
    for kind, groups in kinds.items():
        settings = [apart for apart, _ in groups.values()]
        keys = list(dict.fromkeys(key for apart in settings for key in apart))
        differing = [key for key in keys if len({apart.get(key) for apart in settings}) > 1]
        for apart, members in groups.values():
            told = [f"{key.replace('_', ' ')} {apart.get(key, shown(None))}" for key in differing]
            found.setdefault(", ".join([kind, *told]), []).extend(members)
    return found


def _apart(run: Run) -> dict[str, str]:
    """What tells a run from others of its task and schedule; flags that the schedule repeats count once."""
    own = {key: value for key, value in run.schedule.items() if key not in UNSEEN | OF_TASK}
    config = {key: value for key, value in run.config.items() if key not in UNSEEN | own.keys()}
    fields = config.pop("set", None)
    if isinstance(fields, Mapping):
        config |= cast("Mapping[str, Any]", fields)
    return {key: shown(value) for key, value in {**config, **own}.items() if key not in TASK}


def _line(run: Run) -> str:
    """What the legend calls a run: its schedule, with the decay of AutoWU and the peak of a baseline."""
    schedule = shown(run.config.get("schedule") or run.name)
    if run.adaptive:
        decay = run.schedule.get("decay")
        return f"{schedule} + {shown(decay)}" if decay else schedule
    lr = run.config.get("lr")
    return f"{schedule}, LR {shown(lr)}" if lr else schedule


def _title(task: tuple[str, ...], tasks: Sequence[tuple[str, ...]]) -> str:
    """The settings in which the tasks differ; of a single one, the data and the model."""
    if len(tasks) == 1:
        return " ".join(value for value in task[:2] if value != "–")
    differing = [i for i in range(len(TASK)) if len({other[i] for other in tasks}) > 1]
    return ", ".join(_named(TASK[i], task[i]) for i in differing)


def _named(name: str, value: str) -> str:
    words: Mapping[str, str] = {"batch_size": f"batch size {value}", "epochs": f"{value} epochs"}
    return words.get(name, value)
