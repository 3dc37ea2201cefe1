"""The figure of throughput: how fast each run trained, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autowu.report.curves import numbers
from autowu.report.figures import COLOURS, DASHES, SYMBOLS, Figure, kept_epochs, label
from autowu.runlog import Run


def measured(run: Run) -> bool:
    """Whether the run's log tells its speed."""
    return any(math.isfinite(epoch.images_per_second) for epoch in run.epochs)


def throughput(runs: Sequence[Run]) -> Figure:
    """Training images a second in each epoch, from zero on, so that heights can be compared."""
    traces = list[Figure]()
    for i, run in enumerate(runs):
        if not measured(run):
            continue
        epochs = kept_epochs(run, "images_per_second", len(runs))
        style = {"color": COLOURS[i % len(COLOURS)]}
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": label(run.name),
                "x": numbers([epoch.epoch for epoch in epochs]),
                "y": numbers([epoch.images_per_second for epoch in epochs]),
                "line": style | {"dash": DASHES[i % len(DASHES)]},
                "marker": style | {"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 7},
            }
        )
    layout: Figure = {
        "xaxis": {"title": {"text": "epoch"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "training images a second"}, "rangemode": "tozero"},
        "hovermode": "x unified",
        "showlegend": True,
    }
    return {"data": traces, "layout": layout}
