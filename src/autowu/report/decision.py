"""The figures of one run's decision: what the Gaussian process saw, and how the tests voted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal

import numpy as np

from autowu.config import Config
from autowu.detector.detect import Verdict
from autowu.report.curves import Array, numbers, span, thinned
from autowu.report.figures import STEP_AXIS, Figure, label
from autowu.runlog.run import Run

GREY: Final = "#808080"
BLUE: Final = "#0b7bbd"
BAND: Final = "rgba(11, 123, 189, 0.4)"
ORANGE: Final = "#d55e00"

# Shared by the runs of a page, as in figures.py.
LOSSES: Final = 6_000
TESTS: Final = 160
ALL: Final = "all losses"
NEAR: Final = "the minimum"

CURVE_POINTS: Final = 51  # of each test; the length-scale is far wider than their distance


def gp_view(run: Run, among: int = 1) -> Figure:
    """Losses, smoothed mean and band (± 2 sd), minimum; a slider through the tests opens at the last.

    It opens on all losses. ``meta`` has the range around each test's minimum, for the buttons.

    ``among`` is the number of runs that share the page. Of too many tests the last ones are shown.
    """
    tests = _shown(run, among)
    within = run.steps <= run.warmup_end
    steps, losses = run.steps[within], run.losses[within]
    kept = thinned(losses, LOSSES // among)
    traces: list[Figure] = [
        {"name": "loss", "mode": "markers", "marker": {"color": GREY, "size": 4, "opacity": 0.6}}
        | {"x": steps[kept].tolist(), "y": numbers(losses[kept])},
        {
            "name": "band, lower end",
            "mode": "lines",
            "line": {"width": 0},
            "showlegend": False,
            "hoverinfo": "skip",
        },
        {"name": "± 2 sd", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
        | {"fill": "tonexty", "fillcolor": BAND},
        {"name": "smoothed loss", "mode": "lines", "line": {"color": BLUE, "width": 3}},
        {"name": "minimum, per subset" if _vote(tests) else "minimum", "mode": "markers"}
        | {"marker": {"color": ORANGE, "symbol": "diamond-open", "size": 11, "line": {"width": 2}}},
    ]
    changing = list(range(1, len(traces)))
    moments = [_moment(run, test) for test in tests]
    data, drawn = moments[-1]
    for i, x, y in zip(changing, data["x"], data["y"], strict=True):
        traces[i] |= {"x": x, "y": y}
    slider = {
        "active": len(tests) - 1,
        "currentvalue": {"prefix": "test at step "},
        "pad": {"t": 60},
        "steps": [
            {"label": f"{test.step:,}", "method": "update", "args": [*moment, changing]}
            for test, moment in zip(tests, moments, strict=True)
        ],
    }
    whole, near = _all_losses(losses, tests[-1]), [_near_minimum(test) for test in tests]
    layout = drawn | {
        "xaxis": {"title": {"text": STEP_AXIS}, "range": [0, _end(run)]},
        "yaxis": {"title": {"text": "training loss"}, "exponentformat": "e", "range": whole},
        "hovermode": "closest",
        "legend": {"y": 1.07, "traceorder": "normal"},  # above the words
        "sliders": [slider],
        "updatemenus": [_zoom({ALL: whole, NEAR: near[-1]})] if near[-1] else [],
        "meta": {"whole": whole, "near": near},
    }
    return {"data": [{"type": "scatter"} | trace for trace in traces], "layout": layout}


def _zoom(ranges: dict[str, list[float] | None]) -> Figure:
    """Buttons that set the range of the loss; the rise after a minimum is small beside the fall before it."""
    buttons = [
        {
            "label": name,
            "method": "relayout",
            "args": [{"yaxis.range": ends, "yaxis.autorange": ends is None}],
        }
        for name, ends in ranges.items()
    ]
    # Beside the slider's words, where it hides no loss.
    place = {"x": 1, "xanchor": "right", "y": 0, "yanchor": "top", "pad": {"t": 45}}
    return place | {"type": "buttons", "direction": "right", "showactive": False, "buttons": buttons}


def _near_minimum(test: Verdict) -> list[float] | None:
    """The range in which the rise since the minimum takes a quarter of the height; None without a rise."""
    if test.mean is None or not np.isfinite(test.mean).all():
        return None
    low, end = float(test.mean.min()), float(test.mean[-1])
    rise = max(end - low, 2 * (test.noise or 0))
    return [low - rise, low + 3 * rise] if end > low else None


def _all_losses(losses: Array, test: Verdict) -> list[float] | None:
    """The range of nearly all losses and of the smoothed curve: a few huge losses do not flatten it."""
    curves = [span(losses, cut=1), None if test.mean is None else span(test.mean, cut=0)]
    ends = [end for pair in curves if pair for end in pair]
    if not ends:
        return None
    margin = 0.08 * (max(ends) - min(ends)) or 0.5
    return [min(ends) - margin, max(ends) + margin]


def _shown(run: Run, among: int) -> tuple[Verdict, ...]:
    return run.tests[-max(2, TESTS // among) :]


def _end(run: Run) -> float:
    return 1.02 * max(1, run.warmup_end)


def _moment(run: Run, test: Verdict) -> tuple[Figure, Figure]:
    """What one test changes of the figure: x and y of all traces but the first, and parts of the layout."""
    mean, sd = (np.zeros(0) if curve is None else curve for curve in (test.mean, test.sd))
    x = np.linspace(test.start, test.step, len(mean))
    minima = [test.start + (test.step - test.start) * argmin for argmin in test.argmins]
    heights = np.interp(minima, x, mean) if len(x) else [math.nan] * len(minima)
    some = np.linspace(0, len(x) - 1, min(len(x), CURVE_POINTS)).round().astype(int)
    x, mean, sd = x[some], mean[some], sd[some]
    data = {
        "x": [numbers(x), numbers(x), numbers(x), numbers(minima)],
        "y": [numbers(mean - 2 * sd), numbers(mean + 2 * sd), numbers(mean), numbers(heights)],
    }
    data = {
        key: [curve or [None] for curve in curves] for key, curves in data.items()
    }  # empty: out of the legend
    upright = {"y0": 0, "y1": 1, "yref": "paper"}
    unseen = upright | {"type": "rect", "fillcolor": GREY, "opacity": 0.25, "line": {"width": 0}}
    shapes: list[Figure] = [unseen | {"x0": test.step, "x1": _end(run)}, unseen | {"x0": 0, "x1": test.start}]
    if test.t_star is not None and test.votes(setting(run, "confidence")):
        line = {"type": "line", "line": {"color": ORANGE, "width": 2, "dash": "dot"}}
        shapes.append(upright | line | {"x0": test.t_star, "x1": test.t_star})
    corner = {"x": 0, "y": 1, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
    words = corner | {"showarrow": False, "align": "left", "text": label(verdict(run, test), most=120)}
    return data, {"shapes": shapes, "annotations": [words]}


def verdict(run: Run, test: Verdict) -> str:
    """The outcome of a test in one sentence."""
    if not test.p_min:
        return f"no evidence: {test.no_evidence or 'no reason is logged'}"
    confidence, patience = setting(run, "confidence"), setting(run, "patience")
    sentence = votes_text(test, confidence)
    if test.detected and 2 * test.votes(confidence) <= len(test.p_min):
        sentence += "; detected by a rule of an earlier version"
    return f"{sentence}; streak {test.streak} of {patience:g}" if test.detected else sentence


def votes_text(test: Verdict, confidence: float) -> str:
    """How its subsets vote, or, where there is but one, whether the minimum is past."""
    if len(test.p_min) == 1:
        return "minimum passed" if test.votes(confidence) else "minimum not passed yet"
    return f"{test.votes(confidence)} of {len(test.p_min)} subsets: minimum passed"


def _vote(tests: Sequence[Verdict]) -> list[Verdict]:
    """The tests in which several subsets vote."""
    return [test for test in tests if len(test.p_min) > 1]


def setting(run: Run, name: Literal["confidence", "patience"]) -> float:
    """A setting of the run's schedule; the default preset's where the run does not tell."""
    value = run.schedule.get(name)
    return float(value) if isinstance(value, int | float) else getattr(Config, name)


def votes(run: Run, among: int = 1) -> Figure:
    """P_min of each test against the confidence, with the streak towards patience."""
    confidence, patience = setting(run, "confidence"), setting(run, "patience")
    tests = [test for test in _shown(run, among) if test.p_min]
    streaks = [test for test in tests if test.streak]
    # The last of a streak has its number: they may be too near to each other for more.
    counts = ["" if after.streak > test.streak else str(test.streak) for test, after in pairwise(streaks)]
    counts += [str(test.streak) for test in streaks[-1:]]
    several = _vote(tests)
    subsets: Figure = (
        {"name": "a subset", "mode": "markers"}
        | {"marker": {"color": GREY, "symbol": "circle-open", "size": 12}}
        | {"x": [test.step for test in several for _ in test.p_min]}
        | {"y": numbers([p for test in several for p in test.p_min])}
    )
    traces: list[Figure] = [
        *([subsets] if several else []),
        {"name": "median of the subsets" if several else "P<sub>min</sub>", "mode": "lines+markers"}
        | {"line": {"color": BLUE, "width": 2}, "marker": {"color": BLUE, "symbol": "square", "size": 6}}
        | {"x": [test.step for test in tests]}
        | {"y": numbers([statistics.median(test.p_min) for test in tests])},
        {
            "name": f"confidence {confidence:g}",
            "mode": "lines",
            "line": {"color": ORANGE, "dash": "dash", "width": 2},
        }
        | {"x": [0, _end(run)], "y": [confidence, confidence], "hoverinfo": "skip"},
        {"name": f"tests in a row that agree (switch at {patience:g})", "mode": "markers+text"}
        | {"marker": {"color": ORANGE, "symbol": "triangle-down", "size": 9}, "textposition": "top center"}
        | {"x": [test.step for test in streaks], "y": [1.06 for _ in streaks], "hoverinfo": "skip"}
        | {"text": counts, "cliponaxis": False},
    ]
    layout = {
        "xaxis": {"title": {"text": STEP_AXIS}, "range": [0, _end(run)]},
        "yaxis": {
            "title": {"text": "P<sub>min</sub>"},
            "range": [-0.05, 1.2],
            "tickvals": [0, 0.25, 0.5, 0.75, 1],
        },
        "hovermode": "closest",
    }
    return {"data": [{"type": "scatter"} | trace for trace in traces], "layout": layout}
