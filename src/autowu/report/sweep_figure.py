"""The figure of a learning-rate sweep: losses over the LR, smoothed, with the peak and its interval."""

from __future__ import annotations

from typing import Final

import numpy as np

from autowu.arrays import Array
from autowu.offline.range_test import RangeTest, lr_at
from autowu.report.curves import numbers, span, thinned
from autowu.report.decision import BAND, BLUE, GREY, ORANGE
from autowu.report.figures import WHOLE, Figure
from autowu.report.section import Section

CURVE: Final = (
    "The losses of the sweep over its learning rate, as the Gaussian process smooths them at its last test."
)
PEAK: Final = "The dashed line is the peak learning rate."
INTERVAL: Final = """
The shaded range holds it with 90% probability, as far as the noise of the losses and how much they are
smoothed{subsets} leave it open.
"""
POINTS: Final = 4_000


def figure(of: RangeTest, losses: Array) -> Figure:
    """Losses, smoothed loss with its band, peak LR and interval, over a log axis of LRs."""
    kept = thinned(losses, POINTS)
    traces: list[Figure] = [
        {"name": "loss", "mode": "markers", "marker": {"color": GREY, "size": 4, "opacity": 0.7}}
        | {"x": numbers(of.lrs[kept]), "y": numbers(losses[kept])}
    ]
    test = of.replay.tests[-1] if of.replay.tests else None
    mean, sd = (test.mean, test.sd) if test is not None else (None, None)
    if test is not None and mean is not None and sd is not None:
        at = lr_at(of.lrs, np.linspace(test.start, test.step, len(mean)))
        x = numbers(at)
        traces += [
            {"name": "band, lower end", "mode": "lines", "line": {"width": 0}, "showlegend": False}
            | {"hoverinfo": "skip", "x": x, "y": numbers(mean - 2 * sd)},
            {"name": "± 2 sd", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
            | {"fill": "tonexty", "fillcolor": BAND, "x": x, "y": numbers(mean + 2 * sd)},
            {"name": "smoothed loss", "mode": "lines", "line": {"color": BLUE, "width": 3}}
            | {"x": x, "y": numbers(mean)},
        ]
    upright: Figure = {"yref": "paper", "y0": 0, "y1": 1}
    shapes, notes = list[Figure](), list[Figure]()
    if of.peak_lr is not None:
        line = {"type": "line", "x0": of.peak_lr, "x1": of.peak_lr}
        shapes.append(upright | line | {"line": {"color": ORANGE, "width": 2, "dash": "dash"}})
        top = {
            "x": float(np.log10(of.peak_lr)),
            "y": 1,
            "yref": "paper",
            "yanchor": "top",
            "showarrow": False,
        }
        notes.append(top | {"text": f"peak LR {of.peak_lr:.3g}", "xanchor": "right", "xshift": -6})
    if of.low is not None:
        area = {"type": "rect", "x0": of.low, "x1": of.high, "fillcolor": ORANGE, "opacity": 0.2}
        shapes.append(upright | area | {"line": {"width": 0}, "layer": "below"})
    return {
        "data": [{"type": "scatter"} | trace for trace in traces],
        "layout": {
            "xaxis": {"title": {"text": "learning rate"}, "type": "log", "tickformat": WHOLE},
            "yaxis": {"title": {"text": "training loss"}, "exponentformat": "e"} | _range(losses, mean),
            "hovermode": "closest",
            "legend": {"traceorder": "normal"},
            "shapes": shapes,
            "annotations": notes,
        },
    }


def _range(losses: Array, mean: Array | None) -> Figure:
    """From the least loss to a little above where the sweep began: what explodes is out of the picture."""
    begin = losses[np.isfinite(losses)][: max(5, len(losses) // 20)]
    low, high = span(losses, cut=0) or (0.0, 1.0)
    top = max(float(begin.max(initial=low)), low if mean is None else float(mean.max()))
    margin = 0.15 * (top - low) or 0.5
    return {"range": [low - margin, min(high, top) + margin]}


def section(of: RangeTest, losses: Array, name: str | None = None) -> Section:
    """The figure with its words; ``name`` tells it from others."""
    heading = f"The learning-rate range test{f': {name}' if name else ''}"
    return Section(heading, _words(of), figure(of, losses), "tall")


def _words(of: RangeTest) -> str:
    """What there is to be seen in the figure, and no more."""
    subsets = "" if of.replay.config.subset_size is None else ", and the choice of subsets,"
    interval = INTERVAL.format(subsets=subsets).strip()
    said = {CURVE: True, PEAK: of.peak_lr is not None, interval: of.low is not None}
    return " ".join(words for words, seen in said.items() if seen)
